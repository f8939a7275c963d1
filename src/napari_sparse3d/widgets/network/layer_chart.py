"""Percent active after each layer, as bars."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPolygonF

from napari_sparse3d.widgets.child.records import LayerRow, NetworkResult
from napari_sparse3d.widgets.network.export import published_percent
from napari_sparse3d.widgets.toolbox.styled import Painted
from napari_sparse3d.widgets.toolbox.theme import ORANGE


class LayerChart(Painted):
    """Percent active after each layer as bars; published values, where there are any, as diamonds."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: tuple[LayerRow, ...] = ()
        self._published: dict[str, float] = {}
        self.setAccessibleName("Chart of percent active")

    def set_result(self, result: NetworkResult) -> None:
        """Show another result."""
        self._rows, self._published = result.rows, published_percent(result)
        self._fit()
        self.update()

    @property
    def _below(self) -> int:
        """Pixels of the longest name, which stand upright below the bars."""
        return max((self.fontMetrics().horizontalAdvance(row.name) for row in self._rows), default=0) + 12

    def _fit(self) -> None:
        self.setMinimumHeight(120 + 2 * self.fontMetrics().height() + self._below)

    def changeEvent(self, event: QEvent | None) -> None:
        """Letters of another size need other lines."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint."""
        look = self.look
        if look is None or not self._rows:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        letters = painter.fontMetrics()
        line = letters.height()
        left, top, bottom = letters.horizontalAdvance("100") + 8, 2 * line, self._below
        height, each = self.height() - top - bottom, (self.width() - left - 6) / len(self._rows)
        apart = max(1, -int(-line // each))  # upright names need a line each
        for tick in (0, 50, 100):
            y = top + height * (1 - tick / 100)
            painter.setPen(QColor(look.line))
            painter.drawLine(left, round(y), self.width(), round(y))
            painter.setPen(QColor(look.muted))
            painter.drawText(QRectF(0, y - line / 2, left - 4, line), Qt.AlignmentFlag.AlignRight, f"{tick}")
        painter.drawText(QRectF(0, 0, self.width(), line), Qt.AlignmentFlag.AlignLeft, self._title())
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
            if number % apart:
                continue
            painter.save()
            painter.setPen(QColor(look.text))
            painter.translate(x + each / 2 + 4, self.height() - 6)
            painter.rotate(-90)
            painter.drawText(0, 0, row.name)
            painter.restore()

    def _title(self) -> str:
        return "% active" + (" · ◆ published, head MRI" if self._published else "")
