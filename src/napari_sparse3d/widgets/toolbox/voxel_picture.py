"""What a layer of voxels holds. No Qt: it is made in a worker."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from napari_sparse3d.voxels import VoxelSet

KINDS = {"labels": "Labels", "surface": "Surface", "points": "Points"}
MAX_POINTS = 200_000
"""More points than this make the viewer stutter; a mask of the same voxels does not."""


def kind_for(voxels: VoxelSet, wanted: str) -> str:
    """The wanted kind, or labels where there are too many voxels for points."""
    return "labels" if wanted == "points" and voxels.n_active > MAX_POINTS else wanted


def picture_of(voxels: VoxelSet, kind: str) -> NDArray[Any]:
    """(N, 3) indices for points, otherwise a (Z, Y, X) uint8 mask."""
    return voxels.indices if kind == "points" else voxels.mask().view("u1")
