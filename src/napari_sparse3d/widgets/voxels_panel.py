"""The Sparse voxels panel: from a volume to its voxel set."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from napari.layers import Layer
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtWidgets import QCheckBox, QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.histogram import Histogram, histogram_by_slab
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Preset, Recipe, require_voxels, voxelize
from napari_sparse3d.voxels.image_data import padding_of
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.opening import open_folder, open_sample
from napari_sparse3d.widgets.preview import SlicePreview
from napari_sparse3d.widgets.recipe_form import RecipeForm
from napari_sparse3d.widgets.recipes import default_recipe
from napari_sparse3d.widgets.records import Cost, Request
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.faults import Fault, fault_of
from napari_sparse3d.widgets.toolbox.layers import (
    Made,
    Mark,
    frame_of,
    ours,
    set_visible,
    volume_layer,
    volumes,
)
from napari_sparse3d.widgets.toolbox.panel import SPACE, Panel, combo, form, later, small_label
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.sources import placement, source_of, volume_of_layer, why_no_volume
from napari_sparse3d.widgets.toolbox.theme import Colours
from napari_sparse3d.widgets.toolbox.warm import import_behind_labels
from napari_sparse3d.widgets.toolbox.work import Step, Work
from napari_sparse3d.widgets.voxel_layer import KINDS, MAX_POINTS, kind_for, picture_of, put_voxels

_SETTLE_MS = 120
"""After the last change, before the whole set is made: a slider that is still moving makes nothing."""

Key = tuple[str, int, str]
"""Which set: the volume's layer, the time point, the recipe as JSON."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A voxel set, and all that showing it needs: reckoned in a worker, so that the window never waits."""

    key: Key
    made: Made
    numbers: str
    empty: Fault | None
    kind: str
    picture: NDArray[Any] | None
    """For the layer; None where only the numbers were asked for."""


