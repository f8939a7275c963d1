"""Volume to voxel set, as a recipe says.

The names below are imported when they are first used: a network needs voxel sets, and nothing of what reads a recipe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sparse3d.lazy import on_first_use

if TYPE_CHECKING:
    from napari_sparse3d.voxels.field import centre_offset
    from napari_sparse3d.voxels.from_volume import VOXELS_VERSION, require_voxels, voxelize
    from napari_sparse3d.voxels.recipe import (
        BUILT_IN,
        PRESETS,
        Body,
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
        WholeScan,
    )
    from napari_sparse3d.voxels.voxel_set import VoxelSet

__all__ = [
    "BUILT_IN",
    "PRESETS",
    "VOXELS_VERSION",
    "Body",
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
    "WholeScan",
    "centre_offset",
    "require_voxels",
    "voxelize",
]

_HOME = {
    "BUILT_IN": "recipe",
    "Body": "recipe",
    "Components": "recipe",
    "FractionOfMax": "recipe",
    "NoResampling": "recipe",
    "OtsuThreshold": "recipe",
    "PRESETS": "recipe",
    "PercentileThreshold": "recipe",
    "Preset": "recipe",
    "RangeThreshold": "recipe",
    "Recipe": "recipe",
    "ToLongestSide": "recipe",
    "ToSpacing": "recipe",
    "VOXELS_VERSION": "from_volume",
    "VoxelSet": "voxel_set",
    "WholeScan": "recipe",
    "centre_offset": "field",
    "require_voxels": "from_volume",
    "voxelize": "from_volume",
}

__getattr__ = on_first_use(__name__, _HOME)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
