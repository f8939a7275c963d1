"""The confusion matrix of a trained model."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_sparse3d.widgets.toolbox.layout import fit_height, table_style
from napari_sparse3d.widgets.toolbox.theme import Colours

_ROW = 24
_CLASSES_SHOWN = 10


class ConfusionTable(QTableWidget):
    """Rows: what the cases are. Columns: what the model says. Hidden while there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Confusion matrix")
        self.setToolTip("Rows: what the cases are. Columns: what the model says.")
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        header, side = self.horizontalHeader(), self.verticalHeader()
        if header is not None and side is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            side.setDefaultSectionSize(_ROW)
        self.hide()

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        self.setStyleSheet(table_style(look))

    def set_matrix(self, matrix: Sequence[Sequence[float]], names: Sequence[str]) -> None:
        """Show counts; ``names`` of the classes, in the order of rows and columns."""
        self.setRowCount(len(matrix))
        self.setColumnCount(len(matrix))
        self.setHorizontalHeaderLabels([f"→ {name}" for name in names])
        self.setVerticalHeaderLabels(list(names))
        for y, row in enumerate(matrix):
            for x, value in enumerate(row):
                item = QTableWidgetItem(f"{value}")
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(y, x, item)
        fit_height(self, _CLASSES_SHOWN)
        self.show()
