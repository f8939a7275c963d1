"""Where the values of a frame come from: all that stands between stored numbers and intensities.

In this order, and nothing else is applied (no window, no presentation, no inversion of MONOCHROME1):

1. **Padding** (PS3.3, C.7.5.1.1.2): pixels that hold PixelPaddingValue (0028,0120), or lie between it and
   PixelPaddingRangeLimit (0028,0121), both ends included and in either order, are no image data. They are named in
   stored numbers, before anything below; float pixels have elements of their own (0028,0122) to (0028,0125). All of
   them stand at the top level, in enhanced images too. See ``padding.py`` for what becomes of them.
2. One **mapping**:

   * dose grids: DoseGridScaling (C.8.8.3);
   * parametric maps: the real world value mapping (A.75; their rescale is one for display);
   * Philips MR: the scale slope, a private element, together with the rescale (:func:`philips`);
   * the modality LUT (C.11.1): a table where ModalityLUTSequence is there, else RescaleSlope and RescaleIntercept; in
     enhanced images the Pixel Value Transformation of the frame, or the shared one (C.7.6.16.2.9);
   * the real world value mapping (C.7.6.16.2.11), where it is the only one; at the top level of classic images, in the
     frame's or the shared functional groups of enhanced ones;
   * none: stored numbers are the values.

   Beside another mapping a real world value mapping is another measure of the same pixels: it is not applied, but kept
   in ``meta["real_world_values"]``, with a note.

A real world value mapping holds items. Each maps the stored numbers from first to last, linearly or by a table, to a
quantity in a unit. Applied is the first item, and with it those of the same unit for other stored numbers; a number
that no applied item maps has no real world value and is treated as padding is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from napari_sparse3d.io.dicom.header import (
    DOUBLE_PIXELS,
    FLOAT_PIXELS,
    FileHeader,
    as_number,
    first_item,
    value_of,
)
from napari_sparse3d.io.dicom.private import PHILIPS_FRAME, PHILIPS_SCALE_SLOPE, private_value

PARAMETRIC_MAP = "1.2.840.10008.5.1.4.1.1.30"
EXACT_FLOAT32 = 2**24
"""Beyond this float32 has no place for every whole number."""

UNITS = {
    "[hnsf'U]": "HU", "Bq/ml": "Bq/mL", "g/ml": "g/mL", "g/ml{SUVbw}": "g/mL", "{SUVbw}g/ml": "g/mL",
    "{counts}": "counts", "{counts}/s": "counts/s", "Gy": "Gy", "s": "s", "ms": "ms", "us": "us", "/s": "1/s",
    "1/s": "1/s", "/min": "1/min", "1/min": "1/min", "Hz": "Hz", "mm": "mm", "cm": "cm", "mm/s": "mm/s",
    "cm/s": "cm/s", "m/s": "m/s", "mm2/s": "mm2/s", "um2/s": "um2/s", "%": "%", "[ppm]": "ppm", "rad": "rad",
    "deg": "deg", "kPa": "kPa", "mmol/l": "mmol/L", "ml/ml": "mL/mL", "g/cm3": "g/cm3", "mg/cm3": "mg/cm3",
}  # fmt: skip
"""Units of measurement (UCUM, PS3.3 10.2) that are named; any other code, or free text, is ``"a.u."``."""


@dataclass(frozen=True, slots=True)
class RealWorldMapping:
    """One item of a real world value mapping: stored numbers from ``first`` to ``last`` to a quantity."""

    first: float
    last: float
    slope: float
    intercept: float
    table: tuple[float, ...]
    """The quantity of each stored number from ``first``; empty where the mapping is linear."""
    unit: str
    """``"a.u."`` where it has none or none that is known."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for ``meta``."""
        kind = {"table": list(self.table)} if self.table else {"slope": self.slope, "intercept": self.intercept}
        return {"first": self.first, "last": self.last, **kind, "unit": self.unit}

    def ends(self) -> tuple[float, float]:
        """The smallest and the largest quantity that it can give."""
        if self.table:
            return min(self.table), max(self.table)
        low, high = sorted((self.first * self.slope + self.intercept, self.last * self.slope + self.intercept))
        return low, high


