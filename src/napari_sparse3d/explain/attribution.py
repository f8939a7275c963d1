"""What an attribution is: a value at each site, for or against a class.

A voxel or site that is not stored holds the background and gets no value: attributions speak of what is active.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.grids import Grid
from napari_sparse3d.sparse import SparseTensor


@dataclass(frozen=True, eq=False)
class Attribution:
    """A value for each site.

    Attributes
    ----------
    indices : Tensor
        (N, 4) int32 [b, z, y, x], on the grid of ``spatial_shape``.
    values : Tensor
        (N,) float32; above 0 where a site speaks for the class, below where against. In units of the logit.
    spatial_shape : tuple of int
        (D, H, W).
    grid : Grid
        Where the sites lie over the network's input.
    layer : str
        The layer that was looked at; ``"input"``.
    """

    indices: Tensor
    values: Tensor
    spatial_shape: tuple[int, int, int]
    grid: Grid
    layer: str


def baseline(x: SparseTensor) -> Tensor:
    """(1, C): what a voxel holds where nothing is active."""
    return torch.zeros_like(x.features[:1]) if x.background is None else x.background[None]


def at_input(x: SparseTensor, values: Tensor) -> Attribution:
    """Of (N,) values at the input's voxels."""
    return Attribution(x.indices.cpu(), values.detach().float().cpu(), x.spatial_shape, Grid(), "input")


def check_one_volume(x: SparseTensor) -> None:
    """Raise ``InputError`` unless there is one volume with active voxels."""
    if x.batch_size != 1:
        raise InputError(f"attribution takes one volume, got a batch of {x.batch_size}")
    if len(x.indices) == 0:
        raise InputError("nothing is active, so nothing can have driven the class; choose another threshold")
