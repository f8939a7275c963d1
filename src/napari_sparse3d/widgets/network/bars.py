"""Class probabilities as bars, with what has to be said about them."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QRect, QRectF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from qtpy.QtWidgets import QSizePolicy

from napari_sparse3d.widgets.toolbox.plain_text import plain_tip
from napari_sparse3d.widgets.toolbox.styled import Painted
from napari_sparse3d.widgets.toolbox.theme import Colours
from napari_sparse3d.widgets.toolbox.words import RANDOM_WEIGHTS

_LEFT = 5
"""Where the text of the labels above and below begins."""
_GAP = 6
"""Between a name, its bar and its number."""
_BAR = 12
"""Pixels of a bar's height."""
_NAMES = 0.3
"""Of the width for names, where all fit into that; else each has a line of its own above its bar."""


class ProbabilityBars(Painted):
    """One bar a class, the most probable first; at most ten are shown. A click chooses a class."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[int, str, float]] = []
        self._trained = True
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Class probabilities")
        self.hide()

    def set_probabilities(self, classes: Sequence[str], values: Sequence[float], *, trained: bool) -> None:
        """Show other probabilities."""
        order = sorted(range(len(values)), key=lambda i: -values[i])[:10]
        self._rows = [(i, classes[i], float(values[i])) for i in order]
        self._trained = trained
        self.setToolTip(plain_tip("\n".join(f"{classes[i]}: {values[i]:.4f}" for i in order)))
        self._fit()
        self.setVisible(bool(self._rows))
        self.update()

    # -- how high, by the letters and the width ------------------------------------------------------------------------

    @property
    def _line(self) -> int:
        return max(22, self.fontMetrics().height() + 6)

    @property
    def _above(self) -> bool:
        """Whether the names stand above their bars."""
        widest = max((self.fontMetrics().horizontalAdvance(name) for _, name, _ in self._rows), default=0)
        return widest > _NAMES * self.width()

    @property
    def _row(self) -> int:
        return self._line + (_BAR + _GAP if self._above else 0)

    @property
    def _warning(self) -> str:
        return "" if self._trained else f"⚠ {RANDOM_WEIGHTS}"

    @property
    def _top(self) -> int:
        if not self._warning:
            return 0
        room = QRect(0, 0, max(self.width() - _LEFT, 1), 10_000)
        return self.fontMetrics().boundingRect(room, Qt.TextFlag.TextWordWrap, self._warning).height() + _GAP

    def _fit(self) -> None:
        height = self._top + self._row * len(self._rows)
        if height != self.height():
            self.setFixedHeight(height)

    def changeEvent(self, event: QEvent | None) -> None:
        """Letters of another size need other lines."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.FontChange:
            self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Another width may need other lines."""
        super().resizeEvent(event)
        self._fit()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """A click on a bar chooses its class."""
        if event is not None:
            row = int((event.position().y() - self._top) // self._row)
            if 0 <= row < len(self._rows):
                self.chosen.emit(self._rows[row][0])

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint."""
        look = self.look
        if look is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._warning:
            painter.setPen(QColor(look.warning))
            painter.drawText(QRect(_LEFT, 0, self.width() - _LEFT, self._top), Qt.TextFlag.TextWordWrap, self._warning)
        for number, (_, name, value) in enumerate(self._rows):
            self._paint_row(painter, look, self._top + number * self._row, name, value)

    def _paint_row(self, painter: QPainter, look: Colours, y: int, name: str, value: float) -> None:
        line, metrics, above = self._line, painter.fontMetrics(), self._above
        number_width = metrics.horizontalAdvance("0.00") + _GAP
        name_width = self.width() - _LEFT - number_width if above else self.width() * _NAMES
        painter.setPen(QColor(look.text))
        short = metrics.elidedText(name, Qt.TextElideMode.ElideRight, int(name_width))
        painter.drawText(QRectF(_LEFT, y, name_width, line), Qt.AlignmentFlag.AlignVCenter, short)
        where = QRectF(self.width() - number_width, y, number_width, line)
        painter.drawText(where, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, f"{value:.2f}")
        left = _LEFT if above else _LEFT + name_width + _GAP
        room = self.width() - left - (0 if above else number_width + _GAP)
        top = y + line if above else y + (line - _BAR) // 2
        painter.fillRect(QRectF(left, top, room, _BAR), QColor(look.foreground))
        fill = QColor(look.accent if self._trained else look.line)
        painter.fillRect(QRectF(left, top, room * value, _BAR), fill)
