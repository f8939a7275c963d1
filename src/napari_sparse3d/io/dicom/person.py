"""What a DICOM header tells of persons, to be taken out of its descriptions; it goes nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.multival import MultiValue

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.archive import is_zip
from napari_sparse3d.io.dicom.header import IDENTIFYING, FileHeader, NotDicom, read_header
from napari_sparse3d.io.identity import patient_hash
from napari_sparse3d.io.naming import identity_words
from napari_sparse3d.io.scanning import scan

_NAMES = tuple(keyword for keyword in IDENTIFYING if dictionary_VR(keyword) == "PN")
_OTHERS = tuple(keyword for keyword in IDENTIFYING if keyword not in _NAMES)


def identity_of(header: FileHeader) -> frozenset[str]:
    """The words that identify, for :func:`~napari_sparse3d.io.naming.without_identity`."""
    return identity_words(
        (text for keyword in _OTHERS for text in _texts(header.get(keyword))),
        (text for keyword in _NAMES for text in _texts(header.get(keyword))),
    )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, (list, tuple, MultiValue)):  # not whatever can be iterated: a person's name can
        for item in value:
            yield from _texts(item)
    elif isinstance(value, bytes):  # an element whose kind was not known to whoever wrote the file
        yield value.decode("latin-1")
    elif value is not None:
        yield str(value)


def identity_at(path: Path) -> frozenset[str]:
    """What identifies in the first DICOM file at a path; nothing where there is none."""
    files = [path] if path.is_file() else (file for file in sorted(path.rglob("*")) if file.is_file())
    return next((words for words in map(_identity_in, files) if words is not None), frozenset())


def _identity_in(file: Path) -> frozenset[str] | None:
    try:
        return identity_of(read_header(file))
    except (NotDicom, ReadError):
        return None


def patient_at(path: Path) -> str:
    """The salted hash of the patient of the first DICOM file at a path, or in a ``.zip``; "" where there is none."""
    if path.is_file() and is_zip(path):
        try:
            return next((info.patient for info in scan(path) if info.patient), "")
        except ReadError:
            return ""
    files = [path] if path.is_file() else (file for file in sorted(path.rglob("*")) if file.is_file())
    return next((patient for patient in map(_patient_in, files) if patient is not None), "")


def _patient_in(file: Path) -> str | None:
    try:
        return patient_hash(read_header(file).text("PatientID"))
    except (NotDicom, ReadError):
        return None
