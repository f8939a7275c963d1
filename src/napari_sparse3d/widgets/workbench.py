"""What the panels of one viewer share: the child processes, the chosen model, the last result."""

from __future__ import annotations

import atexit
import weakref
from collections.abc import MutableMapping

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QWidget

from napari_sparse3d.widgets.child.process import Child
from napari_sparse3d.widgets.network.state import NetworkRun
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.viewers import real_viewer
from napari_sparse3d.widgets.toolbox.work import end_all


class Workbench(QObject):
    """One for each viewer.

    Attributes
    ----------
    model : str
        What ``load_model`` takes: a bundled name, a file, an architecture.
    model_files : list of str
        Files that are offered beside the bundled models, the newest first.
    result : NetworkRun or None
        What a network said last, of what.
    panels : mapping
        The panels of this viewer by their class; each as long as it lives.
    """

    voxels_changed = Signal(Layer)
    """A voxel set was made or updated: its layer."""
    model_changed = Signal(str)
    models_changed = Signal()
    """There may be new models: one was trained."""
    result_changed = Signal(object)
    """A network has run: a :class:`NetworkRun`, or None."""

    def __init__(self) -> None:
        super().__init__()
        self.model = str(preference("network.model"))
        self.model_files: list[str] = []
        self.result: NetworkRun | None = None
        self.network_child = Child()
        self.cohort_child = Child()
        self.map_child = Child()
        self.panels: MutableMapping[type[QWidget], QWidget] = weakref.WeakValueDictionary()
        self._users = 0
        self._held: list[QWidget] = []

    @classmethod
    def of(cls, viewer: Viewer) -> Workbench:
        """The viewer's workbench, made on first use."""
        viewer = real_viewer(viewer)
        key = id(viewer)
        if key not in _workbenches:
            _workbenches[key] = cls()
            weakref.finalize(viewer, _forget, key)
        return _workbenches[key]

    def set_model(self, name: str) -> None:
        """Choose a model for all panels."""
        if name != self.model:
            self.model = name
            self.model_changed.emit(name)

    def add_model_file(self, path: str) -> None:
        """Offer a model file in all panels, and choose it."""
        if path in self.model_files:
            self.model_files.remove(path)
        self.model_files.insert(0, path)
        self.set_model(path)
        self.models_changed.emit()

    def set_result(self, result: NetworkRun | None) -> None:
        """Tell all panels what the network said last."""
        self.result = result
        self.result_changed.emit(result)

    def hold(self, panel: QWidget) -> None:
        """Keep a panel although its dock may be closed: work goes on in it."""
        if panel not in self._held:
            self._held.append(panel)

    def let_go(self, panel: QWidget) -> None:
        """The work of a panel has ended."""
        if panel in self._held:
            self._held.remove(panel)

    @property
    def _children(self) -> tuple[Child, Child, Child]:
        return self.network_child, self.cohort_child, self.map_child

    def close(self) -> None:
        """End the child processes; what still waits for one ends, too."""
        for child in self._children:
            child.close()

    def enter(self, panel: QObject) -> None:
        """A panel uses this workbench; when the last one is gone, its processes end."""
        if self._users == 0:
            for child in self._children:
                child.reopen()
        self._users += 1
        panel.destroyed.connect(self._leave)

    def _leave(self) -> None:
        self._users -= 1
        if self._users == 0:
            self.close()


_workbenches: dict[int, Workbench] = {}


def _forget(key: int) -> None:
    workbench = _workbenches.pop(key, None)
    if workbench is not None:
        workbench.close()


@atexit.register
def _close_all() -> None:
    for workbench in _workbenches.values():
        workbench.close()
    end_all()
