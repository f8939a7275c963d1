"""Reading one DICOM header: without the pixels, bounded, and with one error for whatever is wrong with it."""

from __future__ import annotations

import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import BaseTag
from pydicom.uid import UID
from pydicom.values import convert_SQ

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom.private import (
    BY_CREATOR,
    WANTED,
    PrivateTag,
    find_private,
    known_value,
    private_value,
)
from napari_sparse3d.io.dicom.quick import PrivateKey, Span, Unparsed, adds_up, quick_header
from napari_sparse3d.io.limits import memory_limit_bytes

IDENTIFYING = (
    # the patient
    "PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthDateInAlternativeCalendar",
    "PatientDeathDateInAlternativeCalendar", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName",
    "PatientMotherBirthName", "PatientAddress", "PatientTelephoneNumbers", "PatientTelecomInformation",
    "CountryOfResidence", "RegionOfResidence", "MedicalRecordLocator", "InsurancePlanIdentification", "MilitaryRank",
    "BranchOfService", "Occupation", "PatientReligiousPreference", "EthnicGroup", "CurrentPatientLocation",
    "PatientInstitutionResidence", "ResponsiblePerson", "ResponsibleOrganization",
    # whoever cared for the patient, made the images or read them
    "ReferringPhysicianName", "ReferringPhysicianAddress", "ReferringPhysicianTelephoneNumbers",
    "ConsultingPhysicianName", "PhysiciansOfRecord", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy",
    "OperatorsName", "RequestingPhysician", "RequestingService", "ScheduledPerformingPhysicianName",
    "NamesOfIntendedRecipientsOfResults", "OrderEnteredBy", "OrderEntererLocation", "OrderCallbackPhoneNumber",
    "HumanPerformerName", "HumanPerformerOrganization", "ContentCreatorName", "ReviewerName", "VerifyingObserverName",
    "VerifyingOrganization", "PersonName", "PersonAddress", "PersonTelephoneNumbers", "TopicAuthor",
    "InterpretationRecorder", "InterpretationTranscriber", "InterpretationAuthor", "PhysicianApprovingInterpretation",
    "DistributionName", "DistributionAddress",
    "SecondaryReviewerName", "EvaluatorName", "ROIInterpreter", "CameraOwnerName", "OwnerID",
    "PersonTelecomInformation", "OrderCallbackTelecomInformation",
    # where
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "PerformedStationName",
    "PerformedLocation", "ScheduledStationName", "ScheduledProcedureStepLocation", "DeviceSerialNumber", "GantryID",
    # the numbers of a visit, an order, a study, a trial
    "AccessionNumber", "StudyID", "AdmissionID", "IssuerOfAdmissionID", "ServiceEpisodeID", "RequestedProcedureID",
    "RequestedProcedureLocation", "ScheduledProcedureStepID", "PerformedProcedureStepID",
    "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest", "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ClinicalTrialCoordinatingCenterName",
    "ClinicalTrialProtocolEthicsCommitteeName", "ClinicalTrialProtocolName", "ScheduledPatientInstitutionResidence",
    "IssuerOfServiceEpisodeID", "IssuerOfClinicalTrialProtocolID", "IssuerOfClinicalTrialSiteID",
    "IssuerOfClinicalTrialSubjectID", "IssuerOfClinicalTrialSubjectReadingID",
    # who gave a number, and who changed a header: in sequences alone
    "LocalNamespaceEntityID", "UniversalEntityID", "SourceOfPreviousValues",
)  # fmt: skip
"""Tags whose values are taken out of any description (``naming.without_identity``); they go nowhere else."""

