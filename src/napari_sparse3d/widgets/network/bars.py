"""Class probabilities as bars, with what has to be said about them."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QRectF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy

from napari_sparse3d.widgets.toolbox.plain_text import plain_tip
from napari_sparse3d.widgets.toolbox.styled import Painted
from napari_sparse3d.widgets.toolbox.words import RANDOM_WEIGHTS

_ROW = 22
_LEFT = 5
"""Where the text of the labels above and below begins."""


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
        self.setFixedHeight(_ROW * len(self._rows) + (0 if trained else _ROW))
        self.setToolTip(plain_tip("\n".join(f"{classes[i]}: {values[i]:.4f}" for i in order)))
        self.setVisible(bool(self._rows))
        self.update()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """A click on a bar chooses its class."""
        if event is not None:
            row = int(event.position().y() // _ROW) - (0 if self._trained else 1)
            if 0 <= row < len(self._rows):
                self.chosen.emit(self._rows[row][0])

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Paint."""
        look = self.look
        if look is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        top = 0
        if not self._trained:
            painter.setPen(QColor(look.warning))
            said = painter.fontMetrics().elidedText(
                f"⚠ {RANDOM_WEIGHTS}", Qt.TextElideMode.ElideRight, self.width() - _LEFT
            )
            painter.drawText(QRectF(_LEFT, 0, self.width() - _LEFT, _ROW), Qt.AlignmentFlag.AlignVCenter, said)
            top = _ROW
        name_width, number_width = self.width() * 0.3, 44
        room = self.width() - _LEFT - name_width - number_width - 12
        metrics = painter.fontMetrics()
        for row, (_, name, value) in enumerate(self._rows):
            y = top + row * _ROW
            painter.setPen(QColor(look.text))
            short = metrics.elidedText(name, Qt.TextElideMode.ElideRight, int(name_width))
            painter.drawText(QRectF(_LEFT, y, name_width, _ROW), Qt.AlignmentFlag.AlignVCenter, short)
            painter.fillRect(QRectF(_LEFT + name_width + 6, y + 5, room, _ROW - 10), QColor(look.foreground))
            fill = QColor(look.accent if self._trained else look.line)
            painter.fillRect(QRectF(_LEFT + name_width + 6, y + 5, room * value, _ROW - 10), fill)
            painter.setPen(QColor(look.text))
            where = QRectF(self.width() - number_width, y, number_width, _ROW)
            painter.drawText(where, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, f"{value:.2f}")
