"""The choices of the Sparse voxels panel as recipes, and back. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import BUILT_IN, PRESETS, Preset, RangeThreshold, Recipe
from napari_sparse3d.voxels.recipe import PresetName

TITLES: dict[str, str] = {
    "mri-110": "Head MR (mri-110)",
    "ct-bone-110": "Bone CT (ct-bone-110)",
    "shape-40": "Shape, 40 voxels (shape-40)",
    "shape-64": "Shape as it is (shape-64)",
    "bone": "Bone (CT)",
    "lung": "Lung (CT)",
    "soft-tissue": "Soft tissue (CT)",
    "fat": "Fat (CT)",
    "contrast-vessel": "Contrast vessel (CT)",
    "skin": "Skin (CT)",
    "brain": "Brain (MR), 30 % of max",
    "otsu": "Otsu's threshold",
}


@dataclass(frozen=True)
class Choice:
    """An entry of the list of recipes.

    ``kind`` is ``"recipe"`` (sets everything) or ``"preset"`` (sets the threshold alone); ``reason`` says why it cannot
    be chosen for the volume at hand.
    """

    kind: str
    name: str
    title: str
    reason: str


def choices(unit: str) -> list[Choice]:
    """All recipes and presets, what fits the unit first."""
    found = [
        *(("recipe", name, recipe.threshold) for name, recipe in BUILT_IN.items()),
        *(("preset", name, PRESETS[name]) for name in get_args(PresetName)),
    ]
    made = [Choice(kind, name, TITLES.get(name, name), _reason(threshold, unit)) for kind, name, threshold in found]
    own = [_unit_of(threshold) == unit for _, _, threshold in found]
    # what fits and is meant for this unit, what fits any, what does not fit
    order = sorted(range(len(made)), key=lambda k: (bool(made[k].reason), not own[k]))
    return [made[k] for k in order]


def default_recipe(volume: Volume) -> Recipe:
    """What to begin with: bone in CT, the head recipe in everything else."""
    return Recipe.named("ct-bone-110" if volume.unit == "HU" else "mri-110")


def custom_range(low: float, high: float, lowest: float, highest: float, unit: str) -> RangeThreshold:
    """A threshold by hand; an end at the end of the histogram is left open."""
    known = unit if unit in ("HU", "a.u.") else None
    return RangeThreshold(
        low=None if low <= lowest and high < highest else low,
        high=None if high >= highest else high,
        unit="HU" if known == "HU" else "a.u." if known else None,
    )


def _unit_of(threshold: object) -> str | None:
    plain = PRESETS[threshold.name] if isinstance(threshold, Preset) else threshold
    return getattr(plain, "unit", None)


def _reason(threshold: object, unit: str) -> str:
    wanted = _unit_of(threshold)
    return "" if wanted in (None, unit) else f"needs a volume in {wanted}; this one is in {unit}"
