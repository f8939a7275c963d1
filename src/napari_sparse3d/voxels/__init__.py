"""Volume to voxel set, as a recipe says."""

from napari_sparse3d.voxels.field import centre_offset
from napari_sparse3d.voxels.recipe import (
    BUILT_IN,
    PRESETS,
    Components,
    FractionOfMax,
    NoResampling,
    OtsuThreshold,
    PercentileThreshold,
    Preset,
    RangeThreshold,
    Recipe,
    ToLongestSide,
    ToSpacing,
)
from napari_sparse3d.voxels.voxel_set import VoxelSet
from napari_sparse3d.voxels.voxelize import require_voxels, voxelize

__all__ = [
    "BUILT_IN",
    "PRESETS",
    "Components",
    "FractionOfMax",
    "NoResampling",
    "OtsuThreshold",
    "PercentileThreshold",
    "Preset",
    "RangeThreshold",
    "Recipe",
    "ToLongestSide",
    "ToSpacing",
    "VoxelSet",
    "centre_offset",
    "require_voxels",
    "voxelize",
]
