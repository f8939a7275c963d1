"""How the values of a volume are distributed, in one pass and without a copy of the volume."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError

MAX_BINS = 4096
SAMPLED_VALUES = 8_000_000
"""Of values with a fraction at most about this many are counted: enough for a picture and for counts to a percent."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts in equal bins.

    Attributes
    ----------
    edges : ndarray
        (B + 1,) float64, in the unit of the values. A bin holds its lower edge, and not its upper one (but the last).
    counts : ndarray
        (B,) int64.
    not_finite : int
        Values that are NaN or infinite; they are in no bin.
    step : int
        Every ``step``-th value of the raster was counted; 1: all.
    integer : bool
        Whether the values are whole numbers, so that edges lie half a unit beside them.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    not_finite: int
    step: int
    integer: bool

    @property
    def low(self) -> float:
        """The smallest value."""
        return float(self.edges[0]) + (0.5 if self.integer else 0.0)

    @property
    def high(self) -> float:
        """The largest value (for whole numbers: at least that)."""
        return float(self.edges[-1]) - (0.5 if self.integer else 0.0)

    def count_between(self, low: float, high: float) -> int:
        """About how many values of the whole volume lie in ``low <= value <= high``."""
        if self.integer:
            low, high = np.ceil(low) - 0.5, np.floor(high) + 0.5
        below = np.concatenate([[0], np.cumsum(self.counts)])
        inside = np.interp(high, self.edges, below) - np.interp(low, self.edges, below)
        return max(0, round(float(inside) * self.step))


def histogram(data: NDArray[Any], padding: float | None = None) -> Histogram:
    """Count the values of an array, see :func:`histogram_by_slab`."""
    results: list[Histogram] = []

    def finish() -> Generator[float, None, None]:
        results.append((yield from histogram_by_slab(data, padding)))

    for _ in finish():
        pass
    return results[0]


def histogram_by_slab(data: NDArray[Any], padding: float | None = None) -> Generator[float, None, Histogram]:
    """Count the values of an array, one slab after the other.

    Parameters
    ----------
    data : ndarray
        (Z, ...) of any real type.
    padding : float, optional
        Whole numbers at or below it are no image data (``meta["padding"]`` of a volume) and not counted.

    Yields
    ------
    float
        The fraction that is done, so that the caller can show it, or stop.

    Returns
    -------
    Histogram
        Whole numbers are counted exactly, with bins of a whole number of values.

    Raises
    ------
    InputError
        If no value is finite, or all are padding.
    """
    integer = data.dtype.kind in "iub"
    step = 1 if integer else max(1, data.size // SAMPLED_VALUES)
    low, high, bad = np.inf, -np.inf, 0
    slabs = len(data)
    for number, slab in enumerate(data):
        values = slab.ravel()[::step] if not integer else slab
        if not integer:
            finite = values[np.isfinite(values)]
            bad += values.size - finite.size
            values = finite
        elif padding is not None:
            values = values[values > padding]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        yield 0.3 * (number + 1) / slabs
    if low > high:
        raise InputError(f"none of the {data.size:,} values is a finite number of image data; the scan is damaged")
    edges = _edges(low, high, integer)
    counts = np.zeros(len(edges) - 1, dtype=np.int64)
    for number, slab in enumerate(data):
        values = slab.ravel()[::step]
        if integer and padding is not None:
            values = values[values > padding]
        place = _whole_bins(values, edges) if integer else _bins(values[np.isfinite(values)], edges)
        counts += np.bincount(place, minlength=len(counts))
        yield 0.3 + 0.7 * (number + 1) / slabs
    return Histogram(edges, counts, bad * step, step, integer)


def _bins(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    place = ((values.astype(np.float64) - edges[0]) / (edges[1] - edges[0])).astype(np.intp)
    inside: NDArray[np.intp] = np.minimum(place, len(edges) - 2)
    return inside


def _whole_bins(values: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Without a number with a fraction on the way: that is half of the time."""
    place: NDArray[np.intp] = values.astype(np.intp)
    place -= round(edges[0] + 0.5)
    width = round(edges[1] - edges[0])
    if width > 1:
        place //= width
    return place


def _edges(low: float, high: float, integer: bool) -> NDArray[np.float64]:
    if integer:
        width = max(1, int(np.ceil((high - low + 1) / MAX_BINS)))
        bins = int(np.ceil((high - low + 1) / width))
        return low - 0.5 + width * np.arange(bins + 1, dtype=np.float64)
    if low == high:
        return np.array([low, low + (abs(low) or 1.0) * 1e-6])
    return np.linspace(low, high, MAX_BINS // 4 + 1)
