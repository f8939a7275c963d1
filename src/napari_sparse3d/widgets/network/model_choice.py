"""Which model: the bundled ones, files, architectures with random weights."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QWidget

from napari_sparse3d.widgets.child.records import ModelInfo
from napari_sparse3d.widgets.network.model_words import card_words, tip_words
from napari_sparse3d.widgets.toolbox.layout import combo, small_label
from napari_sparse3d.widgets.toolbox.plain_text import plain_tip
from napari_sparse3d.widgets.workbench import Workbench


class ModelChoice(QObject):
    """A combo box and what is said of the chosen model; the choice is the workbench's, for all panels."""

    def __init__(self, parent: QWidget, workbench: Workbench) -> None:
        super().__init__(parent)
        self.workbench = workbench
        self.box: QComboBox = combo("A trained model, a model file, or an architecture with random weights")
        self.box.activated.connect(self._chosen)
        self.about: QLabel = small_label("Loading the list of models …")
        self.models: Mapping[str, ModelInfo] = {}
        workbench.model_changed.connect(self.select)

    def show_models(self, models: Mapping[str, ModelInfo]) -> None:
        """Offer these; the chosen one stays."""
        self.models = models
        self.box.clear()
        for info in models.values():
            known = "" if info.trained else " (random weights)"
            self.box.addItem(f"{info.name}{known}", info.argument)
        self.box.addItem("From a file…", "")
        self.select(self.workbench.model)

    def select(self, argument: str) -> None:
        """Show that this model is chosen."""
        place = self.box.findData(argument)
        if place < 0 and self.box.count() > 1 and argument not in self.workbench.model_files:
            place = 0  # a file that was just added is in the list that is being made
        if place >= 0:
            self.box.setCurrentIndex(place)
            self.workbench.set_model(self.box.itemData(place))
        info = self.models.get(self.workbench.model)
        if info is not None:
            self.about.setText(card_words(info))
            self.about.setToolTip(plain_tip(tip_words(info)))

    def _chosen(self, _index: int) -> None:
        argument = self.box.currentData()
        if argument == "":
            path, _ = QFileDialog.getOpenFileName(self.box, "Model", "", "Models (*.safetensors)")
            if path:
                self.workbench.add_model_file(path)
            else:
                self.select(self.workbench.model)
            return
        self.workbench.set_model(argument)
        self.select(argument)
