"""Which model embeds: the same choice as in the Network panel, without a process that knows the models' cards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_sparse3d.catalog import ARCHITECTURES, TRAINED
from napari_sparse3d.widgets.toolbox.layout import combo
from napari_sparse3d.widgets.workbench import Workbench

_TIP = "The model that embeds; it is the one of the Network panel too"


class ModelMenu(QObject):
    """A combo box of models; the choice is the workbench's, for all panels."""

    def __init__(self, parent: QWidget, workbench: Workbench) -> None:
        super().__init__(parent)
        self._workbench = workbench
        self.box = combo(_TIP)
        self.box.setAccessibleName("Model")
        self.box.activated.connect(self._chosen)
        workbench.model_changed.connect(lambda _: self.refresh())
        workbench.models_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """List the models that there are by now, and show which is chosen."""
        model, known = self._workbench.model, {*TRAINED, *ARCHITECTURES}
        files = list(self._workbench.model_files)
        if model not in known and model not in files:
            files.insert(0, model)
        stems = Counter(Path(file).stem for file in files)
        self.box.clear()
        for name in TRAINED:
            self.box.addItem(name, name)
        for file in files:
            path = Path(file)
            where = f" ({path.parent.name})" if stems[path.stem] > 1 or path.stem in known else ""
            self.box.addItem(f"{path.stem}{where}", file)
        for name in ARCHITECTURES:
            self.box.addItem(f"{name} (random weights)", name)
        self.box.addItem("From a file…", "")
        self.box.setCurrentIndex(self.box.findData(model))

    def set_enabled(self, reason: str) -> None:
        """Whether another may be chosen: not for this reason; "" for none."""
        self.box.setEnabled(not reason)
        self.box.setToolTip(reason or _TIP)

    def _chosen(self, _index: int) -> None:
        argument = self.box.currentData()
        if argument:
            self._workbench.set_model(argument)
            return
        path, _ = QFileDialog.getOpenFileName(self.box, "Model", "", "Models (*.safetensors)")
        if path:
            self._workbench.add_model_file(path)
        self.refresh()
