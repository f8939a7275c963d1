"""Curves that grow: loss or a measure over the epochs, of one run or of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy

from napari_sparse3d.pictures.palette import CLASS_COLOURS
from napari_sparse3d.widgets.toolbox.styled import Painted
from napari_sparse3d.widgets.toolbox.theme import Colours

_DASHES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine)
"""Beside the colour: curves can be told apart without it."""
_LEGEND_ROW = 16


@dataclass(frozen=True)
class NamedCurve:
    """One curve."""

    name: str
    epochs: Sequence[float]
    values: Sequence[float]


class Curve(Painted):
    """Values over epochs; a single curve has its last value beside its name, several have a legend."""

    def __init__(self, name: str, colour: str = CLASS_COLOURS[0]) -> None:
        super().__init__()
        self.name, self.colour = name, colour
        self.series: list[NamedCurve] = []
        self.setFixedHeight(104)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"Curve of {name}")

    def set_points(self, epochs: Sequence[float], values: Sequence[float], name: str = "") -> None:
        """Show a single curve."""
        self.set_series([NamedCurve("", epochs, values)] if epochs else [], name)
        self.setToolTip(f"{self.name}: {values[-1]:.4g} after epoch {epochs[-1]:g}" if epochs else "")

    def set_series(self, series: Sequence[NamedCurve], name: str = "") -> None:
        """Show other curves."""
        self.series = [each for each in series if len(each.epochs)]
        self.name = name or self.name
        self.setFixedHeight(104 + (_LEGEND_ROW * len(self.series) if len(self.series) > 1 else 0))
        self.setToolTip("\n".join(f"{each.name}: {each.values[-1]:.4g}" for each in self.series))
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint."""
        look = self.look
        if look is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(look.foreground))
        painter.setPen(QColor(look.text))
        painter.drawText(QRectF(8, 2, self.width(), 18), Qt.AlignmentFlag.AlignLeft, self.name)
        if not self.series:
            return
        several = len(self.series) > 1
        if not several:
            last = f"{self.series[0].values[-1]:.3g}"
            painter.drawText(QRectF(0, 2, self.width() - 8, 18), Qt.AlignmentFlag.AlignRight, last)
        area = QRectF(44, 26, self.width() - 54, 104 - 44)
        ends = self._draw_axes(painter, area, look)
        for number, each in enumerate(self.series):
            pen = QPen(QColor(CLASS_COLOURS[number % len(CLASS_COLOURS)] if several else self.colour), 2)
            pen.setStyle(_DASHES[number % len(_DASHES)])
            painter.setPen(pen)
            _draw_curve(painter, area, each, ends)
            if several:
                self._draw_legend(painter, number, each, look)

    def _draw_axes(self, painter: QPainter, area: QRectF, look: Colours) -> tuple[float, float, float, float]:
        """Lines at the largest and the smallest value, numbers at the ends; gives x from and to, y from and to."""
        xs = [x for each in self.series for x in each.epochs]
        ys = [y for each in self.series for y in each.values]
        first, last, low, high = min(xs), max(xs), min(ys), max(ys)
        painter.setPen(QColor(look.muted))
        for value, y in {high: area.top(), low: area.bottom()}.items() if high > low else [(high, area.bottom())]:
            place = QRectF(0, y - 8, 40, 16)
            painter.drawText(place, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{value:.3g}")
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
        row = QRectF(area.left(), area.bottom() + 2, area.width(), 14)
        painter.drawText(row, Qt.AlignmentFlag.AlignLeft, f"epoch {first:g}")
        if last > first:
            painter.drawText(row, Qt.AlignmentFlag.AlignRight, f"{last:g}")
        return first, last, low, high

    def _draw_legend(self, painter: QPainter, number: int, series: NamedCurve, look: Colours) -> None:
        y = 104 + number * _LEGEND_ROW
        painter.drawLine(QPointF(8, y + 6), QPointF(36, y + 6))
        painter.setPen(QColor(look.text))
        value = f"{series.values[-1]:.3g}"
        room = self.width() - 44 - 52
        name = painter.fontMetrics().elidedText(series.name, Qt.TextElideMode.ElideMiddle, room)
        painter.drawText(QRectF(44, y - 2, room, 16), Qt.AlignmentFlag.AlignLeft, name)
        painter.drawText(QRectF(0, y - 2, self.width() - 8, 16), Qt.AlignmentFlag.AlignRight, value)


def _draw_curve(painter: QPainter, area: QRectF, series: NamedCurve, ends: tuple[float, float, float, float]) -> None:
    first, last, low, high = ends
    width, span = (last - first) or 1.0, (high - low) or 1.0
    places = [
        QPointF(area.left() + (x - first) / width * area.width(), area.bottom() - (y - low) / span * area.height())
        for x, y in zip(series.epochs, series.values, strict=True)
    ]
    if len(places) == 1:
        painter.setBrush(painter.pen().color())
        painter.drawEllipse(places[0], 3, 3)
        painter.setBrush(Qt.BrushStyle.NoBrush)
    else:
        painter.drawPolyline(QPolygonF(places))
