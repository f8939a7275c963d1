"""The Sparse voxels panel: its controls, and what happens when they are used."""

from __future__ import annotations

from pathlib import Path

from napari.layers import Layer

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.opening.nothing_open import NothingOpen
from napari_sparse3d.widgets.toolbox.cursor_line import cursor_line
from napari_sparse3d.widgets.toolbox.layers import follow_layers, volume_layer, volumes
from napari_sparse3d.widgets.toolbox.layout import later
from napari_sparse3d.widgets.toolbox.panel import Followed, Panel
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.sources import source_of
from napari_sparse3d.widgets.toolbox.warm import import_behind_labels
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.voxels.controls import Controls
from napari_sparse3d.widgets.voxels.cost_line import CostLine
from napari_sparse3d.widgets.voxels.input import Input
from napari_sparse3d.widgets.voxels.looking import Looking
from napari_sparse3d.widgets.voxels.making import Making
from napari_sparse3d.widgets.voxels.preview import SlicePreview
from napari_sparse3d.widgets.voxels.previewing import Previewing
from napari_sparse3d.widgets.voxels.saver import Saver
from napari_sparse3d.widgets.voxels.state import Key, VoxelsState
from napari_sparse3d.widgets.voxels.straightening import Straightening
from napari_sparse3d.widgets.voxels.undo import Undo

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
        self._settle = later(_SETTLE_MS, self, lambda: self._making.start(wanted=False))
        # napari is still taking the volume away when it says so
        self._tidy = later(0, self, self.slice_preview.remove_orphans)
        self.counting, self.making, self.costing, self.warming = Work(self), Work(self), Work(self), Work(self)
        self.straightening, self.saving = Work(self), Work(self)
        self._edited = later(_SETTLE_MS, self, lambda: self._looking.again())
        self._saver = Saver(self, self.saving)
        self._build_controls()
        self._input = Input(self.viewer, self.state, self.label, self.edit_seen)
        self._cost_line = CostLine(self.cost, self.state, self.workbench, self.costing)
        self._looking = Looking(self, self.counting, self._input, self._cost_line)
        self._previewing = Previewing(self, self.slice_preview, self._input, self._cost_line)
        self._straightening = Straightening(self, self.straightening)
        self.copy_command, self.copy_python = self.add_copy_links(
            "The line that makes this voxel set",
            lambda: repeat.voxelize_command(self.source(), self.form.recipe()),
            lambda: repeat.voxelize_python(self.source(), self.form.recipe()),
        )
        self.save_set = self.add_link(
            "Save voxel set…",
            "As .npz with its features, or its mask as NIfTI, NRRD or DICOM segmentation",
            self._saver.ask_for_set,
        )
        self.save_recipe = self.add_link("Save recipe…", "A .toml file for --recipe", self._saver.ask_for_recipe)
        self._undo = Undo(self)
        self.undo = self._undo.link
        self._making = Making(self, self.making, self._input, self._cost_line, self._undo)
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
        self.label.activated.connect(lambda _: self._looking.again())
        self.form.changed.connect(self.recipe_changed)
        self.form.failed.connect(self.fail)
        self.show_as.activated.connect(self._kind_chosen)
        self.next_button.clicked.connect(self._next)

    def _connect(self) -> None:
        self.follow(self.making)
        self.follow(self.straightening)
        self.follow(self.saving)
        self.saving.finished.connect(lambda text: self.say(text))
        self.straighten.clicked.connect(self._straightening.start)
        self.form.moved.connect(self._previewing.range_moved)
        self.preview.toggled.connect(self._previewing.toggled)
        follow_layers(self.viewer, self._layers_changed)
        dims = self.viewer.dims.events
        for event in (dims.current_step, dims.order, dims.ndisplay):
            event.connect(self._previewing.slice_changed)
        dims.current_step.connect(self._looking.time_moved)
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
        self.say("")
        layer = self.layer
        self._input.edits.follow(layer)
        self._undo.offer()
        for each in volumes(self.viewer):
            if each is not layer:
                self.slice_preview.hide(str(each.unique_id))
        if layer is None:
            self.counting.cancel()
            return
        self._looking.at(layer)

    def edit_seen(self) -> None:
        """The volume's voxels are others: it is looked at again when that has settled."""
        self._edited.start()

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

    def show_preview(self) -> None:
        """Draw what is in the range over the slice that the viewer shows."""
        self._previewing.show()

    # -- making the set ------------------------------------------------------------------------------------------------

    def recipe_changed(self) -> None:
        """The controls say another set, or the volume is another one: it is made when they have settled."""
        layer = self.layer
        if layer is not None and not self._making.shows_voxels(layer, visible=True):
            self.show_preview()  # until there is a set to look at
        self._settle.start()

    def run(self) -> None:
        """Make the voxel set as a layer."""
        self._settle.stop()
        self._making.start(wanted=True)

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
        if self.layer is not None and self._making.shows_voxels(self.layer):
            self.run()

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
