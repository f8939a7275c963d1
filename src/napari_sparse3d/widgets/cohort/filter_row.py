"""A filter over the cases: a column, and what is to stand in it."""

from __future__ import annotations

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QLineEdit, QWidget

from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.widgets.cohort.case_filter import matching, shown_columns
from napari_sparse3d.widgets.cohort.state import CohortState
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layout import NARROW, combo, later, small_label, stacked

_ANY = "any"
_TYPED_MS = 150


class FilterRow(QWidget):
    """Sets which cases of ``state`` are shown."""

    changed = Signal()
    """Other cases are shown; what is hidden is no longer selected."""

    def __init__(self, state: CohortState) -> None:
        super().__init__()
        self._state = state
        self.column = combo("The column that the filter looks at", 4)
        self.column.setMinimumWidth(NARROW)
        self.typed = QLineEdit()
        self.typed.setPlaceholderText("filter")
        self.typed.setClearButtonEnabled(True)
        self.typed.setAccessibleName("Filter")
        self.typed.setToolTip(
            "A part of a word, or =word; of numbers: 5, > 5, <= 5, 5..10; = alone: those without a value"
        )
        self.typed.setMinimumWidth(NARROW)
        self.text = small_label()
        self.text.hide()
        row = Row()
        row.add(self.column, self.typed)
        column = stacked(self)
        column.addLayout(row)
        column.addWidget(self.text)
        self._timer = later(_TYPED_MS, self, self.apply)
        self.typed.textChanged.connect(lambda _: self._timer.start())
        self.column.activated.connect(lambda _: self.apply())

    def show_columns(self, cohort: Cohort) -> None:
        """Offer the columns of a cohort; the chosen one stays where it is among them."""
        chosen = self.column.currentText()
        self.column.clear()
        self.column.addItem(_ANY, "")
        for name in shown_columns(cohort):
            self.column.addItem(name, name)
        self.column.setCurrentIndex(max(self.column.findText(chosen), 0))

    def apply(self) -> None:
        """Show what the filter leaves of the cases."""
        state = self._state
        if state.cohort is None:
            return
        state.show_only(matching(state.cohort, self.column.currentData() or "", self.typed.text()))
        filtered = bool(self.typed.text().strip())
        self.text.setText(f"{words.count(int(state.shown.sum()))} of {words.count(len(state.cohort), 'cases')} shown")
        self.text.setVisible(filtered)
        self.changed.emit()
