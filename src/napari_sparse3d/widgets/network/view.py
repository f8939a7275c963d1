"""The Network panel: its controls, and what happens when they are used."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from napari.layers import Layer
from qtpy.QtWidgets import QFileDialog

from napari_sparse3d.catalog import ENGINES
from napari_sparse3d.errors import InputError
from napari_sparse3d.voxels import Recipe
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.child.records import ModelInfo, Sites
from napari_sparse3d.widgets.network import jobs
from napari_sparse3d.widgets.network.model_choice import ModelChoice
from napari_sparse3d.widgets.network.results import Results
from napari_sparse3d.widgets.network.sites_layer import hide_sites, put_sites, remove_sites
from napari_sparse3d.widgets.network.state import (
    Choice,
    Colouring,
    NetworkRun,
    NetworkState,
    attributed,
    colouring,
    engine_words,
)
from napari_sparse3d.widgets.opening.nothing_open import NothingOpen
from napari_sparse3d.widgets.toolbox.failures import Failure
from napari_sparse3d.widgets.toolbox.layers import frame_of, made_of, mark_of, ours, volume_layer, volumes
from napari_sparse3d.widgets.toolbox.layout import combo, form, small_label
from napari_sparse3d.widgets.toolbox.notes import read_words
from napari_sparse3d.widgets.toolbox.panel import Panel, saving
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.sources import case_of, source_of, volume_of_layer
from napari_sparse3d.widgets.toolbox.viewers import camera_of
from napari_sparse3d.widgets.toolbox.work import Work


class NetworkPanel(Panel):
    """Choose voxels and a model, run, and see probabilities, layers and attribution."""

    primary_text = "Run"

    # -- looks ---------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the controls, and connect them with the viewer and the other panels."""
        self.state = NetworkState()
        self._untouched = tuple(camera_of(self.viewer).angles)  # nobody has turned the camera yet
        stop = self.workbench.network_child.stop
        self.running, self.attributing = Work(self, interrupt=stop), Work(self, interrupt=stop)
        self.viewing, self.listing, self.saving, self.hashing = Work(self), Work(self), Work(self), Work(self)
        self._build_choices()
        self._build_results()
        self.body.addStretch(1)
        self._build_links()
        self._connect()
        self._list_models()
        self._layers_changed()
        self._show_parts()

    def _build_choices(self) -> None:
        self.empty = NothingOpen(self.viewer, self, self.say)
        self.empty_text, self.open_button, self.sample_button = self.empty.text, self.empty.folder, self.empty.sample
        self.body.addWidget(self.empty)
        self.voxels = combo("A voxel set, or a volume of which the model makes voxels by its own recipe")
        self.choice = ModelChoice(self, self.workbench)
        self.model, self.about = self.choice.box, self.choice.about
        self.engine = combo("What runs the network; auto takes the graphics card where there is one")
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
        self.table.chosen.connect(self.see_layer)
        self.colour_by.currentIndexChanged.connect(self._recolour)
        self.channel.valueChanged.connect(self._channel_stepped)
        self.in_3d.clicked.connect(self._turn_3d)
        self.attribute_button.clicked.connect(self.attribute)
        self.like_button.clicked.connect(lambda: self.show_panel("cohort").ask())
        self.body.addWidget(self.results)

    def _build_links(self) -> None:
        self.copy_command, self.copy_python = self.add_copy_links(
            "The line that gives this table",
            lambda: repeat.activations_command(*self._repeated()),
            lambda: repeat.activations_python(*self._repeated()),
        )
        self.export = self.add_link(
            "Export table…", "As CSV; or the chart as SVG or PNG, by the name's ending", self._export
        )
        tip = "Recipe, hashes, versions, table, chart and the line, in one folder"
        self.session = self.add_session_link(tip, self.save_session_to)

    def _connect(self) -> None:
        for work in (self.running, self.attributing, self.saving):
            self.follow(work)
        self.running.finished.connect(self._show)
        self.running.failed.connect(lambda _: self._run_failed())
        self.attributing.finished.connect(lambda found: self._show_attribution(*found))
        self.viewing.finished.connect(self._show_sites)
        self.viewing.failed.connect(self._not_fetched)
        self.listing.finished.connect(self._listed)
        self.listing.failed.connect(self.fail)
        self.saving.finished.connect(lambda text: self.say(text))
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self._layers_changed)
        self.viewer.dims.events.ndisplay.connect(self._ndisplay_changed)
        self.viewer.dims.events.current_step.connect(self._time_moved)
        self.voxels.currentIndexChanged.connect(self._check_owner)
        self.workbench.model_changed.connect(self._check_owner)
        self.workbench.voxels_changed.connect(self._voxels_made)
        self.workbench.models_changed.connect(self._list_models)

    def _show_parts(self) -> None:
        self.results.setVisible(self.ran is not None)
        self.ran_on.setVisible(self.ran is not None)
        for link in (self.copy_command, self.copy_python, self.export, self.session):
            link.setEnabled(self._is_current())

    def _is_current(self) -> bool:
        """Whether what is shown is the result of what is chosen; where nothing is open, of what was open last."""
        if self.ran is None:
            return False
        layer = self._chosen_layer()
        if layer is None:
            return self.voxels.count() == 0 and self.ran.result.request.model == self.workbench.model
        return self.ran.is_of(self._choice_of(layer), self.workbench.model)

    def _choice_of(self, layer: Layer) -> Choice:
        mark, made = mark_of(layer), made_of(layer)
        if mark is None or made is None:
            return Choice(str(layer.unique_id), frame_of(self.viewer, layer))
        return Choice(mark.volume_id, made.frame, made)

    def _check_owner(self, _event: object = None) -> None:
        """A result belongs to its case, voxels and model: where these are others it is dim, and no panel has it."""
        ran, current = self.ran, self._is_current()
        if ran is not None:
            self.results.show_owner(ran.title, stale=not current)
            if not current:
                self._drop_looks()
                hide_sites(self.viewer, ran.volume_id)
        self._show_parts()
        shown = ran if current else None
        if self.workbench.result is not shown:
            self.workbench.set_result(shown)

    def _time_moved(self, _event: object) -> None:
        layer = self._chosen_layer()
        if layer is not None and layer.ndim == 4:
            self._check_owner()

    def _run_failed(self) -> None:
        """What was shown is not what was asked for."""
        if self.ran is not None:
            self._drop_looks()
            hide_sites(self.viewer, self.ran.volume_id)
        self.state.show(None)
        self._check_owner()

    def _drop_looks(self) -> None:
        """Nothing of the result's layers is shown any more, nor what is still fetched of them."""
        self._drop_fetches()
        self.state.sites = None

    def _drop_fetches(self) -> None:
        """What is fetched of a result comes too late for the next."""
        if self.viewing.running:
            self.results.forget_row()
        self.viewing.drop()
        self.attributing.drop()

    def _not_fetched(self, failure: Failure) -> None:
        self.results.forget_row()
        self.fail(failure)

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
        for layer in reversed(list(ours(self.viewer, "voxels"))):
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
            self.sites_text.setText("The scan of this result was closed; its numbers stay.")

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
            self.say("The chosen voxels are not in the viewer any more; make them again.", warning=True)
            return
        self._drop_fetches()  # what is shown stays what it is until the run has ended, which may be cancelled
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
        self._drop_looks()
        remove_sites(self.viewer, {each.volume_id for each in (self.ran, ran) if each is not None})
        self.state.show(ran)
        self.say("")
        volume = ran.made.volume
        notes = [f"⚠ {note}" for note in read_words(volume.meta, volume.unit)]
        self.ran_on.setText("\n".join([engine_words(ran.result), *notes]))
        self.results.show_result(ran.result)
        self._check_owner()
        self.hashing.start(partial(jobs.know_content, ran.made), "hashing the case")

    # -- a layer, an attribution ---------------------------------------------------------------------------------------

    def see_layer(self, name: str) -> None:
        """Fetch what a layer gave, and show it over the scan."""
        if self.ran is None:
            return
        self.sites_text.setText(f"Fetching {name} …")
        child, request = self.workbench.network_child, self.ran.result.request
        self.viewing.start(partial(child.call, "network.layer", request=request, name=name), f"fetching {name}")

    def attribute(self) -> None:
        """Ask which voxels drove the chosen class."""
        if self.ran is None:
            return
        request, target, method = self.ran.result.request, self.target.currentIndex(), self.method.currentData()
        child = self.workbench.network_child
        # both may be chosen anew before it is there
        words = (self.method.currentText(), self.target.currentText())
        job = partial(jobs.attribute, child, request, target, method, words)
        self.attributing.start(job, f"reckoning the {method}")

    def _show_sites(self, found: Sites) -> None:
        self.state.sites = found
        self.results.set_channels(found.values.shape[1])
        self._recolour()

    def _channel_stepped(self, _value: int) -> None:
        if self.colour_by.currentData() != "channel":
            self.colour_by.setCurrentIndex(self.colour_by.findData("channel"))  # recolours
        else:
            self._recolour()

    def _recolour(self, _index: int = 0) -> None:
        sites, ran = self.state.sites, self.ran
        if sites is None or ran is None:
            return
        name = f"{sites.layer} ({sites.shape[0]}³)"
        self._put(ran, "activation", name, sites, colouring(sites, self.results.chosen_channel))

    def _show_attribution(self, sites: Sites, method: str, class_name: str) -> None:
        if self.ran is None:
            return
        shown = attributed(sites, method, class_name, trained=self.ran.result.model.trained)
        self._put(self.ran, "attribution", f"what drove {class_name}", sites, shown)

    def _put(self, ran: NetworkRun, role: str, name: str, sites: Sites, shown: Colouring) -> None:
        """Show values over the scan and say what they are; without it, say that."""
        done = put_sites(self.viewer, ran, role, name, sites, shown.values, signed=shown.signed)
        self.sites_text.setText(
            shown.text if done else "The scan was closed; open it again and run, to see layers over it."
        )

    # -- links ---------------------------------------------------------------------------------------------------------

    def source(self) -> repeat.Source:
        """Where the scan of the result was read from."""
        ran = self._shown()
        layer = volume_layer(self.viewer, ran.volume_id)
        if layer is None:
            raise InputError("the scan was closed; open it again and run")
        return source_of(layer, ran.made.frame)

    def _shown(self) -> NetworkRun:
        if self.ran is None:
            raise InputError("run a model first")
        return self.ran

    def _repeated(self) -> tuple[repeat.Source, Recipe, str, str]:
        source, ran = self.source(), self._shown()
        return source, ran.made.recipe, ran.result.request.model, ran.result.request.engine

    def _export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Export", "layers.csv", "Table (*.csv);;Chart (*.svg *.png);;All files (*)"
        )
        if path:
            self.export_to(Path(path))

    def export_to(self, path: Path) -> None:
        """Write the table (.csv) or the chart (.svg, .png)."""
        if self.ran is not None:
            write = jobs.export(self.ran.result, path)
            self.saving.start(saving(f"Writing {path.name} …", write), f"writing {path.name}")

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        if self.ran is None:
            return
        try:
            source = self.source()
        except InputError:
            source = None  # the session says that it cannot be repeated
        write = jobs.save_session(folder, self.ran.result, self.ran.made, source)
        self.saving.start(saving("Hashing the input, drawing the chart …", write), "saving the session")
