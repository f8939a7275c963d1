"""Which values are active, and where they are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.voxels.arrays import NUMPY, Array, Arrays
from napari_sparse3d.voxels.recipe import (
    FractionOfMax,
    OtsuThreshold,
    PercentileThreshold,
    PlainThreshold,
    Preset,
    RangeThreshold,
    Recipe,
    Threshold,
    named_threshold,
)


def bounds(threshold: Threshold, data: Array, unit: str, arrays: Arrays = NUMPY) -> tuple[float, float]:
    """The inclusive range of active values that ``threshold`` means for this array.

    Rules that say *exceeds* (all but the range) are turned into the next value up that the array's dtype can hold, so
    that ``low <= data <= high`` is exact.

    Parameters
    ----------
    threshold : Threshold
        A preset is looked up first.
    data : array
        The values, finite, after resampling.
    unit : str
        The volume's unit, ``"HU"`` or ``"a.u."``.
    arrays : Arrays
        Of the kind of ``data``.

    Returns
    -------
    low, high : float
        In the volume's unit; infinite where that side is open.

    Raises
    ------
    InputError
        If the threshold is one in HU and the volume's unit is another, or the rule means nothing for these values
        (Otsu of a constant, a fraction of a maximum that is not positive).
    """
    rule = plain(threshold)
    if isinstance(rule, RangeThreshold):
        if rule.unit is not None and rule.unit != unit:
            what = f"preset {threshold.name!r}" if isinstance(threshold, Preset) else "this range"
            raise InputError(
                f"{what} is in {rule.unit}, but the volume is in {unit}; "
                "choose otsu, a percentile, a fraction of the maximum, or a range without a unit"
            )
        low = -math.inf if rule.low is None else rule.low
        high = math.inf if rule.high is None else rule.high
        return low, high
    return next_above(_cut(rule, data, arrays), arrays.dtype(data)), math.inf


def doubt_about(recipe: Recipe, unit: str) -> str:
    """What to say before a recipe is used on a volume of this unit, though it can be; ``""`` if nothing.

    A recipe in HU on another unit is no doubt but an error, see :func:`bounds`.
    """
    if unit != "HU" or not isinstance(plain(recipe.threshold), FractionOfMax):
        return ""
    return (
        f"recipe {recipe.name!r} keeps what exceeds a fraction of the maximum, a rule for MR: in HU, 0 is water and "
        "the maximum may be metal; for a CT choose ct-bone-110, a preset such as bone, or a range in HU"
    )


def plain(threshold: Threshold) -> PlainThreshold:
    """The rule itself: what the name of a preset stands for."""
    return named_threshold(threshold.name) if isinstance(threshold, Preset) else threshold


def _cut(threshold: OtsuThreshold | PercentileThreshold | FractionOfMax, data: Array, arrays: Arrays) -> float:
    """The value that active voxels exceed."""
    if isinstance(threshold, PercentileThreshold):
        # numpy takes no differences of truth values
        return float(np.percentile(data.view(np.uint8) if data.dtype == bool else data, threshold.percentile))
    if isinstance(threshold, OtsuThreshold):
        return otsu(data, arrays=arrays)
    maximum = float(arrays.highest(data))
    if maximum <= 0:
        raise InputError(
            f"a fraction of the maximum needs a positive maximum, got {maximum:g}; choose a range or a percentile"
        )
    return threshold.fraction * maximum


def otsu(data: Array, bins: int = 256, arrays: Arrays = NUMPY) -> float:
    """The threshold that maximises the variance between the two classes of a histogram (Otsu 1979, eq. 18).

    Parameters
    ----------
    data : array
        Any shape, finite.
    bins : int
        Equal bins from the smallest to the largest value.
    arrays : Arrays
        Of the kind of ``data``.

    Returns
    -------
    float
        The upper edge of the last bin of the lower class.

    Raises
    ------
    InputError
        If all values are equal.
    """
    lowest = arrays.lowest(data)
    if lowest == arrays.highest(data):
        raise InputError(f"Otsu's threshold needs two different values, but every voxel is {lowest:g}")
    return _otsu_of(*arrays.histogram(data, bins))


def _otsu_of(counts: NDArray[np.intp], edges: NDArray[np.floating[Any]]) -> float:
    """From the histogram: (B,) counts and (B + 1,) edges."""
    centres = (edges[:-1] + edges[1:]) / 2
    weight = np.cumsum(counts)[:-1] / counts.sum()  # of the lower class, for a cut after each bin but the last
    moment = np.cumsum(counts * centres)[:-1] / counts.sum()
    mean = (counts * centres).sum() / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):  # a class may be empty: 0 / 0
        between = (mean * weight - moment) ** 2 / (weight * (1 - weight))
    return float(edges[1 + np.nanargmax(between)])


def indices_of(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """(N, 3) int32 [z, y, x] of the True voxels, in raster order, C-contiguous."""
    raster = np.flatnonzero(mask)
    # np.argwhere would give the columns one after the other in memory (Fortran order)
    return np.stack(np.unravel_index(raster, mask.shape), axis=1).astype(np.int32)


def next_above(value: float, dtype: np.dtype[Any]) -> float:
    """The smallest number of ``dtype`` above ``value``."""
    if dtype.kind in "iub":
        return float(math.floor(value) + 1)
    nearest = dtype.type(value)
    return float(nearest if float(nearest) > value else np.nextafter(nearest, dtype.type(np.inf)))
