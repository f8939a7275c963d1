"""What tells the volumes of a series apart: one list, to be checked against the standard.

A series may hold many images of one place: times, echoes, b-values, phases, labels. No single tag names the volume that
an image belongs to; the tags below do together. :mod:`~napari_sparse3d.io.dicom.volumes` finds which of them do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from napari_sparse3d.io.dicom.header import FileHeader, as_number, as_numbers
from napari_sparse3d.io.dicom.private import (
    GE_B_VALUE,
    GE_GRADIENT,
    PHILIPS_B_VALUE,
    PHILIPS_GRADIENT,
    PHILIPS_GRADIENT_KIND,
    PHILIPS_LABEL,
    SIEMENS_B_VALUE,
    SIEMENS_GRADIENT,
    UIH_B_VALUE,
    UIH_GRADIENT,
)

if TYPE_CHECKING:
    from napari_sparse3d.io.dicom.plane import Plane

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Marks:
    """What a header says of one image that may tell its volume from others. Interned: images of a volume share one."""

    temporal: int | None = None
    """TemporalPositionIdentifier (0020,0100), TemporalPositionIndex (0020,9128), TimeSlotVector (0054,0070)."""
    reference_ms: float | None = None
    """FrameReferenceTime (0054,1300): PS3.3 C.8.9.4."""
    acquired_s: float | None = None
    """AcquisitionDate and -Time, AcquisitionDateTime, FrameAcquisitionDateTime; without a date, of that day."""
    dated: bool = False
    """Whether ``acquired_s`` has its day: without one, midnight is not seen."""
    trigger_ms: float | None = None
    """TriggerTime (0018,1060), NominalCardiacTriggerDelayTime (0020,9153)."""
    phase_percent: float | None = None
    """NominalPercentageOfCardiacPhase (0020,9241), NominalPercentageOfRespiratoryPhase (0020,9245)."""
    offset_s: float | None = None
    """TemporalPositionTimeOffset (0020,930D)."""
    b_value: float | None = None
    """DiffusionBValue (0018,9087), or the maker's private element."""
    direction: Vector | None = None
    """DiffusionGradientOrientation (0018,9089), rounded, or the maker's private element."""
    isotropic: bool = False
    """DiffusionDirectionality (0018,9075) ISOTROPIC: a map that the maker derived, no measurement of one direction."""
    label: str = ""
    """ASLContext (0018,9257): label, control or M0."""
    content_s: float | None = None
    """ContentDate and -Time: when the image was made, not when it was taken; the last witness."""
    acquisition: int | None = None
    """AcquisitionNumber (0020,0012), FrameAcquisitionNumber (0020,9156)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One tag, or family of tags, that may tell volumes apart."""

    name: str
    """As it is said to the user and kept in ``meta["frames_by"]``."""
    of: Callable[[Plane], Any]
    scatters: bool = False
    """It may differ a little between the places of one volume: its rank at each place then tells, not its value."""
    is_time: bool = False
    """Its order is the order in time."""
    overlaps: bool = False
    """Its values of one volume may reach into those of the next (beats of different length)."""
    by_slab: bool = False
    """It may change from slab to slab of one volume."""
    of_acquisition: bool = False
    """It tells when, or by which file, rather than what: asked after what the maker's own dimension indices say."""


MARKS: tuple[Mark, ...] = (
    Mark("temporal position", lambda plane: plane.marks.temporal, is_time=True),
    Mark("frame reference time", lambda plane: plane.marks.reference_ms, scatters=True, is_time=True),
    Mark("time offset", lambda plane: plane.marks.offset_s, scatters=True, is_time=True),
    Mark("cardiac or respiratory phase", lambda plane: plane.marks.phase_percent, is_time=True),
    Mark("b-value", lambda plane: plane.marks.b_value),
    Mark("gradient direction", lambda plane: plane.marks.direction),
    Mark("flip angle", lambda plane: plane.kind.flip_angle),
    Mark("inversion time", lambda plane: plane.kind.inversion_time, scatters=True),
    Mark("echo number", lambda plane: plane.kind.echo_number),
    Mark("echo time", lambda plane: plane.kind.echo_time, scatters=True),
    Mark("tube voltage", lambda plane: plane.kind.kvp),
    Mark("kernel", lambda plane: plane.kind.kernel or None),
    Mark("image type", lambda plane: plane.kind.image_type or None, by_slab=True),
    Mark("label or control", lambda plane: plane.marks.label or None),
    Mark("stack", lambda plane: plane.kind.stack or None),
    Mark("acquisition time", lambda plane: plane.marks.acquired_s, scatters=True, is_time=True, of_acquisition=True),
    Mark("acquisition", lambda plane: plane.marks.acquisition, is_time=True, by_slab=True, of_acquisition=True),
    Mark(
        "trigger time",
        lambda plane: plane.marks.trigger_ms,
        scatters=True,
        is_time=True,
        overlaps=True,
        of_acquisition=True,
    ),
    Mark("file", lambda plane: plane.file_mark, of_acquisition=True),
    Mark("content time", lambda plane: plane.marks.content_s, scatters=True, is_time=True, of_acquisition=True),
)
"""In the order in which they are asked: what names a volume outright before what only follows from it."""


