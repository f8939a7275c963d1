"""A volume becomes a voxel set."""

from __future__ import annotations

import math
import warnings
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.environment import check_environment
from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.arrays import NUMPY, Array, Arrays
from napari_sparse3d.voxels.body import Mask, body_of, in_body, require_hu
from napari_sparse3d.voxels.components import keep_largest
from napari_sparse3d.voxels.features import features_at
from napari_sparse3d.voxels.image_data import image_data, padding_of, values_inside
from napari_sparse3d.voxels.recipe import Body, Recipe, sees_values
from napari_sparse3d.voxels.resample import resample
from napari_sparse3d.voxels.threshold import bounds, doubt_about, indices_of
from napari_sparse3d.voxels.voxel_set import VoxelSet

VOXELS_VERSION = 3
"""Raise it when the same file or volume comes to give other voxels by the same recipe: kept sets are then made anew."""


def voxelize(volume: Volume, recipe: Recipe, *, body: Mask | None = None) -> VoxelSet:
    """Resample, threshold, clean up and take features, as ``recipe`` says.

    The voxel set lies in the grid after resampling. It may be empty: a threshold that leaves nothing gives N = 0, which
    every network takes. Whoever wants voxels asks for them with :func:`require_voxels`, as the command line does.

    Parameters
    ----------
    volume : Volume
        ``data`` (Z, Y, X). Values that are not finite (with a warning) and padding are no image data: never active,
        part of no histogram and no scale, and nothing is interpolated from them; see
        :mod:`napari_sparse3d.voxels.image_data`.
    recipe : Recipe
        One that is for MR and is used on a CT is warned of.
    body : ndarray, optional
        What :func:`~napari_sparse3d.voxels.body.body_of` gave of this volume and the recipe's ``region``, where it is
        at hand: it is looked for only where the recipe asks for it.

    Returns
    -------
    VoxelSet
        ``indices`` (N, 3) int32 [z, y, x]; ``features`` (N, C) float32 in the order of ``recipe.features``.

    Raises
    ------
    InputError
        If no value of the volume is image data, the threshold or the region is for another unit than the volume's, or
        the threshold's rule means nothing for these values (Otsu of a constant, a fraction of a maximum that is not
        positive); or if one of our environment variables cannot be used.
    """
    check_environment()
    return VoxelSet.of_found(*follow(recipe, volume, volume.data, NUMPY, body))


def follow(
    recipe: Recipe, volume: Volume, data: Array, arrays: Arrays, body: Mask | None = None
) -> tuple[Array, Array, tuple[int, int, int], NDArray[np.float64]]:
    """The steps of :func:`voxelize`, on any kind of array: indices, features, shape and affine of the voxel set.

    Parameters
    ----------
    recipe : Recipe
        The body, connected parts, percentiles and depth are numpy's alone.
    volume : Volume
    data : array
        (Z, Y, X) its values, of the kind of ``arrays``.
    arrays : Arrays
    body : ndarray, optional
        As :func:`voxelize` takes it.
    """
    if isinstance(recipe.region, Body):
        require_hu(volume.unit)
    if doubt := doubt_about(recipe, volume.unit):
        warnings.warn(doubt, stacklevel=3)
    inside = image_data(volume, data, arrays)
    data, affine, inside = resample(data, volume, recipe.resample, inside, arrays)
    z, y, x = data.shape
    low, high = bounds(recipe.threshold, values_inside(data, inside), volume.unit, arrays)
    padding = padding_of(volume)
    if inside is not None and arrays.dtype(data).kind != "f" and padding is not None:
        low = max(low, math.floor(padding) + 1)  # all else that is no image data is NaN, which lies in no range
    indices, values = arrays.find(data, low, high)
    if isinstance(recipe.region, Body):
        body = body_of(volume, recipe.region) if body is None else body
        inside_body = in_body(indices, affine, body, volume)
        indices, values = indices[inside_body], None if values is None else values[inside_body]
    if recipe.components.keep != "all":
        mask = np.zeros(data.shape, dtype=bool)
        mask[tuple(indices.T)] = True
        indices, values = indices_of(keep_largest(mask, recipe.components)), None
    features = features_at(indices, data, affine, volume.unit, recipe.features, values, inside, arrays)
    return indices, features, (z, y, x), affine


class _Counted(Protocol):
    @property
    def n_active(self) -> int: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...


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
        inside = volume.data[np.isfinite(volume.data)] if volume.data.dtype.kind == "f" else volume.data
        padding = padding_of(volume)
        inside = inside if padding is None else inside[inside > padding]
        where = "the body in the scan" if isinstance(recipe.region, Body) else "the scan"
        raise InputError(
            f"the threshold of recipe {recipe.name!r} ({threshold.removeprefix('kind ')}) leaves no voxel of "
            f"{where}, whose values go from {inside.min():g} to {inside.max():g} "
            f"{volume.unit}; choose a threshold inside that range"
        )
    return voxels


def separates_nothing(voxels: VoxelSet, volume: Volume, recipe: Recipe) -> str:
    """What is to be said where a recipe that somebody chose keeps every voxel, and nothing of their values; else ""."""
    is_full = voxels.n_active == math.prod(voxels.shape) and not sees_values(recipe)
    if not is_full or volume.data.min() == volume.data.max():
        return ""
    return (
        f"every voxel is active: the threshold of recipe {recipe.name!r} separates nothing in this scan; choose another"
    )
