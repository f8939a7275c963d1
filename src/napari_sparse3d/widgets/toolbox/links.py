"""The quiet buttons at the foot of a panel."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QPushButton, QSizePolicy

from napari_sparse3d.widgets.toolbox.layout import SPACE
from napari_sparse3d.widgets.toolbox.theme import Colours, link_style


class Links(QGridLayout):
    """Two beside each other, or one below the other where letters are large.

    Parameters
    ----------
    room : int
        Pixels of width for a row.
    """

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room
        self.buttons: list[QPushButton] = []
        self.setHorizontalSpacing(SPACE)
        self.setVerticalSpacing(0)

    def add(self, text: str, tip: str, action: Callable[[], None]) -> QPushButton:
        """One more."""
        button = QPushButton(text)
        button.setFlat(True)
        button.setToolTip(tip)
        button.setCursor(Qt.CursorShape.PointingHandCursor)
        button.clicked.connect(lambda: action())
        button.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)
        self.buttons.append(button)
        self.lay_out()
        return button

    def lay_out(self) -> None:
        """Anew, by the size that the letters have now."""
        widest = [max((each.sizeHint().width() for each in self.buttons[side::2]), default=0) for side in (0, 1)]
        columns = 2 if sum(widest) + SPACE <= self._room else 1
        for number, button in enumerate(self.buttons):
            self.addWidget(button, number // columns, number % columns)

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        for button in self.buttons:
            button.setStyleSheet(link_style(look))
