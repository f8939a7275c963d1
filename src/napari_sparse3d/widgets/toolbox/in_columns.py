"""Widgets two in a row, or one below the other where they would be cut."""

from __future__ import annotations

from qtpy.QtCore import QSize
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QGridLayout, QLayout, QWidget


class InColumns(QWidget):
    """Lays itself out anew when it gets another width; it can become as narrow as its widest widget."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(2)
        self._grid.setHorizontalSpacing(0)
        self._grid.setSizeConstraint(QLayout.SizeConstraint.SetNoConstraint)
        self._widgets: list[QWidget] = []
        self._columns = 2

    def add(self, widget: QWidget) -> None:
        """Put a widget behind the others."""
        self._widgets.append(widget)
        self._lay_out()

    def minimumSizeHint(self) -> QSize:
        """As wide as the widest; as high as they are now."""
        return QSize(self._widest(), self._grid.minimumSize().height())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """As Qt's."""
        super().resizeEvent(event)
        columns = 2 if 2 * self._widest() <= self.width() else 1
        if columns != self._columns:
            self._columns = columns
            self._lay_out()
            self.updateGeometry()

    def _widest(self) -> int:
        return max((widget.sizeHint().width() for widget in self._widgets), default=0)

    def _lay_out(self) -> None:
        for number, widget in enumerate(self._widgets):
            self._grid.addWidget(widget, number // self._columns, number % self._columns)
