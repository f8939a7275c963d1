"""Persons that only a sequence names are taken out of descriptions, at whatever depth and in whatever encoding."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_files import slice_of
from napari_sparse3d.io import scan
from napari_sparse3d.io.dicom.header import IDENTIFYING

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
KEPT = {"T1", "ax", "3D"}
NAME = "Zebedäus^Jürgen"


def item(**tags: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def described(
    folder: Path, dataset: Dataset, text: str = "T1 Zebedaeus ax JUERGEN 3D", syntax: str = EXPLICIT
) -> set[str]:
    """What a scan says of a file with this description."""
    dataset.SeriesDescription = text
    dataset.file_meta.TransferSyntaxUID = syntax
    folder.mkdir(exist_ok=True)
    encoding = {"implicit_vr": syntax == IMPLICIT, "little_endian": syntax != BIG}
    pydicom.dcmwrite(folder / "a.dcm", dataset, enforce_file_format=True, **encoding)
    (series,) = scan(folder)
    return set(series.description.split())


def test_the_description_stays_where_no_sequence_names_anybody(tmp_path: Path) -> None:
    dataset = slice_of((0, 0, 0))
    dataset.ReferencedStudySequence = [item(ReferencedSOPInstanceUID="1.2.3")]
    assert described(tmp_path, dataset) == {*KEPT, "Zebedaeus", "JUERGEN"}


def undefined_lengths(dataset: Dataset) -> None:
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = element.value.is_undefined_length = True
            for each in element.value:
                each.is_undefined_length_sequence_item = True


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", "ISO 2022 IR 100"])
@pytest.mark.parametrize("lengths", ["defined", "undefined"])
@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED])
def test_every_encoding(tmp_path: Path, syntax: str, lengths: str, charset: str) -> None:
    """What the header said before an archive changed it (PS3.3, C.12.1): a sequence in a sequence."""
    dataset = slice_of((0, 0, 0), SpecificCharacterSet=charset)
    former = item(PatientName=NAME, PatientBirthDate="19340229")
    dataset.OriginalAttributesSequence = [item(ModifiedAttributesSequence=Sequence([former]))]
    if lengths == "undefined":
        undefined_lengths(dataset)
    text = "T1 Zebedaeus ax JUERGEN 29021934 3D"
    assert described(tmp_path, dataset, text, syntax) == KEPT


def test_an_item_with_a_character_set_of_its_own(tmp_path: Path) -> None:
    dataset = slice_of((0, 0, 0), SpecificCharacterSet="ISO_IR 100")
    dataset.OriginalAttributesSequence = [item(SpecificCharacterSet="ISO_IR 144", PatientName="Щукин^Юрий")]
    assert described(tmp_path, dataset, "T1 Shchukin ax Yuri 3D") == KEPT


SEQUENCES = [
    keyword
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
    if vr == "SQ" and keyword and tag >> 16 not in (0x0004, 0x5200, 0xFFFC) and tag < 0x7FE00000
]


def names(count: int) -> list[str]:
    """So many names of six letters, none of them part of another."""
    return [f"Zeb{'aeiou'[number // 5 % 5]}d{'aeiou'[number % 5]}" for number in range(count)]


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_every_sequence_of_the_standard(tmp_path: Path, syntax: str) -> None:
    """Seven of them a file, each with a person of its own, as a description holds no more names."""
    assert len(SEQUENCES) > 900
    left = []
    for first in range(0, len(SEQUENCES), 7):
        named = dict(zip(names(7), SEQUENCES[first : first + 7], strict=False))
        dataset = slice_of((0, 0, 0), SpecificCharacterSet="ISO_IR 192")
        for name, keyword in named.items():
            setattr(dataset, keyword, [item(PatientName=f"{name}^{NAME.partition('^')[2]}")])
        words = described(tmp_path, dataset, f"T1 {' '.join(named)} 3D ax", syntax)
        left += [named.get(word, word) for word in words - KEPT]
        assert words >= KEPT
    assert not left


def test_every_tag_that_identifies(tmp_path: Path) -> None:
    for keyword in IDENTIFYING:
        is_date = dictionary_VR(keyword) == "DA"
        dataset = slice_of((0, 0, 0), SpecificCharacterSet="ISO_IR 192")
        dataset.ContributingEquipmentSequence = [item(**{keyword: "19340229" if is_date else "Zebedaus Jurgen"})]
        text = "T1 ax 29021934 3D" if is_date else "T1 Zebedäus ax JURGEN 3D"
        assert described(tmp_path, dataset, text) == KEPT, keyword


def coded(meaning: str) -> Dataset:
    return item(CodeValue="4711-0815", CodingSchemeDesignator="99HOME", CodeMeaning=meaning)


@pytest.mark.parametrize(
    ("above", "sequence"),
    [
        ("OperatorIdentificationSequence", "PersonIdentificationCodeSequence"),
        ("ReferringPhysicianIdentificationSequence", "PersonIdentificationCodeSequence"),
        ("VerifyingObserverSequence", "VerifyingObserverIdentificationCodeSequence"),
        ("ActualHumanPerformersSequence", "HumanPerformerCodeSequence"),
        ("ContributingEquipmentSequence", "InstitutionCodeSequence"),
        ("", "InstitutionCodeSequence"),
        ("", "RequestingServiceCodeSequence"),
        ("", "PatientInsurancePlanCodeSequence"),
    ],
)
def test_codes_of_persons_and_places(tmp_path: Path, above: str, sequence: str) -> None:
    dataset = slice_of((0, 0, 0), SpecificCharacterSet="ISO_IR 192")
    inner = item(**{sequence: [coded("Zebedäus Jürgen")]})
    if above:
        setattr(dataset, above, [inner])
    else:
        setattr(dataset, sequence, [coded("Zebedäus Jürgen")])
    assert described(tmp_path, dataset, "T1 Zebedaeus ax JUERGEN 4711-0815 3D") == KEPT


def test_codes_of_other_things_stay(tmp_path: Path) -> None:
    dataset = slice_of((0, 0, 0))
    dataset.ProcedureCodeSequence = [coded("Angiography Dynamic")]
    assert "Angiography" in described(tmp_path, dataset, "T1 Angiography 3D")


def as_unknown(content: bytes) -> bytes:
    """(0010,1002) Other Patient IDs Sequence as an archive keeps what it does not know: UN, implicit inside."""
    name = NAME.encode()
    name += b" " * (len(name) % 2)
    inner = struct.pack("<HHI", 0x0010, 0x0010, len(name)) + name
    items = content or struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner
    return struct.pack("<HH2sHI", 0x0010, 0x1002, b"UN", 0, len(items)) + items


@pytest.mark.parametrize(
    "content",
    [
        b"",
        # an item that is longer than its sequence, and one that holds no element
        struct.pack("<HHI", 0xFFFE, 0xE000, 4000) + b"Zebedaeus^Juergen ",
        struct.pack("<HHI", 0xFFFE, 0xE000, 20) + b"\xff" * 2 + b"Zebedaeus^Juergen ",
    ],
    ids=["sound", "too long", "no element"],
)
def test_what_an_archive_did_not_know_and_what_is_damaged(tmp_path: Path, content: bytes) -> None:
    dataset = slice_of((0, 0, 0), SpecificCharacterSet="ISO_IR 192")
    dataset.SeriesDescription = "T1 Zebedaeus ax JUERGEN 3D"
    dataset.PatientID = "0"
    pydicom.dcmwrite(tmp_path / "a.dcm", dataset, enforce_file_format=True)
    raw = (tmp_path / "a.dcm").read_bytes()
    place = raw.index(b"\x10\x00\x20\x00LO") + 10  # behind the patient's identifier
    (tmp_path / "a.dcm").write_bytes(raw[:place] + as_unknown(content) + raw[place:])
    (series,) = scan(tmp_path)
    assert set(series.description.split()) == KEPT


def private(dataset: Dataset) -> None:
    dataset.private_block(0x0029, "ACME HEADERS", create=True).add_new(0x10, "SQ", [item(PatientName=NAME)])


def private_name(dataset: Dataset) -> None:
    inner = Dataset()
    inner.private_block(0x0029, "ACME HEADERS", create=True).add_new(0x10, "PN", NAME)
    dataset.OriginalAttributesSequence = [inner]


@pytest.mark.parametrize("plant", [private, private_name])
def test_private_sequences_and_names(tmp_path: Path, plant: Callable[[Dataset], None]) -> None:
    dataset = slice_of((0, 0, 0), SpecificCharacterSet="ISO_IR 192")
    plant(dataset)
    assert described(tmp_path, dataset) == KEPT


@pytest.mark.parametrize("levels", [30, 3000])
def test_a_name_at_any_depth(tmp_path: Path, levels: int) -> None:
    """Sequences of undefined length, each in the one before; written by hand, since pydicom recurses."""
    name = NAME.encode() + b" " * (len(NAME.encode()) % 2)
    begin = struct.pack("<HH2sHIHHI", 0x0400, 0x0561, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    end = struct.pack("<HHIHHI", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    inner = struct.pack("<HH2sH", 0x0010, 0x0010, b"PN", len(name)) + name
    dataset = slice_of((0, 0, 0), SpecificCharacterSet="ISO_IR 192")
    dataset.SeriesDescription = "T1 Zebedaeus ax JUERGEN 3D"
    pydicom.dcmwrite(tmp_path / "a.dcm", dataset, enforce_file_format=True)
    raw = (tmp_path / "a.dcm").read_bytes()
    place = raw.index(b"\xe0\x7f\x10\x00")
    (tmp_path / "a.dcm").write_bytes(raw[:place] + begin * levels + inner + end * levels + raw[place:])
    (series,) = scan(tmp_path)
    assert "Zebedaeus" not in series.description
    assert "JUERGEN" not in series.description
