"""The choices of the Sparse voxels panel as recipes, and back. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.catalog import RECIPES, THRESHOLDS, RecipeInfo, ThresholdInfo
from napari_sparse3d.catalog.recipes import TRAINING_RECIPE
from napari_sparse3d.measure.histogram import Histogram
from napari_sparse3d.volume import Volume, two_values
from napari_sparse3d.voxels import Preset, RangeThreshold, Recipe
from napari_sparse3d.voxels.recipe import Threshold
from napari_sparse3d.voxels.threshold import bounds

PRESET_TITLES: Mapping[Any, str] = {name: info.title for name, info in THRESHOLDS.items()}
THRESHOLD_TITLES = {
    "range": "range",
    "preset": "preset",
    "otsu": "Otsu",
    "percentile": "percentile",
    "fraction_of_max": "fraction of max",
}
THRESHOLD_BEGIN: Mapping[str, Mapping[str, Any]] = {
    "percentile": {"percentile": 95.0},
    "fraction_of_max": {"fraction": 0.3},
    "preset": {"name": "otsu"},
}
RESAMPLE_TITLES = {"longest_side": "longest side", "spacing_mm": "voxel size", "none": "as scanned"}
RESAMPLE_BEGIN: Mapping[str, Mapping[str, Any]] = {
    "longest_side": {"voxels": 110},
    "spacing_mm": {"spacing_mm": (1.0, 1.0, 1.0)},
}
REGION_TITLES = {"all": "the whole scan", "body": "the body, no couch"}
KEEP_TITLES: Mapping[Any, str] = {"all": "everything", "number": "largest parts"}
FEATURE_TIPS: Mapping[Any, str] = {
    "occupancy": "1 at every active voxel: the shape alone",
    "intensity": "kHU for CT, otherwise a fraction of the largest value",
    "depth": "How far below the surface of the set, in units of 10 mm",
    "gradient": "Change of the intensity per mm, along three axes",
}


@dataclass(frozen=True)
class Choice:
    """An entry of the list of recipes.

    ``kind`` is ``"recipe"`` (made for a network) or ``"preset"`` (to look with, on the scan's own grid); both set
    everything. ``reason`` says why it cannot be chosen for the volume at hand.
    """

    kind: str
    name: str
    title: str
    reason: str


def choices(unit: str) -> list[Choice]:
    """All recipes and presets, what fits the unit first."""
    listed: list[tuple[str, RecipeInfo | ThresholdInfo]] = [
        *(("recipe", info) for info in RECIPES.values()),
        *(("preset", info) for info in THRESHOLDS.values()),
    ]
    # what fits and is meant for this unit, what fits any, what does not fit
    listed.sort(key=lambda each: (bool(_reason(each[1].unit, unit)), each[1].unit != unit))
    return [Choice(kind, info.name, _title(info), _reason(info.unit, unit)) for kind, info in listed]


def _title(info: RecipeInfo | ThresholdInfo) -> str:
    network = getattr(info, "network", "")
    return f"{info.title}, for {network}" if network else info.title


def recipe_of(kind: str, name: str) -> Recipe:
    """The recipe of an entry of the list: a preset is to look with, and keeps the scan's own grid.

    Raises
    ------
    InputError
        If another package's is no recipe.
    """
    return Recipe.named(name) if kind == "recipe" else Recipe(name=name, threshold=Preset(name=name))


def default_recipe(volume: Volume) -> Recipe:
    """What to begin with: bone in CT, the shape of a label map, the head recipe in everything else."""
    if volume.meta.get("labels"):
        return Recipe.named(TRAINING_RECIPE)
    return Recipe.named("ct-bone-110" if volume.unit == "HU" else "mri-110")


def mask_recipe(volume: Volume) -> tuple[Recipe, str] | None:
    """The recipe of the shape, where a volume is a mask, and why; every value is looked at.

    A mask holds two whole numbers. In HU one of them must be 0: two densities are a phantom.
    """
    values = two_values(volume.data)
    if values is None or values[0] == values[1] or any(value != round(value) for value in values):
        return None
    low, high = values
    if low != 0 and volume.unit == "HU":
        return None
    shape = Recipe.named(TRAINING_RECIPE)
    if not low < 0.5 <= high:
        shape = shape.model_copy(update={"name": "custom", "threshold": RangeThreshold(low=high)})
    return shape, f"a mask of {low:g} and {high:g}"


def custom_range(low: float, high: float, lowest: float, highest: float, unit: str) -> RangeThreshold:
    """A threshold by hand; an end at the end of the histogram is left open, one beyond it stands."""
    known = unit if unit in ("HU", "a.u.") else None
    return RangeThreshold(
        low=None if low == lowest and high != highest else low,
        high=None if high == highest else high,
        unit="HU" if known == "HU" else "a.u." if known else None,
    )


def _reason(wanted: str, unit: str) -> str:
    return "" if wanted in ("", unit) else f"needs a volume in {wanted}; this one is in {unit}"


def threshold_range(threshold: Threshold, histogram: Histogram, unit: str) -> tuple[float, float]:
    """Where a threshold lies on the scan itself: within its values, but for a range whose ends were named.

    Raises
    ------
    InputError
        If the threshold is for another unit.
    """
    if threshold.kind in ("otsu", "percentile") or getattr(threshold, "name", "") == "otsu":
        values = np.repeat((histogram.edges[:-1] + histogram.edges[1:]) / 2, _thinned(histogram.counts))
    else:
        values = np.array([histogram.low, histogram.high])
    low, high = bounds(threshold, values, unit)
    if threshold.kind == "range":
        return (low if np.isfinite(low) else histogram.low), (high if np.isfinite(high) else histogram.high)
    return max(low, histogram.low), min(high, histogram.high)


def _thinned(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts in the same proportions, of at most about a million."""
    share = min(1.0, 1e6 / max(int(counts.sum()), 1))
    return np.where(counts > 0, np.maximum(1, (counts * share).astype(np.int64)), 0)
