"""The Network panel: its controls, and what happens when they are used."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QEvent

from napari_sparse3d.catalog import ENGINES
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.child.records import ModelInfo
from napari_sparse3d.widgets.network import jobs
from napari_sparse3d.widgets.network.model_choice import ModelChoice
from napari_sparse3d.widgets.network.over_scan import OverScan
from napari_sparse3d.widgets.network.repeating import Repeating
from napari_sparse3d.widgets.network.results import Results
from napari_sparse3d.widgets.network.sites_layer import remove_sites
from napari_sparse3d.widgets.network.state import Choice, NetworkRun, NetworkState, engine_words
from napari_sparse3d.widgets.opening.nothing_open import NothingOpen
from napari_sparse3d.widgets.toolbox.layers import (
    Edits,
    follow_layers,
    frame_of,
    ground_of,
    made_of,
    volume_layer,
    volumes,
    voxel_layers,
)
from napari_sparse3d.widgets.toolbox.layout import combo, form, small_label
from napari_sparse3d.widgets.toolbox.notes import read_words
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.sources import case_of, volume_of_layer
from napari_sparse3d.widgets.toolbox.styled import same_letters
from napari_sparse3d.widgets.toolbox.theme import Colours
from napari_sparse3d.widgets.toolbox.viewers import camera_of
from napari_sparse3d.widgets.toolbox.work import Work


class NetworkPanel(Panel):
    """Choose voxels and a model, run, and see probabilities, layers and attribution."""

    primary_text = "Run"

    # -- looks ---------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the controls, and connect them with the viewer and the other panels."""
        self.state = NetworkState()
        self._edits, self._n_edits, self._n_before = Edits(self._edited), 0, 0
        self._untouched = tuple(camera_of(self.viewer).angles)  # nobody has turned the camera yet
        self.running = Work(self, interrupt=self.workbench.network_child.stop)
        self.listing, self.hashing = Work(self), Work(self)
        self._build_choices()
        self._build_results()
        self.body.addStretch(1)
        self.repeating = Repeating(self, self.state)
        self.copy_command, self.copy_python = self.repeating.copy_command, self.repeating.copy_python
        self.export, self.session, self.saving = self.repeating.export, self.repeating.session, self.repeating.saving
        self._connect()
        self._list_models()
        self._layers_changed()
        self._show_parts()

    def changeEvent(self, event: QEvent | None) -> None:
        """napari has letters of another size: everything has."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange and hasattr(self, "results"):
            self._take_letters()

    def restyle(self, look: Colours) -> None:
        """Take the letters along with the colours of a theme."""
        self._take_letters()

    def _take_letters(self) -> None:
        self.message.ensurePolished()
        same_letters(self.results, self.message.font())

    def _build_choices(self) -> None:
        self.empty = NothingOpen(self.viewer, self, self.say)
        self.empty_text, self.open_button, self.sample_button = self.empty.text, self.empty.folder, self.empty.sample
        self.body.addWidget(self.empty)
        self.voxels = combo("A voxel set, or a volume from which the model makes voxels by its own recipe")
        self.choice = ModelChoice(self, self.workbench)
        self.model, self.about = self.choice.box, self.choice.about
        self.engine = combo("What runs the network; auto uses the graphics card if there is one")
        self.engine.addItem("auto", "auto")
        for info in ENGINES.values():
            self.engine.addItem(info.title, info.name)
        self.engine.setCurrentIndex(max(self.engine.findData(preference("network.engine")), 0))
        self.ran_on = small_label()
        top = form()
        top.addRow("Voxels", self.voxels)
        top.addRow("Model", self.model)
        top.addRow(self.about)
        top.addRow("Engine", self.engine)
        top.addRow(self.ran_on)
        self.body.addLayout(top)

    def _build_results(self) -> None:
        self.results = shown = Results()
        self.bars, self.honest, self.table, self.chart = shown.bars, shown.honest, shown.table, shown.chart
        self.colour_by, self.channel, self.in_3d = shown.colour_by, shown.channel, shown.in_3d
        self.sites_text, self.target, self.method = shown.sites_text, shown.target, shown.method
        self.attribute_button, self.like_button = shown.attribute_button, shown.like_button
        self.over_scan = OverScan(self, self.state, shown)
        self.attributing, self.viewing = self.over_scan.attributing, self.over_scan.viewing
        self.in_3d.clicked.connect(self._turn_3d)
        self.like_button.clicked.connect(lambda: self.show_panel("cohort").ask())
        self.body.addWidget(self.results)

    def _connect(self) -> None:
        self.follow(self.running)
        self.running.finished.connect(self._show)
        self.running.failed.connect(lambda _: self._run_failed())
        self.listing.finished.connect(self._listed)
        self.listing.failed.connect(self.fail)
        follow_layers(self.viewer, self._layers_changed)
        self.viewer.dims.events.ndisplay.connect(self._ndisplay_changed)
        self.viewer.dims.events.current_step.connect(self._time_moved)
        self.voxels.currentIndexChanged.connect(self._check_owner)
        self.workbench.model_changed.connect(self._check_owner)
        self.workbench.voxels_changed.connect(self._voxels_made)
        self.workbench.models_changed.connect(self._list_models)

    def works_changed(self) -> None:
        """While something is at work nothing else begins."""
        self._show_parts()

    def _show_parts(self) -> None:
        self.results.setVisible(self.ran is not None)
        self.ran_on.setVisible(self.ran is not None)
        # while something is at work nothing else begins, so that no "done" stands beside its Cancel
        free = self._is_current() and not self.busy
        for button in (self.copy_command, self.copy_python, self.export, self.session, self.attribute_button):
            button.setEnabled(free)

    def _is_current(self) -> bool:
        """Whether what is shown is the result of what is chosen; where nothing is open, of what was open last."""
        if self.ran is None:
            return False
        layer = self._chosen_layer()
        if layer is None:
            return self.voxels.count() == 0 and self.ran.result.request.model == self.workbench.model
        chosen = self._choice_of(layer)
        return self.ran.is_of(chosen, self.workbench.model) and (chosen.made is not None or not self.state.edited)

    def _choice_of(self, layer: Layer) -> Choice:
        made = made_of(layer)
        if made is None:
            return Choice(str(layer.unique_id), frame_of(self.viewer, layer))
        return Choice(ground_of(layer), made.frame, made)

    def _check_owner(self, _event: object = None) -> None:
        """A result belongs to its case, voxels and model: where these are others it is dim, and no panel has it."""
        ran, current = self.ran, self._is_current()
        if ran is not None:
            self.results.show_owner(ran.title, stale=not current)
            if not current:
                self.over_scan.drop()
        self._show_parts()
        shown = ran if current else None
        if self.workbench.result is not shown:
            self.workbench.set_result(shown)

    def _time_moved(self, _event: object) -> None:
        layer = self._chosen_layer()
        if layer is not None and layer.ndim == 4:
            self._check_owner()

    def _edited(self) -> None:
        """The scan's voxels are others: what its model's recipe made of it is not what it would make now."""
        self._n_edits += 1
        self.state.edited = True
        self._check_owner()

    def _run_failed(self) -> None:
        """What was shown is not what was asked for."""
        self.over_scan.drop()
        self.state.show(None)
        self._check_owner()

    def _turn_3d(self, on: bool) -> None:
        self.viewer.dims.ndisplay = 3 if on else 2
        camera = camera_of(self.viewer)
        if on and np.allclose(camera.angles, self._untouched):
            # as one looks at a person: from the front and a little from the side, superior up
            camera.set_view_direction(view_direction=(0.3, 1.0, 0.5), up_direction=(-1.0, 0.0, 0.0))

    def _ndisplay_changed(self, _event: object) -> None:
        self.in_3d.setChecked(self.viewer.dims.ndisplay == 3)

    # -- what is to be run ---------------------------------------------------------------------------------------------

    @property
    def ran(self) -> NetworkRun | None:
        """What is shown."""
        return self.state.ran

    def _layers_changed(self, _event: object = None) -> None:
        current = self.voxels.currentData()
        self.voxels.blockSignals(True)
        self.voxels.clear()
        for layer in voxel_layers(self.viewer):
            self.voxels.addItem(layer.name, str(layer.unique_id))
        for layer in volumes(self.viewer):
            self.voxels.addItem(f"{layer.name}, by the model's recipe", str(layer.unique_id))
        place = self.voxels.findData(current)
        self.voxels.setCurrentIndex(max(place, 0) if self.voxels.count() else -1)
        self.voxels.blockSignals(False)
        something = self.voxels.count() > 0
        self.empty.setVisible(not something)
        self.empty.say_why()
        self.primary.setEnabled(something or self.running.running)
        self._check_owner()
        if self.ran is not None and volume_layer(self.viewer, self.ran.volume_id) is None:
            self.results.say_of_picture("The scan of this result was closed; its numbers remain.")

    def _voxels_made(self, layer: Layer) -> None:
        place = self.voxels.findData(str(layer.unique_id))
        if place < 0:
            self._layers_changed()
            place = self.voxels.findData(str(layer.unique_id))
        self.voxels.setItemText(place, layer.name)
        self.voxels.setCurrentIndex(place)
        self._check_owner()  # the set may be another one in the same layer

    def _chosen_layer(self) -> Layer | None:
        return volume_layer(self.viewer, self.voxels.currentData() or "")

    def _list_models(self) -> None:
        files = list(self.workbench.model_files)
        call = partial(self.workbench.network_child.call, "network.models", extra=files)
        self.listing.start(call, "loading the list of models")

    def _listed(self, infos: list[ModelInfo]) -> None:
        self.state.models = {info.argument: info for info in infos}
        self.choice.show_models(self.state.models)

    def run(self) -> None:
        """The primary button: run the chosen model on the chosen voxels."""
        layer = self._chosen_layer()
        if layer is None:
            self.say("The chosen voxels are no longer in the viewer; make them again.", warning=True)
            return
        self._n_before = self._n_edits
        self._edits.follow(layer)
        self.over_scan.drop_fetches()  # what is shown stays what it is until the run has ended, which may be cancelled
        model, engine = self.workbench.model, self.engine.currentData()
        child, chosen = self.workbench.network_child, self._choice_of(layer)
        if chosen.made is not None:
            job = partial(jobs.run, child, chosen.made, chosen.volume_id, model, engine)
            self.running.start(job, f"running {Path(model).stem}")
            return
        info = self.state.models.get(model)
        if info is None:
            self.say("The models are still being loaded; run it again in a moment.", warning=True)
            return
        with self.telling():
            frame = chosen.frame
            volume = volume_of_layer(layer, frame)
            job = partial(jobs.voxelize_and_run, child, volume, frame, case_of(layer), info, chosen.volume_id, engine)
            self.running.start(job, f"running {info.name}")

    def run_on(self, layer: Layer) -> None:
        """Run the chosen model on a voxel set's layer."""
        self._voxels_made(layer)
        self.run()

    def _show(self, ran: NetworkRun) -> None:
        self.over_scan.drop()
        remove_sites(self.viewer, {each.volume_id for each in (self.ran, ran) if each is not None})
        self.state.show(ran)
        self.state.edited = self._n_edits != self._n_before  # while it ran
        self.say("")
        volume = ran.made.volume
        notes = [f"⚠ {note}" for note in read_words(volume.meta, volume.unit)]
        self.ran_on.setText("\n".join([engine_words(ran.result), *notes]))
        self.results.show_result(ran.result)
        self._check_owner()
        self.hashing.start(partial(jobs.know_content, ran.made), "hashing the case")

    def attribute(self) -> None:
        """Ask which voxels drove the chosen class."""
        self.over_scan.attribute()

    def export_to(self, path: Path) -> None:
        """Write the table (.csv) or the chart (.svg, .png)."""
        self.repeating.export_to(path)

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        self.repeating.save_session_to(folder)

    def source(self) -> repeat.Source:
        """Where the scan of the result was read from."""
        return self.repeating.source()
