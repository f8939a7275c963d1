"""Voxel sets whose rows are tensors, and their batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.contract import Rows
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.tensor import SparseTensor
from napari_sparse3d.sparse.window import Triple
from napari_sparse3d.voxels.field import offset_within
from napari_sparse3d.voxels.voxel_set import VoxelSet


@dataclass(frozen=True, eq=False)
class TensorVoxels:
    """A :class:`VoxelSet` whose rows are tensors, on one device.

    Attributes
    ----------
    indices : Tensor
        (N, 3) int32 [z, y, x], raster order, unique, contiguous.
    features : Tensor
        (N, C) float32.
    shape : (int, int, int)
        (Z, Y, X) of the grid, in voxels.
    affine : ndarray
        (4, 4) float64, as in ``VoxelSet``.
    """

    indices: Tensor
    features: Tensor
    shape: Triple
    affine: NDArray[np.float64]

    @property
    def n_active(self) -> int:
        """Number of active voxels N."""
        return len(self.indices)

    @classmethod
    def of(cls, voxels: VoxelSet | TensorVoxels, device: str | torch.device) -> TensorVoxels:
        """The same rows on a device; to a card they are copied beside the program, from memory that is not paged."""
        if isinstance(voxels, VoxelSet):
            rows = torch.from_numpy(voxels.indices), torch.from_numpy(voxels.features)
            if torch.device(device).type == "cuda":
                rows = rows[0].pin_memory(), rows[1].pin_memory()
            voxels = cls(*rows, voxels.shape, voxels.affine)
        indices, features = (one.to(device, non_blocking=True) for one in (voxels.indices, voxels.features))
        return cls(indices, features, voxels.shape, voxels.affine)

    def numpy(self) -> VoxelSet:
        """The same on the CPU."""
        return VoxelSet(self.indices.cpu().numpy(), self.features.cpu().numpy(), self.shape, self.affine)


def batch_in_field(sets: Sequence[TensorVoxels], field: int) -> SparseTensor:
    """As :meth:`SparseTensor.from_voxels`, of voxels that lie on one device already; none of them leaves it.

    Parameters
    ----------
    sets : sequence of TensorVoxels
        At least one; all with the same number of features.
    field : int
        Side of the cube in which each is centred.

    Raises
    ------
    InputError
        If there is none, or one is larger than the field.
    """
    if not sets:
        raise InputError("a batch needs at least one voxel set, got none")
    placed = []
    for number, one in enumerate(sets):
        offset = offset_within(one.shape, field)
        columns = [torch.full_like(one.indices[:, 0], number)]
        columns += [one.indices[:, axis] + offset[axis] for axis in range(3)]
        placed.append(torch.stack(columns, 1))
    features = torch.cat([one.features for one in sets])
    # unchecked, which would wait for the card: what a threshold found is unique and inside
    sites = Sites.trusted(torch.cat(placed), (field,) * 3, len(sets))
    return SparseTensor._at(Rows(features, features.new_zeros(features.shape[1])), sites)
