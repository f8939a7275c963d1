"""The Sparse voxels panel: from a volume to its voxel set."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QPushButton, QSpinBox, QVBoxLayout, QWidget

from napari_sparse3d.analysis.histogram import histogram_by_slab
from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import (
    Components,
    NoResampling,
    Preset,
    Recipe,
    ToLongestSide,
    ToSpacing,
    require_voxels,
    voxelize,
)
from napari_sparse3d.voxels.recipe import FeatureName, Resample, Threshold
from napari_sparse3d.voxels.threshold import bounds
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.opening import open_folder, open_sample
from napari_sparse3d.widgets.range_histogram import RangeHistogram
from napari_sparse3d.widgets.recipes import choices, custom_range, default_recipe
from napari_sparse3d.widgets.records import Cost, Request
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.faults import Fault, fault_of
from napari_sparse3d.widgets.toolbox.layers import Made, Mark, mark_of, ours, put_labels, volume_layer, volumes
from napari_sparse3d.widgets.toolbox.panel import SPACE, Panel, combo, form, later, small_label
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.sources import (
    placement,
    slice_preview,
    source_path,
    volume_of_layer,
    why_no_volume,
)
from napari_sparse3d.widgets.toolbox.theme import ORANGE, Colours, voxel_colormap
from napari_sparse3d.widgets.toolbox.work import Step, Work

_SETTLE_MS = 120
"""After the last change, before the whole set is made: a slider that is still moving makes nothing."""


class VoxelsPanel(Panel):
    """Choose a volume and a recipe; see what is kept; make the voxel set as a layer."""

    primary_text = "Make voxel set"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.workbench.enter(self)
        self._threshold: Threshold = Recipe.named("mri-110").threshold
        self._name = "custom"
        self._field: int | None = 126
        self._made: tuple[tuple[str, int, str], Made] | None = None
        self._wanted = False  # the user has asked for the layer, not only for the numbers
        self._settle = later(_SETTLE_MS, self, partial(self._make, wanted=False))
        self.counting = Work(self)
        self.making = Work(self)
        self.costing = Work(self)
        self._build()
        self.follow(self.making)
        self.making.finished.connect(self._show)
        self.counting.finished.connect(self._counted)
        self.counting.failed.connect(self._cannot_count)
        self.costing.finished.connect(self._show_cost)
        self.costing.failed.connect(self._no_cost)
        events = napari_viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self._layers_changed)
        napari_viewer.dims.events.current_step.connect(self._slice_changed)
        napari_viewer.dims.events.order.connect(self._slice_changed)
        napari_viewer.dims.events.ndisplay.connect(self._slice_changed)
        self.workbench.model_changed.connect(self._model_changed)
        self._layers_changed()
        # importing torch takes seconds: the process that runs networks starts while the user is still looking around
        self.costing.start(lambda: self.workbench.network_child.call("hello"), "starting the network process")

    # -- looks ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.empty = QWidget()
        nothing = QVBoxLayout(self.empty)
        nothing.setContentsMargins(0, 0, 0, 0)
        self.empty_text = small_label("No volume is open.")
        open_button = QPushButton("Open a folder…")
        open_button.setToolTip("A DICOM folder, or one with NIfTI, NRRD or MetaImage files")
        open_button.clicked.connect(lambda: open_folder(self.viewer, self, self.say))
        sample_button = QPushButton("Try the sample head MRI")
        sample_button.setToolTip("The MNI152 average, which comes with this plugin")
        sample_button.clicked.connect(lambda: open_sample(self.viewer, "head_mri"))
        self.open_button, self.sample_button = open_button, sample_button
        for widget in (self.empty_text, open_button, sample_button):
            nothing.addWidget(widget)
        self.body.addWidget(self.empty)

        self.filled = QWidget()
        layout = QVBoxLayout(self.filled)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        top = form()
        self.volume = combo("The scan to take voxels from")
        self.volume.currentIndexChanged.connect(self._volume_chosen)
        self.about = small_label()
        self.recipe_box = combo("What becomes a voxel. A recipe sets everything below, a preset the range alone.")
        self.recipe_box.activated.connect(self._recipe_chosen)
        top.addRow("Volume", self.volume)
        top.addRow(self.about)
        top.addRow("Recipe", self.recipe_box)
        layout.addLayout(top)
        self.histogram = RangeHistogram()
        self.histogram.changed.connect(self._range_moved)
        self.histogram.released.connect(lambda: self._settle.start())
        layout.addWidget(self.histogram)

        below = form()
        self.resample = combo("Another grid over the same box, by linear interpolation")
        for text, kind in (("longest side", "longest_side"), ("voxel size", "spacing_mm"), ("as scanned", "none")):
            self.resample.addItem(text, kind)
        self.resample_to = QSpinBox()
        self.resample_to.setRange(2, 1024)
        self.resample_to.setValue(110)
        self.resample_to.setSuffix(" voxels")
        self.resample_to.setToolTip("Voxels along the longest side, or the side of a voxel in tenths of a mm")
        self.resample.currentIndexChanged.connect(self._resample_kind)
        self.resample_to.valueChanged.connect(self._edited)
        below.addRow("Resample", _beside(self.resample, self.resample_to))
        self.keep = combo("Connected parts, by corners as well (26 neighbours)")
        self.keep.addItem("everything", "all")
        self.keep.addItem("largest parts", "some")
        self.keep_n = QSpinBox()
        self.keep_n.setRange(1, 1000)
        self.keep_n.setEnabled(False)
        self.keep_n.setToolTip("How many of the largest parts")
        self.keep.currentIndexChanged.connect(self._keep_kind)
        self.keep_n.valueChanged.connect(self._edited)
        below.addRow("Keep", _beside(self.keep, self.keep_n))
        self.features: dict[FeatureName, QCheckBox] = {}
        column = QVBoxLayout()
        column.setSpacing(2)
        tips = {
            "occupancy": "1 at every active voxel: the shape alone",
            "intensity": "kHU for CT, otherwise a fraction of the largest value",
            "gradient": "Change of the intensity per mm, along three axes",
        }
        for name, tip in tips.items():
            box = QCheckBox(name)
            box.setToolTip(tip)
            box.toggled.connect(self._edited)
            self.features[name] = box  # type: ignore[index]  # the keys are the feature names
            column.addWidget(box)
        self.features["occupancy"].setChecked(True)
        below.addRow("Features", column)
        layout.addLayout(below)
        self.preview = QCheckBox("Preview while the range moves")
        self.preview.setToolTip("Before resampling and clean-up: the exact numbers come when you let go")
        self.preview.setChecked(bool(preference("voxels.preview")))
        layout.addWidget(self.preview)
        self.numbers = small_label()
        self.numbers.setAccessibleName("Numbers of the voxel set")
        self.cost = small_label()
        layout.addWidget(self.numbers)
        layout.addWidget(self.cost)
        self.next_button = QPushButton("Run a network on it ▸")
        self.next_button.setToolTip("Open the Network panel and run the chosen model on these voxels")
        self.next_button.clicked.connect(self._next)
        self.next_button.hide()
        layout.addWidget(self.next_button)
        self.body.addWidget(self.filled)
        self.body.addStretch(1)
        self.copy_command = self.add_link("Copy as command", "The line that makes this voxel set", self._command)
        self.copy_python = self.add_link("Copy as Python", "The same in Python", self._python)
        self.save_recipe = self.add_link("Save recipe…", "A .toml file for --recipe", self._save_recipe)

    def restyle(self, look: Colours) -> None:
        """Follow the theme."""
        if hasattr(self, "histogram"):
            self.histogram.restyle(look)

    # -- which volume --------------------------------------------------------------------------------------------------

    @property
    def layer(self) -> Layer | None:
        """The chosen volume's layer, if it is still open."""
        key = self.volume.currentData()
        return volume_layer(self.viewer, key) if key else None

    def _layers_changed(self, _event: object = None) -> None:
        found = volumes(self.viewer)
        current = self.volume.currentData()
        self.volume.blockSignals(True)
        self.volume.clear()
        for layer in found:
            self.volume.addItem(layer.name, str(layer.unique_id))
        place = self.volume.findData(current)
        self.volume.setCurrentIndex(max(place, 0) if found else -1)
        self.volume.blockSignals(False)
        self.empty.setVisible(not found)
        self.filled.setVisible(bool(found))
        for button in (self.primary, self.copy_command, self.copy_python, self.save_recipe):
            button.setVisible(bool(found))
        reasons = [reason for layer in self.viewer.layers if (reason := why_no_volume(layer))]
        self.empty_text.setText(reasons[-1] if reasons else "No volume is open.")
        if self.volume.currentData() != current:
            self._volume_chosen()

    def _volume_chosen(self, _index: int = 0) -> None:
        self._settle.stop()
        if self.making.running:
            self.making.cancel()
        self._made = None
        self.next_button.hide()
        self.numbers.setText("")
        self.cost.setText("")
        self.say("")
        self.histogram.set_histogram(None, "")
        layer = self.layer
        if layer is None:
            self.counting.cancel()
            return
        try:
            volume = self._volume(layer)
        except InputError as error:
            self.fail(fault_of(error))
            return
        about = f"{words.grid(volume.shape)} · {words.spacing(volume.spacing_mm)} (z, y, x)"
        if layer.ndim == 4:
            about += f"\ntime {self._frame(layer)} of {layer.data.shape[0]}: the one the viewer shows"
        if layer.metadata.get("axes") != "SAR":
            about += "\nnot opened by this plugin: the layer's scale is taken as mm, the values have no unit"
        self.about.setText(about)
        self._fill_recipes(volume.unit)
        self._take(default_recipe(volume))
        self.counting.start(lambda: _count(volume), f"counting the values of {volume.name}")

    def _frame(self, layer: Layer) -> int:
        if layer.ndim != 4:
            return 0
        at = layer.world_to_data(np.asarray(self.viewer.dims.point)[-4:])[0]
        return int(np.clip(round(float(at)), 0, layer.data.shape[0] - 1))

    def _volume(self, layer: Layer) -> Volume:
        return volume_of_layer(layer, self._frame(layer))

    def _fill_recipes(self, unit: str) -> None:
        self.recipe_box.clear()
        model = self.recipe_box.model()
        for choice in choices(unit):
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
        names = tuple(name for name, box in self.features.items() if box.isChecked())
        if not names:
            raise InputError("choose at least one feature: a voxel has to hold something")
        keep = "all" if self.keep.currentData() == "all" else self.keep_n.value()
        return Recipe(
            name=self._name,
            resample=self._resample(),
            threshold=self._threshold,
            components=Components(keep=keep),  # type: ignore[arg-type]  # mypy sees str, it is the literal
            features=names,
            field=self._field,
        )

    def _resample(self) -> Resample:
        kind, number = self.resample.currentData(), self.resample_to.value()
        if kind == "longest_side":
            return ToLongestSide(voxels=number)
        if kind == "spacing_mm":
            return ToSpacing(spacing_mm=(number / 10,) * 3)
        return NoResampling()

    def _take(self, recipe: Recipe) -> None:
        """Set all controls to a recipe."""
        controls: list[QWidget] = [self.resample, self.resample_to, self.keep, self.keep_n, *self.features.values()]
        for control in controls:
            control.blockSignals(True)
        self.resample.setCurrentIndex(self.resample.findData(recipe.resample.kind))
        self._fit_resample()
        if isinstance(recipe.resample, ToLongestSide):
            self.resample_to.setValue(recipe.resample.voxels)
        elif isinstance(recipe.resample, ToSpacing):
            self.resample_to.setValue(round(10 * min(recipe.resample.spacing_mm)))
        self.keep.setCurrentIndex(0 if recipe.components.keep == "all" else 1)
        self.keep_n.setEnabled(recipe.components.keep != "all")
        if recipe.components.keep != "all":
            self.keep_n.setValue(int(recipe.components.keep))
        for name, box in self.features.items():
            box.setChecked(name in recipe.features)
        for control in controls:
            control.blockSignals(False)
        self._name, self._threshold, self._field = recipe.name, recipe.threshold, recipe.field
        self._select_recipe(("recipe", recipe.name))
        self._show_bounds()

    def _select_recipe(self, data: tuple[str, str]) -> None:
        place = next((i for i in range(self.recipe_box.count()) if self.recipe_box.itemData(i) == data), -1)
        self.recipe_box.setCurrentIndex(place if place >= 0 else self.recipe_box.count() - 1)

    def _recipe_chosen(self, _index: int) -> None:
        kind, name = self.recipe_box.currentData()
        try:
            if kind == "recipe":
                self._take(Recipe.named(name))
            elif kind == "preset":
                self._threshold, self._name = Preset(name=name), name
                self._show_bounds()
            elif kind == "file":
                path, _ = QFileDialog.getOpenFileName(self, "Recipe", "", "Recipes (*.toml *.json)")
                if path:
                    self._take(Recipe.load(path))
                else:
                    self._select_recipe(("custom", ""))
        except (InputError, OSError) as error:
            self.fail(fault_of(error))
            return
        self._settle.start()

    def _edited(self, _value: object = None) -> None:
        self._name = "custom"
        self._select_recipe(("custom", ""))
        self._settle.start()

    def _resample_kind(self, _index: int) -> None:
        self._fit_resample()
        self._edited()

    def _fit_resample(self) -> None:
        kind = self.resample.currentData()
        self.resample_to.setEnabled(kind != "none")
        self.resample_to.setSuffix(" voxels" if kind == "longest_side" else " × 0.1 mm" if kind == "spacing_mm" else "")

    def _keep_kind(self, _index: int) -> None:
        self.keep_n.setEnabled(self.keep.currentData() != "all")
        self._edited()

    # -- the histogram and the preview ---------------------------------------------------------------------------------

    def _counted(self, histogram: Any) -> None:
        layer = self.layer
        if layer is None:
            return
        self.histogram.set_histogram(histogram, self._volume(layer).unit)
        self._show_bounds()
        if histogram.not_finite:
            self.say(
                f"{histogram.not_finite:,} values are not finite numbers; they count as the lowest one.", warning=True
            )
        self._settle.start()

    def _cannot_count(self, fault: Fault) -> None:
        self.fail(fault)

    def _show_bounds(self) -> None:
        """Put the slider where the threshold is, reckoned on the scan itself."""
        layer, histogram = self.layer, self.histogram.histogram
        if layer is None or histogram is None:
            return
        ends = np.array([histogram.low, histogram.high], dtype=np.float64)
        volume = self._volume(layer)
        try:
            if self._threshold.kind in ("otsu", "percentile") or getattr(self._threshold, "name", "") == "otsu":
                sample = np.repeat((histogram.edges[:-1] + histogram.edges[1:]) / 2, _thinned(histogram.counts))
                low, high = bounds(self._threshold, sample, volume.unit)
            else:
                low, high = bounds(self._threshold, ends, volume.unit)
        except InputError as error:
            self.fail(fault_of(error))
            return
        self.histogram.set_range(max(low, histogram.low), min(high, histogram.high))

    def _range_moved(self, low: float, high: float) -> None:
        histogram, layer = self.histogram.histogram, self.layer
        if histogram is None or layer is None:
            return
        self._threshold = custom_range(low, high, histogram.low, histogram.high, self._volume(layer).unit)
        self._name = "custom"
        self._select_recipe(("custom", ""))
        inside = histogram.count_between(low, high)
        total = max(1, histogram.count_between(histogram.low, histogram.high))
        self.numbers.setText(
            f"{words.count(inside, 'voxels')} of the scan in the range · {words.percent(100 * inside / total)}\n"
            "before resampling and clean-up; let go for the exact set"
        )
        self.cost.setText("")
        self.show_preview()

    def show_preview(self) -> None:
        """Draw what is in the range over the slice that the viewer shows."""
        layer = self.layer
        if layer is None or not self.preview.isChecked() or self.viewer.dims.ndisplay != 2:
            return
        offset = self.viewer.dims.ndim - 3
        displayed = tuple(axis - offset for axis in self.viewer.dims.displayed)
        low, high = self.histogram.range
        made = slice_preview(layer, self._frame(layer), np.asarray(self.viewer.dims.point), displayed, low, high)
        if made is None:
            return
        mask, axis, index = made
        volume = self._volume(layer)
        here = volume.affine.copy()
        here[:3, 3] += index * volume.affine[:3, axis]
        mark = Mark("preview", str(layer.unique_id))
        existing = next(ours(self.viewer, "preview", mark.volume_id), None)
        place = placement(layer, volume, here)
        if isinstance(existing, Labels) and existing.data.shape == mask.shape:
            existing.data[...] = mask
            if not np.allclose(existing.translate, place.translate):
                existing.translate = place.translate
            existing.refresh(extent=False, thumbnail=False)
        else:
            look = {"colormap": voxel_colormap(), "opacity": 0.5}
            existing = put_labels(self.viewer, f"{layer.name} · preview", mask, place, mark, **look)
        _set_visible(existing, True)
        for result in ours(self.viewer, "voxels", mark.volume_id):
            _set_visible(result, False)

    def _slice_changed(self, _event: object = None) -> None:
        layer = self.layer
        if layer is None:
            return
        previews = list(ours(self.viewer, "preview", str(layer.unique_id)))
        if any(preview.visible for preview in previews):
            if self.viewer.dims.ndisplay == 2:
                self.show_preview()
            else:
                for preview in previews:
                    preview.visible = False

    # -- making the set ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """The primary button: make the voxel set as a layer."""
        self._settle.stop()
        self._make(wanted=True)

    def _make(self, *, wanted: bool) -> None:
        layer = self.layer
        if layer is None or (self.histogram.histogram is None and not wanted):
            return
        try:
            recipe, volume, frame = self.recipe(), self._volume(layer), self._frame(layer)
        except InputError as error:
            self.fail(fault_of(error))
            return
        self._wanted = wanted or any(True for _ in ours(self.viewer, "voxels", str(layer.unique_id)))
        key = (str(layer.unique_id), frame, recipe.to_json())
        if self._made is not None and self._made[0] == key:
            self._show(self._made)
            return
        self.making.start(lambda: _voxelize(volume, recipe, frame, key), f"making voxels of {volume.name}")

    def _show(self, result: tuple[tuple[str, int, str], Made]) -> None:
        self._made = result
        (volume_id, _, _), made = result
        layer = volume_layer(self.viewer, volume_id)
        if layer is None:  # removed in the meantime
            return
        self.numbers.setText(words.voxel_numbers(made.voxels, made.recipe))
        try:
            require_voxels(made.voxels, made.volume, made.recipe)
        except InputError as error:
            self.fail(fault_of(error))
            self.cost.setText("")
            return
        self._reckon_cost(made, result[0])
        if not self._wanted:
            return
        mark = Mark("voxels", volume_id, {"made": made, "key": "|".join(map(str, result[0]))})
        place = placement(layer, made.volume, made.voxels.affine)
        name = f"{layer.name} · {_short(made.recipe)}"
        look = {"colormap": voxel_colormap(ORANGE), "opacity": float(preference("voxels.opacity"))}
        shown = put_labels(self.viewer, name, made.voxels.mask().astype(np.uint8), place, mark, **look)
        shown.visible = True
        for preview in ours(self.viewer, "preview", volume_id):
            preview.visible = False
        self.next_button.show()
        self.workbench.voxels_changed.emit(shown)

    def _reckon_cost(self, made: Made, key: tuple[str, int, str]) -> None:
        model = self.workbench.model
        self.cost.setText(f"{Path(model).stem}: reckoning the work…")
        request = Request(f"{model}|{key}", model, made.voxels)
        self.costing.start(lambda: self.workbench.network_child.call("cost", request=request), f"work of {model}")

    def _show_cost(self, cost: object) -> None:
        if not isinstance(cost, Cost):
            return  # the process has started
        text = f"{cost.model} would take {words.work(cost.macs)} · {words.seconds(cost.seconds)} here"
        if cost.seen is not None and not cost.seen[0] <= cost.active_percent <= cost.seen[1]:
            low, high = (words.percent(end) for end in cost.seen)
            text += (
                f"\n⚠ {words.percent(cost.active_percent)} of the field is active; "
                f"{cost.model} was trained on {low} to {high}"
            )
        self.cost.setText(text)

    def _no_cost(self, fault: Fault) -> None:
        if self._made is None:
            return
        self.cost.setText(f"{Path(self.workbench.model).stem} cannot take this set: {fault.sentence}")

    def _model_changed(self, _name: str) -> None:
        if self._made is not None and self._made[1].voxels.n_active:
            self._reckon_cost(self._made[1], self._made[0])

    def _next(self) -> None:
        _, network = self.viewer.window.add_plugin_dock_widget("napari-sparse3d", "Network", tabify=True)
        network.run()

    # -- links ---------------------------------------------------------------------------------------------------------

    def source(self) -> repeat.Source:
        """Where the chosen volume was read from."""
        layer = self.layer
        if layer is None:
            raise InputError("no volume is open")
        return source_of(layer, self._frame(layer))

    def _command(self) -> None:
        try:
            self.copy(repeat.voxelize_command(self.source(), self.recipe()), "Command")
        except (InputError, OSError) as error:
            self.fail(fault_of(error))

    def _python(self) -> None:
        try:
            self.copy(repeat.voxelize_python(self.source(), self.recipe()), "Python")
        except InputError as error:
            self.fail(fault_of(error))

    def _save_recipe(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save recipe", f"{self._name}.toml", "Recipes (*.toml *.json)")
        if path:
            try:
                self.recipe().save(path if Path(path).suffix else f"{path}.toml")
                self.say(f"Saved {Path(path).name}.")
            except (InputError, OSError) as error:
                self.fail(fault_of(error))


def source_of(layer: Layer, frame: int) -> repeat.Source:
    """What reads the layer's volume again.

    Raises
    ------
    InputError
        If it was not opened from a file.
    """
    path = source_path(layer)
    series, repair = layer.metadata.get("series"), layer.metadata.get("repair")
    found = None if path is None else repeat.Source(path, series, frame if layer.ndim == 4 else None, repair)
    return repeat.require_source(found, layer.name)


def made_of(layer: Layer) -> Made | None:
    """The voxel set that a layer shows, if it is one of ours."""
    mark = mark_of(layer)
    made = None if mark is None else mark.content.get("made")
    return made if isinstance(made, Made) else None


def _voxelize(
    volume: Volume, recipe: Recipe, frame: int, key: tuple[str, int, str]
) -> Generator[Step, None, tuple[tuple[str, int, str], Made]]:
    yield Step(0, 0, "")
    return key, Made(voxelize(volume, recipe), recipe, volume, frame)


def _count(volume: Volume) -> Generator[Step, None, Any]:
    counting = histogram_by_slab(volume.data)
    try:
        while True:
            done = next(counting)
            yield Step(round(100 * done), 100, "")
    except StopIteration as end:
        return end.value


def _thinned(counts: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Counts in the same proportions, of at most about a million."""
    share = min(1.0, 1e6 / max(int(counts.sum()), 1))
    return np.where(counts > 0, np.maximum(1, (counts * share).astype(np.int64)), 0)


def _short(recipe: Recipe) -> str:
    if isinstance(recipe.threshold, Preset):
        return recipe.threshold.name
    return recipe.name if recipe.name != "custom" else "voxels"


def _set_visible(layer: Layer, visible: bool) -> None:
    # napari refreshes a layer whenever this is set, even to what it is
    if layer.visible != visible:
        layer.visible = visible


def _beside(*widgets: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(SPACE)
    for widget, share in zip(widgets, (4, 3), strict=True):
        widget.setMinimumWidth(64)
        if isinstance(widget, QSpinBox):
            widget.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
            widget.setAlignment(Qt.AlignmentFlag.AlignRight)
        row.addWidget(widget, share)
    return row
