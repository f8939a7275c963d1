"""Another grid over the same physical box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.arrays import NUMPY, Array, Arrays
from napari_sparse3d.voxels.recipe import NoResampling, Resample, ToLongestSide, ToSpacing

MAX_VOXELS = 2**31
"""A grid above this is a mistyped spacing, not a wish."""


LEAST_SHARE = 0.5
"""A new voxel of which less than this is image data is none itself."""

Sides: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]
"""For each new voxel of an axis: the old one below its centre, the one above, the weight of the latter."""


@dataclass(frozen=True, eq=False)
class NewGrid:
    """Where the voxels of a new grid over the same physical box lie.

    Attributes
    ----------
    centres : tuple of ndarray
        For each axis (size,) float64: the centres of the new voxels, in old voxels.
    order : tuple of int
        The axes; the one that shrinks most comes first, so that less is left for the others.
    affine : ndarray
        (4, 4) float64 of the new grid.
    """

    centres: tuple[NDArray[np.float64], ...]
    order: tuple[int, ...]
    affine: NDArray[np.float64]


def resample(
    data: Array, volume: Volume, how: Resample, inside: Array | None = None, arrays: Arrays = NUMPY
) -> tuple[Array, NDArray[np.float64], Array | None]:
    """Resample linearly, from those voxels alone that are image data.

    The new grid begins at the same corner of the physical box and has exactly the spacing asked for; its sizes are
    rounded (at least 1). On each axis the centre of new voxel ``i`` lies at ``(i + 1/2) * new_mm``, measured from the
    corner, as the centre of old voxel ``j`` lies at ``(j + 1/2) * old_mm``. Beyond the outermost old centres the
    nearest value holds.

    Where not all old voxels are image data, a new one is the mean of those that are, with the same weights (normalised
    convolution: Knutsson and Westin 1993); where they make up less than half of the weight, it is none.

    Parameters
    ----------
    data : array
        (Z, Y, X), the volume's values.
    volume : Volume
        For its grid.
    how : NoResampling, ToSpacing or ToLongestSide
    inside : array, optional
        (Z, Y, X) bool: which voxels are image data; all, and they are finite, unless given.
    arrays : Arrays
        Of the kind of ``data``.

    Returns
    -------
    data : array
        (Z', Y', X') float32, or the same array where the grid stays as it is. Floats that are no image data are NaN.
    affine : ndarray
        (4, 4) float64 of the new grid.
    inside : array or None
        (Z', Y', X') bool of the new grid.

    Raises
    ------
    InputError
        If the new grid would have more than 2^31 voxels, or no new voxel is made of image data.
    """
    if isinstance(how, NoResampling):
        # a volume of integers stays as it is: its padding lies below all else
        is_float = inside is not None and arrays.dtype(data).kind == "f"
        return (arrays.where(inside, data, np.nan) if is_float else data), volume.affine, inside
    grid = new_grid(volume, how)
    data, inside = sampled(data, grid, inside, arrays)
    if inside is not None and not bool(inside.any()):
        raise InputError(
            f"no voxel of the new grid is made of image data: most of {volume.name!r} is padding; choose a finer grid"
        )
    return data, grid.affine, inside


def sampled(
    data: Array, grid: NewGrid, inside: Array | None = None, arrays: Arrays = NUMPY
) -> tuple[Array, Array | None]:
    """The values at the centres of a grid, as :func:`resample` takes them; and which of them are image data.

    Some planes at a time, where the arrays say so: what lies between the old values and the new ones is as large as
    either, several times over.
    """
    sides = [neighbours(centres, data.shape[axis]) for axis, centres in enumerate(grid.centres)]
    below, above, weight = sides[0]
    shape = tuple(len(centres) for centres in grid.centres)
    widest = max(data.shape[1] * data.shape[2], shape[1] * shape[2])
    parts = list(arrays.stretches(shape[0], widest * np.dtype(np.float32).itemsize))
    if len(parts) == 1:
        return _sampled(data, sides, grid.order, inside, arrays)
    values = arrays.empty(shape, "float32", data)
    are_data = None if inside is None else arrays.empty(shape, "bool", data)
    for part in parts:
        # the numbers of old planes move with what is left of them, and the weights stay as they are, to the bit
        first, last = int(below[part].min()), int(above[part].max()) + 1
        own = [(below[part] - first, above[part] - first, weight[part]), *sides[1:]]
        of_part = None if inside is None else inside[first:last]
        values[part], are_data_here = _sampled(data[first:last], own, grid.order, of_part, arrays)
        if are_data is not None:
            are_data[part] = are_data_here
    return values, are_data


def _sampled(
    data: Array, sides: Sequence[Sides], order: Sequence[int], inside: Array | None, arrays: Arrays
) -> tuple[Array, Array | None]:
    if inside is None:
        return arrays.compact(_interpolated(data, sides, order, arrays)), None
    data = _interpolated(arrays.where(inside, data, 0), sides, order, arrays)
    share = _interpolated(inside, sides, order, arrays)
    inside = share >= LEAST_SHARE
    with np.errstate(divide="ignore", invalid="ignore"):  # where nothing is, 0 / 0
        data = arrays.where(inside, data / share, np.nan)
    return arrays.compact(data), arrays.compact(inside)


def new_grid(volume: Volume, how: ToSpacing | ToLongestSide) -> NewGrid:
    """The grid that :func:`resample` fills; raises as it does."""
    old_mm = np.array(volume.spacing_mm)
    extent_mm = old_mm * volume.shape
    new_mm = np.full(3, extent_mm.max() / how.voxels) if isinstance(how, ToLongestSide) else np.array(how.spacing_mm)
    sizes = np.maximum(np.round(extent_mm / new_mm), 1)
    if sizes.prod() > MAX_VOXELS:
        raise InputError(
            f"voxels of {_mm(new_mm)} over a box of {_mm(extent_mm)} would make a grid of "
            f"{' x '.join(f'{n:.0f}' for n in sizes)}; choose a larger spacing"
        )
    ratio = new_mm / old_mm
    first = ratio / 2 - 0.5  # the centre of new voxel 0, in old voxels

    affine = volume.affine.copy()
    affine[:3, :3] *= ratio
    affine[:3, 3] += volume.affine[:3, :3] @ first
    centres = tuple(first[axis] + ratio[axis] * np.arange(int(sizes[axis])) for axis in range(3))
    order = tuple(int(axis) for axis in np.argsort(sizes / volume.shape))
    return NewGrid(centres, order, affine)


def neighbours(positions: NDArray[np.float64], size: int) -> Sides:
    """The voxel below each position on an axis of ``size`` voxels, the one above, and the weight of the latter.

    Beyond the ends the end voxel holds.
    """
    positions = np.clip(positions, 0, size - 1)
    below = np.floor(positions).astype(np.intp)
    return below, np.minimum(below + 1, size - 1), (positions - below).astype(np.float32)


def _interpolated(data: Array, sides: Sequence[Sides], order: Sequence[int], arrays: Arrays) -> Array:
    """(Z', Y', X') float32: sampled along one axis after the other, which is the same as trilinear.

    Not by SimpleITK: where a centre lies on the border of the box it leaves the linear rule on all three axes, and it
    copies the whole volume to float32 first.
    """
    for axis in order:
        below, above, weight = sides[axis]
        along = [1, 1, 1]
        along[axis] = -1
        of_above = arrays.of(weight.reshape(along))
        # not low + weight * (high - low): this form cannot overflow and gives back the value itself at weight 0 and 1;
        # and no fused operation, which would round once where two products and their sum round three times
        along_axis = arrays.float32(arrays.take(data, below, axis)) * (1 - of_above)
        along_axis += arrays.float32(arrays.take(data, above, axis)) * of_above
        data = along_axis
    return data


def _mm(lengths: NDArray[np.float64]) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths) + " mm"
