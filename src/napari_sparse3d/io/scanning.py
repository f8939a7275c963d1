"""Scanning: a file, a folder tree, a list of files or a zip becomes a list of series. Headers only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from napari_sparse3d.catalog.formats import FORMATS, FormatInfo
from napari_sparse3d.environment import check_environment
from napari_sparse3d.errors import InputError, ReadError, failure_line
from napari_sparse3d.io.archive import is_zip, scan_zip
from napari_sparse3d.io.content import is_clutter
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.formats import (
    Gatherer,
    content_of,
    content_of_folder,
    has_header_beside,
    is_data_of_a_header,
)
from napari_sparse3d.io.naming import safe_file_name
from napari_sparse3d.io.series import SeriesInfo

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
    paths = [path] if isinstance(path, (str, os.PathLike)) else list(path)
    if not paths:
        raise InputError("an empty list of files was given; name at least one file or folder")
    roots = [Path(item) for item in paths]
    for number, root in enumerate(roots, start=1):
        if not root.exists():
            # the path is not repeated: it may hold an identity, and whoever gave it has it
            which = f" (number {number} of {len(roots)})" if len(roots) > 1 else ""
            raise ReadError(f"no such file or folder at the path that was given{which}; check its spelling")
    if len(roots) == 1 and is_zip(roots[0]):
        try:
            return scan_zip(roots[0], lambda folder: scan(folder, progress=progress))
        except ReadError as error:
            if roots[0].suffix.lower() == ".npz":
                raise ReadError(_ARRAYS) from error
            raise
    named = len(roots) == 1 and roots[0].is_file()
    content = _Found()
    count = 0
    for place, image in _places_below(roots):
        _look_at(place, image, content, named=named)
        count += 1
        if progress is not None and count % 50 == 0:
            progress(count)
    if progress is not None:
        progress(count)
    series = content.listed(roots[0])
    if not series:
        raise ReadError(_nothing(count, content))
    return [info.at(index) for index, info in enumerate(series)]


@dataclass
class _Found:
    """What the files looked at so far hold."""

    gatherers: dict[str, Gatherer] = field(default_factory=dict)
    """For each format of which an image is many files; made with the first file that may be one of them."""
    other: list[SeriesInfo] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Why a file that looked like an image could not be read."""

    def gather(self, file: Path) -> bool:
        """Add a file to those that are images only together; ``False`` if it is none of them."""
        return any(self._gatherer(part).add(file) for part in FORMATS.of_many_files)

    def _gatherer(self, part: FormatInfo) -> Gatherer:
        if part.name not in self.gatherers:
            self.gatherers[part.name] = part.load()()
        return self.gatherers[part.name]

    def listed(self, source: Path) -> list[SeriesInfo]:
        """DICOM series, then other files."""
        gathered: list[SeriesInfo] = []
        for gatherer in self.gatherers.values():
            gathered += gatherer.listed(source, alone=not (self.other or gathered))
        return [*gathered, *self.other]


def files_below(roots: Iterable[Path]) -> Iterator[Path]:
    """All files below the roots in a stable order; each folder once, so that links cannot lead in a circle."""
    return (file for file, _ in _below(roots, whole_images=False))


def _places_below(roots: Iterable[Path]) -> Iterator[tuple[Path, FormatInfo | None]]:
    """As :func:`files_below`; a folder that is one image is one place, with its format, and so are the files in it."""
    return _below(roots, whole_images=bool(FORMATS.of_one_folder))


def _below(roots: Iterable[Path], *, whole_images: bool) -> Iterator[tuple[Path, FormatInfo | None]]:
    count = 0
    for root in roots:
        if root.is_file():
            yield root, None
            continue
        visited: set[tuple[int, int]] = set()
        for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse_folder):
            status = Path(folder).stat()
            key = (status.st_dev, status.st_ino)
            if key in visited:
                folders.clear()
                continue
            visited.add(key)
            image = content_of_folder(Path(folder), {*names, *folders}) if whole_images else None
            if image is not None:
                folders.clear()
                yield Path(folder), image
                continue
            folders.sort()
            for name in sorted(names):
                file = Path(folder, name)
                if file.is_file():  # not a pipe, a socket or a dead link
                    count += 1
                    if count > MAX_FILES:
                        raise ReadError(
                            f"more than {MAX_FILES} files below the folder; name a folder nearer to the series"
                        )
                    yield file, None


