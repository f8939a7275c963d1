"""Which format a place holds: by its content, and by its name where that leaves it open.

What formats there are, the catalogue says (:data:`~napari_sparse3d.catalog.FORMATS`); their code is imported with the
first file of a kind.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from napari_sparse3d.catalog.formats import ARCHIVE_ENDINGS, FORMATS, FormatInfo
from napari_sparse3d.io.content import Beginning, is_clutter, other_half

if TYPE_CHECKING:
    from napari_sparse3d.io.series import SeriesInfo

_DATA_ENDINGS = (".raw", ".zraw", ".raw.gz", ".raw.bz2")
_BARE_DICOM = (b"\x08\x00", b"\x00\x08")


class Gatherer(Protocol):
    """Collects files that are images only together; what a format's ``home`` names where an image is many files.

    It is made without arguments, once for each scan.
    """

    def add(self, path: Path) -> bool:
        """Add one file; ``False`` if it is something else.

        Raises
        ------
        ReadError
            If it is of this format and damaged.
        """

    def listed(self, source: Path, *, alone: bool) -> Sequence[SeriesInfo]:
        """The series of all files added; ``alone`` where the scan of ``source`` found nothing else."""


def content_of(path: Path) -> FormatInfo | None:
    """The format of a file by its first bytes; ``None`` where they are of none.

    Formats of one file are asked before those of many: DICOM's mark comes after a preamble that may hold anything.
    """
    seen = Beginning.of(path)
    asked = (*FORMATS.of_one_file, *FORMATS.of_many_files)
    return next((part for part in asked if part.sniff and part.load(part.sniff)(seen)), None)


def content_of_folder(folder: Path, names: Collection[str]) -> FormatInfo | None:
    """The format of which a folder is one image; ``None`` for a folder of anything else.

    Parameters
    ----------
    folder : Path
    names : collection of str
        Of what lies in it.
    """
    for part in FORMATS.of_one_folder:
        if all(mark in names for mark in part.marks) and (not part.sniff or part.load(part.sniff)(folder)):
            return part
    return None


def opens(path: Path) -> bool:
    """Whether something is a case of its own that ``read_volume`` may open. No voxel is read.

    So are a folder, an archive and a file of a format, by its name or its content; not what systems leave beside
    files, and not what is read by its header: the image half of a pair, the data of a detached header.
    """
    if is_clutter(path.name) or has_header_beside(path):
        return False
    return path.is_dir() or looks_like_a_scan(path)


def looks_like_a_scan(file: Path) -> bool:
    """Whether a file's name, or its content, is one of a scan."""
    if is_clutter(file.name):
        return False
    if file.name.lower().endswith(ARCHIVE_ENDINGS) or FORMATS.named(file.name) is not None:
        return True
    return file.is_file() and (_is_bare_dicom(file) or content_of(file) is not None)


def has_header_beside(file: Path) -> bool:
    """Whether a file is the image half of a pair, or is named like the data that a header names and holds no header."""
    name = file.name.lower()
    if name.endswith((".img", ".img.gz")):
        return file.is_file() and other_half(file, "hdr") is not None
    return is_data_of_a_header(file)


def is_data_of_a_header(file: Path) -> bool:
    """Whether a file is named like detached voxels, and does not begin like an image of its own."""
    return file.name.lower().endswith(_DATA_ENDINGS) and file.is_file() and content_of(file) is None


def may_have_tags(path: Path) -> bool:
    """Whether there may be DICOM at a path, whatever it is called: a folder, an archive, a file that begins so."""
    if path.is_dir() or path.name.lower().endswith(ARCHIVE_ENDINGS):
        return True
    return path.is_file() and (_is_bare_dicom(path) or content_of(path) is FORMATS["dicom"])


def _is_bare_dicom(file: Path) -> bool:
    """Whether a file without the mark of DICOM may be a data set alone, which begins with group 0008."""
    with file.open("rb") as stream:
        head = stream.read(132)
    return len(head) == 132 and head[:2] in _BARE_DICOM
