"""Which files the reading of a path depends on: what a cache's key, a kept row and the record of an input cover."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from napari_sparse3d.catalog.formats import FORMATS, FormatInfo
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.archive import is_zip
from napari_sparse3d.io.formats import content_of


def files_behind(path: Path) -> tuple[Path, ...]:
    """Every file that the reading of a path depends on.

    Parameters
    ----------
    path : Path
        What :func:`~napari_sparse3d.io.read_volume` takes, or any other file or folder.

    Returns
    -------
    tuple of Path
        * of a folder: all files below it, sorted, as the scan of it looks at all of them;
        * of a NRRD or MetaImage header: the header, then the data files that it names, in their order;
        * of either half of a pair: the header, the image, and the ``.mat`` that SPM keeps beside an Analyze pair;
        * of every other file: itself.

        A file that cannot be read stands for itself, as the reading of it says why.

    Raises
    ------
    ReadError
        If a folder below cannot be opened, or holds more files than are scanned.
    OSError
        If there is nothing at the path, or it cannot be opened.
    """
    if path.is_dir():
        from napari_sparse3d.io.scanning import files_below

        return tuple(sorted(files_below([path])))
    status = path.stat()
    content = _content(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if content is None or not content.files:
        return (path,)
    try:
        named: tuple[Path, ...] = content.load(content.files)(path)
    except ReadError:
        return (path,)
    return (path, *(file for file in named if file != path))


@lru_cache(maxsize=100_000)
def _content(path: Path, _size: int, _modified: int, _changed: int) -> FormatInfo | None:
    """What a file is, looked at once as long as it does not change; the order of looking is that of the scan."""
    return None if is_zip(path) else content_of(path) or FORMATS.named(path.name)
