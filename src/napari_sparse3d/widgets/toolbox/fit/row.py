"""Controls beside each other where there is room, below each other where a large font leaves none."""

from __future__ import annotations

from qtpy.QtCore import QRect, QSize, Qt
from qtpy.QtWidgets import QLayout, QLayoutItem, QSizePolicy, QWidget

from napari_sparse3d.widgets.toolbox.layout import SPACE


class Row(QLayout):
    """Fills lines from the left; the controls of a line share its width alike, each as wide as it needs at least.

    What does not grow (a unit between two numbers, by its size policy) takes what it needs and no more.

    Parameters
    ----------
    most : int
        Controls in a line.
    """

    def __init__(self, most: int = 2, spacing: int = SPACE) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
        self._most = most
        self.setContentsMargins(0, 0, 0, 0)
        self.setSpacing(spacing)

    def add(self, *widgets: QWidget) -> None:
        """Add controls, in order."""
        for widget in widgets:
            self.addWidget(widget)

    def addItem(self, item: QLayoutItem | None) -> None:
        """As Qt asks."""
        if item is not None:
            self._items.append(item)

    def count(self) -> int:
        """As Qt asks."""
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        """As Qt asks."""
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        """As Qt asks."""
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        """To the sides."""
        return Qt.Orientation.Horizontal

    def hasHeightForWidth(self) -> bool:
        """Narrower is higher."""
        return True

    def heightForWidth(self, width: int) -> int:
        """Of all lines."""
        return self._place(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:
        """Place the controls."""
        super().setGeometry(rect)
        self._place(rect, move=True)

    def sizeHint(self) -> QSize:
        """As wide as one line of the first controls, as high as they need there."""
        shown = self._shown()
        wide = sum(item.sizeHint().width() for item in shown[: self._most])
        width = wide + self.spacing() * (min(self._most, len(shown)) - 1) if shown else 0
        return QSize(width, self.heightForWidth(width))

    def minimumSize(self) -> QSize:
        """As wide as the widest control."""
        shown = self._shown()
        width = max((_needs(item) for item in shown), default=0)
        return QSize(width, max((item.minimumSize().height() for item in shown), default=0))

    def _shown(self) -> list[QLayoutItem]:
        return [item for item in self._items if not item.isEmpty()]

    def _place(self, rect: QRect, *, move: bool) -> int:
        top, shown = rect.top(), self._shown()
        while shown:
            line = [shown.pop(0)]
            while shown and len(line) < self._most and self._width([*line, shown[0]]) <= rect.width():
                line.append(shown.pop(0))
            height = max(item.sizeHint().height() for item in line)
            if move:
                left = rect.left()
                for item, width in zip(line, self._shares(line, rect.width()), strict=True):
                    item.setGeometry(QRect(left, top, width, height))
                    left += width + self.spacing()
            top += height + (self.spacing() if shown else 0)
        return top - rect.top()

    def _shares(self, line: list[QLayoutItem], room: int) -> list[int]:
        """The width of each control of a line."""
        needs = [_needs(item) for item in line]
        growing = [_grows(item) for item in line]
        left = room - self.spacing() * (len(line) - 1)
        rest = left - sum(need for need, grows in zip(needs, growing, strict=True) if not grows)
        alike = rest // max(sum(growing), 1)
        if all(need <= alike for need, grows in zip(needs, growing, strict=True) if grows):
            return [alike if grows else need for need, grows in zip(needs, growing, strict=True)]
        spare = max(left - sum(needs), 0) // max(sum(growing), 1)
        return [min(need + spare * grows, room) for need, grows in zip(needs, growing, strict=True)]

    def _width(self, line: list[QLayoutItem]) -> int:
        return sum(map(_needs, line)) + self.spacing() * (len(line) - 1)


def _grows(item: QLayoutItem) -> bool:
    widget = item.widget()
    policies = (QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Maximum)
    return widget is None or widget.sizePolicy().horizontalPolicy() not in policies


def _needs(item: QLayoutItem) -> int:
    """Pixels that nothing of a control is cut at: a button's text, what a box can shrink to."""
    widget = item.widget()
    shrinks = widget is not None and widget.minimumSizeHint().width() < item.sizeHint().width()
    return item.minimumSize().width() if shrinks else item.sizeHint().width()
