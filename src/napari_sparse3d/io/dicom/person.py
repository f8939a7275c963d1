"""What a DICOM header tells of persons, to be taken out of its descriptions; it goes nowhere else.

Persons are named at the top level, and in sequences of any depth: other numbers of the patient (PS3.3, C.7.1.1), what a
header said before an archive changed it (C.12.1), requests, performers, equipment, whoever identified them by a code
(10.1). So every sequence is looked into, whatever its tag.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.archive import is_zip
from napari_sparse3d.io.dicom.header import (
    IDENTIFYING,
    PARSE_ERRORS,
    FileHeader,
    NotDicom,
    items_within,
    quiet,
    read_header,
    value_of,
)
from napari_sparse3d.io.identity import patient_hash
from napari_sparse3d.io.naming import identity_words
from napari_sparse3d.io.scanning import scan
from napari_sparse3d.io.series import SeriesInfo

T = TypeVar("T")

_NAMES = tuple(keyword for keyword in IDENTIFYING if dictionary_VR(keyword) == "PN")
_OTHERS = tuple(keyword for keyword in IDENTIFYING if keyword not in _NAMES)
_CODE = ("CodeMeaning", "CodeValue", "LongCodeValue", "URNCodeValue")
_CODED_PERSONS = ("PersonIdentificationCodeSequence", "VerifyingObserverIdentificationCodeSequence",
                  "HumanPerformerCodeSequence")  # fmt: skip
_CODED_PLACES = ("InstitutionCodeSequence", "InstitutionalDepartmentTypeCodeSequence", "RequestingServiceCodeSequence",
                 "PatientInsurancePlanCodeSequence", "ResponsibleGroupCodeSequence", "ScheduledStationNameCodeSequence",
                 "ScheduledStationGeographicLocationCodeSequence", "PerformedStationNameCodeSequence",
                 "PerformedStationGeographicLocationCodeSequence")  # fmt: skip
_MOST_LEGIBLE = 1024 * 1024


def _tags(keywords: tuple[str, ...]) -> dict[int, str]:
    return {tag: keyword for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None}


_NAME_TAGS, _OTHER_TAGS, _CODE_TAGS = _tags(_NAMES), _tags(_OTHERS), _tags(_CODE)
_PERSON_SEQUENCES, _PLACE_SEQUENCES = _tags(_CODED_PERSONS), _tags(_CODED_PLACES)


def identity_of(header: FileHeader) -> frozenset[str]:
    """The words that identify, for :func:`~napari_sparse3d.io.naming.without_identity`."""
    names = [text for keyword in _NAMES for text in _texts(header.get(keyword))]
    others = [text for keyword in _OTHERS for text in _texts(header.get(keyword))]
    waiting = list(header.nested())
    while waiting:
        sequence, item = waiting.pop()
        if isinstance(item, bytes):  # damaged: any word of it may be a person's
            others.extend(_legible(item))
            continue
        for is_name, text in _told_by(item, sequence):
            (names if is_name else others).append(text)
        waiting.extend(items_within(item))
    return identity_words(others, names)


def _told_by(item: Dataset, sequence: int) -> Iterator[tuple[bool, str]]:
    """What an item of a sequence tells itself: whether it is a person's name, and the text."""
    for tag in list(item.keys()):
        number = int(tag)
        is_name = number in _NAME_TAGS or item.get_item(tag).VR == "PN"
        if number in _CODE_TAGS and sequence in _PERSON_SEQUENCES:
            is_name = True
        elif not (is_name or number in _OTHER_TAGS or (number in _CODE_TAGS and sequence in _PLACE_SEQUENCES)):
            continue
        keyword = _NAME_TAGS.get(number) or _OTHER_TAGS.get(number) or _CODE_TAGS.get(number)
        try:
            with quiet():
                value = item[tag].value if keyword is None else value_of(item, keyword)
        except PARSE_ERRORS:
            value = getattr(item.get_item(tag), "value", None)
        yield from ((is_name, text) for text in _texts(value))


def _legible(content: bytes) -> Iterator[str]:
    for run in re.findall(rb"[^\x00-\x1f\x7f\xfe\xff]{3,}", content[:_MOST_LEGIBLE]):
        yield run.decode("latin-1")
        with suppress(UnicodeDecodeError):
            yield run.decode()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, (list, tuple, MultiValue)):  # not whatever can be iterated: a person's name can
        for item in value:
            yield from _texts(item)
    elif isinstance(value, bytes):  # an element whose kind was not known to whoever wrote the file
        yield value.decode("latin-1")
    elif value is not None:
        yield str(value)


def identity_at(path: Path) -> frozenset[str]:
    """What identifies in the first DICOM file at a path, or in a ``.zip``; nothing where there is none."""
    if _is_archive(path):
        return frozenset().union(*(info.identity for info in _series_in(path)))
    return _of_first(path, identity_of) or frozenset()


def patient_at(path: Path) -> str:
    """The salted hash of the patient of the first DICOM file at a path, or in a ``.zip``; "" where there is none."""
    if _is_archive(path):
        return next((info.patient for info in _series_in(path) if info.patient), "")
    return _of_first(path, lambda header: patient_hash(header.text("PatientID"))) or ""


def _of_first(path: Path, answer: Callable[[FileHeader], T]) -> T | None:
    """What the first DICOM file at a path tells."""
    files = [path] if path.is_file() else (file for file in sorted(path.rglob("*")) if file.is_file())
    for file in files:
        with suppress(NotDicom, ReadError):
            return answer(read_header(file))
    return None


def _is_archive(path: Path) -> bool:
    return path.is_file() and is_zip(path)


def _series_in(archive: Path) -> list[SeriesInfo]:
    try:
        return scan(archive)
    except ReadError:
        return []
