"""The panel in which a thing is pointed at: its controls, and what happens when they are used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer, Points, Shapes
from numpy.typing import NDArray
from qtpy.QtWidgets import QPushButton

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.child.records import ModelInfo
from napari_sparse3d.widgets.opening.nothing_open import NothingOpen
from napari_sparse3d.widgets.pick import jobs
from napari_sparse3d.widgets.pick.pointing import at_place, by_drawing, is_drawn
from napari_sparse3d.widgets.pick.results import PickResults
from napari_sparse3d.widgets.pick.state import Answer, Target
from napari_sparse3d.widgets.toolbox.clicks import Clicks
from napari_sparse3d.widgets.toolbox.cursor_line import cursor_line
from napari_sparse3d.widgets.toolbox.layers import Mark, scans, volume_layer
from napari_sparse3d.widgets.toolbox.layout import combo, form, small_label
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.sources import label_volume, placement, source_of
from napari_sparse3d.widgets.toolbox.voxel_layer import put_voxels
from napari_sparse3d.widgets.toolbox.work import Work

ROLE = "finding"
"""Of the layer that shows what was cut out."""
K = 5
"""How many known cases are listed."""
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
        self.empty = NothingOpen(self.viewer, self, self.say, sample="chest_ct")
        self.body.addWidget(self.empty)
        self.scan = combo("The CT in which clicks count")
        self.model = combo("A model that was trained on single things that were cut out at one spacing")
        self.model.addItem("nodule", "nodule")
        self.clicking = QPushButton("Click on a nodule")
        self.clicking.setCheckable(True)
        self.clicking.setChecked(True)
        self.clicking.setToolTip(
            "While this is pressed, a click in a slice classifies what is there; a drag moves as ever"
        )
        self.hint = small_label("Or choose a layer with a point, a rectangle or labels, and press the button below.")
        top = form()
        top.addRow("Scan", self.scan)
        top.addRow("Model", self.model)
        top.addRow(self.clicking)
        top.addRow(cursor_line(self.viewer, self._scan_layer))
        top.addRow(self.hint)
        self.body.addLayout(top)
        self.results = PickResults()
        self.results.hide()
        self.body.addWidget(self.results)
        self.body.addStretch(1)
        self.copy_command, self.copy_python = self.add_copy_links(
            "The line that gives these numbers",
            lambda: repeat.pick_command(*self._repeated()),
            lambda: repeat.pick_python(*self._repeated()),
        )
        self._connect()
        self._layers_changed()
        self._list_models()

    def _connect(self) -> None:
        self.follow(self.classifying)
        self.classifying.finished.connect(self._show)
        self.classifying.ended.connect(self._name_primary)
        self.listing.finished.connect(self._listed)
        self.listing.failed.connect(self.fail)
        self.clicks = Clicks(self.viewer, self, self._clicked)
        layers = self.viewer.layers
        for event in (layers.events.inserted, layers.events.removed):
            event.connect(self._layers_changed)
        layers.selection.events.active.connect(self._active_changed)
        self.scan.currentIndexChanged.connect(self._check_owner)
        self.model.currentIndexChanged.connect(self._check_owner)
        self.workbench.models_changed.connect(self._list_models)

    def _list_models(self) -> None:
        files = list(self.workbench.model_files)
        self.listing.start(
            partial(self.workbench.network_child.call, "network.models", extra=files), "loading the list of models"
        )

    def _listed(self, infos: list[ModelInfo]) -> None:
        chosen = self.model.currentData()
        self.model.blockSignals(True)
        self.model.clear()
        for info in jobs.usable(infos):
            self.model.addItem(info.name, info.argument)
        self.model.setCurrentIndex(max(self.model.findData(chosen), 0))
        self.model.blockSignals(False)
        self._check_owner()

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
        self._active_changed()
        self._check_owner()

    def _active_changed(self, _event: object = None) -> None:
        """The button says what it would classify; of labels, which one is seen when it is pressed."""
        self._name_primary()

    def _name_primary(self) -> None:
        active = self.viewer.layers.selection.active
        what = {Points: "the point", Shapes: "the box", Labels: "the chosen label"}
        self.primary_text = (
            f"Classify {what[type(active)]}" if is_drawn(active) and type(active) in what else "Classify"
        )
        if self.classifying.running:
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
        model, files = self.model.currentData() or "nodule", list(self.workbench.model_files)
        job = partial(
            jobs.classify, self.workbench.network_child, target, model, files, K, str(preference("network.engine"))
        )
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
            mask = answer.finding.mask
            place = placement(layer, answer.target.volume, mask.affine)
            mark = Mark(ROLE, answer.target.layer_id)
            put_voxels(self.viewer, f"{layer.name} · what was clicked", mask.data, "labels", place, mark, 0.5)

    def _check_owner(self, _event: object = None) -> None:
        """A result belongs to its scan and model: where these are others it is dim."""
        answer = self.answer
        for link in (self.copy_command, self.copy_python):
            link.setEnabled(answer is not None)
        if answer is None:
            return
        of_labels = answer.target.pointed.label is not None
        there = volume_layer(self.viewer, answer.target.layer_id) is not None
        chosen = answer.target.layer_id if of_labels and there else str(self.scan.currentData() or "")
        self.results.show_owner(answer.title, stale=not answer.is_of(chosen, str(self.model.currentData())))

    # -- links ---------------------------------------------------------------------------------------------------------

    def _repeated(self) -> tuple[repeat.Source, repeat.Pointed, str, int, str]:
        """What repeats the result.

        Raises
        ------
        InputError
            If it was not read from a file, or labels were drawn in since.
        """
        answer = self.answer
        if answer is None:
            raise InputError("click on a nodule first")
        target, request = answer.target, answer.result.request
        layer = volume_layer(self.viewer, target.layer_id)
        if layer is None:
            raise InputError("the scan was closed; open it again and click")
        source = source_of(layer, target.frame)
        _require_unchanged(layer, target, source)
        return source, target.pointed, request.model, K, request.engine


def _require_unchanged(layer: Any, target: Target, source: repeat.Source) -> None:
    """That a file holds what was classified: labels are drawn in, scans are not."""
    if target.pointed.label is None:
        return
    from napari_sparse3d.io import read_volume

    stored = read_volume(source.path, series=source.series, frame=source.frame, repair=source.repair)
    if not np.array_equal(
        stored.data == target.pointed.label, label_volume(layer, target.frame).data == target.pointed.label
    ):
        raise InputError(
            "the labels were changed since they were opened; save them, open that file, and classify again"
        )
