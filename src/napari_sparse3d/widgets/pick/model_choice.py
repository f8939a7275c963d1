"""Which model classifies, and how large its voxels are where its card does not say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFormLayout, QWidget

from napari_sparse3d.cases.finding import says_spacing
from napari_sparse3d.widgets.child.records import ModelInfo
from napari_sparse3d.widgets.toolbox.controls import Control
from napari_sparse3d.widgets.toolbox.fields import Field
from napari_sparse3d.widgets.toolbox.layout import combo, small_label

_SIZE = Field("voxels", "number", None, low=0.05, high=20, words=(None,), unit="mm", tip="Side of a voxel")
_SIZES: Mapping[Any, str] = {None: "as large as the scan's", "number": "of this size"}


class PickModel(QObject):
    """Adds its rows to a form; those for the size of a voxel are there while it is asked."""

    changed = Signal()
    """Another model, or another size of its voxels."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.box = combo("A model that was trained on the shapes of single things")
        self.box.addItem("nodule", "nodule")
        self._size = Control(_SIZE, _SIZES)
        self.size, self.hint = self._size.widget, small_label()
        self._infos: dict[str, ModelInfo] = {}
        self._form: QFormLayout | None = None
        self.box.currentIndexChanged.connect(self._chosen)
        self._size.changed.connect(self.changed)

    def add_to(self, form: QFormLayout) -> None:
        """Add the rows."""
        self._form = form
        form.addRow("Model", self.box)
        form.addRow("Voxels", self.size)
        form.addRow(self.hint)
        self._chosen()

    def show_models(self, infos: Sequence[ModelInfo]) -> None:
        """Offer these; the chosen one stays where it is among them."""
        chosen = self.box.currentData()
        self._infos = {info.argument: info for info in infos}
        self.box.blockSignals(True)
        self.box.clear()
        for info in infos:
            self.box.addItem(info.name, info.argument)
        self.box.setCurrentIndex(max(self.box.findData(chosen), 0))
        self.box.blockSignals(False)
        self._chosen()

    @property
    def name(self) -> str:
        """What ``load_model`` takes."""
        return str(self.box.currentData() or "nodule")

    @property
    def asks(self) -> bool:
        """Whether the model's card does not say how large its voxels are."""
        info = self._infos.get(self.name)
        return info is not None and not says_spacing(info.spacing_seen)

    @property
    def spacing_mm(self) -> float | None:
        """How large they are, where that is asked and was said; None: as the card says, or as large as the scan's."""
        return self._size.value if self.asks else None

    def _chosen(self, _index: int = 0) -> None:
        if self._form is not None:
            for widget in (self.size, self.hint):
                self._form.setRowVisible(widget, self.asks)
        name = self.box.currentText()
        self.hint.setText(f"{name} was trained without millimetres: say how large its voxels are to be.")
        self.changed.emit()
