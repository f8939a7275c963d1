"""Volume to voxel set, as a recipe says."""

from napari_sparse3d.voxels.field import centre_offset
from napari_sparse3d.voxels.from_volume import VOXELS_VERSION, require_voxels, voxelize
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

__all__ = [
    "BUILT_IN",
    "PRESETS",
    "VOXELS_VERSION",
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
