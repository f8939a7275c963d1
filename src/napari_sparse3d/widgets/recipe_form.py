"""The recipe as controls: what becomes a voxel, on which grid, what is kept and what a voxel holds."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QSpinBox, QVBoxLayout, QWidget

from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.histogram import Histogram
from napari_sparse3d.voxels import Components, NoResampling, Preset, Recipe, ToLongestSide, ToSpacing
from napari_sparse3d.voxels.recipe import FeatureName, Resample, Threshold
from napari_sparse3d.voxels.threshold import bounds
from napari_sparse3d.widgets.range_histogram import RangeHistogram
from napari_sparse3d.widgets.recipes import choices, custom_range
from napari_sparse3d.widgets.toolbox.faults import fault_of
from napari_sparse3d.widgets.toolbox.panel import SPACE, combo, form
from napari_sparse3d.widgets.toolbox.theme import Colours

_FEATURE_TIPS: dict[FeatureName, str] = {
    "occupancy": "1 at every active voxel: the shape alone",
    "intensity": "kHU for CT, otherwise a fraction of the largest value",
    "depth": "How far below the surface of the set, in units of 10 mm",
    "gradient": "Change of the intensity per mm, along three axes",
}


class RecipeForm(QWidget):
    """Edits one recipe for one volume.

    What the controls cannot show (an anisotropic spacing, another connectivity, an order of features) stays as it was
    until its own control is touched.
    """

    moved = Signal(float, float)
    """An end of the range moves: low, high."""
    changed = Signal()
    """The recipe is another one, and nothing moves any more."""
    failed = Signal(object)
    """A :class:`Fault`."""

    def __init__(self) -> None:
        super().__init__()
        self._recipe = Recipe.named("mri-110")
        self._unit = "a.u."
        self.recipe_box = combo("What becomes a voxel. A recipe sets everything below, a preset the range alone.")
        self.recipe_box.activated.connect(self._chosen)
        self.histogram = RangeHistogram()
        self.histogram.changed.connect(self._range_moved)
        self.histogram.released.connect(self.changed)
        self.resample = combo("Another grid over the same box, by linear interpolation")
        for text, kind in (("longest side", "longest_side"), ("voxel size", "spacing_mm"), ("as scanned", "none")):
            self.resample.addItem(text, kind)
        self.resample_to = QSpinBox()
        self.resample_to.setRange(2, 1024)
        self.resample_to.setValue(110)
        self.resample_to.setSuffix(" voxels")
        self.resample_to.setToolTip("Voxels along the longest side, or the side of a voxel in tenths of a mm")
        self.resample.currentIndexChanged.connect(self._resample_edited)
        self.resample_to.valueChanged.connect(self._resample_edited)
        self.keep = combo("Connected parts, by corners as well (26 neighbours)")
        self.keep.addItem("everything", "all")
        self.keep.addItem("largest parts", "some")
        self.keep_n = QSpinBox()
        self.keep_n.setRange(1, 1000)
        self.keep_n.setEnabled(False)
        self.keep_n.setToolTip("How many of the largest parts")
        self.keep.currentIndexChanged.connect(self._keep_edited)
        self.keep_n.valueChanged.connect(self._keep_edited)
        self.features: dict[FeatureName, QCheckBox] = {}
        for name in get_args(FeatureName):
            self.features[name] = box = QCheckBox(name)
            box.setToolTip(_FEATURE_TIPS[name])
            box.toggled.connect(self._features_edited)
        self._lay_out()

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        above, below = form(), form()
        above.addRow("Recipe", self.recipe_box)
        below.addRow("Resample", _beside(self.resample, self.resample_to))
        below.addRow("Keep", _beside(self.keep, self.keep_n))
        rows = QVBoxLayout()
        rows.setSpacing(2)
        boxes = list(self.features.values())
        for left, right in zip(boxes[::2], boxes[1::2], strict=True):
            row = QHBoxLayout()
            row.addWidget(left, 1)
            row.addWidget(right, 1)
            rows.addLayout(row)
        below.addRow("Features", rows)
        layout.addLayout(above)
        layout.addWidget(self.histogram)
        layout.addLayout(below)

    def restyle(self, look: Colours) -> None:
        """Follow the theme."""
        self.histogram.restyle(look)

    # -- the volume ----------------------------------------------------------------------------------------------------

    def set_volume(self, unit: str, recipe: Recipe) -> None:
        """Begin anew for a volume whose values have this unit; its histogram comes later."""
        self._unit = unit
        self.histogram.set_histogram(None, "")
        self._fill_recipes()
        self.take(recipe)

    def set_histogram(self, histogram: Histogram) -> None:
        """The volume's values have been counted."""
        self.histogram.set_histogram(histogram, self._unit)
        self._show_bounds()

    def _fill_recipes(self) -> None:
        self.recipe_box.clear()
        model = self.recipe_box.model()
        for choice in choices(self._unit):
            self.recipe_box.addItem(choice.title, (choice.kind, choice.name))
            if choice.reason and isinstance(model, QStandardItemModel):
                item = model.item(self.recipe_box.count() - 1)
                if item is not None:
                    item.setEnabled(False)
                    item.setToolTip(choice.reason)
        self.recipe_box.addItem("From a file…", ("file", ""))
        self.recipe_box.addItem("Custom", ("custom", ""))

    # -- the recipe ----------------------------------------------------------------------------------------------------

    def recipe(self) -> Recipe:
        """What the controls say.

        Raises
        ------
        InputError
            If no feature is chosen.
        """
        if not any(box.isChecked() for box in self.features.values()):
            raise InputError("choose at least one feature: a voxel has to hold something")
        return self._recipe

    def take(self, recipe: Recipe) -> None:
        """Set all controls to a recipe."""
        self._recipe = recipe
        controls: list[QWidget] = [self.resample, self.resample_to, self.keep, self.keep_n, *self.features.values()]
        for control in controls:
            control.blockSignals(True)
        self.resample.setCurrentIndex(self.resample.findData(recipe.resample.kind))
        self._fit_resample()
        if isinstance(recipe.resample, ToLongestSide):
            self.resample_to.setValue(recipe.resample.voxels)
        elif isinstance(recipe.resample, ToSpacing):
            self.resample_to.setValue(round(10 * min(recipe.resample.spacing_mm)))
        some = recipe.components.keep != "all"
        self.keep.setCurrentIndex(1 if some else 0)
        self.keep_n.setEnabled(some)
        if some:
            self.keep_n.setValue(int(recipe.components.keep))
        for name, box in self.features.items():
            box.setChecked(name in recipe.features)
        for control in controls:
            control.blockSignals(False)
        self._select(("recipe", recipe.name))
        self._show_bounds()

    def _select(self, data: tuple[str, str]) -> None:
        place = next((i for i in range(self.recipe_box.count()) if self.recipe_box.itemData(i) == data), -1)
        self.recipe_box.setCurrentIndex(place if place >= 0 else self.recipe_box.count() - 1)

    def _chosen(self, _index: int) -> None:
        kind, name = self.recipe_box.currentData()
        try:
            if kind == "recipe":
                self.take(Recipe.named(name))
            elif kind == "preset":
                self._recipe = Recipe(**{**dict(self._recipe), "threshold": Preset(name=name), "name": name})
                self._show_bounds()
            elif kind == "file":
                path, _ = QFileDialog.getOpenFileName(self, "Recipe", "", "Recipes (*.toml *.json)")
                if path:
                    self.take(Recipe.load(path))
                else:
                    self._select(("custom", ""))
        except (InputError, OSError) as error:
            self.failed.emit(fault_of(error))
            return
        self.changed.emit()

    def _edit(self, part: str, value: object) -> None:
        """One part of the recipe by hand: it has no name any more."""
        self._recipe = Recipe(**{**dict(self._recipe), part: value, "name": "custom"})
        self._select(("custom", ""))

    def _resample_edited(self, _value: int = 0) -> None:
        self._fit_resample()
        self._edit("resample", self._resample())
        self.changed.emit()

    def _resample(self) -> Resample:
        kind, number = self.resample.currentData(), self.resample_to.value()
        if kind == "longest_side":
            return ToLongestSide(voxels=number)
        if kind == "spacing_mm":
            return ToSpacing(spacing_mm=(number / 10,) * 3)
        return NoResampling()

    def _fit_resample(self) -> None:
        kind = self.resample.currentData()
        self.resample_to.setEnabled(kind != "none")
        self.resample_to.setSuffix(" voxels" if kind == "longest_side" else " × 0.1 mm" if kind == "spacing_mm" else "")

    def _keep_edited(self, _value: int = 0) -> None:
        some = self.keep.currentData() != "all"
        self.keep_n.setEnabled(some)
        keep: Any = self.keep_n.value() if some else "all"
        self._edit("components", Components(keep=keep, connectivity=self._recipe.components.connectivity))
        self.changed.emit()

    def _features_edited(self, _on: bool) -> None:
        chosen = {name for name, box in self.features.items() if box.isChecked()}
        if chosen:
            # those that stay keep their order: it is the order of the network's channels
            stay = [name for name in self._recipe.features if name in chosen]
            self._edit("features", (*stay, *(name for name in self.features if name in chosen - set(stay))))
        self.changed.emit()

    # -- the range -----------------------------------------------------------------------------------------------------

    def _range_moved(self, low: float, high: float) -> None:
        histogram = self.histogram.histogram
        if histogram is not None:
            self._edit("threshold", custom_range(low, high, histogram.low, histogram.high, self._unit))
            self.moved.emit(low, high)

    def _show_bounds(self) -> None:
        """Put the slider where the threshold is, reckoned on the scan itself."""
        histogram = self.histogram.histogram
        if histogram is None:
            return
        threshold: Threshold = self._recipe.threshold
        try:
            if threshold.kind in ("otsu", "percentile") or getattr(threshold, "name", "") == "otsu":
                sample = np.repeat((histogram.edges[:-1] + histogram.edges[1:]) / 2, _thinned(histogram.counts))
                low, high = bounds(threshold, sample, self._unit)
            else:
                low, high = bounds(threshold, np.array([histogram.low, histogram.high]), self._unit)
        except InputError as error:
            self.failed.emit(fault_of(error))
            return
        self.histogram.set_range(max(low, histogram.low), min(high, histogram.high))


def _thinned(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts in the same proportions, of at most about a million."""
    share = min(1.0, 1e6 / max(int(counts.sum()), 1))
    return np.where(counts > 0, np.maximum(1, (counts * share).astype(np.int64)), 0)


def _beside(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(SPACE)
    for widget, share in zip(widgets, (5, 3), strict=True):
        widget.setMinimumWidth(64)
        if isinstance(widget, QSpinBox):
            widget.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
            widget.setAlignment(Qt.AlignmentFlag.AlignRight)
        row.addWidget(widget, share)
    return row