@dataclass(frozen=True, slots=True)
class FrameValues:
    """What stored numbers of a frame mean, beside its slope and intercept. Interned: planes of a series share one."""

    padding: tuple[float, float] | None = None
    """Lowest and highest stored number that is padding, both included."""
    applied: tuple[RealWorldMapping, ...] = ()
    """Mappings that take the place of slope and intercept; none overlaps another."""
    beside: tuple[RealWorldMapping, ...] = ()
    """Mappings that are there and not applied."""
    float_bits: int = 0
    """32 or 64 where the pixels are stored as floats, 0 for integers."""
    lossy: bool = False
    """Whether compression may have changed padded pixels too, so that some of them hold other numbers."""


_SAID = (
    "PixelPaddingValue",
    "FloatPixelPaddingValue",
    "DoubleFloatPixelPaddingValue",
    "RealWorldValueMappingSequence",
)
_ALWAYS_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
NO_VALUES = FrameValues()


def linear(header: FileHeader) -> tuple[float, float]:
    """Slope and intercept of a classic image, with what Philips adds."""
    slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    return philips(slope, intercept, as_number(header.private(PHILIPS_SCALE_SLOPE)), header.text("Manufacturer"))


def is_scaled(header: FileHeader) -> bool:
    """Whether the values of a classic image are those of Philips' scale slope."""
    return bool(as_number(header.private(PHILIPS_SCALE_SLOPE))) and "philips" in header.text("Manufacturer").lower()


def philips(slope: float, intercept: float, scale: float | None, manufacturer: str) -> tuple[float, float]:
    """Philips stores displayed values; its scale slope gives back the floating point values of the reconstruction.

    Chenevert et al. 2014 (Transl Oncol 7:65), equation 1: FP = (PV * RS + RI) / (RS * SS). Displayed values are not
    comparable between images; these are.
    """
    if not scale or not slope or "philips" not in manufacturer.lower():
        return slope, intercept
    return 1.0 / scale, intercept / (slope * scale)


def philips_frame_scale(frame: Dataset, shared: Dataset) -> float | None:
    """Philips keeps the classic header of each frame of an enhanced image in a private sequence."""
    for dataset in (frame, shared):
        items = private_value(dataset, PHILIPS_FRAME)
        item = items[0] if items and isinstance(items[0], Dataset) else None
        scale = None if item is None else as_number(private_value(item, PHILIPS_SCALE_SLOPE))
        if scale is not None:
            return scale
    return None


def classic_values(header: FileHeader) -> FrameValues:
    """What beside slope and intercept the top level of a header says."""
    if header.says_none_of(_SAID) and header.pixels_tag not in (FLOAT_PIXELS, DOUBLE_PIXELS):
        return NO_VALUES  # as nearly every header of a scan of ten thousand
    mappings = mappings_of(header.get("RealWorldValueMappingSequence"), header)
    mapped = header.number("RescaleSlope") is not None or bool(header.get("ModalityLUTSequence"))
    mapped |= header.text("Modality") == "RTDOSE" and header.number("DoseGridScaling") is not None
    return _values(header, mappings, mapped=mapped)


def frame_values(header: FileHeader, frame: Dataset, shared: Dataset, *, rescaled: bool) -> FrameValues:
    """The same for one frame of an enhanced image: the frame's own mapping, else the shared one, else the header's."""
    keyword = "RealWorldValueMappingSequence"
    sequence = value_of(frame, keyword) or value_of(shared, keyword) or header.get(keyword)
    return _values(header, mappings_of(sequence, header), mapped=rescaled)


