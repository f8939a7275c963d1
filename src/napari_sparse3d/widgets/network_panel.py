"""The Network panel: run a model on a voxel set, look inside it, and ask what drove it."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from napari.layers import Layer
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QSpinBox, QTabWidget, QVBoxLayout, QWidget

from napari_sparse3d.catalog import ATTRIBUTIONS, ENGINES
from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import require_voxels, voxelize
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.bars import ProbabilityBars
from napari_sparse3d.widgets.layer_table import LayerChart, LayerTable, write_chart, write_table
from napari_sparse3d.widgets.model_words import card_words, honest_words
from napari_sparse3d.widgets.opening import open_folder, open_sample
from napari_sparse3d.widgets.records import ModelInfo, Request, Sites
from napari_sparse3d.widgets.session import save_network_session
from napari_sparse3d.widgets.sites_layer import Run, put_sites
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.faults import fault_of
from napari_sparse3d.widgets.toolbox.layers import Made, frame_of, made_of, mark_of, ours, volume_layer, volumes
from napari_sparse3d.widgets.toolbox.panel import SPACE, Panel, combo, form, small_label
from napari_sparse3d.widgets.toolbox.plain_text import plain_tip
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.sources import source_of, volume_of_layer, why_no_volume
from napari_sparse3d.widgets.toolbox.theme import Colours
from napari_sparse3d.widgets.toolbox.viewers import camera_of
from napari_sparse3d.widgets.toolbox.work import Step, Work

_NOTHING = "No volume is open."


class NetworkPanel(Panel):
    """Choose voxels and a model, run, and see probabilities, layers and attribution."""

    primary_text = "Run"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.workbench.enter(self)
        self.ran: Run | None = None
        self._infos: dict[str, ModelInfo] = {}
        self._sites: Sites | None = None
        self._untouched = tuple(camera_of(self.viewer).angles)  # nobody has turned the camera yet
        self.running = Work(self, interrupt=self.workbench.network_child.stop)
        self.viewing = Work(self)
        self.attributing = Work(self, interrupt=self.workbench.network_child.stop)
        self.listing = Work(self)
        self.saving = Work(self)
        self._build()
        self.follow(self.running)
        self.follow(self.attributing)
        self.follow(self.saving)
        self.attributing.finished.connect(self._show_attribution)
        self.running.finished.connect(self._show)
        self.viewing.finished.connect(self._show_sites)
        self.viewing.failed.connect(self.fail)
        self.listing.finished.connect(self._listed)
        self.listing.failed.connect(self.fail)
        self.saving.finished.connect(lambda text: self.say(text))
        events = self.viewer.layers.events
        for event in (events.inserted, events.removed):
            event.connect(self._layers_changed)
        self.workbench.voxels_changed.connect(self._voxels_made)
        self.workbench.models_changed.connect(self._list_models)
        self.workbench.model_changed.connect(self._select_model)
        self._list_models()
        self._layers_changed()
        self._show_parts()

    # -- looks ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        self.empty = QWidget()
        nothing = QVBoxLayout(self.empty)
        nothing.setContentsMargins(0, 0, 0, 0)
        self.empty_text = small_label(_NOTHING)
        nothing.addWidget(self.empty_text)
        self.open_button = QPushButton("Open a folder…")
        self.open_button.clicked.connect(lambda: open_folder(self.viewer, self, self.say))
        self.sample_button = QPushButton("Try the sample head MRI")
        self.sample_button.clicked.connect(lambda: open_sample(self.viewer, "head_mri", self, self.say))
        nothing.addWidget(self.open_button)
        nothing.addWidget(self.sample_button)
        self.body.addWidget(self.empty)

        top = form()
        self.voxels = combo("A voxel set, or a volume of which the model makes voxels by its own recipe")
        self.model = combo("A trained model, a model file, or an architecture with random weights")
        self.model.activated.connect(self._model_chosen)
        self.about = small_label("Loading the list of models …")
        self.engine = combo("What runs the network; auto takes the graphics card where there is one")
        self.engine.addItem("auto", "auto")
        for info in ENGINES.values():
            self.engine.addItem(info.title, info.name)
        self.engine.setCurrentIndex(max(self.engine.findData(preference("network.engine")), 0))
        self.ran_on = small_label()
        top.addRow("Voxels", self.voxels)
        top.addRow("Model", self.model)
        top.addRow(self.about)
        top.addRow("Engine", self.engine)
        top.addRow(self.ran_on)
        self.body.addLayout(top)

        self.results = QWidget()
        layout = QVBoxLayout(self.results)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        self.bars = ProbabilityBars()
        self.target = combo("For which class")
        self.bars.chosen.connect(self.target.setCurrentIndex)
        self.honest = small_label()
        layout.addWidget(self.bars)
        layout.addWidget(self.honest)
        self.table = LayerTable()
        self.table.chosen.connect(self.see_layer)
        self.chart = LayerChart()
        tabs = QTabWidget()
        tabs.addTab(self.table, "Table")
        tabs.addTab(self.chart, "Chart")
        tabs.setDocumentMode(True)
        bar = tabs.tabBar()
        if bar is not None:
            bar.setDrawBase(False)
        layout.addWidget(tabs)
        look = QHBoxLayout()
        self.colour_by = combo("What a site's colour means", 3)
        self.colour_by.addItem("norm", "norm")
        self.colour_by.addItem("channel", "channel")
        self.colour_by.currentIndexChanged.connect(self._recolour)
        self.channel = QSpinBox()
        self.channel.setToolTip("Step through the channels (− and +, arrow keys, or the wheel)")
        self.channel.setAccessibleName("Channel")
        self.channel.setRange(1, 1)
        self.channel.setWrapping(True)
        self.channel.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.channel.valueChanged.connect(self._channel_stepped)
        self.in_3d = QPushButton("3D")
        self.in_3d.setCheckable(True)
        self.in_3d.setToolTip("See the layers in 3D, or by slices")
        self.in_3d.clicked.connect(self._turn_3d)
        self.viewer.dims.events.ndisplay.connect(self._ndisplay_changed)
        look.addWidget(self.colour_by, 2)
        look.addWidget(self.channel, 3)
        colour = form()
        colour.addRow("Colour", look)
        tabs.setCornerWidget(self.in_3d)
        layout.addLayout(colour)
        self.sites_text = small_label("Click a row to see that layer over the scan.")
        layout.addWidget(self.sites_text)
        drove = form()
        self.method = combo("How it is reckoned")
        for each in ATTRIBUTIONS.values():
            self.method.addItem(each.title, each.name)
        self.attribute_button = QPushButton("What drove it?")
        self.attribute_button.setToolTip("Which voxels spoke for the class (red) and which against it (blue)")
        self.attribute_button.clicked.connect(self.attribute)
        drove.addRow("Class", self.target)
        drove.addRow("Method", self.method)
        drove.addRow(self.attribute_button)
        layout.addLayout(drove)
        self.like_button = QPushButton("Who is like it? ▸")
        self.like_button.setToolTip("Open the Cohort panel and list the most similar cases of a cohort")
        self.like_button.clicked.connect(self._who_is_like_it)
        layout.addWidget(self.like_button)
        self.body.addWidget(self.results)
        self.body.addStretch(1)
        self.copy_command = self.add_link("Copy as command", "The line that gives this table", self._command)
        self.copy_python = self.add_link("Copy as Python", "The same in Python", self._python)
        self.export = self.add_link("Export table or chart…", "CSV, SVG or PNG, by the name's ending", self._export)
        self.session = self.add_link(
            "Save session…", "Recipe, hashes, versions, table, chart and the line, in one folder", self._save_session
        )

    def restyle(self, look: Colours) -> None:
        """Follow the theme."""
        if hasattr(self, "table"):
            self.table.restyle(look)
            for painted in (self.bars, self.chart):
                painted.look = look
                painted.update()

    def _show_parts(self) -> None:
        has_result = self.ran is not None
        self.results.setVisible(has_result)
        for link in (self.copy_command, self.copy_python, self.export, self.session):
            link.setEnabled(has_result)

    def _turn_3d(self, on: bool) -> None:
        self.viewer.dims.ndisplay = 3 if on else 2
        camera = camera_of(self.viewer)
        if on and np.allclose(camera.angles, self._untouched):
            # as one looks at a person: from the front and a little from the side, superior up
            camera.set_view_direction(view_direction=(0.3, 1.0, 0.5), up_direction=(-1.0, 0.0, 0.0))

    def _ndisplay_changed(self, _event: object) -> None:
        self.in_3d.setChecked(self.viewer.dims.ndisplay == 3)

    # -- what is to be run ---------------------------------------------------------------------------------------------

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
        reasons = [reason for layer in self.viewer.layers if (reason := why_no_volume(layer))]
        self.empty_text.setText(reasons[-1] if reasons else _NOTHING)
        self.primary.setEnabled(something or self.running.running)
        if self.ran is not None and volume_layer(self.viewer, self.ran.volume_id) is None:
            self.sites_text.setText("The scan of this result was closed; its numbers stay.")

    def _voxels_made(self, layer: Layer) -> None:
        place = self.voxels.findData(str(layer.unique_id))
        if place < 0:
            self._layers_changed()
            place = self.voxels.findData(str(layer.unique_id))
        self.voxels.setItemText(place, layer.name)
        self.voxels.setCurrentIndex(place)

    def _list_models(self) -> None:
        files = list(self.workbench.model_files)
        self.listing.start(
            lambda: self.workbench.network_child.call("network.models", extra=files), "loading the list of models"
        )

    def _listed(self, infos: list[ModelInfo]) -> None:
        self._infos = {info.argument: info for info in infos}
        self.model.clear()
        for info in infos:
            known = "" if info.trained else " (random weights)"
            self.model.addItem(f"{info.name}{known}", info.argument)
        self.model.addItem("From a file…", "")
        self._select_model(self.workbench.model)

    def _select_model(self, argument: str) -> None:
        place = self.model.findData(argument)
        if place < 0 and self.model.count() > 1 and argument not in self.workbench.model_files:
            place = 0  # a file that was just added is in the list that is being made
        if place >= 0:
            self.model.setCurrentIndex(place)
            self.workbench.set_model(self.model.itemData(place))
        info = self._infos.get(self.workbench.model)
        if info is not None:
            self.about.setText(card_words(info))
            self.about.setToolTip(plain_tip("\n".join(filter(None, (info.data, info.limits, str(info.metrics or ""))))))

    def _model_chosen(self, _index: int) -> None:
        argument = self.model.currentData()
        if argument == "":
            path, _ = QFileDialog.getOpenFileName(self, "Model", "", "Models (*.safetensors)")
            if path:
                self.workbench.add_model_file(path)
            else:
                self._select_model(self.workbench.model)
            return
        self.workbench.set_model(argument)
        self._select_model(argument)

    def run(self) -> None:
        """The primary button: run the chosen model on the chosen voxels."""
        key = self.voxels.currentData()
        layer = next((each for each in self.viewer.layers if str(each.unique_id) == key), None)
        if layer is None:
            self.say("The chosen voxels are not in the viewer any more; make them again.", warning=True)
            return
        model, engine = self.workbench.model, self.engine.currentData()
        child = self.workbench.network_child
        made = made_of(layer)
        if made is not None:
            mark = mark_of(layer)
            volume_id = "" if mark is None else mark.volume_id
            self.running.start(lambda: _run(child, made, volume_id, model, engine), f"running {Path(model).stem}")
            return
        info = self._infos.get(model)
        if info is None:
            self.say("The models are still being loaded; run it again in a moment.", warning=True)
            return
        try:
            frame = frame_of(self.viewer, layer)
            volume = volume_of_layer(layer, frame)
        except InputError as error:
            self.fail(fault_of(error))
            return
        volume_id = str(layer.unique_id)
        self.running.start(
            lambda: _voxelize_and_run(child, volume, frame, info, volume_id, engine), f"running {info.name}"
        )

    def run_on(self, layer: Layer) -> None:
        """Run the chosen model on a voxel set's layer."""
        self._voxels_made(layer)
        self.run()

    def _show(self, ran: Run) -> None:
        self.ran, result = ran, ran.result
        self._sites = None
        self.say("")
        self.ran_on.setText(f"{result.engine} on {result.device} ({result.reason}) · {words.seconds(result.seconds)}")
        trained = result.model.trained
        self.bars.set_probabilities(result.model.classes, result.probabilities.tolist(), trained=trained)
        self.honest.setText(honest_words(result))
        self.table.set_result(result)
        self.chart.set_result(result)
        self.target.clear()
        self.target.addItems(list(result.model.classes))
        self.target.setCurrentIndex(int(result.probabilities.argmax()))
        self.sites_text.setText("Click a row to see that layer over the scan.")
        self._show_parts()
        self.workbench.set_result(ran)

    # -- a layer, an attribution ---------------------------------------------------------------------------------------

    def see_layer(self, name: str) -> None:
        """Fetch what a layer gave, and show it over the scan."""
        if self.ran is None:
            return
        request = self.ran.result.request
        self.sites_text.setText(f"Fetching {name} …")
        child = self.workbench.network_child
        self.viewing.start(lambda: child.call("network.layer", request=request, name=name), f"fetching {name}")

    def attribute(self) -> None:
        """Ask which voxels drove the chosen class."""
        if self.ran is None:
            return
        request, target, method = self.ran.result.request, self.target.currentIndex(), self.method.currentData()
        child = self.workbench.network_child
        call = partial(child.call, "network.attribution", request=request, target=target, method=method)
        self.attributing.start(lambda: _with_words(call()), f"reckoning the {method}")

    def _show_sites(self, found: Sites) -> None:
        self._sites = found
        n_channels = found.values.shape[1]
        self.channel.blockSignals(True)
        channel = min(self.channel.value(), n_channels)  # it wraps around, which must not happen here
        self.channel.setRange(1, n_channels)
        self.channel.setValue(channel)
        self.channel.setSuffix(f" / {n_channels}")
        self.channel.blockSignals(False)
        self._recolour()

    def _channel_stepped(self, _value: int) -> None:
        if self.colour_by.currentData() != "channel":
            self.colour_by.setCurrentIndex(self.colour_by.findData("channel"))  # recolours
        else:
            self._recolour()

    def _recolour(self, _index: int = 0) -> None:
        sites, ran = self._sites, self.ran
        if sites is None or ran is None:
            return
        by_norm = self.colour_by.currentData() == "norm"
        channel = self.channel.value() - 1
        values = np.linalg.norm(sites.values, axis=1) if by_norm else sites.values[:, channel]
        values = values.astype(np.float32)
        colour = "norm" if by_norm else f"channel {channel + 1}"
        name = f"{sites.layer} ({sites.shape[0]}³)"
        if not self._put(ran, "activation", name, sites, values, signed=not by_norm and bool((values < 0).any())):
            return
        text = f"{sites.layer}: {words.count(len(values), 'sites')} by {colour}"
        if len(values):
            text += f", {values.min():.3g} to {values.max():.3g}"
        if sites.background is not None and len(values):
            rest = float(np.linalg.norm(sites.background)) if by_norm else float(sites.background[channel])
            text += f"; every other site holds {rest:.3g} (background, not drawn)"
        self.sites_text.setText(text)

    def _show_attribution(self, sites: Sites) -> None:
        if self.ran is None:
            return
        class_name = self.target.currentText()
        values = sites.values[:, 0]
        if not self._put(self.ran, "attribution", f"what drove {class_name}", sites, values, signed=True):
            return
        text = (
            f"{self.method.currentText()} for “{class_name}” at {sites.layer}: "
            f"{words.count(int((values > 0).sum()), 'sites')} for it, {words.count(int((values < 0).sum()))} against"
        )
        if not self.ran.result.model.trained:
            text += f". {words.RANDOM_WEIGHTS}"
        self.sites_text.setText(text)

    def _put(self, ran: Run, role: str, name: str, sites: Sites, values: NDArray[np.float32], *, signed: bool) -> bool:
        """Show values over the scan; without it, say so and give False."""
        done = put_sites(self.viewer, ran, role, name, sites, values, signed=signed)
        if not done:
            self.sites_text.setText("The scan was closed; open it again and run, to see layers over it.")
        return done

    def _who_is_like_it(self) -> None:
        _, cohort = self.viewer.window.add_plugin_dock_widget("napari-sparse3d", "Cohort", tabify=True)
        cohort.ask()

    # -- links ---------------------------------------------------------------------------------------------------------

    def source(self) -> repeat.Source:
        """Where the scan of the result was read from."""
        if self.ran is None:
            raise InputError("run a model first")
        layer = volume_layer(self.viewer, self.ran.volume_id)
        if layer is None:
            raise InputError("the scan was closed; open it again and run")
        return source_of(layer, self.ran.made.frame)

    def _command(self) -> None:
        self._copy(repeat.activations_command, "Command")

    def _python(self) -> None:
        self._copy(repeat.activations_python, "Python")

    def _copy(self, make: Any, what: str) -> None:
        try:
            source = self.source()
            assert self.ran is not None  # source() has checked it
            request = self.ran.result.request
            self.copy(make(source, self.ran.made.recipe, request.model, request.engine), what)
        except (InputError, OSError) as error:
            self.fail(fault_of(error))

    def _export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Export", "layers.csv", "Table (*.csv);;Chart (*.svg *.png);;All files (*)"
        )
        if path:
            self.export_to(Path(path))

    def export_to(self, path: Path) -> None:
        """Write the table (.csv) or the chart (.svg, .png)."""
        if self.ran is None:
            return
        result = self.ran.result
        write = write_chart if path.suffix in (".svg", ".png") else write_table

        def job() -> Generator[Step, None, str]:
            yield Step(0, 0, f"Writing {path.name} …")
            write(result, path)
            return f"Wrote {path.name}."

        self.saving.start(job, f"writing {path.name}")

    def _save_session(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save session into an empty folder")
        if folder:
            self.save_session_to(Path(folder))

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        if self.ran is None:
            return
        ran = self.ran
        try:
            source = self.source()
        except InputError:
            source = None  # the session says that it cannot be repeated

        def job() -> Generator[Step, None, str]:
            yield Step(0, 0, "Hashing the input, drawing the chart …")
            files = save_network_session(folder, ran.result, ran.made.recipe, source)
            return f"Saved {words.count(len(files), 'files')} in {folder.name}."

        self.saving.start(job, "saving the session")


def _run(child: Any, made: Made, volume_id: str, model: str, engine: str) -> Generator[Any, bool | None, Run]:
    require_voxels(made.voxels, made.volume, made.recipe)
    request = Request(uuid4().hex, model, made.voxels, engine)
    result = yield from _with_words(child.call("network.run", request=request))
    return Run(result, made, volume_id)


def _voxelize_and_run(
    child: Any, volume: Volume, frame: int, info: ModelInfo, volume_id: str, engine: str
) -> Generator[Any, bool | None, Run]:
    yield Step(0, 0, f"Making voxels of {volume.name} by {info.recipe.name} …")
    made = Made(voxelize(volume, info.recipe), info.recipe, volume, frame)
    return (yield from _run(child, made, volume_id, info.argument, engine))


def _with_words(call: Generator[Any, bool | None, Any]) -> Generator[Step, bool | None, Any]:
    """Steps that are words become :class:`Step`."""
    try:
        step = next(call)
        while True:
            answer = yield Step(0, 0, f"{str(step)[:1].upper()}{str(step)[1:]} …")
            step = call.send(answer)
    except StopIteration as done:
        return done.value
