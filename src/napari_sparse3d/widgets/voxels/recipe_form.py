"""The recipe as controls: what becomes a voxel, on which grid, what is kept and what a voxel holds."""

from __future__ import annotations

from dataclasses import replace

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QFileDialog, QWidget

from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.histogram import Histogram
from napari_sparse3d.voxels import Preset, Recipe
from napari_sparse3d.voxels.recipe import Components, PresetName, Region, Resample, Threshold
from napari_sparse3d.widgets.toolbox.controls import Control
from napari_sparse3d.widgets.toolbox.failures import failure_of
from napari_sparse3d.widgets.toolbox.fields import Field, fields_of, kinds_of
from napari_sparse3d.widgets.toolbox.forms import KindForm
from napari_sparse3d.widgets.toolbox.layout import combo, form, grey_out, small_label, stacked
from napari_sparse3d.widgets.voxels.range_histogram import RangeHistogram
from napari_sparse3d.widgets.voxels.recipes import (
    FEATURE_TIPS,
    KEEP_TITLES,
    PRESET_TITLES,
    REGION_TITLES,
    RESAMPLE_BEGIN,
    RESAMPLE_TITLES,
    THRESHOLD_BEGIN,
    THRESHOLD_TITLES,
    choices,
    custom_range,
    recipe_of,
    threshold_range,
)


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
    """A :class:`Failure`."""

    def __init__(self) -> None:
        super().__init__()
        self._recipe = Recipe.named("mri-110")
        self._unit = "a.u."
        self.recipe_box = combo(
            "What becomes a voxel. A recipe is made for a network; a preset is a range on the scan's own grid."
        )
        self.recipe_box.activated.connect(self._chosen)
        self.histogram = RangeHistogram()
        self.histogram.changed.connect(self._range_moved)
        self.histogram.released.connect(self.changed)
        # the ends of a range are set in the histogram, which shows those of every other kind as well
        self._threshold = KindForm(
            kinds_of(Threshold, without=("low", "high", "unit")),
            THRESHOLD_TITLES,
            THRESHOLD_BEGIN,
            "Which values become active; a range is set in the histogram",
            {"name": PRESET_TITLES},
        )
        self._threshold.changed.connect(self._threshold_edited)
        self._resample = KindForm(
            kinds_of(Resample, units={"voxels": "voxels"}),
            RESAMPLE_TITLES,
            RESAMPLE_BEGIN,
            "Resample to another grid over the same box (linear interpolation)",
        )
        self._resample.changed.connect(self._resample_edited)
        self._region = KindForm(
            kinds_of(Region, without=("above_hu", "thinner_than_mm")),
            REGION_TITLES,
            {},
            "Where voxels may lie. In a CT, the body leaves out the couch and the head holder and keeps the arms",
        )
        self._region.changed.connect(self._region_edited)
        (keep,) = fields_of(Components, without=("connectivity",))
        self._keep = Control(replace(keep, low=1), KEEP_TITLES)
        self._keep.changed.connect(self._keep_edited)
        self._features = Control(_features(), FEATURE_TIPS)
        self._features.changed.connect(self._features_edited)
        self._lay_out()

    def _lay_out(self) -> None:
        layout, above, below = stacked(self), form(), form()
        above.addRow("Recipe", self.recipe_box)
        below.addRow("Threshold", self._threshold)
        below.addRow("Resample", self._resample)
        below.addRow("Within", self._region)
        below.addRow("Keep", self._keep.widget)
        below.addRow(small_label("Features"))  # above them: beside a label they would be cut
        below.addRow(self._features.widget)
        layout.addLayout(above)
        layout.addWidget(self.histogram)
        layout.addLayout(below)

    # -- the boxes, by what they hold ----------------------------------------------------------------------------------

    @property
    def threshold(self) -> QComboBox:
        """The kind of threshold."""
        return self._threshold.choice

    @property
    def resample(self) -> QComboBox:
        """The kind of resampling."""
        return self._resample.choice

    @property
    def resample_to(self) -> QDoubleSpinBox:
        """The number that goes with it."""
        (control,) = self._resample.controls[self._resample.kind].values()
        box = control.widget
        assert isinstance(box, QDoubleSpinBox)  # both have a unit
        return box

    @property
    def region(self) -> QComboBox:
        """The whole scan, or the body."""
        return self._region.choice

    @property
    def keep(self) -> QWidget:
        """Everything, or the largest parts."""
        return self._keep.parts["words"]

    @property
    def keep_n(self) -> QWidget:
        """How many of the largest parts."""
        return self._keep.parts["value"]

    @property
    def features(self) -> dict[str, QCheckBox]:
        """The box of each feature."""
        return {name: box for name, box in self._features.parts.items() if isinstance(box, QCheckBox)}

    # -- the volume ----------------------------------------------------------------------------------------------------

    def set_volume(self, unit: str, recipe: Recipe) -> None:
        """Begin anew for a volume whose values have this unit; its histogram comes later."""
        self._unit = unit
        self.histogram.set_histogram(None, "")
        self._fill_recipes()
        grey_out(self.region, "" if unit == "HU" else f"needs a volume in HU; this one is in {unit}")
        self.take(recipe)

    def set_histogram(self, histogram: Histogram) -> None:
        """The volume's values have been counted."""
        self.histogram.set_histogram(histogram, self._unit)
        self._show_bounds()

    def _fill_recipes(self) -> None:
        self.recipe_box.clear()
        for choice in choices(self._unit):
            self.recipe_box.addItem(choice.title, (choice.kind, choice.name))
            self.recipe_box.setItemData(self.recipe_box.count() - 1, choice.title, Qt.ItemDataRole.ToolTipRole)
            if choice.reason:
                grey_out(self.recipe_box, choice.reason)
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
        if not self._features.value:
            raise InputError("choose at least one feature: a voxel has to hold something")
        return self._recipe

    def take(self, recipe: Recipe) -> None:
        """Set all controls to a recipe."""
        self._recipe = recipe
        self._resample.show_values(dict(recipe.resample))
        self._threshold.show_values(dict(recipe.threshold))
        self._region.show_values(dict(recipe.region))
        self._keep.show(recipe.components.keep)
        self._features.show(recipe.features)
        self._select()
        self._show_bounds()

    def _select(self) -> None:
        """Show which entry of the list the recipe is; the last one, Custom, where it is none."""
        entries = [self.recipe_box.itemData(i) for i in range(self.recipe_box.count())]
        name = self._recipe.name
        named = [entry for entry in (("recipe", name), ("preset", name)) if entry in entries]
        place = next((entries.index(each) for each in named if recipe_of(*each) == self._recipe), len(entries) - 1)
        self.recipe_box.setCurrentIndex(place)

    def _chosen(self, _index: int) -> None:
        kind, name = self.recipe_box.currentData()
        try:
            if kind in ("recipe", "preset"):
                self.take(recipe_of(kind, name))
            elif kind == "file":
                path, _ = QFileDialog.getOpenFileName(self, "Recipe", "", "Recipes (*.toml *.json)")
                if path:
                    self.take(Recipe.load(path))
                else:
                    self._select()
        except (InputError, OSError) as error:
            self.failed.emit(failure_of(error))
            return
        self.changed.emit()

    def _take_preset(self, name: PresetName) -> None:
        """A preset as the kind of threshold sets that alone, and gives its name."""
        self._recipe = Recipe(**{**dict(self._recipe), "threshold": Preset(name=name), "name": name})
        self._threshold.show_values({"kind": "preset", "name": name})
        self._select()
        self._show_bounds()

    def _edit(self, part: str, value: object) -> bool:
        """One part of the recipe by hand: it has no name any more. False if it cannot be so."""
        try:
            self._recipe = Recipe(**{**dict(self._recipe), part: value, "name": "custom"})
        except InputError as error:
            self.failed.emit(failure_of(error))
            return False
        self._select()
        return True

    def _resample_edited(self) -> None:
        if self._edit("resample", self._resample.values()):
            self.changed.emit()

    def _region_edited(self) -> None:
        if self._edit("region", self._region.values()):
            self.changed.emit()

    def _keep_edited(self) -> None:
        components = {**dict(self._recipe.components), "keep": self._keep.value}
        if self._edit("components", components):
            self.changed.emit()

    def _features_edited(self) -> None:
        chosen = self._features.value
        if chosen:
            # those that stay keep their order: it is the order of the network's channels
            stay = [name for name in self._recipe.features if name in chosen]
            self._edit("features", (*stay, *(name for name in chosen if name not in stay)))
        self.changed.emit()

    # -- the threshold -------------------------------------------------------------------------------------------------

    def _threshold_edited(self) -> None:
        values = self._threshold.values()
        if values["kind"] == "preset":
            self._take_preset(values["name"])
            self.changed.emit()
        elif values["kind"] == "range":
            if self.histogram.histogram is None:  # no ends yet
                self._threshold.show_values(dict(self._recipe.threshold))
            else:
                self._range_moved(*self.histogram.range)
                self.changed.emit()
        elif self._edit("threshold", values):
            self._show_bounds()
            self.changed.emit()

    def _range_moved(self, low: float, high: float) -> None:
        histogram = self.histogram.histogram
        if histogram is not None:
            by_hand = custom_range(low, high, histogram.low, histogram.high, self._unit)
            if self._edit("threshold", by_hand):
                self._threshold.show_values(dict(by_hand))
                self.moved.emit(low, high)

    def _show_bounds(self) -> None:
        """Put the slider where the threshold is, reckoned on the scan itself."""
        histogram = self.histogram.histogram
        if histogram is None:
            return
        try:
            self.histogram.set_range(*threshold_range(self._recipe.threshold, histogram, self._unit))
        except InputError as error:
            self.failed.emit(failure_of(error))


def _features() -> Field:
    return next(each for each in fields_of(Recipe) if each.name == "features")
