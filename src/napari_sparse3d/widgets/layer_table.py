"""The per-layer table and its chart, and their export."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QModelIndex, QPointF, QRectF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPolygonF
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_sparse3d.files import replacing
from napari_sparse3d.measure.published import DEEPC2_LAYERS, MRI_PUBLISHED
from napari_sparse3d.widgets.records import LayerRow, NetworkResult
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.panel import fit_height, table_style
from napari_sparse3d.widgets.toolbox.theme import ORANGE, Colours

_PERCENT_COLUMN = 3
_ROWS_SHOWN = 14
_NAME_WIDTH = 92
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


def published_percent(result: NetworkResult) -> dict[str, float]:
    """The published percentages by layer; empty for any other network than deepC2."""
    if result.model.architecture != "deepc2":
        return {}
    return dict(zip(DEEPC2_LAYERS, MRI_PUBLISHED, strict=True))


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
            rows.setDefaultSectionSize(22)
        if header is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            header.setMinimumSectionSize(30)
        self.itemSelectionChanged.connect(self._selected)

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        self._bars.look = look
        self.setStyleSheet(table_style(look))

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
            header.resizeSection(0, min(self.sizeHintForColumn(0), _NAME_WIDTH))
        self.setColumnHidden(COLUMNS.index("published"), not published)
        fit_height(self, _ROWS_SHOWN)
        self.blockSignals(False)

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


class LayerChart(QWidget):
    """Percent active after each layer as bars; published values, where there are any, as diamonds."""

    def __init__(self) -> None:
        super().__init__()
        self.look: Colours | None = None
        self._rows: tuple[LayerRow, ...] = ()
        self._published: dict[str, float] = {}
        self.setMinimumHeight(180)
        self.setAccessibleName("Chart of percent active")

    def set_result(self, result: NetworkResult) -> None:
        """Show another result."""
        self._rows, self._published = result.rows, published_percent(result)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint."""
        look = self.look
        if look is None or not self._rows:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left, top, bottom = 30, 30, 58
        height, each = self.height() - top - bottom, (self.width() - left - 6) / len(self._rows)
        for tick in (0, 50, 100):
            y = top + height * (1 - tick / 100)
            painter.setPen(QColor(look.line))
            painter.drawLine(left, round(y), self.width(), round(y))
            painter.setPen(QColor(look.muted))
            painter.drawText(QRectF(0, y - 8, left - 4, 16), Qt.AlignmentFlag.AlignRight, f"{tick}")
        painter.drawText(QRectF(0, 0, self.width(), 16), Qt.AlignmentFlag.AlignLeft, self._title())
        for number, row in enumerate(self._rows):
            x, share = left + number * each, row.active_percent / 100
            painter.fillRect(QRectF(x + 2, top + height * (1 - share), each - 4, height * share), QColor(look.accent))
            if row.name in self._published:
                y = top + height * (1 - self._published[row.name] / 100)
                painter.setPen(QColor(look.text))
                painter.setBrush(QColor(ORANGE))
                middle, r = x + each / 2, 4.0
                painter.drawPolygon(
                    QPolygonF(
                        [QPointF(middle, y - r), QPointF(middle + r, y), QPointF(middle, y + r), QPointF(middle - r, y)]
                    )
                )
            painter.save()
            painter.setPen(QColor(look.text))
            painter.translate(x + each / 2 + 4, self.height() - 6)
            painter.rotate(-90)
            painter.drawText(0, 0, row.name[:9])
            painter.restore()

    def _title(self) -> str:
        return "% active" + (" · ◆ published, head MRI" if self._published else "")


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


def table_records(result: NetworkResult) -> list[dict[str, Any]]:
    """The table as plain records, with the units in the names."""
    published = published_percent(result)
    return [
        {
            "layer": row.name,
            "kind": row.kind,
            "channels": row.channels,
            "side": row.side,
            "active_sites": row.active_sites,
            "active_percent": row.active_percent,
            "published_percent": published.get(row.name, ""),
            "nonzero_percent": row.nonzero_percent,
            "macs": row.macs,
            "ms": row.ms,
        }
        for row in result.rows
    ]


def write_table(result: NetworkResult, path: Path) -> None:
    """Write the table as CSV."""
    records = table_records(result)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def write_chart(result: NetworkResult, path: Path) -> None:
    """Write the chart of percent active as SVG or PNG."""
    from napari_sparse3d.pictures import layers_figure

    published = published_percent(result)
    names = [row.name for row in result.rows]
    others = {"published, head MRI": [published[name] for name in names]} if set(names) <= set(published) else {}
    figure = layers_figure(
        names,
        [row.side for row in result.rows],
        [row.active_percent for row in result.rows],
        others,
        title=f"{result.model.name}: active sites after each layer",
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=160)
