"""What tells the volumes of a series apart: one list, to be checked against the standard.

A series may hold many images of one place: times, echoes, b-values, phases, labels. No single tag names the volume that
an image belongs to; the tags below do together. :mod:`~napari_sparse3d.io.dicom.volumes` finds which of them do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset

from napari_sparse3d.io.dicom.header import FileHeader, as_number, as_numbers
from napari_sparse3d.io.dicom.private import (
    GE_B_VALUE,
    GE_COMPONENT,
    GE_GRADIENT,
    PHILIPS_B_NUMBER,
    PHILIPS_B_VALUE,
    PHILIPS_DYNAMIC_BEGIN,
    PHILIPS_GRADIENT,
    PHILIPS_GRADIENT_KIND,
    PHILIPS_GRADIENT_NUMBER,
    PHILIPS_LABEL,
    PHILIPS_PHASE_NUMBER,
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
    """AcquisitionDate and -Time; without a date less than a day: see :func:`on_one_clock`."""
    begun_s: float | None = None
    """AcquisitionDateTime, FrameAcquisitionDateTime, FrameReferenceDateTime: some write the begin of the series."""
    trigger_ms: float | None = None
    """TriggerTime (0018,1060), NominalCardiacTriggerDelayTime (0020,9153)."""
    phase_percent: float | None = None
    """NominalPercentageOfCardiacPhase (0020,9241), NominalPercentageOfRespiratoryPhase (0020,9245), or the percentage
    in the series' description or the image's comments, which is where gated CT has it."""
    phase_number: int | None = None
    """Of Philips' private elements."""
    offset_s: float | None = None
    """TemporalPositionTimeOffset (0020,930D), or Philips' begin of the dynamic scan."""
    image_index: int | None = None
    """ImageIndex (0054,1330): slice by slice, time by time (PS3.3 C.8.9.4.1.9)."""
    b_value: float | None = None
    """DiffusionBValue (0018,9087), or the maker's private element."""
    direction: Vector | None = None
    """DiffusionGradientOrientation (0018,9089), rounded, or the maker's private element."""
    isotropic: bool = False
    """DiffusionDirectionality (0018,9075) ISOTROPIC: a map that the maker derived, no measurement of one direction."""
    diffusion_number: tuple[int | None, int | None] = (None, None)
    """Of Philips' private elements: which b-value, which direction."""
    velocity: Vector | None = None
    """VelocityEncodingDirection (0018,9090)."""
    component: str = ""
    """ComplexImageComponent (0008,9208), or GE's private element: magnitude, phase, real or imaginary."""
    label: str = ""
    """ASLContext (0018,9257): label, control or M0."""
    sequence: str = ""
    """SequenceName (0018,0024): Siemens writes the b-value and the direction's number into it."""
    description: str = field(default="", repr=False)
    """SeriesDescription (0008,103E): for comparison only, since it may hold anything."""
    comment: str = field(default="", repr=False)
    """ImageComments (0020,4000): the same."""
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
    is_clock: bool = False
    """A time of day, which may lack its date."""
    is_remark: bool = False
    """Free text, which may change within a volume too."""

    def values(self, planes: Iterable[Plane]) -> list[Any]:
        """The value of each plane, comparable with the others; ``None`` where it has none."""
        values = [self.of(plane) for plane in planes]
        return on_one_clock(values) if self.is_clock else values


