"""What the chosen model would take for the set, below its numbers."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QLabel

from napari_sparse3d.widgets.child.records import Cost
from napari_sparse3d.widgets.toolbox.failures import Failure
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.voxels.jobs import reckon_cost
from napari_sparse3d.widgets.voxels.state import ReadySet, VoxelsState, cost_words
from napari_sparse3d.widgets.workbench import Workbench


class CostLine:
    """Asks the network process, and says its answer; again when another model is chosen."""

    def __init__(self, label: QLabel, state: VoxelsState, workbench: Workbench, work: Work) -> None:
        self._label, self._state, self._workbench, self._work = label, state, workbench, work
        work.finished.connect(self._show)
        work.failed.connect(self._failed)

    def reckon(self, ready: ReadySet) -> None:
        """Of this set."""
        model = self._workbench.model
        self._label.setText(f"{Path(model).stem}: measuring the cost …")
        self._work.start(partial(reckon_cost, self._workbench.network_child, ready, model), f"work of {model}")

    def forget(self) -> None:
        """The set is another one: nothing is said of it until it is asked about, nor what still comes of the last."""
        self._work.drop()
        self._label.setText("")

    def another_model(self) -> None:
        """Of the set that is there, if one is."""
        if self._state.ready is not None and self._state.has_voxels():
            self.reckon(self._state.ready)

    def _show(self, cost: object) -> None:
        if isinstance(cost, Cost):  # else the process has started
            self._label.setText(cost_words(cost))

    def _failed(self, failure: Failure) -> None:
        if self._state.ready is not None:
            self._label.setText(f"{Path(self._workbench.model).stem} cannot take this set: {failure.sentence}")
