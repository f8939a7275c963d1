"""One curve that grows: loss or a measure over the epochs."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_sparse3d.widgets.toolbox.theme import Colours


class Curve(QWidget):
    """Values over epochs, with the best (or last) one written beside it."""

    def __init__(self, name: str, colour: str) -> None:
        super().__init__()
        self.name, self.colour = name, colour
        self.look: Colours | None = None
        self.points: list[tuple[float, float]] = []
        self.setMinimumHeight(104)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"Curve of {name}")

    def set_points(self, epochs: Sequence[float], values: Sequence[float], name: str = "") -> None:
        """Show other values."""
        self.points = list(zip(epochs, values, strict=True))
        self.name = name or self.name
        self.setToolTip(f"{self.name}: {values[-1]:.4g} after epoch {epochs[-1]}" if values else "")
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
        if not self.points:
            return
        last = f"{self.points[-1][1]:.3g}"
        painter.drawText(QRectF(0, 2, self.width() - 8, 18), Qt.AlignmentFlag.AlignRight, last)
        xs, ys = zip(*self.points, strict=True)
        low, high = min(ys), max(ys)
        span, width = (high - low) or 1.0, (xs[-1] - xs[0]) or 1.0
        area = QRectF(44, 24, self.width() - 54, self.height() - 34)
        painter.setPen(QColor(look.muted))
        for value, y in ((high, area.top()), (low, area.bottom())):
            painter.drawText(
                QRectF(0, y - 8, 40, 16), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{value:.3g}"
            )
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
        places = [
            QPointF(area.left() + (x - xs[0]) / width * area.width(), area.bottom() - (y - low) / span * area.height())
            for x, y in self.points
        ]
        painter.setPen(QPen(QColor(self.colour), 2))
        if len(places) == 1:
            painter.setBrush(QColor(self.colour))
            painter.drawEllipse(places[0], 3, 3)
        else:
            painter.drawPolyline(QPolygonF(places))