MARKS: tuple[Mark, ...] = (
    Mark("temporal position", lambda plane: plane.marks.temporal, is_time=True),
    Mark("frame reference time", lambda plane: plane.marks.reference_ms, scatters=True, is_time=True),
    Mark("time offset", lambda plane: plane.marks.offset_s, scatters=True, is_time=True),
    Mark("cardiac or respiratory phase", lambda plane: plane.marks.phase_percent, is_time=True),
    Mark("phase number", lambda plane: plane.marks.phase_number, is_time=True),
    Mark("b-value", lambda plane: plane.marks.b_value),
    Mark("gradient direction", lambda plane: plane.marks.direction),
    Mark("diffusion number", lambda plane: _any(plane.marks.diffusion_number)),
    Mark("flow direction", lambda plane: plane.marks.velocity),
    Mark("flip angle", lambda plane: plane.kind.flip_angle),
    Mark("inversion time", lambda plane: plane.kind.inversion_time, scatters=True),
    Mark("echo number", lambda plane: plane.kind.echo_number),
    Mark("echo time", lambda plane: plane.kind.echo_time, scatters=True),
    Mark("repetition time", lambda plane: plane.kind.repetition_ms, scatters=True),
    Mark("tube voltage", lambda plane: plane.kind.kvp),
    Mark("kernel", lambda plane: plane.kind.kernel or None),
    Mark("slice thickness", lambda plane: plane.kind.thickness, by_slab=True),
    Mark("image type", lambda plane: plane.kind.image_type or None, by_slab=True),
    Mark("complex component", lambda plane: plane.marks.component or None),
    Mark("label or control", lambda plane: plane.marks.label or None),
    Mark("stack", lambda plane: plane.kind.stack or None),
    Mark("sequence name", lambda plane: plane.marks.sequence or None),
    Mark("description", lambda plane: plane.marks.description or None),
    Mark(
        "acquisition time",
        lambda plane: plane.marks.acquired_s,
        scatters=True,
        is_time=True,
        of_acquisition=True,
        is_clock=True,
    ),
    Mark(
        "acquisition date and time",
        lambda plane: plane.marks.begun_s,
        scatters=True,
        is_time=True,
        of_acquisition=True,
        is_clock=True,
    ),
    Mark("acquisition", lambda plane: plane.marks.acquisition, is_time=True, by_slab=True, of_acquisition=True),
    Mark(
        "trigger time",
        lambda plane: plane.marks.trigger_ms,
        scatters=True,
        is_time=True,
        overlaps=True,
        of_acquisition=True,
    ),
    Mark("image index", lambda plane: plane.marks.image_index, scatters=True, is_time=True, of_acquisition=True),
    Mark("image comment", lambda plane: plane.marks.comment or None, of_acquisition=True, is_remark=True),
    Mark("file", lambda plane: plane.file_mark, of_acquisition=True),
    Mark(
        "content time",
        lambda plane: plane.marks.content_s,
        scatters=True,
        is_time=True,
        of_acquisition=True,
        is_clock=True,
    ),
)
"""In the order in which they are asked: what names a volume outright before what only follows from it."""


