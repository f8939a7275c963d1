"""The cases as a table that can be sorted; its selection is that of the map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QAbstractTableModel, QItemSelection, QItemSelectionModel, QModelIndex, QSize, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QIcon, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QPushButton, QTableView, QWidget

from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.widgets.cohort.case_filter import column_of, shown_columns
from napari_sparse3d.widgets.cohort.case_words import thumbnail_image
from napari_sparse3d.widgets.cohort.colours import numbers_in
from napari_sparse3d.widgets.cohort.state import CohortState
from napari_sparse3d.widgets.toolbox.foot import LINK
from napari_sparse3d.widgets.toolbox.layout import stacked, table_style
from napari_sparse3d.widgets.toolbox.theme import Colours

_ICON = 28
_SHOWN = 8
"""Rows; more scroll."""


class CaseTable(QWidget):
    """Lists the cases of ``state`` that its filter leaves."""

    opened = Signal(int)
    """A case is to be opened: its number."""
    selected = Signal(object)
    """Other rows are selected: (K,) numbers of cases."""

    def __init__(self, state: CohortState) -> None:
        super().__init__()
        self._state = state
        self._following = False
        self.heading = QPushButton()
        self.heading.setCheckable(True)
        self.heading.setFlat(True)
        self.heading.setObjectName(LINK)
        self.heading.setToolTip("Show or hide the table of the cases")
        self.heading.toggled.connect(self._fold)
        self.rows = _Rows(self)
        self.view = QTableView()
        self.view.setModel(self.rows)
        self.view.setAccessibleName("Cases")
        self.view.setSortingEnabled(True)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.view.setTabKeyNavigation(False)
        self.view.setShowGrid(False)
        self.view.setWordWrap(False)
        self.view.setIconSize(QSize(_ICON, _ICON))
        side, top = self.view.verticalHeader(), self.view.horizontalHeader()
        chosen = self.view.selectionModel()
        assert side is not None  # each view has one
        assert top is not None
        assert chosen is not None
        side.hide()
        side.setDefaultSectionSize(_ICON + 2)
        side.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        top.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.view.setFixedHeight(top.sizeHint().height() + _SHOWN * (_ICON + 2))
        self._chosen = chosen
        self._chosen.selectionChanged.connect(self._selected)
        self.view.activated.connect(lambda index: self.opened.emit(self.rows.case(index.row())))
        column = stacked(self)
        column.addWidget(self.heading, 0, Qt.AlignmentFlag.AlignLeft)
        column.addWidget(self.view)
        self._fold(False)

    def restyle(self, look: Colours) -> None:
        """Follow the theme."""
        self.view.setStyleSheet(table_style(look).replace("QTableWidget", "QTableView"))

    def refresh(self) -> None:
        """The cases, what is said of them, or which the filter leaves, have changed."""
        state = self._state
        if state.cohort is None or not self.heading.isChecked():
            return
        self._following = True
        self.rows.show_cases(state.cohort, state.shown)
        self._following = False
        self.follow_selection()

    def follow_selection(self) -> None:
        """Select the rows of the cases that are selected."""
        if self._following or not self.heading.isChecked():
            return
        chosen = QItemSelection()
        last = max(self.rows.columnCount() - 1, 0)
        for row in np.flatnonzero(np.isin(self.rows.order, self._state.selected)).tolist():
            chosen.select(self.rows.index(row, 0), self.rows.index(row, last))
        self._following = True
        self._chosen.select(chosen, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        self._following = False

    def _selected(self, *_: object) -> None:
        if self._following:
            return
        rows = sorted({index.row() for index in self._chosen.selectedRows()})
        self._following = True  # what is selected now comes back from the panel
        self.selected.emit(np.sort(self.rows.order[rows]))
        self._following = False

    def _fold(self, open_: bool) -> None:
        self.heading.setText(f"{'▾' if open_ else '▸'} Table")
        self.view.setVisible(open_)
        self.refresh()


class _Rows(QAbstractTableModel):
    """Cases by rows, in an order of its own."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._names: list[str] = []
        self._columns: dict[str, list[Any]] = {}
        self._numbers: dict[str, NDArray[np.float64] | None] = {}
        self._thumbnails: NDArray[np.uint8] | None = None
        self._shown = np.zeros(0, dtype=bool)
        self._sorted_by: tuple[str, Qt.SortOrder] | None = None
        self.order = np.zeros(0, dtype=np.int64)

    def case(self, row: int) -> int:
        """The number of the case in a row."""
        return int(self.order[row])

    def show_cases(self, cohort: Cohort, shown: NDArray[np.bool_]) -> None:
        """Other cases; they are sorted as those before."""
        self.beginResetModel()
        self._names = shown_columns(cohort)
        self._columns = {name: list(column_of(cohort, name)) for name in self._names}
        self._numbers = {name: numbers_in(name, values) for name, values in self._columns.items()}
        self._thumbnails, self._shown = cohort.thumbnails, shown
        self._reorder()
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """As Qt asks."""
        return len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """As Qt asks."""
        return len(self._names)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """The columns' names."""
        across = orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole
        return self._names[section].replace("_", " ") if across and section < len(self._names) else None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What stands in a cell: text, numbers at the right, and the thumbnail beside the name."""
        name, case = self._names[index.column()], self.case(index.row())
        if role == Qt.ItemDataRole.DisplayRole:
            return cell_words(self._columns[name][case])
        if role == Qt.ItemDataRole.TextAlignmentRole and self._numbers[name] is not None:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role == Qt.ItemDataRole.DecorationRole and index.column() == 0 and self._thumbnails is not None:
            return QIcon(QPixmap.fromImage(thumbnail_image(self._thumbnails[case])))
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Numbers as numbers, words without regard to capitals; what has no value stays last."""
        name = self._names[column] if 0 <= column < len(self._names) else None
        self._sorted_by = None if name is None else (name, order)
        self.layoutAboutToBeChanged.emit()
        before = {case: row for row, case in enumerate(self.order.tolist())}
        old = self.persistentIndexList()
        cases = [self.case(each.row()) for each in old]
        self._reorder()
        after = {case: row for row, case in enumerate(self.order.tolist())}
        assert before.keys() == after.keys()
        moved = [self.index(after[case], each.column()) for case, each in zip(cases, old, strict=True)]
        self.changePersistentIndexList(old, moved)
        self.layoutChanged.emit()

    def _reorder(self) -> None:
        shown = np.flatnonzero(self._shown)
        if self._sorted_by is None or self._sorted_by[0] not in self._columns:
            self.order = shown
            return
        name, order = self._sorted_by
        numbers, values = self._numbers[name], self._columns[name]
        down = order == Qt.SortOrder.DescendingOrder

        def missing(case: int) -> bool:
            return values[case] in (None, "") if numbers is None else not np.isfinite(numbers[case])

        def key(case: int) -> Any:
            return str(values[case]).casefold() if numbers is None else numbers[case]

        known = [case for case in shown.tolist() if not missing(case)]
        without = [case for case in shown.tolist() if missing(case)]
        self.order = np.array([*sorted(known, key=key, reverse=down), *without], dtype=np.int64)


def cell_words(value: Any) -> str:
    """A value as a table shows it: fractions to four digits."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