def _values(header: FileHeader, mappings: tuple[RealWorldMapping, ...], *, mapped: bool) -> FrameValues:
    applied: list[RealWorldMapping] = []
    if not mapped or header.text("SOPClassUID") == PARAMETRIC_MAP:
        for item in mappings:
            apart = all(item.last < other.first or item.first > other.last for other in applied)
            if not applied or (item.unit == applied[0].unit and apart):
                applied.append(item)
    return FrameValues(
        padding=_padding(header),
        applied=tuple(applied),
        beside=tuple(item for item in mappings if item not in applied),
        float_bits=_float_bits(header),
        lossy=header.text("LossyImageCompression") == "01" or header.transfer_syntax in _ALWAYS_LOSSY,
    )


def mappings_of(sequence: Any, header: FileHeader) -> tuple[RealWorldMapping, ...]:
    """The usable items of a RealWorldValueMappingSequence; an item that maps nothing is passed over."""
    items = sequence if sequence is not None and not isinstance(sequence, (str, bytes)) else ()
    mappings = (_mapping(item, header) for item in items if isinstance(item, Dataset))
    return tuple(item for item in mappings if item is not None)


def _mapping(item: Dataset, header: FileHeader) -> RealWorldMapping | None:
    first = _bound(item, header, "RealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueFirstValueMapped")
    last = _bound(item, header, "RealWorldValueLastValueMapped", "DoubleFloatRealWorldValueLastValueMapped")
    table = value_of(item, "RealWorldValueLUTData")
    unit = _unit(first_item(item, "MeasurementUnitsCodeSequence"))
    if table is not None and not isinstance(table, bytes):
        entries = tuple(float(entry) for entry in (table if hasattr(table, "__len__") else [table]))
        if first is None or not entries:
            return None
        return RealWorldMapping(first, first + len(entries) - 1, 1.0, 0.0, entries, unit)
    slope, intercept = (as_number(value_of(item, f"RealWorldValue{part}")) for part in ("Slope", "Intercept"))
    if slope is None:
        return None
    low, high = (-np.inf if first is None else first), (np.inf if last is None else last)
    return RealWorldMapping(min(low, high), max(low, high), slope, intercept or 0.0, (), unit)


def _bound(item: Dataset, header: FileHeader, integer: str, double: str) -> float | None:
    """The first or last stored number that is mapped."""
    value = as_number(value_of(item, double))
    return _as_stored(value_of(item, integer), header) if value is None else value


def _as_stored(value: Any, header: FileHeader) -> float | None:
    """A number of representation "US or SS" as the pixels have it.

    The sign is that of the pixels (PS3.5, 6.2), which implicit files do not say beside the number and some writers get
    wrong: what no pixel of this sign could hold is the same word read with the other sign.
    """
    if isinstance(value, bytes):
        little = header.transfer_syntax != "1.2.840.10008.1.2.2"
        value = struct.unpack("<H" if little else ">H", value)[0] if len(value) == 2 else None
    number = as_number(value)
    if number is None:
        return None
    bits = header.integer("BitsAllocated", 16)
    if header.integer("PixelRepresentation") == 1:
        return number - 2**16 if 2 ** (min(bits, 16) - 1) <= number < 2**16 and bits <= 16 else number
    return number + 2**16 if number < 0 else number


def _unit(code: Dataset | None) -> str:
    if code is None or str(value_of(code, "CodingSchemeDesignator") or "").strip().upper() != "UCUM":
        return "a.u."
    return UNITS.get(str(value_of(code, "CodeValue") or "").strip(), "a.u.")


def _float_bits(header: FileHeader) -> int:
    if header.pixels_tag in (FLOAT_PIXELS, DOUBLE_PIXELS):
        return 32 if header.pixels_tag == FLOAT_PIXELS else 64
    # a deflated file does not show its pixels; float ones have no bits stored (PS3.3, C.7.6.24 and C.7.6.25)
    bits = header.integer("BitsAllocated", 16)
    return bits if not header.pixels_tag and bits in (32, 64) and header.number("BitsStored") is None else 0