def marks_of(header: FileHeader) -> Marks:
    """The marks of a classic image, or those that all frames of a file share."""
    acquired, dated = _moment(
        header.text("AcquisitionDateTime"), header.text("AcquisitionDate"), header.text("AcquisitionTime")
    )
    content, _ = _moment("", header.text("ContentDate"), header.text("ContentTime"))
    return Marks(
        temporal=_integer(header.number("TemporalPositionIdentifier")),
        reference_ms=header.number("FrameReferenceTime"),
        acquired_s=acquired,
        dated=dated,
        trigger_ms=header.number("TriggerTime"),
        b_value=_or(header.number("DiffusionBValue"), _private_b_value(header)),
        direction=_direction(header.get("DiffusionGradientOrientation")) or _private_direction(header),
        isotropic=header.text("DiffusionDirectionality").upper() == "ISOTROPIC"
        or _text(header.private(PHILIPS_GRADIENT_KIND)) == "I",
        label=header.text("ASLContext").upper() or _text(header.private(PHILIPS_LABEL)),
        content_s=content,
        acquisition=_integer(header.number("AcquisitionNumber")),
    )


def marks_of_frame(of_file: Marks, group: Callable[[str], Dataset]) -> Marks:
    """The marks of one frame of an enhanced file.

    Parameters
    ----------
    of_file : Marks
        What holds for the whole file.
    group : callable
        The functional group macro of a name, of the frame or shared (PS3.3 C.7.6.16).
    """
    content, diffusion = group("FrameContentSequence"), group("MRDiffusionSequence")
    acquired, dated = _moment(str(content.get("FrameAcquisitionDateTime") or ""), "", "")
    if acquired is None:
        acquired, dated = of_file.acquired_s, of_file.dated
    cardiac, breath = group("CardiacSynchronizationSequence"), group("RespiratorySynchronizationSequence")
    phase = as_number(cardiac.get("NominalPercentageOfCardiacPhase"))
    if phase is None:
        phase = as_number(breath.get("NominalPercentageOfRespiratoryPhase"))
    gradient = diffusion.get("DiffusionGradientDirectionSequence")
    direction = gradient[0].get("DiffusionGradientOrientation") if gradient else None
    trigger = as_number(cardiac.get("NominalCardiacTriggerDelayTime"))
    return Marks(
        temporal=_or(_integer(as_number(content.get("TemporalPositionIndex"))), of_file.temporal),
        reference_ms=of_file.reference_ms,
        acquired_s=acquired,
        dated=dated,
        trigger_ms=trigger if trigger is not None else of_file.trigger_ms,
        phase_percent=phase,
        offset_s=as_number(group("TemporalPositionSequence").get("TemporalPositionTimeOffset")),
        b_value=_or(as_number(diffusion.get("DiffusionBValue")), of_file.b_value),
        direction=_direction(direction),
        isotropic=str(diffusion.get("DiffusionDirectionality", "")).upper() == "ISOTROPIC",
        label=str(group("MRArterialSpinLabelingSequence").get("ASLContext") or of_file.label).upper(),
        content_s=of_file.content_s,
        acquisition=_or(_integer(as_number(content.get("FrameAcquisitionNumber"))), of_file.acquisition),
    )


def _private_b_value(header: FileHeader) -> float | None:
    values = (as_number(header.private(tag)) for tag in (SIEMENS_B_VALUE, PHILIPS_B_VALUE, GE_B_VALUE, UIH_B_VALUE))
    return next((value for value in values if value is not None), None)


def _private_direction(header: FileHeader) -> Vector | None:
    whole = (_direction(header.private(tag)) for tag in (SIEMENS_GRADIENT, UIH_GRADIENT))
    by_axis = (_direction([header.private(tag) for tag in tags]) for tags in (PHILIPS_GRADIENT, GE_GRADIENT))
    return next((value for value in (*whole, *by_axis) if value is not None), None)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip().upper()


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value


def _integer(number: float | None) -> int | None:
    return None if number is None else int(number)


def _direction(value: Any) -> Vector | None:
    numbers = as_numbers(value, 3)
    # copies of one direction differ in their last digits
    return (
        None
        if numbers is None
        else (round(numbers[0], 3) + 0.0, round(numbers[1], 3) + 0.0, round(numbers[2], 3) + 0.0)
    )


_DAY_S = 86400.0


def _moment(both: str, day: str, time: str) -> tuple[float | None, bool]:
    """A DICOM date and time (PS3.5 6.2: DT, or DA and TM) in seconds, and whether the day is in it."""
    digits = both.split("+")[0].split("-")[0].strip()
    if len(digits) > 8:
        day, time = digits[:8], digits[8:]
    seconds = _seconds(time)
    if seconds is None:
        return None, False
    days = _days(day)
    return (seconds, False) if days is None else (days * _DAY_S + seconds, True)


def _seconds(text: str) -> float | None:
    """A DICOM time (HHMMSS.ffffff) in seconds since midnight."""
    digits = text.replace(":", "").strip()
    try:
        return int(digits[0:2]) * 3600 + int(digits[2:4] or 0) * 60 + float(digits[4:] or 0)
    except ValueError:
        return None


def _days(text: str) -> int | None:
    digits = text.replace(".", "").strip()
    try:
        return date(int(digits[0:4]), int(digits[4:6]), int(digits[6:8])).toordinal()
    except ValueError:
        return None