def _refuse_folder(error: OSError) -> None:
    # a folder that is passed over in silence may hold half of a series
    raise ReadError(
        "a folder below cannot be opened: check its permissions, or name the folder of the series itself"
    ) from error


def _look_at(place: Path, image: FormatInfo | None, content: _Found, *, named: bool) -> None:
    """Add what one place holds; ``named`` when the user named it, so that what it is not is worth an error.

    A file is what its first bytes say. Where its name is DICOM's, or none of ours, the DICOM reader looks first: it
    has to open the file anyway, and archives hold thousands of them. ``image`` is the format of a folder.
    """
    if is_clutter(place.name) and not named:
        return
    claimed = image or FORMATS.named(place.name)
    try:
        if image is not None:
            _add_image(place, image, content)
        else:
            _look_at_file(place, claimed, content, named=named)
    except ReadError as error:
        content.failures.append(str(error))
        if claimed is not None and claimed.stored != "files" and not named:
            content.other.append(_unreadable(place, str(error)))
    except OSError as error:
        content.failures.append(f"a file cannot be opened ({type(error).__name__}); check its permissions")


def _look_at_file(file: Path, claimed: FormatInfo | None, found: _Found, *, named: bool) -> None:
    if not named and is_data_of_a_header(file):
        return  # what a header names; values in it may look like the beginning of anything
    if claimed is None or claimed.stored == "files":
        if not (found.gather(file) or _add_image(file, content_of(file), found)) and named:
            found.failures.append(_not_a_scan() if file.name.lower() != "dicomdir" else _NO_IMAGES)
        return
    content = content_of(file)
    if content is not None and content.stored == "files":
        if not found.gather(file) and named:
            found.failures.append(_NO_IMAGES)
        return
    if content is None:
        if has_header_beside(file):
            if named:
                _add_image(file, claimed, found)
            return  # listed once, by its header
        if found.gather(file):
            return  # without the mark of a DICOM file: a bare data set
    _add_image(file, content or claimed, found)


def _add_image(place: Path, content: FormatInfo | None, found: _Found) -> bool:
    """Add a place that is whole by itself; the libraries of each format are imported with its first one."""
    if content is None or content.stored == "files":
        return False
    try:
        series = content.load()(place)
    except (ReadError, OSError):
        raise
    except Exception as error:
        if content.home.startswith("napari_sparse3d."):
            raise  # a fault of ours is not to look like one of the file
        raise ReadError(f"the reader of {content.title} failed: {failure_line(error, place)}") from error
    found.other.extend(replace(info, source=place) if info.source == Path() else info for info in series)
    return True


_NO_IMAGES = "a DICOMDIR is an index and holds no images; name its folder"


def _not_a_scan() -> str:
    return f"the file is not {FORMATS.titles} or a zip of them; convert it to NIfTI first"


def _unreadable(file: Path, reason: str) -> SeriesInfo:
    fault = Fault.of(FaultKind.UNREADABLE, reason)
    return SeriesInfo(
        0, "unreadable", "", safe_file_name(file), None, 1, None, "", "", 1, (fault,), auxiliary=True, source=file
    )


_ARRAYS = (
    "the file holds arrays (.npz) and no scan; a voxel set is for predict, activations and similar, a labelled set for "
    "train and evaluate"
)


def _nothing(count: int, found: _Found) -> str:
    if found.failures:
        return found.failures[0]
    if count == 0:
        return f"the folder is empty; name a folder that holds a scan ({FORMATS.titles})"
    return f"none of {count} files is a scan ({FORMATS.titles}); name another folder, or convert them to NIfTI first"
