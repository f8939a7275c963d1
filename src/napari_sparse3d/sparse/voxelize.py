"""A volume becomes a voxel set where the network runs: the recipe's steps as torch operations.

On the CPU the kernels behind :func:`napari_sparse3d.voxels.voxelize` are faster. On a card this saves the way of the
voxels there: the volume is sent once, as it was stored, and all else stays. The steps are those of :mod:`voxels`, in
the same types and the same order, each rounded by itself, so both give the same bits; the grid, the threshold's rule
and what errors say are not written a second time.

What has no counterpart in torch stays on the CPU, see :func:`needs_cpu`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.engine import use_engine
from napari_sparse3d.sparse.tensor_voxels import TensorVoxels
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.features import intensity_scale
from napari_sparse3d.voxels.from_volume import voxelize
from napari_sparse3d.voxels.image_data import image_data, padding_of, say_not_finite
from napari_sparse3d.voxels.recipe import (
    PRESETS,
    FeatureName,
    NoResampling,
    OtsuThreshold,
    PercentileThreshold,
    Preset,
    Recipe,
    Threshold,
)
from napari_sparse3d.voxels.resample import LEAST_SHARE, NewGrid, neighbours, new_grid, resample_image_data
from napari_sparse3d.voxels.threshold import bounds, doubt_about, next_above, otsu, otsu_of
from napari_sparse3d.voxels.voxel_set import VoxelSet

_AS_STORED = {"bool": "uint8", "uint16": "int16", "uint32": "int32"}
"""torch does little with some types: they travel as another one of the same size."""

_SENDABLE = {*_AS_STORED, "uint8", "int8", "int16", "int32", "int64", "float32", "float64"}

_MAX_VOXELS = 2**31 - 1
"""``torch.nonzero`` on a card takes no more."""


def needs_cpu(recipe: Recipe) -> str:
    """Which part of a recipe has no counterpart in torch, or nothing."""
    if recipe.components.keep != "all":
        return "connected parts are found on the CPU"
    if "depth" in recipe.features:
        return "the depth below the surface is measured on the CPU"
    if isinstance(_plain(recipe.threshold), PercentileThreshold):
        return "percentiles are taken on the CPU"
    return ""


def voxelize_for(device: str | torch.device, volume: Volume, recipe: Recipe) -> VoxelSet | TensorVoxels:
    """The voxel set of a volume, made where the network will run as far as the recipe can be followed there.

    Parameters
    ----------
    device : str or torch.device
        ``"cpu"``: as :func:`napari_sparse3d.voxels.voxelize`. A card: :func:`voxelize_on`, where nothing of the recipe
        :func:`needs_cpu` and torch has the volume's type.
    volume : Volume
    recipe : Recipe

    Raises
    ------
    InputError
        As ``voxelize``.
    DeviceMemoryError
        If the card has no memory left.
    """
    sendable = volume.data.dtype.newbyteorder("=").name in _SENDABLE and volume.data.size <= _MAX_VOXELS
    if torch.device(device).type == "cpu" or needs_cpu(recipe) or not sendable:
        return voxelize(volume, recipe)
    return voxelize_on(device, volume, recipe)


def voxelize_on(device: str | torch.device, volume: Volume, recipe: Recipe) -> TensorVoxels:
    """Resample, threshold and take features on a device; equal to ``voxelize`` bit by bit.

    Parameters
    ----------
    device : str or torch.device
        Any; the volume is sent there as it is stored, from memory that is not paged.
    volume : Volume
        ``data`` (Z, Y, X): bool, integers up to 32 bits or int64, float32 or float64; fewer than 2^31 voxels.
    recipe : Recipe
        One of which nothing :func:`needs_cpu`.

    Raises
    ------
    InputError
        As ``voxelize``; or if the recipe has a part that needs the CPU.
    DeviceMemoryError
        If the card has no memory left.
    """
    if reason := needs_cpu(recipe):
        raise InputError(
            f"recipe {recipe.name!r} cannot be followed on a device: {reason}; use voxelize(volume, recipe)"
        )
    if doubt := doubt_about(recipe, volume.unit):
        warnings.warn(doubt, stacklevel=2)
    with use_engine("auto"):  # no operator runs here, but a card without memory is told in the same words
        stored = _upload(volume.data, device)
        data, affine, inside = _resampled(stored, _inside(stored, volume), volume, recipe)
        low, high = _bounds(recipe.threshold, data if inside is None else data[inside], volume.unit)
        active = _between(data, low, high)
        indices = (active if inside is None else active & inside).nonzero()
        features = _features(indices, data, affine, volume.unit, recipe.features, inside)
        z, y, x = data.shape
        return TensorVoxels(indices.int().contiguous(), features, (z, y, x), affine)


# -- the steps ---------------------------------------------------------------------------------------------


def _upload(data: NDArray[Any], device: str | torch.device) -> Tensor:
    """As it is stored where torch can calculate with that, else in the next wider integers."""
    native = data.dtype.newbyteorder("=")
    stored = np.dtype(_AS_STORED.get(native.name, native.name))
    on_card = torch.device(device).type == "cuda"
    staged = torch.empty(data.shape, dtype=getattr(torch, stored.name), pin_memory=on_card)
    # one copy takes care of strides, flips and byte order
    np.copyto(staged.numpy().view(native), data)
    there = staged.to(device, non_blocking=True)
    if native == np.uint16:
        return there.int() & 0xFFFF
    if native == np.uint32:
        return there.long() & 0xFFFFFFFF
    return there


def _inside(data: Tensor, volume: Volume) -> Tensor | None:
    """As :func:`napari_sparse3d.voxels.image_data.image_data`."""
    if data.is_floating_point():
        inside = torch.isfinite(data)
        n_bad = data.numel() - int(torch.count_nonzero(inside))
        if n_bad == 0:
            return None
        say_not_finite(volume, n_bad)
        return inside
    if padding_of(volume) is None:
        return None
    there = image_data(volume)
    return None if there is None else torch.from_numpy(there).to(data.device)


def _resampled(
    data: Tensor, inside: Tensor | None, volume: Volume, recipe: Recipe
) -> tuple[Tensor, NDArray[np.float64], Tensor | None]:
    if isinstance(recipe.resample, NoResampling):
        return data, volume.affine, inside
    grid = new_grid(volume, recipe.resample)
    if inside is None:
        return _interpolated(data, grid), grid.affine, None
    data = _interpolated(torch.where(inside, data, torch.zeros_like(data)), grid)
    share = _interpolated(inside, grid)
    inside = share >= LEAST_SHARE
    if not bool(inside.any()):
        # says what is wrong
        resample_image_data(volume, recipe.resample, image_data(volume))
    return torch.where(inside, data / share, math.nan), grid.affine, inside


def _interpolated(data: Tensor, grid: NewGrid) -> Tensor:
    for axis in grid.order:
        below, above, weight = (
            torch.from_numpy(one).to(data.device) for one in neighbours(grid.centres[axis], data.shape[axis])
        )
        along = [1, 1, 1]
        along[axis] = -1
        weight = weight.view(along)
        # not lerp or addcmul: they round once where the CPU's two products and their sum round three times
        made = data.index_select(axis, below).float() * (1 - weight)
        made += data.index_select(axis, above).float() * weight
        data = made
    return data


def _plain(threshold: Threshold) -> Threshold:
    return PRESETS[threshold.name] if isinstance(threshold, Preset) else threshold


def _bounds(threshold: Threshold, data: Tensor, unit: str) -> tuple[float, float]:
    plain = _plain(threshold)
    extremes = torch.stack(data.aminmax()).cpu().numpy()
    if isinstance(plain, OtsuThreshold):
        return next_above(_otsu(data, extremes), extremes.dtype), math.inf
    # a range looks at no value, a fraction of the maximum at the largest alone
    return bounds(threshold, extremes, unit)


def _otsu(data: Tensor, extremes: NDArray[Any]) -> float:
    bins = 256
    if extremes[0] == extremes[1]:
        return otsu(extremes)  # says what is wrong
    edges = np.histogram_bin_edges(extremes, bins)
    # bins are closed below, and the last one above as well
    inner = torch.from_numpy(edges[1:-1].copy()).to(data.device)
    bin_of = torch.bucketize(data.flatten().to(inner.dtype), inner, right=True)
    return otsu_of(torch.bincount(bin_of, minlength=bins).cpu().numpy(), edges)


def _between(data: Tensor, low: float, high: float) -> Tensor:
    """(Z, Y, X) bool: ``low <= data <= high``, compared as float64 would, in the data's own type."""
    active = torch.ones_like(data, dtype=torch.bool)
    if data.is_floating_point():
        kind = np.float64 if data.dtype == torch.float64 else np.float32
        with np.errstate(over="ignore"):  # beyond the largest float32 is infinite
            first, last = kind(low), kind(high)
        first = np.nextafter(first, kind(np.inf)) if float(first) < low else first
        last = np.nextafter(last, kind(-np.inf)) if float(last) > high else last
        return active & (data >= float(first)) & (data <= float(last))
    limits = torch.iinfo(data.dtype)
    if low > limits.max or high < limits.min:
        return ~active
    if low > limits.min:
        active &= data >= math.ceil(low)
    if high < limits.max:
        active &= data <= math.floor(high)
    return active


