"""The cubic grid that a network sees."""

from __future__ import annotations

import numpy as np

from napari_sparse3d.errors import InputError
from napari_sparse3d.voxels.voxel_set import VoxelSet

Triple = tuple[int, int, int]


def centre_offset(shape: Triple, field: int) -> Triple:
    """Where voxel (0, 0, 0) of a grid lies in the field that holds it centred: ``(field - size) // 2`` on each axis."""
    z, y, x = ((field - size) // 2 for size in shape)
    return z, y, x


def place_in_field(voxels: VoxelSet, field: int) -> VoxelSet:
    """The same voxels in the grid of a cubic field, centred; they stay where they are in the world.

    Parameters
    ----------
    voxels : VoxelSet
        Its grid may be larger than the field, as long as no active voxel falls outside.
    field : int
        Side of the field, in voxels.

    Returns
    -------
    VoxelSet
        Of shape (field, field, field).

    Raises
    ------
    InputError
        If an active voxel falls outside the field.
    """
    offset = np.array(centre_offset(voxels.shape, field), dtype=np.int32)
    indices = voxels.indices + offset
    if len(indices) and (indices.min() < 0 or indices.max() >= field):
        raise InputError(
            f"active voxels of a grid of {' x '.join(map(str, voxels.shape))} do not fit into a field of {field}^3; "
            f"resample to a longest side of at most {field}, or choose a network with a larger field"
        )
    affine = voxels.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ offset
    return VoxelSet(indices, voxels.features, (field, field, field), affine)
