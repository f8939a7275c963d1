"""What follows the theme by itself, wherever in a panel it stands."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from qtpy.QtGui import QFont
from qtpy.QtWidgets import QTableWidget, QWidget

from napari_sparse3d.widgets.toolbox.theme import Colours


@runtime_checkable
class Styled(Protocol):
    """A widget with colours of its own."""

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""


class Painted(QWidget):
    """A widget that paints itself in ``look``, which is None until a panel has given it one."""

    look: Colours | None = None

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        self.look = look
        self.update()


def restyle_all(root: QWidget, look: Colours) -> None:
    """Give the colours to all that stands in ``root`` and takes them."""
    for widget in root.findChildren(QWidget):
        if isinstance(widget, Styled):
            widget.restyle(look)


def same_letters(root: QWidget, letters: QFont) -> None:
    """Give all that paints itself, and tables, the letters of napari's style sheet, which it gives to labels alone."""
    for widget in root.findChildren(QWidget):
        if isinstance(widget, (Painted, QTableWidget)) and widget.font() != letters:
            widget.setFont(letters)
            header = widget.horizontalHeader() if isinstance(widget, QTableWidget) else None
            if header is not None:
                header.setFont(letters)
