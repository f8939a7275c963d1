"""Reading one DICOM header: without the pixels, bounded, and with one error for whatever is wrong with it."""

from __future__ import annotations

import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom.quick import quick_header
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
    # where
    "InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "PerformedStationName",
    "PerformedLocation", "ScheduledStationName", "ScheduledProcedureStepLocation", "DeviceSerialNumber", "GantryID",
    # the numbers of a visit, an order, a study, a trial
    "AccessionNumber", "StudyID", "AdmissionID", "IssuerOfAdmissionID", "ServiceEpisodeID", "RequestedProcedureID",
    "RequestedProcedureLocation", "ScheduledProcedureStepID", "PerformedProcedureStepID",
    "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest", "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ClinicalTrialCoordinatingCenterName",
    "ClinicalTrialProtocolEthicsCommitteeName",
)  # fmt: skip
"""Tags whose values are taken out of any description (``naming.without_identity``); they go nowhere else."""

_WANTED = (
    "ImageType", "SOPClassUID", "SOPInstanceUID", "AcquisitionTime", "ContentTime", "Modality", "Manufacturer",
    "SeriesDescription", "ProtocolName", "SliceThickness", "RepetitionTime", "EchoTime", "InversionTime", "EchoNumbers",
    "FlipAngle", "MagneticFieldStrength", "SpacingBetweenSlices", "KVP", "ConvolutionKernel", "TriggerTime",
    "BodyPartExamined", "PatientPosition", "DiffusionBValue", "SeriesInstanceUID", "SeriesNumber", "AcquisitionNumber",
    "InstanceNumber", "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID",
    "TemporalPositionIdentifier", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns",
    "PixelSpacing", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelPaddingValue", "WindowCenter",
    "WindowWidth", "RescaleIntercept", "RescaleSlope", "RescaleType", "ModalityLUTSequence", "Units",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "GridFrameOffsetVector", "DoseGridScaling",
    "DoseUnits", "DetectorInformationSequence", "SliceVector", "TimeSlotVector", "SpecificCharacterSet",
)  # fmt: skip
PHILIPS_SCALE_SLOPE = 0x2005100E
SIEMENS_CSA_IMAGE = 0x00291010
SIEMENS_MOSAIC_COUNT = 0x0019100A
UIH_GRID_COUNT = 0x00651050
UIH_GRID_SLICES = 0x00651051
_PRIVATE_VR = {
    PHILIPS_SCALE_SLOPE: b"FL", SIEMENS_CSA_IMAGE: b"OB", SIEMENS_MOSAIC_COUNT: b"US", UIH_GRID_COUNT: b"DS",
    UIH_GRID_SLICES: b"SQ",
}  # fmt: skip
"""Value representations by the vendors' conformance statements: in implicit files nothing else tells them."""
TAGS: list[Any] = [
    *sorted(tag for tag in map(tag_for_keyword, (*_WANTED, *IDENTIFYING)) if tag is not None),
    *_PRIVATE_VR,
]
"""All that is read of a header; nothing else of it is ever looked at."""
_TAG_OF = {keyword: tag for keyword in (*_WANTED, *IDENTIFYING) if (tag := tag_for_keyword(keyword)) is not None}
_WANTED_VR = {tag: dictionary_VR(tag)[:2].encode() for tag in _TAG_OF.values()}
_WANTED_VR.update(_PRIVATE_VR)
"""Tag to value representation."""

PARSE_ERRORS = (
    InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError, AttributeError, RuntimeError,
    NotImplementedError, struct.error, zlib.error, RecursionError, LookupError, MemoryError, ArithmeticError,
)  # fmt: skip
"""What pydicom raises on damaged files (found by mutating real ones)."""

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

    def get(self, keyword: str) -> Any:
        """The value of a tag, ``None`` where it is absent: numbers may be text, several values a sequence."""
        if self.dataset is not None:
            return self.dataset.get(keyword)
        return self.values.get(_TAG_OF[keyword])

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
        return as_number(self.get(keyword))

    def integer(self, keyword: str, default: int = 0) -> int:
        """A tag as an integer."""
        value = self.number(keyword)
        return default if value is None else int(value)

    def private(self, tag: int) -> Any:
        """The value of a private element, ``None`` where it is absent."""
        if self.dataset is not None:
            return private_value(self.dataset, tag)
        return _of_unknown_vr(tag, self.values.get(tag), little=True)


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
            quick = quick_header(file, size, _WANTED_VR)
            if quick is not None:
                return FileHeader(path, quick.values, None, quick.transfer_syntax, size - quick.pixels_at)
            file.seek(0)
            dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=TAGS)
            syntax = _transfer_syntax(dataset)
            if not marked and not {"SOPClassUID", "Rows", "SeriesInstanceUID"} & {e.keyword for e in dataset}:
                raise NotDicom
            # deflated: the data set was inflated as a whole, so the file's end says nothing about the pixels
            bytes_after = size if _DEFLATED in head else size - file.tell()
    return FileHeader(path, {}, dataset, str(syntax), bytes_after)


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


def can_decode(transfer_syntax: str) -> bool:
    """Whether an installed codec decodes the pixels."""
    if re.fullmatch(r"[0-9.]{1,64}", transfer_syntax) is None:
        return False
    try:
        return bool(get_decoder(UID(transfer_syntax)).is_available)
    except (NotImplementedError, ValueError):
        return False


def private_value(dataset: Dataset, tag: int) -> Any:
    """The value of a private element of a data set, ``None`` where it is absent."""
    if tag not in dataset:
        return None
    _, little = dataset.original_encoding
    return _of_unknown_vr(tag, dataset[tag].value, little=little is not False)


def _of_unknown_vr(tag: int, value: Any, *, little: bool) -> Any:
    """A number that came as bytes, since its file or an archive did not know the private element (VR UN)."""
    if not isinstance(value, bytes) or tag not in (PHILIPS_SCALE_SLOPE, SIEMENS_MOSAIC_COUNT):
        return value
    code, order = "f" if tag == PHILIPS_SCALE_SLOPE else "H", "<" if little else ">"
    return struct.unpack(order + code, value)[0] if len(value) == struct.calcsize(code) else None


def as_number(value: Any) -> float | None:
    """One finite number (the first of several), or ``None``."""
    if value is not None and not isinstance(value, (str, bytes, int, float)) and hasattr(value, "__len__"):
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
