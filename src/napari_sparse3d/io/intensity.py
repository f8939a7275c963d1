"""From stored numbers to intensities."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.provenance import read_stamp

_INTEGERS = (np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64)
_EXACT_FLOAT32 = 2**24
"""Up to here every whole number is a float32."""
_AIR_HU = (-1100.0, -900.0)
_LOWEST_HU = -3100.0


def scaled_dtype(low: float, high: float, slope: float, intercept: float) -> np.dtype[Any]:
    """The smallest type that holds ``stored * slope + intercept`` exactly, for integers stored in ``low`` to ``high``.

    An integer type where slope and intercept are whole numbers and one is large enough; else float32, or float64 where
    float32 would round integers that are stored (beyond 2^24).
    """
    if np.isfinite([slope, intercept]).all() and slope == int(slope) and intercept == int(intercept):
        # Python's integers: a float64 would round the ends of 64-bit types
        ends = sorted((int(low) * int(slope) + int(intercept), int(high) * int(slope) + int(intercept)))
        for dtype in _INTEGERS:
            if ends[0] >= np.iinfo(dtype).min and ends[1] <= np.iinfo(dtype).max:
                return np.dtype(dtype)
        return np.dtype(np.float64)
    return np.dtype(np.float64 if max(abs(low), abs(high)) > _EXACT_FLOAT32 else np.float32)


@dataclass(frozen=True)
class Scaling:
    """How stored values become intensities, block by block.

    Parameters
    ----------
    dtype : numpy.dtype
        Of the result.
    convert : callable or None
        A block as stored to one of ``dtype``, value by value; ``None`` where they are the same numbers.
    """

    dtype: np.dtype[Any]
    convert: Callable[[NDArray[Any]], NDArray[Any]] | None


def scaling_of(
    dtype: np.dtype[Any], slope: float, intercept: float, extremes: Callable[[], tuple[int, int]]
) -> Scaling:
    """``stored * slope + intercept``: integers where exact, else computed in float64 and rounded once.

    Float32 where it holds every stored number, else float64.

    Parameters
    ----------
    dtype : numpy.dtype
        As stored.
    slope, intercept : float
    extremes : callable
        The least and the greatest number that is stored. Asked only of integers of more than 16 bits; of small types
        their limits count, so that equal files get equal types.
    """
    if slope == 1 and intercept == 0:
        return Scaling(dtype.newbyteorder("="), None)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        low, high = (int(limits.min), int(limits.max)) if dtype.itemsize <= 2 else extremes()
        target = scaled_dtype(low, high, slope, intercept)
        if target.kind in "iu":
            # modulo 2^64, as numpy multiplies: right wherever the result fits, which was just asked
            wide = np.dtype(np.uint64 if target == np.uint64 else np.int64)
            factor, shift = (np.array(int(number) % 2**64, np.uint64).astype(wide) for number in (slope, intercept))

            def exact(stored: NDArray[Any]) -> NDArray[Any]:
                with np.errstate(over="ignore"):
                    return (stored.astype(wide) * factor + shift).astype(target, copy=False)

            return Scaling(target, exact)
    else:
        target = np.dtype(np.float64 if dtype.itemsize == 8 else np.float32)
    return Scaling(target, lambda stored: (stored.astype(np.float64) * slope + intercept).astype(target, copy=False))


def refuse_all_nan(data: NDArray[Any]) -> None:
    """Refuse a volume without one finite voxel."""
    # by planes: nearly always the first one tells
    if data.dtype.kind == "f" and not any(np.isfinite(data[place]).any() for place in np.ndindex(data.shape[:-2])):
        raise ReadError("every voxel is NaN or infinite: there is nothing to see; check how the file was written")


def unit_of_header(
    free_text: str, dtype: np.dtype[Any], slope: float = 1.0, intercept: float = 0.0, *, guess: bool = True
) -> str:
    """The unit that :func:`unit_and_modality` will find, as far as a header tells it; ``""`` where the values decide.

    Parameters
    ----------
    free_text, guess
        As there.
    dtype : numpy.dtype
        As stored.
    slope, intercept : float
        Value = stored * slope + intercept.
    """
    stamped = read_stamp(free_text)
    if stamped is not None:
        return stamped[0]
    return "" if guess and _reaches_air(dtype, slope, intercept) else "a.u."


def _reaches_air(dtype: np.dtype[Any], slope: float, intercept: float) -> bool:
    """Whether stored values of a type can stand for Hounsfield units of air at all."""
    if dtype.kind not in "iu":
        return dtype.kind == "f"
    limits = np.iinfo(dtype)
    return min(float(limits.min) * slope, float(limits.max) * slope) + intercept <= _AIR_HU[1]


_FROM_VALUES = "values: the air around the patient is near -1000"
"""Where a unit comes from that is a guess; the file names every other."""


def unit_and_modality(free_text: str, data: NDArray[Any], *, guess: bool = True) -> tuple[str, str, str]:
    """Unit and modality of a file in a format that has no field for them, and where they come from.

    Without ``guess`` the values themselves tell nothing.
    """
    stamped = read_stamp(free_text)
    if stamped is not None:
        return (*stamped, "note in the header, which this program wrote")
    if guess and looks_like_hounsfield(data):
        return "HU", "CT", _FROM_VALUES
    return "a.u.", "", ""


def guess_words(meta: Mapping[str, Any], unit: str) -> str:
    """What is to be said of a volume whose unit was guessed from its values, by its ``meta``; ``""`` of every other."""
    if meta.get("unit_from") != _FROM_VALUES:
        return ""
    return f"the file names no unit; taken as {unit} from its {_FROM_VALUES}"


def looks_like_hounsfield(data: NDArray[Any]) -> bool:
    """Whether values of a file that names no unit are Hounsfield units: much of the volume is air near -1000.

    NaN and infinity are no values (outside of the field of view): they count neither as air nor against it.
    """
    sample = data[..., ::4, ::4, ::4]
    if sample.dtype.kind == "u":
        return False
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    if not sample.size:
        return False
    low, high = float(sample.min()), float(sample.max())
    if not (_LOWEST_HU <= low <= _AIR_HU[1] and high > 100):
        return False
    air = np.count_nonzero((sample >= _AIR_HU[0]) & (sample <= _AIR_HU[1]))
    return bool(air >= 0.1 * sample.size)
