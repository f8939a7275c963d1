"""Curves that grow: loss or a measure over the epochs, of one run or of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy

from napari_sparse3d.pictures.palette import CLASS_COLOURS
from napari_sparse3d.widgets.toolbox.styled import Painted
from napari_sparse3d.widgets.toolbox.theme import Colours

_DASHES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine)
"""Beside the colour: curves can be told apart without it."""
_PLOT_HEIGHT = 60
_MARGIN = 8
_SWATCH = 28

_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


@dataclass(frozen=True)
class NamedCurve:
    """One curve; ``low`` and ``high`` are the ends of its 95 % interval, None where there is none."""

    name: str
    epochs: Sequence[float]
    values: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()

    def band(self) -> list[tuple[float, float, float]]:
        """Epoch, low and high, where there is an interval."""
        ends = zip(self.epochs, self.low, self.high, strict=False)
        return [(x, low, high) for x, low, high in ends if low is not None and high is not None]

    def words(self) -> str:
        """The last value with its interval."""
        last = f"{self.values[-1]:.3g}"
        ends = self.band()
        return f"{last} [{ends[-1][1]:.2f}, {ends[-1][2]:.2f}]" if ends and ends[-1][0] == self.epochs[-1] else last


class Curve(Painted):
    """Values over epochs, a band for their interval, a dashed line for what guessing gives.

    A single curve has its last value beside its name, several have a legend.
    """

    def __init__(self, name: str, colour: str = CLASS_COLOURS[0]) -> None:
        super().__init__()
        self.name, self.colour = name, colour
        self.series: list[NamedCurve] = []
        self.chance: float | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"Curve of {name}")

    def set_points(self, epochs: Sequence[float], values: Sequence[float], name: str = "") -> None:
        """Show a single curve without an interval."""
        self.set_series([NamedCurve("", epochs, values)], name)

    def set_series(self, series: Sequence[NamedCurve], name: str = "", *, chance: float | None = None) -> None:
        """Show other curves."""
        self.series = [each for each in series if len(each.epochs)]
        self.name, self.chance = name or self.name, chance
        self.setToolTip("\n".join(self._lines()))
        self.setAccessibleDescription(self.toolTip())
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        """As high as the font needs."""
        rows = 2 + (len(self.series) if len(self.series) > 1 else 0)
        return QSize(120, _PLOT_HEIGHT + 2 * _MARGIN + rows * self._row())

    def changeEvent(self, event: QEvent | None) -> None:
        """Another font needs another height."""
        super().changeEvent(event)
        if event is not None and event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self.updateGeometry()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint."""
        look = self.look
        if look is None:
            return
        painter, row = QPainter(self), self._row()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QColor(look.foreground))
        painter.setPen(QColor(look.text))
        last = self.series[0].words() if len(self.series) == 1 else ""
        self._draw_row(painter, QRectF(_MARGIN, 2, self.width() - 2 * _MARGIN, row), self.name, last)
        if not self.series:
            return
        ends = self._ends()
        numbers = max(painter.fontMetrics().horizontalAdvance(f"{value:.3g}") for value in ends[2:])
        left = 2 * _MARGIN + numbers
        area = QRectF(left, row + _MARGIN, self.width() - left - _MARGIN, _PLOT_HEIGHT)
        self._draw_axes(painter, area, ends, look)
        for number, each in enumerate(self.series):
            several = len(self.series) > 1
            colour = QColor(CLASS_COLOURS[number % len(CLASS_COLOURS)] if several else self.colour)
            _draw_band(painter, area, each, ends, colour)
            pen = QPen(colour, 2)
            pen.setStyle(_DASHES[number % len(_DASHES)])
            painter.setPen(pen)
            _draw_curve(painter, area, each, ends)
            if several:
                self._draw_legend(painter, area.bottom() + row * (number + 1) + _MARGIN, each, look)

    def _row(self) -> int:
        return self.fontMetrics().height()

    def _lines(self) -> list[str]:
        """In words: what the font or the width leaves out, too."""
        single = len(self.series) == 1
        lines = [
            f"{self.name if single else each.name}: {each.words()} after epoch {each.epochs[-1]:g}"
            for each in self.series
        ]
        if any(each.band() for each in self.series):
            lines.append("[from, to]: 95 % interval, see Train in the documentation")
        return lines if self.chance is None else [*lines, f"dashed: {self.chance:.3g}, by guessing"]

    def _ends(self) -> tuple[float, float, float, float]:
        """Epochs from and to, values from and to: of curves, bands and chance."""
        xs = [x for each in self.series for x in each.epochs]
        ys = [y for each in self.series for y in each.values]
        ys += [y for each in self.series for point in each.band() for y in point[1:]]
        ys += [] if self.chance is None else [self.chance]
        return min(xs), max(xs), min(ys), max(ys)

    def _draw_axes(
        self, painter: QPainter, area: QRectF, ends: tuple[float, float, float, float], look: Colours
    ) -> None:
        """Lines at the largest and the smallest value and at chance, numbers at the ends."""
        (first, last, low, high), row = ends, self._row()
        painter.setPen(QColor(look.muted))
        for value, y in [(high, area.top()), (low, area.bottom())] if high > low else [(high, area.bottom())]:
            place = QRectF(0, y - row / 2, area.left() - _MARGIN, row)
            painter.drawText(place, _RIGHT, f"{value:.3g}")
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
        below = QRectF(area.left(), area.bottom() + 2, area.width(), row)
        painter.drawText(below, _LEFT, f"epoch {first:g}")
        if last > first:
            painter.drawText(below, _RIGHT, f"{last:g}")
        if self.chance is not None:
            y = _place(area, ends, first, self.chance).y()
            painter.setPen(QPen(QColor(look.text), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            # inside the plot: above its line, unless that is at the top
            over = y - row if y - row > area.top() - 2 else y
            painter.drawText(QRectF(area.left(), over, area.width() - 2, row), _RIGHT, f"chance {self.chance:.2g}")

    def _draw_legend(self, painter: QPainter, y: float, series: NamedCurve, look: Colours) -> None:
        row = self._row()
        painter.drawLine(QPointF(_MARGIN, y + row / 2), QPointF(_MARGIN + _SWATCH, y + row / 2))
        painter.setPen(QColor(look.text))
        left = 2 * _MARGIN + _SWATCH
        self._draw_row(painter, QRectF(left, y, self.width() - left - _MARGIN, row), series.name, series.words())

    def _draw_row(self, painter: QPainter, place: QRectF, name: str, value: str) -> None:
        """A name, shortened in the middle where it does not fit, and a value; the whole stands in the tooltip."""
        metrics = painter.fontMetrics()
        room = int(place.width()) - (metrics.horizontalAdvance(value) + _MARGIN if value else 0)
        painter.drawText(place, _RIGHT, value)
        painter.drawText(place, _LEFT, metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, max(room, 0)))


def _place(area: QRectF, ends: tuple[float, float, float, float], x: float, y: float) -> QPointF:
    first, last, low, high = ends
    width, span = (last - first) or 1.0, (high - low) or 1.0
    return QPointF(area.left() + (x - first) / width * area.width(), area.bottom() - (y - low) / span * area.height())


def _draw_curve(painter: QPainter, area: QRectF, series: NamedCurve, ends: tuple[float, float, float, float]) -> None:
    places = [_place(area, ends, x, y) for x, y in zip(series.epochs, series.values, strict=True)]
    if len(places) == 1:
        painter.setBrush(painter.pen().color())
        painter.drawEllipse(places[0], 3, 3)
        painter.setBrush(Qt.BrushStyle.NoBrush)
    else:
        painter.drawPolyline(QPolygonF(places))


def _draw_band(
    painter: QPainter, area: QRectF, series: NamedCurve, ends: tuple[float, float, float, float], colour: QColor
) -> None:
    """The interval of each epoch; a gap where an epoch has none."""
    clear = QColor(colour)
    clear.setAlpha(60)
    for part in _runs(series):
        points = [_place(area, ends, x, high) for x, _, high in part]
        points += [_place(area, ends, x, low) for x, low, _ in reversed(part)]
        if len(part) == 1:
            painter.setPen(QPen(clear, 4))
            painter.drawLine(points[0], points[1])
        else:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(clear)
            painter.drawPolygon(QPolygonF(points))
            painter.setBrush(Qt.BrushStyle.NoBrush)


def _runs(series: NamedCurve) -> Iterable[list[tuple[float, float, float]]]:
    """The band in parts without a gap: of epochs that follow each other in the curve."""
    with_ends = {point[0]: point for point in series.band()}
    part: list[tuple[float, float, float]] = []
    for epoch in series.epochs:
        if epoch in with_ends:
            part.append(with_ends[epoch])
        elif part:
            yield part
            part = []
    if part:
        yield part