def _features(
    indices: Tensor,
    data: Tensor,
    affine: NDArray[np.float64],
    unit: str,
    names: tuple[FeatureName, ...],
    inside: Tensor | None,
) -> Tensor:
    """(N, C) float32; see :func:`napari_sparse3d.voxels.features.features_at`."""
    columns = []
    if set(names) != {"occupancy"}:
        lowest, highest = (float(one) for one in (data if inside is None else data[inside]).aminmax())
        scale = intensity_scale(unit, lowest, highest)
        # as a tensor: torch turns a division by a number into a product with its reciprocal on a card
        spacing_mm = torch.from_numpy(np.linalg.norm(affine[:3, :3], axis=0)).to(data.device)
    for name in names:
        if name == "occupancy":
            columns.append(torch.ones(len(indices), dtype=torch.float64, device=data.device))
        elif name == "intensity":
            columns.append(_value(data, indices) * scale)
        else:  # gradient; depth needs the CPU
            columns += [_difference(data, indices, axis, inside) * scale / spacing_mm[axis] for axis in range(3)]
    return torch.stack(columns, 1).float()


def _value(data: Tensor, indices: Tensor) -> Tensor:
    return data[tuple(indices.unbind(1))].double()


def _difference(data: Tensor, indices: Tensor, axis: int, inside: Tensor | None) -> Tensor:
    above, below = indices.clone(), indices.clone()
    above[:, axis] = (indices[:, axis] + 1).clamp(max=data.shape[axis] - 1)
    below[:, axis] = (indices[:, axis] - 1).clamp(min=0)
    if inside is not None:
        for neighbour in (above, below):
            there = inside[tuple(neighbour.unbind(1))]
            neighbour[:, axis] = torch.where(there, neighbour[:, axis], indices[:, axis])
    steps = (above[:, axis] - below[:, axis]).clamp(min=1)
    return (_value(data, above) - _value(data, below)) / steps