def _padding(header: FileHeader) -> tuple[float, float] | None:
    bits = _float_bits(header)
    if bits:
        prefix = "FloatPixelPadding" if bits == 32 else "DoubleFloatPixelPadding"
        value, limit = header.number(f"{prefix}Value"), header.number(f"{prefix}RangeLimit")
    else:
        value = _as_stored(header.get("PixelPaddingValue"), header)
        limit = _as_stored(header.get("PixelPaddingRangeLimit"), header)
    if value is None:
        return None
    limit = value if limit is None else limit
    return min(value, limit), max(value, limit)


def no_image_data(stored: NDArray[Any], values: FrameValues) -> NDArray[np.bool_] | None:
    """(rows, columns) bool: which stored numbers are padding or outside all applied mappings; ``None`` for none."""
    mask: NDArray[np.bool_] | None = None
    if values.padding is not None:
        low, high = values.padding
        mask = stored == low if low == high else (stored >= low) & (stored <= high)
    if values.applied:
        limits = _limits(stored.dtype)
        if not any(item.first <= limits[0] and item.last >= limits[1] for item in values.applied):
            mapped = np.zeros(stored.shape, dtype=bool)
            for item in values.applied:
                mapped |= (stored >= item.first) & (stored <= item.last)
            mask = ~mapped if mask is None else mask | ~mapped
    return mask if mask is not None and mask.any() else None


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)


def piecewise(stored: NDArray[Any], applied: tuple[RealWorldMapping, ...]) -> NDArray[np.float64]:
    """Stored numbers through the mappings whose range they lie in; NaN outside all of them."""
    out = np.full(stored.shape, np.nan)
    for item in applied:
        inside = (stored >= item.first) & (stored <= item.last)
        numbers = stored[inside].astype(np.float64)
        if item.table:
            out[inside] = np.asarray(item.table)[np.rint(numbers - item.first).astype(np.intp)]
        else:
            out[inside] = numbers * item.slope + item.intercept
    return out


_INTEGERS = (np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64)


def exact_integer(low: float, high: float) -> np.dtype[Any] | None:
    """The smallest integer type for whole numbers from ``low`` to ``high``; ``None`` where 64 bits do not hold them."""
    for dtype in _INTEGERS:
        if low >= np.iinfo(dtype).min and high <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    return None


@dataclass(frozen=True, slots=True)
class Span:
    """From where to where the values of a frame can go, by its header."""

    low: float
    high: float
    whole: bool
    """Whether they are whole numbers."""
    fine: bool = False
    """Whether float32 would round what was stored: fractions of numbers of more than 24 bits, beyond 2^24."""


def span_of(bits: int, signed: bool, slope: float, intercept: float, values: FrameValues) -> Span:
    """The values that stored numbers of ``bits`` can have."""
    if values.float_bits:
        return Span(0.0, 0.0, whole=False)  # pixels.py widens where a double does not fit
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    if values.applied:
        if len(values.applied) > 1 or values.applied[0].table:
            ends = [end for item in values.applied for end in item.ends()]
            return Span(min(ends), max(ends), whole=False)
        (item,) = values.applied
        low, high = (int(min(max(end, low), high)) for end in (item.first, item.last))
    if slope == int(slope) and intercept == int(intercept):
        first, last = sorted((low * int(slope) + int(intercept), high * int(slope) + int(intercept)))
        return Span(first, last, whole=True)
    first, last = sorted((low * slope + intercept, high * slope + intercept))
    return Span(first, last, whole=False, fine=bits > 24 and max(-first, last) > EXACT_FLOAT32)


def common_type(spans: Iterable[Span]) -> np.dtype[Any]:
    """The smallest type that holds the values of all frames: those of a series may be mapped differently.

    Whole numbers stay whole numbers, of whatever size; fractions are float32, but float64 where that would round whole
    numbers or what was stored.
    """
    every = list(spans)
    whole = [span for span in every if span.whole]
    low, high = min((span.low for span in whole), default=0), max((span.high for span in whole), default=0)
    if len(whole) == len(every):
        return exact_integer(low, high) or np.dtype(np.float64)
    fine = any(span.fine for span in every) or max(-low, high) > EXACT_FLOAT32
    return np.dtype(np.float64 if fine else np.float32)
