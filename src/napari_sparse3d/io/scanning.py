"""Scanning: a file, a folder tree, a list of files or a zip becomes a list of series. Headers only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sparse3d.environment import check_environment
from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io.archive import is_zip, scan_zip
from napari_sparse3d.io.content import Content, content_of, is_clutter, named_format, other_half
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.naming import safe_file_name
from napari_sparse3d.io.series import SeriesInfo

if TYPE_CHECKING:
    from napari_sparse3d.io.dicom.gather import Gatherer

PathLike = str | os.PathLike[str]
Progress = Callable[[int], None]
"""Called with the number of files looked at so far. It may raise, to cancel the scan."""

MAX_FILES = 2_000_000


def scan(path: PathLike | Sequence[PathLike], *, progress: Progress | None = None) -> list[SeriesInfo]:
    """List every series under a path. Headers only; no voxel is read.

    Parameters
    ----------
    path : path or sequence of paths
        A file, a folder (with everything below it), a ``.zip`` of files, or a list of files.
    progress : callable, optional
        Called with the number of files looked at, now and then; cancel by raising from it.

    Returns
    -------
    list of SeriesInfo
        DICOM series first, by series number; then other files. Each with its faults.

    Raises
    ------
    ReadError
        If there is nothing at the path, or nothing in it that can be read.
    """
    check_environment()
    given = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not given:
        raise InputError("an empty list of files was given; name at least one file or folder")
    roots = [Path(item) for item in given]
    for number, root in enumerate(roots, start=1):
        if not root.exists():
            # the path is not repeated: it may hold an identity, and whoever gave it has it
            which = f" (number {number} of {len(roots)})" if len(roots) > 1 else ""
            raise ReadError(f"no such file or folder at the path that was given{which}; check its spelling")
    if len(roots) == 1 and is_zip(roots[0]):
        return scan_zip(roots[0], lambda folder: scan(folder, progress=progress))
    named = len(roots) == 1 and roots[0].is_file()
    found = _Found()
    count = 0
    for file in files_below(roots):
        _look_at(file, found, named=named)
        count += 1
        if progress is not None and count % 50 == 0:
            progress(count)
    if progress is not None:
        progress(count)
    series = found.listed(roots[0])
    if not series:
        raise ReadError(_nothing(count, found))
    return [info.at(index) for index, info in enumerate(series)]


@dataclass
class _Found:
    """What the files looked at so far hold."""

    dicom: Gatherer | None = None
    """Made with the first file that may be DICOM."""
    other: list[SeriesInfo] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Why a file that looked like an image could not be read."""

    def listed(self, source: Path) -> list[SeriesInfo]:
        """DICOM series, then other files."""
        return [*(self.dicom.listed(source, alone=not self.other) if self.dicom is not None else ()), *self.other]


def files_below(roots: Iterable[Path]) -> Iterator[Path]:
    """All files below the roots in a stable order; each folder once, so that links cannot lead in a circle."""
    count = 0
    for root in roots:
        if root.is_file():
            yield root
            continue
        visited: set[tuple[int, int]] = set()
        for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse_folder):
            status = Path(folder).stat()
            key = (status.st_dev, status.st_ino)
            if key in visited:
                folders.clear()
                continue
            visited.add(key)
            folders.sort()
            for name in sorted(names):
                file = Path(folder, name)
                if file.is_file():  # not a pipe, a socket or a dead link
                    count += 1
                    if count > MAX_FILES:
                        raise ReadError(
                            f"more than {MAX_FILES} files below the folder; name a folder nearer to the series"
                        )
                    yield file


def _refuse_folder(error: OSError) -> None:
    # a folder that is passed over in silence may hold half of a series
    raise ReadError(
        "a folder below cannot be opened: check its permissions, or name the folder of the series itself"
    ) from error


def _look_at(file: Path, found: _Found, *, named: bool) -> None:
    """Add what one file holds; ``named`` when the user named it, so that what it is not is worth an error.

    A file is what its first bytes say. Where its name is DICOM's, or none of ours, the DICOM reader looks first: it
    has to open the file anyway, and archives hold thousands of them.
    """
    if is_clutter(file.name) and not named:
        return
    claimed = named_format(file)
    try:
        if file.name.lower().endswith(_DATA_ENDINGS) and not named and content_of(file) is None:
            return  # what a header names; values in it may look like the beginning of anything
        if claimed in (None, Content.DICOM):
            if _is_dicom(file, found) or _add_image(file, content_of(file), found):
                return
            if named:
                found.failures.append(_NOT_A_SCAN if file.name.lower() != "dicomdir" else _NO_IMAGES)
            return
        content = content_of(file)
        if content is Content.DICOM:
            if not _is_dicom(file, found) and named:
                found.failures.append(_NO_IMAGES)
            return
        if content is None:
            if _header_beside(file):
                if named:
                    _add_image(file, claimed, found)
                return  # listed once, by its header
            if _is_dicom(file, found):
                return  # without the mark of a DICOM file: a bare data set
        _add_image(file, content or claimed, found)
    except ReadError as error:
        found.failures.append(str(error))
        if claimed not in (None, Content.DICOM) and not named:
            found.other.append(_unreadable(file, str(error)))
    except OSError as error:
        found.failures.append(f"a file cannot be opened ({type(error).__name__}); check its permissions")


def _is_dicom(file: Path, found: _Found) -> bool:
    if found.dicom is None:
        from napari_sparse3d.io.dicom.gather import Gatherer

        found.dicom = Gatherer()
    return found.dicom.add(file)


def _add_image(file: Path, content: Content | None, found: _Found) -> bool:
    """Add a file of one volume, or of one series; the libraries of each format are imported with its first file."""
    if content in (Content.NIFTI, Content.MGH):
        from napari_sparse3d.io import nifti

        found.other.append(nifti.scan_nifti(file))
    elif content is Content.NRRD:
        from napari_sparse3d.io import nrrd
        from napari_sparse3d.io.raster import RasterFile

        found.other.append(RasterFile(file, nrrd.read_header).scan())
    elif content is Content.METAIMAGE:
        from napari_sparse3d.io import metaimage
        from napari_sparse3d.io.raster import RasterFile

        found.other.append(RasterFile(file, metaimage.read_header).scan())
    else:
        return False
    return True


_DATA_ENDINGS = (".raw", ".zraw", ".raw.gz", ".raw.bz2")
_NOT_A_SCAN = "the file is not DICOM, NIfTI, NRRD, MetaImage, MGH or a zip of them; convert it to NIfTI first"
_NO_IMAGES = "a DICOMDIR is an index and holds no images; name its folder"


def _header_beside(file: Path) -> bool:
    """Whether the file is the image half of a pair."""
    return file.name.lower().endswith((".img", ".img.gz")) and other_half(file, "hdr") is not None


def _unreadable(file: Path, reason: str) -> SeriesInfo:
    fault = Fault.of(FaultKind.UNREADABLE, reason)
    return SeriesInfo(
        0, "unreadable", "", safe_file_name(file), None, 1, None, "", "", 1, (fault,), auxiliary=True, source=file
    )


def _nothing(count: int, found: _Found) -> str:
    if found.failures:
        return found.failures[0]
    if count == 0:
        return "the folder is empty; name a folder that holds DICOM, NIfTI, NRRD or MetaImage files"
    return (
        f"none of {count} files is DICOM, NIfTI, NRRD or MetaImage; name another folder, or convert them to NIfTI first"
    )
