"""The Sparse voxels panel: its controls, and what happens when they are used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.catalog.recipes import TRAINING_RECIPE
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Recipe
from napari_sparse3d.voxels.plane import Planes, RangePlanes, SetPlanes
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.child.records import Cost
from napari_sparse3d.widgets.opening.nothing_open import NothingOpen
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.cursor_line import cursor_line
from napari_sparse3d.widgets.toolbox.failures import Failure
from napari_sparse3d.widgets.toolbox.layers import (
    Mark,
    frame_of,
    made_of,
    on_edit,
    ours,
    set_visible,
    volume_layer,
    volumes,
)
from napari_sparse3d.widgets.toolbox.layout import later
from napari_sparse3d.widgets.toolbox.notes import notes_of
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.sources import case_of, is_labels, placement, source_of, volume_of_layer
from napari_sparse3d.widgets.toolbox.voxel_layer import put_voxels
from napari_sparse3d.widgets.toolbox.voxel_picture import MAX_POINTS
from napari_sparse3d.widgets.toolbox.warm import import_behind_labels
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.voxels.controls import Controls
from napari_sparse3d.widgets.voxels.jobs import look_at, make_ready, reckon_cost, straighten
from napari_sparse3d.widgets.voxels.preview import SlicePreview
from napari_sparse3d.widgets.voxels.recipes import default_recipe
from napari_sparse3d.widgets.voxels.saver import Saver
from napari_sparse3d.widgets.voxels.state import (
    Key,
    Looked,
    ReadySet,
    VoxelsState,
    cost_words,
    range_words,
    short_name,
    volume_words,
)

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
        self._followed: Callable[[], None] | None = None
        self._saver = Saver(self, self.saving)
        self._build_controls()
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
        self.undo = self.add_link("Undo", "Bring back the voxel set that this one replaced", self._undo)
        self.undo.hide()
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
        self.making.ended.connect(self._no_undo)
        self.counting.finished.connect(self._counted)
        self.counting.failed.connect(self.fail)
        self.costing.finished.connect(self._show_cost)
        self.costing.failed.connect(self._no_cost)
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
        self.state.history.forget({str(layer.unique_id) for layer in found})
        self._offer_undo()
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
        self._follow_edits()
        self._offer_undo()
        layer = self.layer
        for each in volumes(self.viewer):
            if each is not layer:
                self.slice_preview.hide(str(each.unique_id))
        if layer is None:
            self.counting.cancel()
            return
        self.filled.offer_labels((), None)
        with self.telling():
            volume = self._volume(layer)
            self._say_about(layer, volume)
            self.straighten.setVisible("drawn" in layer.metadata and not is_labels(layer))
            self.form.set_volume(
                volume.unit, Recipe.named(TRAINING_RECIPE) if is_labels(layer) else default_recipe(volume)
            )
            self._look_at(layer, volume)

    def _say_about(self, layer: Layer, volume: Volume, *more: str) -> None:
        frame = self._frame(layer) if layer.ndim == 4 else None
        text = volume_words(volume, frame, layer.data.shape[0], notes=notes_of(layer))
        self.about.setText("\n".join([text, *more]))

    def _look_at(self, layer: Layer, volume: Volume) -> None:
        labels = (layer.data[self._frame(layer)] if layer.ndim == 4 else layer.data) if is_labels(layer) else None
        job = partial(look_at, volume, None if labels is None else np.asarray(labels))
        self.counting.start(job, f"counting the values of {volume.name}")

    def _follow_edits(self) -> None:
        """Labels are painted, and other data can be put into a layer: what was made of it before is not of it now."""
        if self._followed is not None:
            self._followed()
        layer = self.layer
        self._followed = None if layer is None else on_edit(layer, self._edited.start)

    def _volume_edited(self) -> None:
        layer = self.layer
        if layer is None:
            return
        if self.making.running:
            self.making.cancel()
        self.state.edited()
        with self.telling():
            self._look_at(layer, self._volume(layer))

    def _label_chosen(self, _index: int) -> None:
        self._volume_edited()

    @property
    def chosen_label(self) -> int | None:
        """Which label of a label map is the shape; None: all of them."""
        label = self.label.currentData()
        return int(label) if label is not None else None

    def key_of(self, layer: Layer) -> Key:
        """Which set the controls stand for.

        Raises
        ------
        InputError
            If they are no recipe.
        """
        of_label = f" of label {self.chosen_label}" if is_labels(layer) else ""
        return str(layer.unique_id), self._frame(layer), self.form.recipe().to_json() + of_label

    def _frame(self, layer: Layer) -> int:
        return frame_of(self.viewer, layer)

    def _volume(self, layer: Layer) -> Volume:
        if not is_labels(layer):
            return volume_of_layer(layer, self._frame(layer))
        key = (str(layer.unique_id), self._frame(layer), self.chosen_label)
        if self.state.volume is None or self.state.volume[0] != key:  # of labels it is made anew each time
            self.state.volume = key, volume_of_layer(layer, key[1], key[2])
        return self.state.volume[1]

    def _shows_voxels(self, layer: Layer, *, visible: bool = False) -> bool:
        """Whether there is a layer of voxels of this scan."""
        return any(each.visible or not visible for each in ours(self.viewer, "voxels", str(layer.unique_id)))

    def _counted(self, looked: Looked) -> None:
        layer, histogram = self.layer, looked.histogram
        if layer is None:
            return
        first, self.state.looked = self.state.looked is None, looked
        volume = self._volume(layer)
        if is_labels(layer):
            self.filled.offer_labels(looked.labels, self.chosen_label)
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
            volume, limits = self._volume(layer), tuple(layer.contrast_limits)
            time = f" · time {self._frame(layer)}" if layer.ndim == 4 else ""
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
            if self.slice_preview.draw_of(layer, self._volume(layer), self._planes(layer)):
                for result in ours(self.viewer, "voxels", str(layer.unique_id)):
                    set_visible(result, False)

    def _planes(self, layer: Layer) -> Planes:
        """Of the set, where it is there; until then of what is in the range, before the largest parts are chosen."""
        volume, recipe, looked = self._volume(layer), self.form.recipe(), self.state.looked
        made = self.state.made(self.key_of(layer))
        if made is not None:
            return SetPlanes(made.voxels)
        known = self.state.body
        body = known[1] if known is not None and known[0] == self._body_key(layer, recipe) else None
        all_inside = looked is None or looked.all_inside
        return RangePlanes(volume, recipe.resample, *self.form.histogram.range, body=body, all_inside=all_inside)

    def _body_key(self, layer: Layer, recipe: Recipe) -> tuple[str, int, str]:
        return str(layer.unique_id), self._frame(layer), recipe.region.model_dump_json()

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

    def _began(self, work: Work, title: str) -> None:
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
            recipe, volume, frame = self.form.recipe(), self._volume(layer), self._frame(layer)
            wanted = wanted or (self.making.running and self.state.asked_for)  # the recipe changed before it was there
            kind = str(self.show_as.currentData()) if wanted or self._shows_voxels(layer) else None
            key, body = self.key_of(layer), self.state.body
            known = self.state.made(key)
            if known is not None and kind is None:
                return
            self.state.asked_for = wanted
            of_this = body is not None and body[0] == self._body_key(layer, recipe)
            job = partial(
                make_ready,
                key,
                volume,
                recipe,
                frame,
                kind,
                known,
                case_of(layer),
                body[1] if body and of_this else None,
            )
            self.making.start(job, f"making voxels of {layer.name}")

    def _show(self, ready: ReadySet) -> None:
        again = self.state.made(ready.key) is not None
        self.state.ready = ready
        layer = volume_layer(self.viewer, ready.key[0])
        if layer is None:  # removed in the meantime
            return
        if ready.body is not None:
            self.state.body = self._body_key(layer, ready.made.recipe), ready.body
        self.numbers.setText(ready.numbers)
        if ready.empty is not None:
            self.state.run_next = False
            self.fail(ready.empty)
            self.cost.setText("")
            return
        if not again:
            self._reckon_cost(ready)
        if ready.picture is not None:
            self._show_layer(layer, ready, ready.picture)
        elif self.slice_preview.shown(layer):
            self.show_preview()  # the exact set

    def _show_layer(self, layer: Layer, ready: ReadySet, picture: NDArray[Any]) -> None:
        volume_id, made = ready.key[0], ready.made
        self._remember(volume_id, made)
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

    # -- undo ----------------------------------------------------------------------------------------------------------

    def _remember(self, volume_id: str, made: ScanVoxels) -> None:
        """Another set is about to replace the one that stands over the scan."""
        history = self.state.history
        shown = next(ours(self.viewer, "voxels", volume_id), None)
        earlier = None if shown is None else made_of(shown)
        if self.state.undoing:
            history.take(volume_id)
            self.say(
                f"The set before is back: {short_name(made.recipe)}, {words.count(made.voxels.n_active, 'voxels')}."
            )
        elif earlier is not None and not earlier.same_as(made):
            history.replaced(volume_id, earlier)
        self._offer_undo()

    def _offer_undo(self) -> None:
        layer = self.layer
        earlier = None if layer is None else self.state.history.last(str(layer.unique_id))
        self.undo.setVisible(earlier is not None)
        if earlier is not None:
            said = f"{short_name(earlier.recipe)}, {words.count(earlier.voxels.n_active, 'voxels')}"
            self.undo.setToolTip(f"Bring back the voxel set before this one: {said}")

    def _undo(self) -> None:
        """Bring back the set that was shown before, with its recipe."""
        layer = self.layer
        earlier = None if layer is None else self.state.history.last(str(layer.unique_id))
        if layer is None or earlier is None:
            return
        if earlier.frame != self._frame(layer):
            self.say(f"The set before is of time {earlier.frame}: go there, then undo.", warning=True)
            return
        self._settle.stop()
        self.state.run_next = False
        self.form.take(earlier.recipe)
        self.state.asked_for = self.state.undoing = True
        kind, volume, key = str(self.show_as.currentData()), earlier.volume, self.key_of(layer)
        if is_labels(layer) and volume is not self._volume(layer):  # of another label, or painted since
            key = (*key[:2], f"{key[2]} as it was")
        job = partial(make_ready, key, volume, earlier.recipe, earlier.frame, kind, earlier, earlier.case)
        self.making.start(job, "bringing back the set before")

    def _no_undo(self) -> None:
        self.state.undoing = False

    def _next(self) -> None:
        """Run a network on what the controls say: the set is made first where it is not there yet."""
        self.state.run_next = True
        self.run()

    # -- what a model would take ---------------------------------------------------------------------------------------

    def _reckon_cost(self, ready: ReadySet) -> None:
        model = self.workbench.model
        self.cost.setText(f"{Path(model).stem}: reckoning the work…")
        job = partial(reckon_cost, self.workbench.network_child, ready, model)
        self.costing.start(job, f"work of {model}")

    def _show_cost(self, cost: object) -> None:
        if isinstance(cost, Cost):  # else the process has started
            self.cost.setText(cost_words(cost))

    def _no_cost(self, failure: Failure) -> None:
        if self.state.ready is not None:
            self.cost.setText(f"{Path(self.workbench.model).stem} cannot take this set: {failure.sentence}")

    def _model_changed(self, _name: str) -> None:
        if self.state.ready is not None and self.state.has_voxels():
            self._reckon_cost(self.state.ready)

    # -- links ---------------------------------------------------------------------------------------------------------

    def source(self) -> repeat.Source:
        """Where the chosen volume was read from."""
        layer = self.layer
        if layer is None:
            raise InputError("no volume is open")
        return self.source_of(layer, self._frame(layer))

    def source_of(self, layer: Layer, frame: int) -> repeat.Source:
        """Where a volume was read from, and which label of it is the shape.

        Raises
        ------
        InputError
            If it was not read from a file.
        """
        return source_of(layer, frame, self.chosen_label)

    def save_set_to(self, path: Path, layer: Layer, made: ScanVoxels) -> None:
        """Write the voxel set of a scan, as its ending says."""
        self._saver.save(path, layer, made)
