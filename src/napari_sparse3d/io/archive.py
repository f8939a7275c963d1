"""A zip of a series: unpacked under names of our own, within bounds."""

from __future__ import annotations

import re
import shutil
import tempfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from napari_sparse3d.catalog.formats import ARCHIVE_ENDINGS, FORMATS
from napari_sparse3d.errors import ReadError
from napari_sparse3d.files import scratch_folder
from napari_sparse3d.io.content import is_clutter
from napari_sparse3d.io.detached import unpacked_name
from napari_sparse3d.io.formats import content_of
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

_PLAIN_NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9_.-]{1,100}")
"""Of a file or folder in an image that is a folder: it leads nowhere, on any system."""

Scan = Callable[[Path], list[SeriesInfo]]


def is_zip(path: Path) -> bool:
    """Whether the file is a zip, by its first bytes; by its name where they are of no format that we know."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            return True
    return path.name.lower().endswith(ARCHIVE_ENDINGS) and content_of(path) is None


def scan_zip(path: Path, scan: Scan) -> list[SeriesInfo]:
    """Scan the members of a zip as if they lay in a folder.

    Raises
    ------
    ReadError
        If the zip is damaged, encrypted, or unpacks to more than is plausible.
    """
    with scratch_folder() as folder:
        _unpack(path, folder)
        series = scan(folder)
    return [
        replace(info, source=path, loader=None if info.loader is None else ZippedSeries(path, info.index, scan))
        for info in series
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
    """Write each member under a name of our own: those in a zip may climb out of the folder, or hold an identity."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir() and member.file_size > 0]
            _check(members, path)
            members.sort(key=lambda member: member.filename)
            places = _Places(folder, members)
            total = 0
            for member in members:
                target = places.of(member)
                if target is not None:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(member) as packed, target.open("wb") as out:
                        total += _copy(packed, out, MAX_UNPACKED_BYTES - total)
    except ReadError:
        raise
    except _ZIP_ERRORS as error:
        raise ReadError(
            f"the zip cannot be unpacked ({type(error).__name__}): it is damaged, truncated or encrypted"
        ) from error


class _Places:
    """Where the members of a zip are unpacked to.

    Folders are numbered. A file's name is a number and :func:`~napari_sparse3d.io.detached.unpacked_name`, by which
    the two halves of a pair keep one stem, and a header finds the data that it names. Inside a folder that is one image
    plain names stay, by which its format knows them.
    """

    def __init__(self, folder: Path, members: Sequence[zipfile.ZipInfo]) -> None:
        self._folder = folder
        self._images = _image_folders(map(_place, members))
        self._folders: dict[str, Path] = {}
        self._stems: dict[tuple[str, str], str] = {}  # one for both halves of a pair, in whatever capitals
        self._files: dict[str, Path] = {}

    def of(self, member: zipfile.ZipInfo) -> Path | None:
        """Where a member goes; ``None`` where it is none of an image."""
        place = _place(member)
        if is_clutter(place.name) or "__MACOSX" in place.parts:
            return None
        image = next((above for above in reversed(place.parents) if above in self._images), None)
        if image is not None:
            inner = place.relative_to(image)
            plain = all(map(_PLAIN_NAME.fullmatch, inner.parts))
            return self._numbered(str(image), FORMATS.ending_of(image.name)) / inner if plain else None
        return None if place.name.startswith(".") else self._of_file(place, member.filename)

    def _of_file(self, place: PurePosixPath, member: str) -> Path:
        if member in self._files:
            return self._files[member]  # of two members of one name the later one counts, as in any zip
        parent = str(place.parent)
        inside = self._numbered(parent)
        stem, dot, ending = unpacked_name(place.name).partition(".")
        stem = self._stems.setdefault((parent, stem.rpartition("_")[2]), f"{len(self._stems):06d}_{stem}")
        target = inside / f"{stem}{dot}{ending}"
        if target.exists():  # their names differ in capitals alone
            target = inside / f"{len(self._files):06d}_{stem}{dot}{ending}"
        self._files[member] = target
        return target

    def _numbered(self, name: str, ending: str = "") -> Path:
        return self._folders.setdefault(name, self._folder / f"{len(self._folders):06d}{ending}")


def _place(member: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(member.filename.replace("\\", "/"))


def _image_folders(places: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """The folders in a zip that are one image each, as their marks say."""
    if not FORMATS.of_one_folder:
        return set()
    names: dict[PurePosixPath, set[str]] = defaultdict(set)
    for place in places:
        inner = place
        for above in place.parents:
            names[above].add(inner.name)
            inner = above
    marks = [set(part.marks) for part in FORMATS.of_one_folder]
    return {folder for folder, inside in names.items() if any(inside >= each for each in marks)}


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