def marks_of(header: FileHeader) -> Marks:
    """The marks of a classic image, or those that all frames of a file share."""
    phase = _or(header.number("NominalPercentageOfCardiacPhase"), header.number("NominalPercentageOfRespiratoryPhase"))
    description, comment = header.text("SeriesDescription"), header.text("ImageComments")
    return Marks(
        temporal=_integer(_or(header.number("TemporalPositionIdentifier"), header.number("TemporalPositionIndex"))),
        reference_ms=header.number("FrameReferenceTime"),
        acquired_s=_moment("", header.text("AcquisitionDate"), header.text("AcquisitionTime")),
        begun_s=_moment(header.text("AcquisitionDateTime"), "", ""),
        trigger_ms=header.number("TriggerTime"),
        phase_percent=_or(phase, _or(_percentage(description), _percentage(comment))),
        phase_number=_integer(as_number(header.private(PHILIPS_PHASE_NUMBER))),
        offset_s=_or(header.number("TemporalPositionTimeOffset"), as_number(header.private(PHILIPS_DYNAMIC_BEGIN))),
        image_index=_integer(header.number("ImageIndex")),
        b_value=_or(header.number("DiffusionBValue"), _private_b_value(header)),
        direction=_direction(header.get("DiffusionGradientOrientation")) or _private_direction(header),
        isotropic=header.text("DiffusionDirectionality").upper() == "ISOTROPIC"
        or _text(header.private(PHILIPS_GRADIENT_KIND)) == "I",
        diffusion_number=(
            _integer(as_number(header.private(PHILIPS_B_NUMBER))),
            _integer(as_number(header.private(PHILIPS_GRADIENT_NUMBER))),
        ),
        component=header.text("ComplexImageComponent").upper() or _ge_component(header),
        label=header.text("ASLContext").upper() or _text(header.private(PHILIPS_LABEL)),
        sequence=header.text("SequenceName"),
        description=description,
        comment=comment,
        content_s=_moment("", header.text("ContentDate"), header.text("ContentTime")),
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
    taken = content.get("FrameAcquisitionDateTime") or content.get("FrameReferenceDateTime")
    cardiac, breath = group("CardiacSynchronizationSequence"), group("RespiratorySynchronizationSequence")
    phase = as_number(cardiac.get("NominalPercentageOfCardiacPhase"))
    if phase is None:
        phase = as_number(breath.get("NominalPercentageOfRespiratoryPhase"))
    gradient = diffusion.get("DiffusionGradientDirectionSequence")
    direction = gradient[0].get("DiffusionGradientOrientation") if gradient else None
    component = group("MRImageFrameTypeSequence").get("ComplexImageComponent")
    velocity = group("MRVelocityEncodingSequence").get("VelocityEncodingDirection")
    trigger = as_number(cardiac.get("NominalCardiacTriggerDelayTime"))
    offset = as_number(group("TemporalPositionSequence").get("TemporalPositionTimeOffset"))
    return replace(
        of_file,
        temporal=_or(_integer(as_number(content.get("TemporalPositionIndex"))), of_file.temporal),
        begun_s=_or(_moment(str(taken or ""), "", ""), of_file.begun_s),
        trigger_ms=_or(trigger, of_file.trigger_ms),
        phase_percent=_or(phase, of_file.phase_percent),
        offset_s=_or(offset, of_file.offset_s),
        b_value=_or(as_number(diffusion.get("DiffusionBValue")), of_file.b_value),
        direction=_direction(direction),
        isotropic=str(diffusion.get("DiffusionDirectionality", "")).upper() == "ISOTROPIC",
        velocity=_direction(velocity),
        component=_text(component) or of_file.component,
        label=_text(group("MRArterialSpinLabelingSequence").get("ASLContext")) or of_file.label,
        acquisition=_or(_integer(as_number(content.get("FrameAcquisitionNumber"))), of_file.acquisition),
    )


def _private_b_value(header: FileHeader) -> float | None:
    values = (as_number(header.private(tag)) for tag in (SIEMENS_B_VALUE, PHILIPS_B_VALUE, GE_B_VALUE, UIH_B_VALUE))
    return next((value for value in values if value is not None), None)


def _private_direction(header: FileHeader) -> Vector | None:
    whole = (_direction(header.private(tag)) for tag in (SIEMENS_GRADIENT, UIH_GRADIENT))
    by_axis = (_direction([header.private(tag) for tag in tags]) for tags in (PHILIPS_GRADIENT, GE_GRADIENT))
    return next((value for value in (*whole, *by_axis) if value is not None), None)


_GE_COMPONENTS = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY")


def _ge_component(header: FileHeader) -> str:
    """What GE's images of one series are, whose image type says nothing of it."""
    number = as_number(header.private(GE_COMPONENT))
    return "" if number is None or number not in range(len(_GE_COMPONENTS)) else _GE_COMPONENTS[int(number)]


_PERCENTAGE = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d+)?) ?%")


def _percentage(text: str) -> float | None:
    match = _PERCENTAGE.search(text)
    return None if match is None else float(match[1])


def _any(values: tuple[Any, ...]) -> tuple[Any, ...] | None:
    return None if all(value is None for value in values) else values


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


def _moment(both: str, day: str, time: str) -> float | None:
    """A DICOM date and time (PS3.5 6.2: DT, or DA and TM) in seconds; of an unknown day, less than a day."""
    digits = both.split("+")[0].split("-")[0].strip()
    if len(digits) > 8:
        day, time = digits[:8], digits[8:]
    seconds = _seconds(time)
    return None if seconds is None else (_days(day) or 0) * _DAY_S + seconds


def on_one_clock(moments: list[float | None]) -> list[float | None]:
    """Moments that may lack their day, or have all the day on which the series began, so that they compare.

    Times of day that lie within half a day, midnight between them or not, have one order; others have none without
    their days.
    """
    known = [moment for moment in moments if moment is not None]
    if not known or (min(known) >= _DAY_S and int(min(known) // _DAY_S) != int(max(known) // _DAY_S)):
        return moments
    dated = min(known) >= _DAY_S
    of_day = [None if moment is None else moment % _DAY_S for moment in moments]
    turned = [None if time is None else time + _DAY_S * (time < _DAY_S / 2) for time in of_day]
    for times in (of_day, turned):
        there = [time for time in times if time is not None]
        if max(there) - min(there) < _DAY_S / 2:
            return times
    return moments if dated else [None] * len(moments)


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
