"""The recipes that have a name; ``voxels/recipe.py`` says what a recipe is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from napari_sparse3d.catalog.registry import Part, Registry
from napari_sparse3d.catalog.thresholds import THRESHOLDS


@dataclass(frozen=True, kw_only=True)
class RecipeInfo(Part):
    """A recipe. It is data, which ``home`` makes an object of.

    Attributes
    ----------
    values : mapping
        As in a recipe file, without ``name``.
    network : str
        Which networks it was made for, in words; ``""``: none in particular.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    network: str = ""
    home: str = "napari_sparse3d.voxels.recipe:Recipe"

    def __post_init__(self) -> None:
        if not isinstance(self.values.get("threshold"), Mapping) or "name" in self.values:
            raise ValueError(f"the recipe {self.name!r} needs values with a threshold and without a name")

    @property
    def unit(self) -> str:
        """What a volume's unit must be: ``"HU"``, ``"a.u."``; ``""``: any."""
        threshold = self.values["threshold"]
        if threshold.get("kind") == "preset":
            preset = THRESHOLDS.get(threshold.get("name"))
            return "" if preset is None else preset.unit
        return str(threshold.get("unit") or "")


RECIPES: Registry[RecipeInfo] = Registry(
    "recipe",
    "napari_sparse3d.recipes",
    RecipeInfo,
    [
        RecipeInfo(
            name="mri-110",
            title="Head MR (mri-110)",
            description="a head MRI, its longest side 110 voxels",
            network="deepC2",
            values={
                "resample": {"kind": "longest_side", "voxels": 110},
                "threshold": {"kind": "fraction_of_max", "fraction": 0.3},
                "field": 126,
            },
        ),
        RecipeInfo(
            name="ct-bone-110",
            title="Bone CT (ct-bone-110)",
            description="bone in CT, its longest side 110 voxels",
            network="deepC2",
            values={
                "resample": {"kind": "longest_side", "voxels": 110},
                "threshold": {"kind": "preset", "name": "bone"},
                "field": 126,
            },
        ),
        RecipeInfo(
            name="shape-40",
            title="Shape, 40 voxels (shape-40)",
            description="a binary shape (0 and one other value), its longest side 40 voxels",
            network="deepC2",
            values={
                "resample": {"kind": "longest_side", "voxels": 40},
                # half of that value is where the resampled surface lies
                "threshold": {"kind": "fraction_of_max", "fraction": 0.5},
                "field": 126,
            },
        ),
        RecipeInfo(
            name="shape-64",
            title="Shape as it is (shape-64)",
            description="a label map or binary shape on its own grid, with how thick it is at each voxel",
            network="vessel, nodule, adrenal",
            values={
                "threshold": {"kind": "range", "low": 0.5},
                "features": ("occupancy", "depth"),
                "field": 64,
            },
        ),
    ],
)

TRAINING_RECIPE = "shape-64"
"""How the cases of a training become voxels where nothing else is asked for."""
