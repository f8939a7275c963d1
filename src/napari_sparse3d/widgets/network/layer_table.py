"""The per-layer table."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QModelIndex, QRectF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
)

from napari_sparse3d.widgets.child.records import LayerRow, NetworkResult
from napari_sparse3d.widgets.network.export import published_percent
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.layout import fit_height, table_style
from napari_sparse3d.widgets.toolbox.theme import Colours

_PERCENT_COLUMN = 3
_ROWS_SHOWN = 14
_NAME_LETTERS = 15
COLUMNS = ("layer", "side", "sites", "% active", "published", "kind", "channels", "% non-zero", "MAC", "ms")
_TIPS = (
    "Click a row to see that layer in the viewer",
    "Sites along one side of the layer's grid",
    "Active sites: those that are stored",
    "Active sites in percent of the grid",
    "Percent active as published for a head MRI, longest side 110 (deepC2 only)",
    "What the layer is",
    "Feature channels",
    "Feature values at active sites that are not 0, in percent",
    "Multiply-accumulates",
    "Wall time of this run",
)


class LayerTable(QTableWidget):
    """One row a layer; choosing one sends its name."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS))
        self.setHorizontalHeaderLabels(list(COLUMNS))
        for column, tip in enumerate(_TIPS):
            item = self.horizontalHeaderItem(column)
            if item is not None:
                item.setToolTip(tip)
        self.setAccessibleName("Layers")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setTabKeyNavigation(False)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._bars = _BarDelegate(self)
        self.setItemDelegateForColumn(_PERCENT_COLUMN, self._bars)
        rows, header = self.verticalHeader(), self.horizontalHeader()
        if rows is not None:
            rows.hide()
            rows.setMinimumSectionSize(22)
        if header is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setMinimumSectionSize(30)
        self.itemSelectionChanged.connect(self._selected)

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        self._bars.look = look
        self.setStyleSheet(table_style(look))
        self._fit()

    def set_result(self, result: NetworkResult | None) -> None:
        """Show another result."""
        self.blockSignals(True)
        self.setRowCount(0)
        rows = () if result is None else result.rows
        published = {} if result is None else published_percent(result)
        self.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate(_cells(row, published.get(row.name))):
                item = QTableWidgetItem(text)
                if column == 0:
                    item.setToolTip(text)
                if column not in (0, 5):
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                if column == _PERCENT_COLUMN:
                    item.setData(Qt.ItemDataRole.UserRole, row.active_percent)
                self.setItem(number, column, item)
        header = self.horizontalHeader()
        if header is not None:  # a long name must not push the numbers out of sight
            header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        self.setColumnHidden(COLUMNS.index("published"), not published)
        self._fit()
        self.blockSignals(False)

    def _fit(self) -> None:
        """Rows and names by the size of the letters."""
        rows, header, letters = self.verticalHeader(), self.horizontalHeader(), self.fontMetrics()
        if rows is not None and header is not None:
            rows.setDefaultSectionSize(max(22, letters.height() + 4))
            header.resizeSection(0, min(self.sizeHintForColumn(0), _NAME_LETTERS * letters.averageCharWidth() + 12))
        fit_height(self, _ROWS_SHOWN)

    def changeEvent(self, event: QEvent | None) -> None:
        """Letters of another size need other rows."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit()

    @property
    def current_layer(self) -> str | None:
        """The chosen row's layer."""
        chosen = self.selectedItems()
        return None if not chosen else self._name(chosen[0].row())

    def _name(self, row: int) -> str:
        item = self.item(row, 0)
        return "" if item is None else item.text()

    def _selected(self) -> None:
        name = self.current_layer
        if name is not None:
            self.chosen.emit(name)


class _BarDelegate(QStyledItemDelegate):
    """Percent active as a bar behind the number."""

    look: Colours | None = None

    def paint(self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        """Paint the bar, then the number."""
        value = index.data(Qt.ItemDataRole.UserRole)
        if painter is not None and self.look is not None and value is not None:
            area = QRectF(option.rect).adjusted(2, 3, -2, -3)
            area.setWidth(area.width() * float(value) / 100)
            colour = QColor(self.look.accent)
            colour.setAlpha(110)
            painter.fillRect(area, colour)
        super().paint(painter, option, index)


def _cells(row: LayerRow, published: float | None) -> Sequence[str]:
    return (
        row.name,
        f"{row.side}³",
        f"{row.active_sites:,}",
        f"{row.active_percent:.2f}",
        "" if published is None else f"{published:.2f}",
        row.kind,
        str(row.channels),
        f"{row.nonzero_percent:.1f}",
        words.work(row.macs) if row.macs else "",
        f"{row.ms:.2f}" if row.ms else "",
    )
