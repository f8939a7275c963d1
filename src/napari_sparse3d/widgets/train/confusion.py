"""The confusion matrix of a trained model."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QSizePolicy,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_sparse3d.widgets.toolbox.layout import fit_height, small_label, table_style
from napari_sparse3d.widgets.toolbox.plain_text import plain_tip
from napari_sparse3d.widgets.toolbox.styled import Painted
from napari_sparse3d.widgets.toolbox.theme import Colours

_CLASSES_SHOWN = 10
_TIP = "Rows: what the cases are. Columns: what the model says."


class ConfusionTable(QTableWidget):
    """Rows: what the cases are. Columns: what the model says. Hidden while there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Confusion matrix: true classes in rows, predicted ones in columns")
        self.setToolTip(_TIP)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        header, side = self.horizontalHeader(), self.verticalHeader()
        if header is not None and side is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            side.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.hide()

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        self.setStyleSheet(table_style(look))

    def set_matrix(self, matrix: Sequence[Sequence[float]], names: Sequence[str]) -> None:
        """Show counts; ``names`` of the classes, in the order of rows and columns."""
        self.setRowCount(len(matrix))
        self.setColumnCount(len(matrix))
        self.setHorizontalHeaderLabels(list(names))
        self.setVerticalHeaderLabels(list(names))
        for y, row in enumerate(matrix):
            for x, value in enumerate(row):
                item = QTableWidgetItem(f"{value}")
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                item.setToolTip(plain_tip(f"{value} cases: true {names[y]}, predicted {names[x]}"))
                self.setItem(y, x, item)
        fit_height(self, _CLASSES_SHOWN)
        self.show()


class Confusion(QWidget):
    """The table with its axes named: *predicted* above, *true* at its side; there as long as the table is."""

    def __init__(self) -> None:
        super().__init__()
        self.table = ConfusionTable()
        self.above = small_label("predicted")
        self.above.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.side = UpwardText("true")
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.above, 0, 1)
        layout.addWidget(self.side, 1, 0)
        layout.addWidget(self.table, 1, 1)
        self.table.installEventFilter(self)
        self.hide()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Shown and hidden with the table."""
        if watched is self.table and event is not None:
            if event.type() == QEvent.Type.ShowToParent:
                self.show()
            elif event.type() == QEvent.Type.HideToParent:
                self.hide()
        return False


class UpwardText(Painted):
    """A word that reads upward, as on the y axis of a picture."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.setAccessibleName(text)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)

    def sizeHint(self) -> QSize:
        """As wide as a line is high."""
        metrics = self.fontMetrics()
        return QSize(metrics.height(), metrics.horizontalAdvance(self.text) + 4)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint."""
        if self.look is None:
            return
        painter = QPainter(self)
        painter.setPen(QColor(self.look.text))
        painter.translate(QPointF(0, self.height()))
        painter.rotate(-90)
        painter.drawText(QRectF(0, 0, self.height(), self.width()), Qt.AlignmentFlag.AlignCenter, self.text)
