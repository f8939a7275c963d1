"""A volume becomes a voxel set where the network runs: the recipe's steps on tensors.

On the CPU the kernels behind :func:`napari_sparse3d.voxels.voxelize` are faster. On a card this saves the way of the
voxels there: the volume is sent once, as it was stored, and all else stays. The steps are those of :mod:`voxels`, over
torch's operations instead of numpy's, each rounded by itself, so both give the same bits.

What has no counterpart in torch stays on the CPU, see :func:`needs_cpu`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.engine import use_engine
from napari_sparse3d.sparse.tensor_voxels import TensorVoxels
from napari_sparse3d.sparse.torch_arrays import TorchArrays
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.from_volume import follow, voxelize
from napari_sparse3d.voxels.recipe import PercentileThreshold, Recipe
from napari_sparse3d.voxels.threshold import plain
from napari_sparse3d.voxels.voxel_set import VoxelSet

_AS_STORED = {"bool": "uint8", "uint16": "int16", "uint32": "int32"}
"""torch does little with some types: they travel as another one of the same size."""

_SENDABLE = {*_AS_STORED, "uint8", "int8", "int16", "int32", "int64", "float32", "float64"}

_MAX_VOXELS = 2**31 - 1
"""``torch.nonzero`` on a card takes no more."""


def needs_cpu(recipe: Recipe) -> str:
    """Which part of a recipe has no counterpart in torch, or nothing."""
    if recipe.region.kind == "body":
        return "the body is found on the CPU"
    if recipe.components.keep != "all":
        return "connected parts are found on the CPU"
    if "depth" in recipe.features:
        return "the depth below the surface is measured on the CPU"
    if isinstance(plain(recipe.threshold), PercentileThreshold):
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
    with use_engine("auto"):  # no operator runs here, but a card without memory is told in the same words
        indices, features, shape, affine = follow(recipe, volume, _upload(volume.data, device), TorchArrays(device))
        return TensorVoxels(indices.int().contiguous(), features, shape, affine)


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
