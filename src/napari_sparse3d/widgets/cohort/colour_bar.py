"""What the colours of numbers mean: viridis from the lowest to the highest."""

from __future__ import annotations

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy

from napari_sparse3d.widgets.cohort.colours import Scale
from napari_sparse3d.widgets.toolbox.styled import Painted

_BAR = 10
"""Pixels of the bar's height."""
_STOPS = 16


class ColourBar(Painted):
    """A bar with its lowest, middle and highest value below."""

    def __init__(self) -> None:
        super().__init__()
        self.scale: Scale | None = None
        self.texts: tuple[str, str, str] = ("", "", "")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.hide()

    def show_scale(self, scale: Scale | None) -> None:
        """Another column; None: it is not one of numbers."""
        self.scale = scale
        self.setVisible(scale is not None)
        if scale is not None:
            middle = scale.low / 2 + scale.high / 2
            self.texts = (number_text(scale.low), number_text(middle), number_text(scale.high))
            self.setAccessibleName(f"{scale.name}: {self.texts[0]} (dark) to {self.texts[2]} (bright)")
            self.setToolTip(f"{self.texts[0]} (dark) to {self.texts[2]} (bright)")
        self.update()

    def sizeHint(self) -> QSize:
        """As high as the bar and a line of text."""
        return QSize(120, _BAR + self.fontMetrics().height() + 2)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw it."""
        if self.look is None or self.scale is None:
            return
        from napari_sparse3d.widgets.cohort.map_points import viridis

        painter, width = QPainter(self), self.width()
        gradient = QLinearGradient(0, 0, width, 0)
        for place, colour in enumerate(viridis(_STOPS)):
            gradient.setColorAt(place / (_STOPS - 1), QColor(colour))
        painter.fillRect(QRectF(0, 0, width, _BAR), gradient)
        painter.setPen(QColor(self.look.text))
        below = QRectF(0, _BAR + 1, width, self.height() - _BAR - 1)
        metrics = self.fontMetrics()
        low, middle, high = self.texts
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, low)
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, high)
        ends = max(metrics.horizontalAdvance(low), metrics.horizontalAdvance(high))
        if 2 * ends + metrics.horizontalAdvance(middle) + 2 * _BAR <= width:
            painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, middle)
        painter.end()


def number_text(number: float) -> str:
    """Whole numbers as they are, others to four digits."""
    return f"{number:,.0f}" if number == round(number) and abs(number) < 1e9 else f"{number:.4g}"
