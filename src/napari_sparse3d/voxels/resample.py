"""Another grid over the same physical box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.recipe import NoResampling, Resample, ToLongestSide, ToSpacing

MAX_VOXELS = 2**31
"""A grid above this is a mistyped spacing, not a wish."""


LEAST_SHARE = 0.5
"""A new voxel of which less than this is image data is none itself."""


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


def resample(volume: Volume, how: Resample) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Resample linearly.

    The new grid begins at the same corner of the physical box and has exactly the spacing asked for; its sizes are
    rounded (at least 1). On each axis the centre of new voxel ``i`` lies at ``(i + 1/2) * new_mm``, measured from the
    corner, as the centre of old voxel ``j`` lies at ``(j + 1/2) * old_mm``. Beyond the outermost old centres the
    nearest value holds.

    Parameters
    ----------
    volume : Volume
        ``data`` (Z, Y, X), finite.
    how : NoResampling, ToSpacing or ToLongestSide

    Returns
    -------
    data : ndarray
        (Z', Y', X') float32, or the volume's own array where the grid stays as it is.
    affine : ndarray
        (4, 4) float64 of the new grid.

    Raises
    ------
    InputError
        If the new grid would have more than 2^31 voxels.
    """
    if isinstance(how, NoResampling):
        return volume.data, volume.affine
    grid = new_grid(volume, how)
    # Along one axis after the other, which is the same as trilinear. Not by SimpleITK: where a centre lies on the
    # border of the box it leaves the linear rule on all three axes, and it copies the whole volume to float32 first.
    data: NDArray[Any] = volume.data
    for axis in grid.order:
        data = _interpolate(data, axis, grid.centres[axis])
    return np.ascontiguousarray(data), grid.affine


def resample_image_data(
    volume: Volume, how: Resample, inside: NDArray[np.bool_] | None
) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.bool_] | None]:
    """As :func:`resample`, from those voxels alone that are image data.

    A new voxel is the mean of the image data among the old ones that :func:`resample` would take, with the same weights
    (normalised convolution: Knutsson and Westin 1993); where they make up less than half of the weight, it is none.

    Parameters
    ----------
    volume : Volume
        ``data`` (Z, Y, X).
    how : NoResampling, ToSpacing or ToLongestSide
    inside : ndarray or None
        (Z, Y, X) bool: which voxels are image data; ``None``: all, and ``data`` is as :func:`resample` has it.

    Returns
    -------
    data : ndarray
        (Z', Y', X'). Floats that are no image data are NaN.
    affine : ndarray
        (4, 4) float64 of the new grid.
    inside : ndarray or None
        (Z', Y', X') bool of the new grid.

    Raises
    ------
    InputError
        As :func:`resample`; or if no new voxel is made of image data.
    """
    if inside is None:
        return *resample(volume, how), None
    data: NDArray[Any] = volume.data
    if isinstance(how, NoResampling):
        # a volume of integers stays as it is: its padding lies below all else
        return (np.where(inside, data, np.nan) if data.dtype.kind == "f" else data), volume.affine, inside
    grid = new_grid(volume, how)
    data, share = np.where(inside, data, data.dtype.type(0)), inside.astype(np.float32)
    for axis in grid.order:
        data = _interpolate(data, axis, grid.centres[axis])
        share = _interpolate(share, axis, grid.centres[axis])
    inside = share >= LEAST_SHARE
    if not inside.any():
        raise InputError(
            f"no voxel of the new grid is made of image data: most of {volume.name!r} is padding; choose a finer grid"
        )
    data = np.divide(data, share, out=np.full_like(data, np.nan), where=inside)
    return np.ascontiguousarray(data), grid.affine, np.ascontiguousarray(inside)


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


def neighbours(
    positions: NDArray[np.float64], size: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The voxel below each position on an axis of ``size`` voxels, the one above, and the weight of the latter.

    Beyond the ends the end voxel holds.
    """
    positions = np.clip(positions, 0, size - 1)
    below = np.floor(positions).astype(np.intp)
    return below, np.minimum(below + 1, size - 1), (positions - below).astype(np.float32)


def _interpolate(data: NDArray[Any], axis: int, positions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Sample linearly along one axis at ``positions``, in voxels; beyond the ends the end value holds."""
    below, above, weight = neighbours(positions, data.shape[axis])
    along = [1, 1, 1]
    along[axis] = -1
    weight = weight.reshape(along)
    low = data.take(below, axis).astype(np.float32, copy=False)
    high = data.take(above, axis).astype(np.float32, copy=False)
    # not low + weight * (high - low): this form cannot overflow and gives back the value itself at weight 0 and 1
    result: NDArray[np.float32] = (1 - weight) * low + weight * high
    return result


def _mm(lengths: NDArray[np.float64]) -> str:
    return " x ".join(f"{length:.4g}" for length in lengths) + " mm"
