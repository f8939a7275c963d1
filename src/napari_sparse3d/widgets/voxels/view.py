"""The Sparse voxels panel: its controls, and what happens when they are used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from napari_sparse3d.catalog.recipes import TRAINING_RECIPE
from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Recipe
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.opening.nothing_open import NothingOpen
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.cursor_line import cursor_line
from napari_sparse3d.widgets.toolbox.layers import (
    Mark,
    ours,
    set_visible,
    volume_layer,
    volumes,
)
from napari_sparse3d.widgets.toolbox.layout import later
from napari_sparse3d.widgets.toolbox.notes import notes_of
from napari_sparse3d.widgets.toolbox.panel import Followed, Panel
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.sources import case_of, is_labels, placement, source_of
from napari_sparse3d.widgets.toolbox.voxel_layer import put_voxels
from napari_sparse3d.widgets.toolbox.voxel_picture import MAX_POINTS
from napari_sparse3d.widgets.toolbox.warm import import_behind_labels
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.voxels.controls import Controls
from napari_sparse3d.widgets.voxels.cost_line import CostLine
from napari_sparse3d.widgets.voxels.input import Input
from napari_sparse3d.widgets.voxels.jobs import look_at, make_ready, straighten
from napari_sparse3d.widgets.voxels.preview import SlicePreview
from napari_sparse3d.widgets.voxels.recipes import default_recipe
from napari_sparse3d.widgets.voxels.saver import Saver
from napari_sparse3d.widgets.voxels.state import (
    Key,
    Looked,
    ReadySet,
    VoxelsState,
    range_words,
    short_name,
    volume_words,
)
from napari_sparse3d.widgets.voxels.undo import Undo

if TYPE_CHECKING:
    from napari_sparse3d.io.layers import LayerData

_SETTLE_MS = 120
"""After the last change, before the whole set is made: a slider that is still moving makes nothing."""


class VoxelsPanel(Panel):
    """Choose a volume and a recipe; see what is kept; make the voxel set as a layer."""

    primary_text = "Make voxel set"

    # -- looks ---------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the controls, connect them with the viewer, and begin what takes seconds."""
        self.state = VoxelsState()
        self.slice_preview = SlicePreview(self.viewer)
        self._settle = later(_SETTLE_MS, self, partial(self._make, wanted=False))
        # napari is still taking the volume away when it says so
        self._tidy = later(0, self, self.slice_preview.remove_orphans)
        self.counting, self.making, self.costing, self.warming = Work(self), Work(self), Work(self), Work(self)
        self.straightening, self.saving = Work(self), Work(self)
        self._edited = later(_SETTLE_MS, self, self._volume_edited)
        self._saver = Saver(self, self.saving)
        self._build_controls()
        self._input = Input(self.viewer, self.state, self.label, self._edit_seen)
        self._cost_line = CostLine(self.cost, self.state, self.workbench, self.costing)
        self.copy_command, self.copy_python = self.add_copy_links(
            "The line that makes this voxel set",
            lambda: repeat.voxelize_command(self.source(), self.form.recipe()),
            lambda: repeat.voxelize_python(self.source(), self.form.recipe()),
        )
        self.save_set = self.add_link(
            "Save voxel set…",
            "With its features as .npz; its mask as NIfTI, NRRD or DICOM segmentation",
            self._saver.ask_for_set,
        )
        self.save_recipe = self.add_link("Save recipe…", "A .toml file for --recipe", self._saver.ask_for_recipe)
        self._undo = Undo(self)
        self.undo = self._undo.link
        self._connect()
        self._layers_changed()
        # what takes seconds to import is imported while the user is still looking around: torch in the process that
        # runs networks, and in a thread what napari wants for its first Labels layer
        self.costing.start(lambda: self.workbench.network_child.call("network.hello"), "starting the network process")
        self.warming.start(import_behind_labels, "preparing layers")

    def _build_controls(self) -> None:
        self.empty = NothingOpen(self.viewer, self, self.say)
        self.empty_text, self.open_button, self.sample_button = self.empty.text, self.empty.folder, self.empty.sample
        self.filled = controls = Controls(cursor_line(self.viewer, lambda: self.layer))
        self.volume, self.about, self.form, self.show_as = (
            controls.volume,
            controls.about,
            controls.form,
            controls.show_as,
        )
        self.at_cursor, self.straighten = controls.at_cursor, controls.straighten
        self.label = controls.label
        self.preview, self.numbers, self.cost, self.next_button = (
            controls.preview,
            controls.numbers,
            controls.cost,
            controls.next_button,
        )
        self.body.addWidget(self.empty)
        self.body.addWidget(self.filled)
        self.body.addStretch(1)
        self.volume.currentIndexChanged.connect(self._volume_chosen)
        self.label.activated.connect(self._label_chosen)
        self.straighten.clicked.connect(self._straighten)
        self.form.moved.connect(self._range_moved)
        self.form.changed.connect(self._recipe_changed)
        self.form.failed.connect(self.fail)
        self.show_as.activated.connect(self._kind_chosen)
        self.preview.toggled.connect(self._preview_toggled)
        self.next_button.clicked.connect(self._next)

    def _connect(self) -> None:
        self.follow(self.making)
        self.follow(self.straightening)
        self.follow(self.saving)
        self.saving.finished.connect(lambda text: self.say(text))
        self.straightening.finished.connect(self._show_straightened)
        self.making.finished.connect(self._show)
        self.making.ended.connect(self._undo.ended)
        self.counting.finished.connect(self._counted)
        self.counting.failed.connect(self.fail)
        layers, dims = self.viewer.layers.events, self.viewer.dims.events
        for event in (layers.inserted, layers.removed):
            event.connect(self._layers_changed)
        for event in (dims.current_step, dims.order, dims.ndisplay):
            event.connect(self._slice_changed)
        self.workbench.model_changed.connect(self._model_changed)

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
        for button in (self.primary, self.copy_command, self.copy_python, self.save_set, self.save_recipe):
            button.setVisible(bool(found))
        self._undo.forget_all_but({str(layer.unique_id) for layer in found})
        if self.slice_preview.hide_orphans():
            self._tidy.start()
        self.empty.say_why()
        if self.volume.currentData() != current:
            self._volume_chosen()

    def _volume_chosen(self, _index: int = 0) -> None:
        self._settle.stop()
        if self.making.running:
            self.making.cancel()
        self.state.another_volume()
        self.filled.forget()
        self.say("")
        layer = self.layer
        self._input.follow(layer)
        self._undo.offer()
        for each in volumes(self.viewer):
            if each is not layer:
                self.slice_preview.hide(str(each.unique_id))
        if layer is None:
            self.counting.cancel()
            return
        self.filled.offer_labels((), None)
        with self.telling():
            volume = self.volume_of(layer)
            self._say_about(layer, volume)
            self.straighten.setVisible("drawn" in layer.metadata and not is_labels(layer))
            self.form.set_volume(
                volume.unit, Recipe.named(TRAINING_RECIPE) if is_labels(layer) else default_recipe(volume)
            )
            self._look_at(layer, volume)

    def _say_about(self, layer: Layer, volume: Volume, *more: str) -> None:
        frame = self.frame_of(layer) if layer.ndim == 4 else None
        text = volume_words(volume, frame, layer.data.shape[0], notes=notes_of(layer))
        self.about.setText("\n".join([text, *more]))

    def _look_at(self, layer: Layer, volume: Volume) -> None:
        labels = self._input.labels(layer)
        job = partial(look_at, volume, None if labels is None else np.asarray(labels))
        self.counting.start(job, f"counting the values of {volume.name}")

    def _edit_seen(self, _event: object = None) -> None:
        self._edited.start()

    def _volume_edited(self) -> None:
        layer = self.layer
        if layer is None:
            return
        if self.making.running:
            self.making.cancel()
        self.state.edited()
        with self.telling():
            self._look_at(layer, self.volume_of(layer))

    def _label_chosen(self, _index: int) -> None:
        self._volume_edited()

    def key_of(self, layer: Layer) -> Key:
        """Which set the controls stand for.

        Raises
        ------
        InputError
            If they are no recipe.
        """
        return self._input.key(layer, self.form.recipe())

    def frame_of(self, layer: Layer) -> int:
        """The time point that the viewer shows."""
        return self._input.frame(layer)

    def volume_of(self, layer: Layer) -> Volume:
        """What the set is made of: a scan, or the shape of the chosen labels."""
        return self._input.volume(layer)

    def stop_settling(self) -> None:
        """What was changed last makes no set."""
        self._settle.stop()

    def _shows_voxels(self, layer: Layer, *, visible: bool = False) -> bool:
        """Whether there is a layer of voxels of this scan."""
        return any(each.visible or not visible for each in ours(self.viewer, "voxels", str(layer.unique_id)))

    def _counted(self, looked: Looked) -> None:
        layer, histogram = self.layer, looked.histogram
        if layer is None:
            return
        first, self.state.looked = self.state.looked is None, looked
        volume = self.volume_of(layer)
        if is_labels(layer):
            self.filled.offer_labels(looked.labels, self._input.label)
        elif looked.mask is not None:
            recipe, why = looked.mask
            if first and self.form.recipe() == default_recipe(volume):  # nobody has chosen another one meanwhile
                self.form.take(recipe)
                self._say_about(layer, volume, f"{why}: the recipe for shapes was chosen")
        self.form.set_histogram(histogram)
        self.next_button.show()
        if histogram.not_finite:
            self.say(f"{histogram.not_finite:,} values are not finite numbers; they are never active.", warning=True)
        self._recipe_changed()

    # -- where it lies -------------------------------------------------------------------------------------------------

    def _straighten(self) -> None:
        """Resample the chosen volume onto the patient's axes, as a layer of its own."""
        layer = self.layer
        if layer is None:
            return
        with self.telling():
            volume, limits = self.volume_of(layer), tuple(layer.contrast_limits)
            time = f" · time {self.frame_of(layer)}" if layer.ndim == 4 else ""
            name = f"{layer.name}{time} · straightened"
            job = partial(straighten, volume, name, limits, case_of(layer))
            self.straightening.start(job, f"straightening {layer.name}")

    def _show_straightened(self, data: LayerData) -> None:
        layer = Layer.create(*data)
        self.viewer.add_layer(layer)
        self.volume.setCurrentIndex(self.volume.findData(str(layer.unique_id)))

    # -- the preview ---------------------------------------------------------------------------------------------------

    def _range_moved(self, low: float, high: float) -> None:
        histogram = self.form.histogram.histogram
        if histogram is None:
            return
        self.numbers.setText(range_words(histogram, low, high))
        self.cost.setText("")
        self.show_preview()

    def show_preview(self) -> None:
        """Draw what is in the range over the slice that the viewer shows."""
        layer = self.layer
        if layer is None or not self.preview.isChecked() or self.form.histogram.histogram is None:
            return
        with self.telling():
            planes = self._input.planes(layer, self.form.recipe(), self.form.histogram.range[0])
            if self.slice_preview.draw_of(layer, self.volume_of(layer), planes):
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
        if layer is not None and not self._shows_voxels(layer, visible=True):
            self.show_preview()  # until there is a set to look at
        self._settle.start()

    def run(self) -> None:
        """Make the voxel set as a layer."""
        self._settle.stop()
        self._make(wanted=True)

    def _primary_clicked(self) -> None:
        self.state.run_next = False
        if self.making.running and not self.state.asked_for:  # it says "Make voxel set", and that is what it does
            self.run()
        else:
            super()._primary_clicked()

    def _began(self, work: Followed, title: str) -> None:
        super()._began(work, title)
        if work is self.making and not self.state.asked_for:
            self.primary.setText(self.primary_text)

    def _kind_chosen(self, _index: int) -> None:
        if self.layer is not None and self._shows_voxels(self.layer):
            self.run()

    def _make(self, *, wanted: bool) -> None:
        layer = self.layer
        if layer is None or (self.form.histogram.histogram is None and not wanted):
            return
        with self.telling():
            recipe, volume, frame = self.form.recipe(), self.volume_of(layer), self.frame_of(layer)
            wanted = wanted or (self.making.running and self.state.asked_for)  # the recipe changed before it was there
            kind = str(self.show_as.currentData()) if wanted or self._shows_voxels(layer) else None
            key = self.key_of(layer)
            known = self.state.made(key)
            if known is not None and kind is None:
                return
            self.state.asked_for = wanted
            self._undo.ended()
            body = self._input.body(layer, recipe)
            job = partial(make_ready, key, volume, recipe, frame, kind, known, case_of(layer), body)
            self.making.start(job, f"making voxels of {layer.name}")

    def _show(self, ready: ReadySet) -> None:
        again = self.state.made(ready.key) is not None
        self.state.ready = ready
        layer = volume_layer(self.viewer, ready.key[0])
        if layer is None:  # removed in the meantime
            return
        if ready.body is not None:
            self._input.keep_body(layer, ready.made.recipe, ready.body)
        self.numbers.setText(ready.numbers)
        if ready.empty is not None:
            self.state.run_next = False
            self.fail(ready.empty)
            self.cost.setText("")
            return
        if not again:
            self._cost_line.reckon(ready)
        if ready.picture is not None:
            self._show_layer(layer, ready, ready.picture)
        elif self.slice_preview.shown(layer):
            self.show_preview()  # the exact set

    def _show_layer(self, layer: Layer, ready: ReadySet, picture: NDArray[Any]) -> None:
        volume_id, made = ready.key[0], ready.made
        self._undo.replacing(volume_id, made)
        mark = Mark("voxels", volume_id, {"made": made, "key": "|".join(map(str, ready.key))})
        place = placement(layer, made.volume, made.voxels.affine)
        name = f"{layer.name} · {short_name(made.recipe)}"
        opacity = float(preference("voxels.opacity"))
        shown = put_voxels(self.viewer, name, picture, ready.kind, place, mark, opacity)
        set_visible(shown, True)
        self.slice_preview.hide(volume_id)
        if ready.kind != self.show_as.currentData():
            self.say(
                f"{words.count(made.voxels.n_active, 'voxels')} are too many for points ({MAX_POINTS:,} at most): "
                f"shown as {ready.kind}.",
                warning=True,
            )
        self.workbench.voxels_changed.emit(shown)
        if self.state.run_next:
            self.state.run_next = False
            self.show_panel("network").run_on(shown)

    def _next(self) -> None:
        """Run a network on what the controls say: the set is made first where it is not there yet."""
        self.state.run_next = True
        self.run()

    def _model_changed(self, _name: str) -> None:
        self._cost_line.another_model()

    # -- links ---------------------------------------------------------------------------------------------------------

    def source(self) -> repeat.Source:
        """Where the chosen volume was read from."""
        layer = self.layer
        if layer is None:
            raise InputError("no volume is open")
        return self.source_of(layer, self.frame_of(layer))

    def source_of(self, layer: Layer, frame: int) -> repeat.Source:
        """Where a volume was read from, and which label of it is the shape.

        Raises
        ------
        InputError
            If it was not read from a file.
        """
        return source_of(layer, frame, self._input.label)

    def save_set_to(self, path: Path, layer: Layer, made: ScanVoxels) -> None:
        """Write the voxel set of a scan, as its ending says."""
        self._saver.save(path, layer, made)
