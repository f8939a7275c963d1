"""A volume becomes a voxel set."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.components import keep_largest
from napari_sparse3d.voxels.features import features_at
from napari_sparse3d.voxels.native_threshold import find_voxels
from napari_sparse3d.voxels.recipe import Recipe
from napari_sparse3d.voxels.resample import resample
from napari_sparse3d.voxels.threshold import bounds, indices_of
from napari_sparse3d.voxels.voxel_set import VoxelSet


def voxelize(volume: Volume, recipe: Recipe) -> VoxelSet:
    """Resample, threshold, clean up and take features, as ``recipe`` says.

    The voxel set lies in the grid after resampling. It may be empty: a threshold that leaves nothing gives N = 0, which
    every network takes. Whoever wants voxels asks for them with :func:`require_voxels`, as the command line does.

    Parameters
    ----------
    volume : Volume
        ``data`` (Z, Y, X). Values that are not finite count as the lowest finite value, with a warning.
    recipe : Recipe

    Returns
    -------
    VoxelSet
        ``indices`` (N, 3) int32 [z, y, x]; ``features`` (N, C) float32 in the order of ``recipe.features``.

    Raises
    ------
    InputError
        If no value of the volume is finite, the threshold is in another unit than the volume, or its rule means nothing
        for these values (Otsu of a constant, a fraction of a maximum that is not positive).
    """
    volume = _finite(volume)
    data, affine = resample(volume, recipe.resample)
    z, y, x = data.shape
    low, high = bounds(recipe.threshold, data, volume.unit)
    indices, found = find_voxels(data, low, high)
    values = found if np.can_cast(data.dtype, np.float32) else None
    if recipe.components.keep != "all":
        mask = np.zeros(data.shape, dtype=bool)
        mask[tuple(indices.T)] = True
        indices, values = indices_of(keep_largest(mask, recipe.components)), None
    features = features_at(indices, data, affine, volume.unit, recipe.features, values)
    return VoxelSet.of_found(indices, features, (z, y, x), affine)


class _Counted(Protocol):
    @property
    def n_active(self) -> int: ...


_Voxels = TypeVar("_Voxels", bound=_Counted)


def require_voxels(voxels: _Voxels, volume: Volume, recipe: Recipe) -> _Voxels:
    """Give ``voxels`` back, or say that the recipe's threshold left nothing of the volume.

    Raises
    ------
    InputError
        If there is no voxel. The message names the volume's range of values.
    """
    if voxels.n_active == 0:
        threshold = " ".join(f"{key} {value}" for key, value in recipe.threshold.model_dump(exclude_none=True).items())
        raise InputError(
            f"the threshold of recipe {recipe.name!r} ({threshold.removeprefix('kind ')}) leaves no voxel of "
            f"the scan, whose values go from {np.nanmin(volume.data):g} to {np.nanmax(volume.data):g} "
            f"{volume.unit}; choose a threshold inside that range"
        )
    return voxels


def _finite(volume: Volume) -> Volume:
    if volume.data.dtype.kind != "f":
        return volume
    finite = np.isfinite(volume.data)
    n_bad = finite.size - int(np.count_nonzero(finite))
    if n_bad == 0:
        return volume
    say_not_finite(volume, n_bad)
    lowest = volume.data[finite].min()
    return replace(volume, data=np.where(finite, volume.data, lowest))


def say_not_finite(volume: Volume, n_bad: int) -> None:
    """Warn that ``n_bad`` values are taken as the lowest finite one.

    Raises
    ------
    InputError
        If that is all of them.
    """
    size = volume.data.size
    if n_bad == size:
        raise InputError(f"none of the {size:,} values of the scan is a finite number; the scan is damaged")
    warnings.warn(
        f"{n_bad:,} of {size:,} values of the scan are not finite; they count as the lowest finite value",
        stacklevel=4,
    )
