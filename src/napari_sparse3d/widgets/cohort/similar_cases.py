"""The cases most like the open one: a question, and a list with thumbnails."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSize, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QPushButton, QSpinBox, QWidget

from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.widgets.cohort.case_words import case_name, thumbnail_image
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layout import small_label, stacked
from napari_sparse3d.widgets.toolbox.plain_text import plain_tip

_ROW = 54
"""Pixels of one case: its thumbnail of 48 and a little air."""
_SHOWN = 5


class SimilarCases(QWidget):
    """Asks for the nearest cases and lists them, the most similar first."""

    asked = Signal(int)
    """How many are wanted."""
    opened = Signal(int)
    """A case is to be opened: its number in the cohort."""
    chosen = Signal(object)
    """The numbers of the cases to be marked on the map."""

    def __init__(self) -> None:
        super().__init__()
        self.indices: list[int] = []
        row = Row()
        self.button = QPushButton("Find similar cases")
        self.button.clicked.connect(lambda: self.asked.emit(self.k.value()))
        self.k = QSpinBox()
        self.k.setRange(1, 50)
        self.k.setValue(5)
        self.k.setToolTip("How many")
        self.k.setAccessibleName("How many similar cases")
        self.k.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.k.setStyleSheet("QSpinBox { min-width: 20px; }")  # napari asks for 70
        row.add(self.button, self.k)
        self.text = small_label()
        self.text.hide()
        self.list = QListWidget()
        self.list.setAccessibleName("The most similar cases")
        self.list.setIconSize(QSize(48, 48))
        self.list.setToolTip("Double click, or Enter: open beside the scan")
        self.list.itemActivated.connect(self._open)
        self.list.itemSelectionChanged.connect(self._selected)
        self.list.hide()
        layout = stacked(self)
        layout.addLayout(row)
        layout.addWidget(self.text)
        layout.addWidget(self.list)

    def show_cases(self, cohort: Cohort, indices: Sequence[int], distances: Sequence[float], text: str) -> None:
        """List these cases."""
        self.list.clear()
        self.indices = list(indices)
        for index, distance in zip(indices, distances, strict=True):
            self.list.addItem(_item(cohort, index, distance))
        self.list.setVisible(bool(self.indices))
        self.list.setFixedHeight(_ROW * min(max(len(self.indices), 1), _SHOWN) + 4)
        self.text.setText(text if self.indices else "No case of another patient is in this cohort.")
        self.text.show()

    def clear(self) -> None:
        """Another cohort: these cases are not in it."""
        self.list.clear()
        self.list.hide()
        self.text.hide()
        self.indices = []

    def set_askable(self, on: bool) -> None:
        """Whether there is an open case to ask about."""
        self.button.setEnabled(on)
        self.button.setToolTip(
            "The nearest embeddings to that of the open case" if on else "Run a model on the open case first (Network)"
        )

    def _selected(self) -> None:
        self.chosen.emit([self.indices[self.list.row(item)] for item in self.list.selectedItems()] or self.indices)

    def _open(self, item: QListWidgetItem) -> None:
        self.opened.emit(self.indices[self.list.row(item)])


def _item(cohort: Cohort, index: int, distance: float) -> QListWidgetItem:
    row = cohort.row(index)
    label = row.get("label") or row.get("prediction") or ""
    unlike = words.unlike_training(str(row.get("model") or "the model"), row.get("outside_training"))
    parts = filter(None, (label, f"distance {distance:.4f}", unlike and "⚠ unlike training"))
    item = QListWidgetItem(f"{case_name(row)}\n{' · '.join(parts)}")
    if unlike:
        item.setToolTip(plain_tip(unlike))
    item.setSizeHint(QSize(0, _ROW))
    if cohort.thumbnails is not None:
        item.setIcon(QIcon(QPixmap.fromImage(thumbnail_image(cohort.thumbnails[index]))))
    return item