_WANTED = (
    "ImageType", "SOPClassUID", "SOPInstanceUID", "AcquisitionTime", "ContentTime", "Modality", "Manufacturer",
    "SeriesDescription", "ProtocolName", "SliceThickness", "RepetitionTime", "EchoTime", "InversionTime", "EchoNumbers",
    "FlipAngle", "MagneticFieldStrength", "SpacingBetweenSlices", "KVP", "ConvolutionKernel", "TriggerTime",
    "BodyPartExamined", "PatientPosition", "DiffusionBValue", "SeriesInstanceUID", "SeriesNumber", "AcquisitionNumber",
    "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID",
    "TemporalPositionIdentifier", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
    "PixelSpacing", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit", "DoubleFloatPixelPaddingValue",
    "DoubleFloatPixelPaddingRangeLimit", "LossyImageCompression", "RealWorldValueMappingSequence",
    "WindowCenter", "WindowWidth", "RescaleIntercept", "RescaleSlope", "RescaleType", "ModalityLUTSequence", "Units",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "GridFrameOffsetVector", "DoseGridScaling",
    "DoseUnits", "DetectorInformationSequence", "SliceVector", "TimeSlotVector", "SpecificCharacterSet",
    "StudyInstanceUID", "AcquisitionDate", "AcquisitionDateTime", "ContentDate", "FrameReferenceTime",
    "NumberOfTemporalPositions", "TemporalResolution", "MRAcquisitionType", "DiffusionGradientOrientation",
    "DiffusionDirectionality", "ASLContext", "TemporalPositionIndex", "TemporalPositionTimeOffset", "ImageIndex",
    "NominalPercentageOfCardiacPhase", "NominalPercentageOfRespiratoryPhase", "ComplexImageComponent", "SequenceName",
    "ImageComments",
)  # fmt: skip
TAGS: list[Any] = sorted(tag for tag in map(tag_for_keyword, (*_WANTED, *IDENTIFYING)) if tag is not None)
"""All that is read of a header beside the private elements of ``private.WANTED``; nothing else of it is looked at."""
_TAG_OF = {keyword: tag for keyword in (*_WANTED, *IDENTIFYING) if (tag := tag_for_keyword(keyword)) is not None}
_WANTED_VR = {tag: dictionary_VR(tag)[:2].encode() for tag in _TAG_OF.values()}
"""Tag to value representation."""
_WANTED_TAGS = frozenset(TAGS)
_PRIVATE_VR = {
    block: {last: tag.vr.encode() for last, tag in elements.items()} for block, elements in BY_CREATOR.items()
}

PARSE_ERRORS = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError, AttributeError, RuntimeError,
    NotImplementedError, struct.error, zlib.error, RecursionError, LookupError, MemoryError, ArithmeticError,
)  # fmt: skip
"""What pydicom raises on damaged files (found by mutating real ones)."""

FLOAT_PIXELS, DOUBLE_PIXELS = 0x7FE00008, 0x7FE00009
_BIG_ENDIAN = "1.2.840.10008.1.2.2"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x02", b"\x00\x08")


class NotDicom(Exception):
    """The file does not look like DICOM at all: a scan passes over it."""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The wanted part of one header."""

    path: Path
    values: Mapping[int, Any]
    """Wanted values by tag, where the header is plain; empty where ``dataset`` has them."""
    dataset: Dataset | None
    transfer_syntax: str
    bytes_after: int
    """Bytes of the file behind the header: what the pixels can take."""

    own: Mapping[PrivateKey, Any] = field(default_factory=dict)
    """Wanted private values, where the header is plain."""
    pixels_tag: int = 0
    """Which pixels follow: :data:`FLOAT_PIXELS`, :data:`DOUBLE_PIXELS` or others; 0 where it is not known."""
    spans: tuple[Span, ...] = ()
    """Where in the file sequences stand, or what may be one, where the header is plain."""

    def get(self, keyword: str) -> Any:
        """The value of a tag, ``None`` where it is absent: numbers may be text, several values a sequence."""
        if self.dataset is not None:
            return value_of(self.dataset, keyword)
        value = self.values.get(_TAG_OF[keyword])
        if value is None or not isinstance(value, Unparsed):
            return value
        return convert_SQ(value.content, value.implicit, True)

    def nested(self) -> Iterator[Nested]:
        """The items of every sequence, public or private, that stands at the top level."""
        if self.dataset is not None:
            yield from items_within(self.dataset)
        elif self.spans:
            encoding = _ENCODINGS[self.text("SpecificCharacterSet")]
            with self.path.open("rb") as file:
                for tag, begin, end, implicit in self.spans:
                    file.seek(begin)
                    if file.read(4) == _ITEM[True]:
                        content = _ITEM[True] + file.read(min(end - begin, _MOST_NESTED) - 4)
                        yield from _items(tag, content, implicit, True, encoding)

    def says_none_of(self, keywords: tuple[str, ...]) -> bool:
        """Whether a plain header has none of these tags."""
        return self.dataset is None and self.values.keys().isdisjoint([_TAG_OF[keyword] for keyword in keywords])

    def text(self, keyword: str) -> str:
        """A tag as text, ``""`` where it is absent."""
        value = self.get(keyword)
        return "" if value is None else str(value).strip()

    def texts(self, keyword: str) -> tuple[str, ...]:
        """A tag of several values as texts."""
        value = self.get(keyword)
        if value is None:
            return ()
        return (value,) if isinstance(value, str) else tuple(str(item) for item in value)

    def number(self, keyword: str) -> float | None:
        """A tag as one finite number (the first of several), ``None`` where it is absent or no number."""
        value = self.get(keyword)
        return None if value is None else as_number(value)

    def integer(self, keyword: str, default: int = 0) -> int:
        """A tag as an integer."""
        value = self.number(keyword)
        return default if value is None else int(value)

    def private(self, tag: PrivateTag) -> Any:
        """The value of a private element, ``None`` where it, or its creator's block, is absent."""
        if self.dataset is not None:
            return private_value(self.dataset, tag)
        return self.own.get((tag.creator, tag.group, tag.element))


