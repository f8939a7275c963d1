"""The panel in which a thing is pointed at: its controls, and what happens when they are used."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from napari.layers import Labels, Layer, Points, Shapes
from numpy.typing import NDArray
from qtpy.QtWidgets import QPushButton

from napari_sparse3d.cases.identity import CASE
from napari_sparse3d.widgets.child.records import ModelInfo
from napari_sparse3d.widgets.opening.nothing_open import NothingOpen
from napari_sparse3d.widgets.pick import jobs
from napari_sparse3d.widgets.pick.model_choice import PickModel
from napari_sparse3d.widgets.pick.pointing import at_place, by_drawing, is_drawn
from napari_sparse3d.widgets.pick.repeating import Repeating
from napari_sparse3d.widgets.pick.results import PickResults
from napari_sparse3d.widgets.pick.state import Answer, K, Target
from napari_sparse3d.widgets.toolbox.clicks import Clicks
from napari_sparse3d.widgets.toolbox.cursor_line import cursor_line
from napari_sparse3d.widgets.toolbox.layers import (
    FINDING,
    Edits,
    Mark,
    follow_layers,
    frame_of,
    ours,
    scans,
    set_visible,
    volume_layer,
)
from napari_sparse3d.widgets.toolbox.layout import combo, form, small_label
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.sources import placement
from napari_sparse3d.widgets.toolbox.voxel_layer import put_voxels
from napari_sparse3d.widgets.toolbox.work import Work

_NOTHING_DRAWN = (
    "Choose a layer of points, rectangles or labels in the list of layers; or click on the nodule in a slice"
)


class PickPanel(Panel):
    """Click a nodule: it is cut out, classified, and shown among the known ones."""

    primary_text = "Classify what is drawn"

    # -- looks ---------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the controls, and connect them with the viewer."""
        self.answer: Answer | None = None
        self.classifying = Work(self, interrupt=self.workbench.network_child.stop)
        self.listing = Work(self)
        self._edits, self._edited = Edits(self._edit_seen), False
        self.empty = NothingOpen(self.viewer, self, self.say, sample="chest_ct")
        self.body.addWidget(self.empty)
        self.scan = combo("The CT in which clicks count")
        self.choice = PickModel(self)
        self.model, self.voxel_size, self.voxel_hint = self.choice.box, self.choice.size, self.choice.hint
        self.clicking = QPushButton("Click on a nodule")
        self.clicking.setCheckable(True)
        self.clicking.setChecked(True)
        self.clicking.setToolTip(
            "While this is on, a click in a slice classifies what is there; dragging still moves the picture"
        )
        self.hint = small_label("Or choose a layer with a point, a rectangle or labels, and press the button below.")
        top = form()
        top.addRow("Scan", self.scan)
        self.choice.add_to(top)
        top.addRow(self.clicking)
        top.addRow(cursor_line(self.viewer, self._scan_layer))
        top.addRow(self.hint)
        self.body.addLayout(top)
        self.results = PickResults()
        self.results.hide()
        self.body.addWidget(self.results)
        self.body.addStretch(1)
        self.repeating = Repeating(self)
        self.copy_command, self.copy_python = self.repeating.copy_command, self.repeating.copy_python
        self.session, self.saving = self.repeating.session, self.repeating.saving
        self._connect()
        self._layers_changed()
        self._list_models()

    def _connect(self) -> None:
        self.follow(self.classifying)
        self.classifying.finished.connect(self._show)
        self.results.inside_button.clicked.connect(self._look_inside)
        self.listing.finished.connect(self._listed)
        self.listing.failed.connect(self.fail)
        self.clicks = Clicks(self.viewer, self, self._clicked)
        follow_layers(self.viewer, self._layers_changed)
        self.viewer.layers.selection.events.active.connect(self._name_primary)
        self.scan.currentIndexChanged.connect(self._check_owner)
        self.viewer.dims.events.current_step.connect(self._check_owner)
        self.choice.changed.connect(self._check_owner)
        self.workbench.models_changed.connect(self._list_models)

    def _list_models(self) -> None:
        files = list(self.workbench.model_files)
        self.listing.start(
            partial(self.workbench.network_child.call, "network.models", extra=files), "loading the list of models"
        )

    def _listed(self, infos: list[ModelInfo]) -> None:
        self.choice.show_models(jobs.usable(infos))

    # -- what is pointed at --------------------------------------------------------------------------------------------

    def _scan_layer(self) -> Layer | None:
        return volume_layer(self.viewer, self.scan.currentData() or "")

    def _layers_changed(self, _event: object = None) -> None:
        chosen = self.scan.currentData()
        self.scan.blockSignals(True)
        self.scan.clear()
        for layer in scans(self.viewer):
            self.scan.addItem(layer.name, str(layer.unique_id))
        self.scan.setCurrentIndex(max(self.scan.findData(chosen), 0) if self.scan.count() else -1)
        self.scan.blockSignals(False)
        something = self.scan.count() > 0 or any(isinstance(layer, Labels) for layer in self.viewer.layers)
        self.empty.setVisible(not something)
        self.empty.say_why()
        self._name_primary()
        self._check_owner()

    def works_changed(self) -> None:
        """The primary button is Cancel, or is not any more."""
        self._name_primary()

    def _name_primary(self, _event: object = None) -> None:
        """The button says what it would classify; of labels, which one is seen when it is pressed."""
        active = self.viewer.layers.selection.active
        what = {Points: "the point", Shapes: "the box", Labels: "the chosen label"}
        self.primary_text = (
            f"Classify {what[type(active)]}" if is_drawn(active) and type(active) in what else "Classify"
        )
        if self.busy:
            return
        self.primary.setText(self.primary_text)
        self.primary.setEnabled(is_drawn(active))
        self.primary.setToolTip("" if is_drawn(active) else _NOTHING_DRAWN)

    def _clicked(self, world: NDArray[np.float64]) -> None:
        if not (self.clicking.isChecked() and self.isVisible()):
            return
        scan = self._scan_layer()
        if scan is None:
            return
        if self.classifying.running:
            self.say("The last one is still being classified; click again in a moment.", warning=True)
            return
        with self.telling():
            self.classify(at_place(self.viewer, scan, world))

    def run(self) -> None:
        """The primary button: classify what is drawn in the active layer."""
        active = self.viewer.layers.selection.active
        if not is_drawn(active):
            self.say(f"{_NOTHING_DRAWN}.", warning=True)
            return
        with self.telling():
            self.classify(by_drawing(self.viewer, self._scan_layer(), active))

    def classify(self, target: Target) -> None:
        """Cut out what is pointed at, run the model on it, and show its like."""
        model, files = self.choice.name, list(self.workbench.model_files)
        job = partial(
            jobs.classify,
            self.workbench.network_child,
            target,
            model,
            files,
            K,
            str(preference("network.engine")),
            self.choice.spacing_mm,
        )
        self._edited = False
        self._edits.follow(volume_layer(self.viewer, target.layer_id))
        self.classifying.start(job, f"classifying by {Path(model).stem}")

    # -- what came of it -----------------------------------------------------------------------------------------------

    def _show(self, answer: Answer) -> None:
        self.answer = answer
        self.say("")
        self.results.show_answer(answer)
        self.results.show()
        self._check_owner()
        layer = volume_layer(self.viewer, answer.target.layer_id)
        if layer is not None:
            self._put(layer, answer)

    def _put(self, layer: Layer, answer: Answer) -> None:
        """What was cut out, as a voxel set of its own over its scan."""
        mask = answer.made.volume
        place = placement(layer, answer.target.volume, mask.affine)
        mark = Mark(FINDING, answer.target.layer_id, {"made": answer.made})
        shown = put_voxels(self.viewer, mask.name, mask.data, "labels", place, mark, 0.5)
        shown.metadata = {**shown.metadata, CASE: answer.target.case}
        set_visible(shown, True)
        self.workbench.voxels_changed.emit(shown)

    def _look_inside(self) -> None:
        """Run the same model in the Network panel on what was cut out."""
        answer = self.answer
        shown = None if answer is None else next(ours(self.viewer, FINDING, answer.target.layer_id), None)
        if answer is None or shown is None:
            self.say("What was cut out is not in the viewer any more; click on it again.", warning=True)
            return
        network = self.show_panel("network")
        self.workbench.set_model(answer.result.request.model)
        network.run_on(shown)

    def _edit_seen(self) -> None:
        """The labels or the scan are others than those that were classified."""
        self._edited = True
        self._check_owner()

    def _check_owner(self, _event: object = None) -> None:
        """A result belongs to its scan and model: where these are others it is dim."""
        answer = self.answer
        for link in (self.copy_command, self.copy_python, self.session):
            link.setEnabled(answer is not None)
        if answer is None:
            return
        of_labels = answer.target.pointed.label is not None
        layer = volume_layer(self.viewer, answer.target.layer_id) if of_labels else self._scan_layer()
        current = layer is not None and answer.is_of(
            str(layer.unique_id), frame_of(self.viewer, layer), self.choice.name, self.choice.spacing_mm
        )
        self.results.show_owner(answer.title, stale=self._edited or not current)

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        self.repeating.save_session_to(folder)
