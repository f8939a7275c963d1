"""A zip of a series: unpacked under names of our own, within bounds."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from napari_sparse3d.errors import ReadError
from napari_sparse3d.files import scratch_folder
from napari_sparse3d.io.content import content_of, is_clutter
from napari_sparse3d.io.detached import unpacked_name
from napari_sparse3d.io.series import SeriesInfo, VolumeSequence

MAX_MEMBERS = 200_000
MAX_UNPACKED_BYTES = 32 * 1024**3
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    RuntimeError,
    NotImplementedError,
    ValueError,
    OSError,
    KeyError,
)

Scan = Callable[[Path], list[SeriesInfo]]


def is_zip(path: Path) -> bool:
    """Whether the file is a zip, by its first bytes; by its name where they are of no format that we know."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return True
    return path.suffix.lower() == ".zip" and content_of(path) is None


def scan_zip(path: Path, scan: Scan) -> list[SeriesInfo]:
    """Scan the members of a zip as if they lay in a folder.

    Raises
    ------
    ReadError
        If the zip is damaged, encrypted, or unpacks to more than is plausible.
    """
    with scratch_folder() as folder:
        _unpack(path, folder)
        found = scan(folder)
    return [
        replace(info, source=path, loader=None if info.loader is None else ZippedSeries(path, info.index, scan))
        for info in found
    ]


@dataclass(frozen=True)
class ZippedSeries:
    """Loads one series of a zip: unpacked for the reading and removed after it."""

    path: Path
    index: int
    scan: Scan

    def load(self, frames: Sequence[int] | None, repair: str | None) -> VolumeSequence:
        """See :class:`~napari_sparse3d.io.series.SeriesLoader`."""
        with scratch_folder() as folder:
            _unpack(self.path, folder)
            return self.scan(folder)[self.index].load(frames, repair)


def _unpack(path: Path, folder: Path) -> None:
    """Write each member under a name of our own: those inside a zip may climb out of the folder, or hold an identity.

    Folders are numbered. A file's name is a number and :func:`~napari_sparse3d.io.detached.unpacked_name`, by which
    the two halves of a pair keep one stem, and a header finds the data that it names.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir() and member.file_size > 0]
            _check(members, path)
            members.sort(key=lambda member: member.filename)
            folders: dict[str, Path] = {}
            stems: dict[tuple[str, str], str] = {}  # one for both halves of a pair, in whatever capitals
            outs: dict[str, Path] = {}
            total = 0
            for member in members:
                place = PurePosixPath(member.filename.replace("\\", "/"))
                if is_clutter(place.name) or place.name.startswith(".") or "__MACOSX" in place.parts:
                    continue
                parent = str(place.parent)
                inside = folders.setdefault(parent, folder / f"{len(folders):06d}")
                inside.mkdir(exist_ok=True)
                name = unpacked_name(place.name)
                stem, dot, ending = name.partition(".")
                stem = stems.setdefault((parent, stem.rpartition("_")[2]), f"{len(stems):06d}_{stem}")
                out_path = inside / f"{stem}{dot}{ending}"
                if out_path.exists() and member.filename not in outs:  # their names differ in capitals alone
                    out_path = inside / f"{len(outs):06d}_{stem}{dot}{ending}"
                outs[member.filename] = out_path  # of two members of one name the later one counts, as in any zip
                with archive.open(member) as packed, out_path.open("wb") as out:
                    total += _copy(packed, out, MAX_UNPACKED_BYTES - total)
    except ReadError:
        raise
    except _ZIP_ERRORS as error:
        raise ReadError(
            f"the zip cannot be unpacked ({type(error).__name__}): it is damaged, truncated or encrypted"
        ) from error


def _check(members: list[zipfile.ZipInfo], path: Path) -> None:
    if len(members) > MAX_MEMBERS:
        raise ReadError(f"the zip holds {len(members)} files, more than {MAX_MEMBERS}; unpack it and name one folder")
    total = sum(member.file_size for member in members)
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if total > MAX_UNPACKED_BYTES or total > 0.9 * free:
        raise ReadError(
            f"the zip unpacks to {total / 1e9:.1f} GB, more than is allowed or free; unpack it and name one folder"
        )
    if total > 1100 * path.stat().st_size + 1_000_000:
        raise ReadError("the zip claims to unpack to more than a thousand times its size: it is damaged or hostile")


def _copy(packed: IO[bytes], out: IO[bytes], limit: int) -> int:
    """Copy a member, never more than ``limit`` bytes: a zip's sizes are only claims. Returns the bytes copied."""
    total = 0
    while block := packed.read(1024 * 1024):
        total += len(block)
        if total > limit:
            raise ReadError("the zip unpacks to more than it claims: it is damaged or hostile")
        out.write(block)
    return total