class VoxelsPanel(Panel):
    """Choose a volume and a recipe; see what is kept; make the voxel set as a layer."""

    primary_text = "Make voxel set"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.workbench.enter(self)
        self.slice_preview = SlicePreview(self.viewer)
        self._ready: Ready | None = None
        self._asked_for = False  # the set that is being made was asked for, and is not there for its numbers alone
        self._run_next = False  # a network is to be run as soon as the set is there
        self._settle = later(_SETTLE_MS, self, partial(self._make, wanted=False))
        # napari is still taking the volume away when it says so
        self._tidy = later(0, self, self.slice_preview.remove_orphans)
        self.counting = Work(self)
        self.making = Work(self)
        self.costing = Work(self)
        self.warming = Work(self)
        self._build()
        self.follow(self.making)
        self.making.finished.connect(self._show)
        self.counting.finished.connect(self._counted)
        self.counting.failed.connect(self.fail)
        self.costing.finished.connect(self._show_cost)
        self.costing.failed.connect(self._no_cost)
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self._layers_changed)
        self.viewer.dims.events.current_step.connect(self._slice_changed)
        self.viewer.dims.events.order.connect(self._slice_changed)
        self.viewer.dims.events.ndisplay.connect(self._slice_changed)
        self.workbench.model_changed.connect(self._model_changed)
        self._layers_changed()
        # what takes seconds to import is imported while the user is still looking around: torch in the process that
        # runs networks, and in a thread what napari wants for its first Labels layer
        self.costing.start(lambda: self.workbench.network_child.call("network.hello"), "starting the network process")
        self.warming.start(import_behind_labels, "preparing layers")

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
        sample_button.clicked.connect(lambda: open_sample(self.viewer, "head_mri", self, self.say))
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
        top.addRow("Volume", self.volume)
        top.addRow(self.about)
        layout.addLayout(top)
        self.form = RecipeForm()
        self.form.moved.connect(self._range_moved)
        self.form.changed.connect(self._recipe_changed)
        self.form.failed.connect(self.fail)
        layout.addWidget(self.form)
        below = form()
        self.show_as = combo(f"How the set is drawn. Points: up to {MAX_POINTS:,} voxels; above that it is labels.")
        for kind, title in KINDS.items():
            self.show_as.addItem(title, kind)
        self.show_as.activated.connect(self._kind_chosen)
        below.addRow("Show as", self.show_as)
        layout.addLayout(below)
        self.preview = QCheckBox("Preview on the slice")
        self.preview.setToolTip("Before resampling and clean-up: the exact numbers come when you let go")
        self.preview.setChecked(bool(preference("voxels.preview")))
        self.preview.toggled.connect(self._preview_toggled)
        layout.addWidget(self.preview)
        self.numbers = small_label()
        self.numbers.setAccessibleName("Numbers of the voxel set")
        self.cost = small_label()
        layout.addWidget(self.numbers)
        layout.addWidget(self.cost)
        self.next_button = QPushButton("Run a network on it ▸")
        self.next_button.setToolTip("Make the voxel set, open the Network panel and run the chosen model on it")
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
        if hasattr(self, "form"):
            self.form.restyle(look)

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
        if self.slice_preview.hide_orphans():
            self._tidy.start()
        reasons = [reason for layer in self.viewer.layers if (reason := why_no_volume(layer))]
        self.empty_text.setText(reasons[-1] if reasons else "No volume is open.")
        if self.volume.currentData() != current:
            self._volume_chosen()

    def _volume_chosen(self, _index: int = 0) -> None:
        self._settle.stop()
        if self.making.running:
            self.making.cancel()
        self._ready = None
        self._run_next = False
        self.next_button.hide()
        self.numbers.setText("")
        self.cost.setText("")
        self.say("")
        layer = self.layer
        for each in volumes(self.viewer):
            if each is not layer:
                self.slice_preview.hide(str(each.unique_id))
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
        self.form.set_volume(volume.unit, default_recipe(volume))
        self.counting.start(lambda: _count(volume), f"counting the values of {volume.name}")

    def _frame(self, layer: Layer) -> int:
        return frame_of(self.viewer, layer)

    def _volume(self, layer: Layer) -> Volume:
        return volume_of_layer(layer, self._frame(layer))

    def _counted(self, histogram: Histogram) -> None:
        if self.layer is None:
            return
        self.form.set_histogram(histogram)
        self.next_button.show()
        if histogram.not_finite:
            self.say(f"{histogram.not_finite:,} values are not finite numbers; they are never active.", warning=True)
        self._recipe_changed()

    # -- the preview ---------------------------------------------------------------------------------------------------

    def _range_moved(self, low: float, high: float) -> None:
        histogram = self.form.histogram.histogram
        if histogram is None:
            return
        inside = histogram.count_between(low, high)
        total = max(1, histogram.count_between(histogram.low, histogram.high))
        about = "" if histogram.integer else "about "  # values with a fraction are counted in bins, and sampled
        self.numbers.setText(
            f"{about}{words.count(inside, 'voxels')} of the scan in the range · {words.percent(100 * inside / total)}\n"
            "before resampling and clean-up; let go for the exact set"
        )
        self.cost.setText("")
        self.show_preview()

    def show_preview(self) -> None:
        """Draw what is in the range over the slice that the viewer shows."""
        layer = self.layer
        if layer is None or not self.preview.isChecked() or self.form.histogram.histogram is None:
            return
        if self.slice_preview.draw(layer, self._volume(layer), self._frame(layer), *self.form.histogram.range):
            for result in ours(self.viewer, "voxels", str(layer.unique_id)):
                set_visible(result, False)

    def _preview_toggled(self, on: bool) -> None:
        if on:
            self.show_preview()
        elif self.layer is not None:
            self.slice_preview.hide(str(self.layer.unique_id))

    def _slice_changed(self, _event: object = None) -> None:
        layer = self.layer
        if layer is None or not self.slice_preview.shown(layer):
            return
        if self.viewer.dims.ndisplay == 2:
            self.show_preview()
        else:
            self.slice_preview.hide(str(layer.unique_id))

    # -- making the set ------------------------------------------------------------------------------------------------

    def _recipe_changed(self) -> None:
        layer = self.layer
        if layer is not None and not any(each.visible for each in ours(self.viewer, "voxels", str(layer.unique_id))):
            self.show_preview()  # until there is a set to look at
        self._settle.start()

    def run(self) -> None:
        """Make the voxel set as a layer."""
        self._settle.stop()
        self._make(wanted=True)

    def _primary_clicked(self) -> None:
        self._run_next = False
        if self.making.running and not self._asked_for:  # it says "Make voxel set", and that is what it does
            self.run()
        else:
            super()._primary_clicked()

    def _began(self, work: Work, title: str) -> None:
        super()._began(work, title)
        if work is self.making and not self._asked_for:
            self.primary.setText(self.primary_text)

    def _kind_chosen(self, _index: int) -> None:
        layer = self.layer
        if layer is not None and any(True for _ in ours(self.viewer, "voxels", str(layer.unique_id))):
            self.run()

    def _make(self, *, wanted: bool) -> None:
        layer = self.layer
        if layer is None or (self.form.histogram.histogram is None and not wanted):
            return
        try:
            recipe, volume, frame = self.form.recipe(), self._volume(layer), self._frame(layer)
        except InputError as error:
            self.fail(fault_of(error))
            return
        wanted = wanted or (self.making.running and self._asked_for)  # the recipe changed before it was there
        kind = None
        if wanted or any(True for _ in ours(self.viewer, "voxels", str(layer.unique_id))):
            kind = str(self.show_as.currentData())
        key = (str(layer.unique_id), frame, recipe.to_json())
        known = self._ready.made if self._ready is not None and self._ready.key == key else None
        if known is not None and kind is None:
            return
        self._asked_for = wanted
        job = partial(_make_ready, key, volume, recipe, frame, kind, known)
        self.making.start(job, f"making voxels of {layer.name}")

    def _show(self, ready: Ready) -> None:
        again = self._ready is not None and self._ready.key == ready.key
        self._ready = ready
        volume_id, made = ready.key[0], ready.made
        layer = volume_layer(self.viewer, volume_id)
        if layer is None:  # removed in the meantime
            return
        self.numbers.setText(ready.numbers)
        if ready.empty is not None:
            self._run_next = False
            self.fail(ready.empty)
            self.cost.setText("")
            return
        if not again:
            self._reckon_cost(ready)
        if ready.picture is None:
            return
        mark = Mark("voxels", volume_id, {"made": made, "key": "|".join(map(str, ready.key))})
        place = placement(layer, made.volume, made.voxels.affine)
        name = f"{layer.name} · {_short(made.recipe)}"
        opacity = float(preference("voxels.opacity"))
        shown = put_voxels(self.viewer, name, ready.picture, ready.kind, place, mark, opacity)
        set_visible(shown, True)
        self.slice_preview.hide(volume_id)
        if ready.kind != self.show_as.currentData():
            self.say(
                f"{words.count(made.voxels.n_active, 'voxels')} are too many for points ({MAX_POINTS:,} at most): "
                f"shown as {ready.kind}.",
                warning=True,
            )
        self.workbench.voxels_changed.emit(shown)
        if self._run_next:
            self._run_next = False
            self._open_network(shown)

    def _reckon_cost(self, ready: Ready) -> None:
        model = self.workbench.model
        self.cost.setText(f"{Path(model).stem}: reckoning the work…")
        request = Request(f"{model}|{ready.key}", model, ready.made.voxels)
        self.costing.start(
            lambda: self.workbench.network_child.call("network.cost", request=request), f"work of {model}"
        )

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
        if self._ready is None:
            return
        self.cost.setText(f"{Path(self.workbench.model).stem} cannot take this set: {fault.sentence}")

    def _model_changed(self, _name: str) -> None:
        if self._ready is not None and self._ready.made.voxels.n_active:
            self._reckon_cost(self._ready)

    def _next(self) -> None:
        """Run a network on what the controls say: the set is made first where it is not there yet."""
        self._run_next = True
        self.run()

    def _open_network(self, shown: Layer) -> None:
        _, network = self.viewer.window.add_plugin_dock_widget("napari-sparse3d", "Network", tabify=True)
        network.run_on(shown)

    # -- links ---------------------------------------------------------------------------------------------------------

    def source(self) -> repeat.Source:
        """Where the chosen volume was read from."""
        layer = self.layer
        if layer is None:
            raise InputError("no volume is open")
        return source_of(layer, self._frame(layer))

    def _command(self) -> None:
        try:
            self.copy(repeat.voxelize_command(self.source(), self.form.recipe()), "Command")
        except (InputError, OSError) as error:
            self.fail(fault_of(error))

    def _python(self) -> None:
        try:
            self.copy(repeat.voxelize_python(self.source(), self.form.recipe()), "Python")
        except InputError as error:
            self.fail(fault_of(error))

    def _save_recipe(self) -> None:
        try:
            recipe = self.form.recipe()
            path, _ = QFileDialog.getSaveFileName(self, "Save recipe", f"{recipe.name}.toml", "Recipes (*.toml *.json)")
            if path:
                recipe.save(path if Path(path).suffix else f"{path}.toml")
                self.say(f"Saved {Path(path).name}.")
        except (InputError, OSError) as error:
            self.fail(fault_of(error))


def _make_ready(
    key: Key, volume: Volume, recipe: Recipe, frame: int, kind: str | None, known: Made | None
) -> Generator[Step, None, Ready]:
    yield Step(0, 0, "")
    made = known or Made(voxelize(volume, recipe), recipe, volume, frame)
    yield Step(0, 0, "")
    numbers, empty = words.voxel_numbers(made.voxels, recipe), None
    try:
        require_voxels(made.voxels, volume, recipe)
    except InputError as error:
        empty = fault_of(error)
    if kind is None or empty is not None:
        return Ready(key, made, numbers, empty, "", None)
    kind = kind_for(made.voxels, kind)
    return Ready(key, made, numbers, empty, kind, picture_of(made.voxels, kind))


def _count(volume: Volume) -> Generator[Step, None, Histogram]:
    counting = histogram_by_slab(volume.data, padding_of(volume))
    try:
        while True:
            done = next(counting)
            yield Step(round(100 * done), 100, "")
    except StopIteration as end:
        histogram: Histogram = end.value
        return histogram


def _short(recipe: Recipe) -> str:
    if isinstance(recipe.threshold, Preset):
        return recipe.threshold.name
    return recipe.name if recipe.name != "custom" else "voxels"