def read_header(path: Path) -> FileHeader:
    """Read the wanted part of one header.

    Raises
    ------
    NotDicom
        If the file does not begin like DICOM.
    ReadError
        If it begins like DICOM and cannot be parsed.
    """
    with damage_as_read_error():
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(1024)
            marked = head[128:132] == b"DICM"
            if not marked and (head[:2] not in _FIRST_GROUPS or size < 132):
                raise NotDicom
            if _DEFLATED in head:
                _check_inflated(path, size)
            file.seek(0)
            quick = quick_header(file, size, _WANTED_VR, _PRIVATE_VR)
            if quick is not None:
                return FileHeader(
                    path, quick.values, None, quick.transfer_syntax, size - quick.pixels_at, quick.private,
                    quick.pixels_tag, quick.sequences,
                )  # fmt: skip
            file.seek(0)
            dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            syntax = _transfer_syntax(dataset)
            _forget_unwanted(dataset)
            if not marked and not any(keyword in dataset for keyword in ("SOPClassUID", "Rows", "SeriesInstanceUID")):
                raise NotDicom
            # deflated: the data set was inflated as a whole, so the file's end says nothing about the pixels
            bytes_after = size if _DEFLATED in head else size - file.tell()
            pixels_tag = 0 if _DEFLATED in head else _tag_at(file, big=str(syntax) == _BIG_ENDIAN)
    return FileHeader(path, {}, dataset, str(syntax), bytes_after, pixels_tag=pixels_tag)


def _forget_unwanted(dataset: Dataset) -> None:
    """Keep what is wanted, and sequences: which private elements are, only shows once their creators were read."""
    private = {find_private(dataset, tag) for tag in WANTED}
    tags = list(dataset.keys())
    for tag in tags:
        creator = tag.is_private and tag.element < 0x100
        if not (tag in _WANTED_TAGS or tag in private or creator or _holds_items(dataset.get_item(tag))):
            del dataset[tag]


def _holds_items(item: DataElement | RawDataElement | None) -> bool:
    """Whether persons may be named in it."""
    return _is_sequence(item) if isinstance(item, RawDataElement) else item is not None and item.VR == "SQ"


def _tag_at(file: BinaryIO, *, big: bool) -> int:
    word = file.read(4)
    if len(word) < 4:
        return 0
    group, element = struct.unpack(">HH" if big else "<HH", word)
    return int(group << 16 | element)


Nested = tuple[int, Dataset | bytes]
"""The tag of a sequence and an item of it; its whole content where that cannot be parsed."""

_ITEM = {True: b"\xfe\xff\x00\xe0", False: b"\xff\xfe\xe0\x00"}
"""How the content of every sequence begins (PS3.5, 7.5), by whether it is little-endian."""
_ENCODINGS = {"": ["iso8859"], "ISO_IR 6": ["iso8859"], "ISO_IR 100": ["latin_1"], "ISO_IR 192": ["utf8"]}
"""pydicom's names for the character sets of plain headers."""
_MOST_NESTED = 16 * 1024 * 1024
_PER_FRAME = 0x52009230


def items_within(dataset: Dataset) -> Iterator[Nested]:
    """The items of every sequence of a data set; of the frames' only the first, which stands for all."""
    for tag in list(dataset.keys()):
        item = dataset.get_item(tag)
        if isinstance(item, RawDataElement):
            if _is_sequence(item):
                implicit = item.is_implicit_VR or item.VR == "UN"  # PS3.5, 6.2.2
                content, encoding = item.value or b"", _listed(dataset.original_character_set)
                items = _items(int(tag), content[:_MOST_NESTED], implicit, item.is_little_endian, encoding)
                yield from islice(items, 1 if tag == _PER_FRAME else None)
        elif item is not None and item.VR == "SQ":
            yield from ((int(tag), each) for each in item.value[: 1 if tag == _PER_FRAME else None])


def _is_sequence(item: RawDataElement) -> bool:
    # an implicit file, and an archive that did not know the element, do not say what it is
    return item.VR in (None, "SQ", "UN") and (item.value or b"").startswith(_ITEM[item.is_little_endian])


