"""A voxel set in the viewer. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Recipe, VoxelSet


@dataclass(frozen=True, eq=False)
class ScanVoxels:
    """A voxel set and what it comes from: the content of a layer with the role ``voxels``.

    Attributes
    ----------
    voxels : VoxelSet
    recipe : Recipe
        By which it was made.
    volume : Volume
        Of which.
    frame : int
        The time point, where the scan's layer has several.
    """

    voxels: VoxelSet
    recipe: Recipe
    volume: Volume
    frame: int
