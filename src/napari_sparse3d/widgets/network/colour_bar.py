"""What the colours of a picture stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QRectF, Qt
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy

from napari_sparse3d.widgets.toolbox.styled import Painted

_STOPS = 17
_STRIP = 10
"""Pixels of the strip's height."""

ColourMap = Callable[[NDArray[np.float64]], Any]
"""(N,) from 0 to 1 to (N, 4) RGBA."""


class ColourBar(Painted):
    """A strip in the colours of a layer, with the values at its ends; hidden while nothing is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self._colours: NDArray[np.float64] = np.zeros((_STOPS, 4))
        self.ends: tuple[float, float] | None = None
        self._signed = False
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("What the colours mean")
        self.hide()

    def show_map(self, colours: ColourMap, low: float, high: float, *, signed: bool) -> None:
        """Show the colours from ``low`` to ``high``; ``signed``: those below 0 speak against, those above for."""
        self._colours = np.asarray(colours(np.linspace(0, 1, _STOPS)), dtype=np.float64)
        self.ends, self._signed = (low, high), signed
        self.setToolTip(f"{self.words()}; what lies beyond has the colour of the end")
        self.setAccessibleDescription(self.words())
        self.show()
        self._fit()
        self.update()

    def _fit(self) -> None:
        self.setFixedHeight(_STRIP + 4 + self.fontMetrics().height() * (2 if self._signed else 1))

    def changeEvent(self, event: QEvent | None) -> None:
        """Letters of another size need other lines."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit()

    def clear(self) -> None:
        """Nothing is drawn any more."""
        self.ends = None
        self.hide()

    def words(self) -> str:
        """The scale in words."""
        if self.ends is None:
            return ""
        low, high = (f"{value:.3g}".replace("-", "−") for value in self.ends)
        return f"{low} (blue) to +{high} (red)" if self._signed else f"{low} to {high}"

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint."""
        look, ends = self.look, self.ends
        if look is None or ends is None:
            return
        painter = QPainter(self)
        strip = QRectF(0, 0, self.width(), _STRIP)
        painter.fillRect(strip, QColor("#000000"))  # as on the canvas, where the clear middle lets the scan through
        gradient = QLinearGradient(0, 0, self.width(), 0)
        for place, colour in zip(np.linspace(0, 1, _STOPS).tolist(), self._colours.tolist(), strict=True):
            gradient.setColorAt(place, QColor.fromRgbF(*(min(max(part, 0.0), 1.0) for part in colour)))
        painter.fillRect(strip, gradient)
        painter.setPen(QColor(look.text))
        height = self.fontMetrics().height()
        low, high = (f"{value:.3g}".replace("-", "−") for value in ends)
        lines = [(low, "0", f"+{high}"), ("against", "", "for")] if self._signed else [(low, "", high)]
        sides = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
        for number, line in enumerate(lines):
            below = QRectF(0, _STRIP + 2 + number * height, self.width(), height)
            for side, text in zip(sides, line, strict=True):
                painter.drawText(below, side, text)