def _items(tag: int, content: bytes, implicit: bool, little: bool, encoding: list[str]) -> Iterator[Nested]:
    try:
        if not adds_up(content, implicit, little):  # pydicom takes what it understands and passes over the rest
            raise ValueError
        with quiet():
            items = list(convert_SQ(content, implicit, little, encoding))
    except PARSE_ERRORS:
        yield tag, content
    else:
        yield from ((tag, item) for item in items)


def _listed(encoding: str | MutableSequence[str]) -> list[str]:
    return [encoding] if isinstance(encoding, str) else list(encoding)


_logger = logging.getLogger("pydicom")
_silent = logging.NullHandler()


@contextmanager
def damage_as_read_error() -> Iterator[None]:
    """What pydicom raises when it converts a damaged value, which it does on first use, becomes a ``ReadError``."""
    try:
        with quiet():
            yield
    except ReadError:
        raise
    except PARSE_ERRORS as error:
        raise ReadError(
            f"a file begins like DICOM but its header cannot be parsed ({type(error).__name__}): it is damaged"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no log: pydicom's quote the values of tags and the names of files."""
    propagate = _logger.propagate
    _logger.propagate = False
    _logger.addHandler(_silent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        _logger.propagate = propagate
        _logger.removeHandler(_silent)


def _transfer_syntax(dataset: FileDataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and "TransferSyntaxUID" in meta:
        return str(meta.TransferSyntaxUID)
    implicit, little = dataset.original_encoding
    if implicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if little else "1.2.840.10008.1.2.2"


def _check_inflated(path: Path, size: int) -> None:
    """A deflated data set is inflated as a whole by pydicom: see first that it fits."""
    limit = min(memory_limit_bytes(), 4 * 1024**3)
    with path.open("rb") as file:
        head = file.read(144)
        if head[128:132] != b"DICM" or head[132:136] != b"\x02\x00\x00\x00":
            raise ReadError("a deflated DICOM file has no group length in its meta header: it is damaged")
        (length,) = struct.unpack("<I", head[140:144])
        if length > size:
            raise ReadError("a deflated DICOM file ends before its meta header does: it is truncated")
        file.seek(144 + length)
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        total, block = 0, file.read(65536)
        while block and not inflater.eof:
            total += len(inflater.decompress(block, 16 * 1024 * 1024))
            if total > limit:
                raise ReadError(
                    "a deflated DICOM file expands beyond 4 GB: no single image does; it is damaged or hostile"
                )
            block = inflater.unconsumed_tail or file.read(65536)


JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"


def can_decode(transfer_syntax: str, bits_stored: int) -> bool:
    """Whether an installed codec decodes pixels of so many bits."""
    if re.fullmatch(r"[0-9.]{1,64}", transfer_syntax) is None:
        return False
    if transfer_syntax == JPEG_EXTENDED and bits_stored > 8:
        # pydicom's codecs for it decode 8 bits only; GDCM is asked by ourselves (see pixels.py)
        return bits_stored <= 12 and find_spec("gdcm") is not None
    try:
        return bool(get_decoder(UID(transfer_syntax)).is_available)
    except (NotImplementedError, ValueError):
        return False


def value_of(dataset: Dataset, keyword: str) -> Any:
    """The value of a public element, also where the file says that it does not know its representation (VR UN)."""
    tag = _TAGS_ASKED.get(keyword)
    if tag is None:
        number = tag_for_keyword(keyword)
        assert number is not None  # keywords are written in this package
        tag = _TAGS_ASKED[keyword] = BaseTag(number)
    if tag not in dataset:
        return None
    item = dataset.get_item(tag)
    if item is not None and item.VR == "UN":
        return known_value(dataset, tag, dictionary_VR(tag)[:2])
    return dataset[tag].value


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence, ``None`` where it is absent or empty."""
    sequence = value_of(dataset, keyword)
    return sequence[0] if sequence and isinstance(sequence[0], Dataset) else None


_TAGS_ASKED: dict[str, BaseTag] = {}


def as_number(value: Any) -> float | None:
    """One finite number (the first of several), or ``None``."""
    if value is None:  # most tags that are asked for are absent; an exception costs ten times as much
        return None
    if not isinstance(value, (str, bytes, int, float)) and hasattr(value, "__len__"):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < float("inf") else None


def as_numbers(value: Any, length: int) -> tuple[float, ...] | None:
    """``length`` finite numbers, or ``None`` where the tag is absent, has another length or holds no numbers."""
    if value is None or isinstance(value, (str, bytes)) or not hasattr(value, "__len__") or len(value) != length:
        return None
    numbers = [number for number in map(as_number, value) if number is not None]
    return tuple(numbers) if len(numbers) == length else None
