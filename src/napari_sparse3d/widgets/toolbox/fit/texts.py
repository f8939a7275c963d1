"""Long buttons break, boxes are as wide as what stands in them, or say the rest on hover."""

from __future__ import annotations

from collections.abc import Iterator

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QComboBox,
    QScrollArea,
    QStyle,
    QStyleOptionComboBox,
    QWidget,
)

_TIP = "sparse3d-tip"
"""Property of a box: its tooltip without the text that is cut."""
_LEAST = "sparse3d-least"
"""Property of a box: its own minimum width."""
_FRAME = 12
"""Pixels that napari's style adds to a minimum width: border and padding."""
_ARROW, _AIR = 40, 26
"""Pixels that a combo box and a number box need beside their text: frame, margins, arrow."""


class Fit(QObject):
    """Fits what stands in a panel into its width, whenever that, a text or the font changes."""

    def __init__(self, area: QScrollArea, foot: QWidget) -> None:
        super().__init__(area)
        self._area, self._foot = area, foot
        self._fitted: list[object] = []
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.fit)
        for watched in (area.viewport(), area.widget(), foot):
            if watched is not None:
                watched.installEventFilter(self)

    def eventFilter(self, _watched: QObject | None, event: QEvent | None) -> bool:
        """What changes the room or what is needed of it; nothing is stopped."""
        if event is not None and event.type() in (
            QEvent.Type.Resize,
            QEvent.Type.LayoutRequest,
            QEvent.Type.FontChange,
        ):
            self._later.start(0)
        return False

    def fit(self) -> None:
        """Fit all that stands there."""
        inside, bar = self._area.widget(), self._area.verticalScrollBar()
        if inside is None or bar is None or not self._area.isVisible():
            return
        # with the scroll bar, whether it is there or not: what breaks decides about it, and must not depend on it
        rooms = ((inside, self._area.width() - bar.sizeHint().width()), (self._foot, self._foot.width()))
        asked = [what for root, room in rooms for what in (room, *_texts(root))]
        if asked == self._fitted:
            return
        self._fitted = asked
        for root, room in rooms:
            layout = root.layout()
            margins = root.contentsMargins() if layout is None else layout.contentsMargins()
            room -= margins.left() + margins.right()
            for button in root.findChildren(QAbstractButton):
                break_text(button, room)
            for box in root.findChildren(QComboBox):
                _widen(box, _width(box.fontMetrics(), box.currentText()) + _ARROW, room)
                tell_rest(box)
            for number in root.findChildren(QAbstractSpinBox):
                _widen(number, _width(number.fontMetrics(), number.text()) + _AIR, room)


def break_text(button: QAbstractButton, room: int) -> None:
    """Break a button's text into lines where it is wider than the room, and join them where it is not."""
    whole = " ".join(button.text().split("\n"))
    if not whole.strip():
        return
    metrics = button.fontMetrics()
    around = max(button.sizeHint().width() - _width(metrics, button.text()), 0)
    text = _in_lines(whole, metrics, room - around)
    if text != button.text():
        button.setText(text)


def tell_rest(box: QComboBox) -> None:
    """Put the chosen text into the tooltip of a box that is too narrow for it."""
    option = QStyleOptionComboBox()
    option.initFrom(box)
    style = box.style()
    if style is None:
        return
    field = style.subControlRect(QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, box)
    text, tip, told = box.currentText(), box.toolTip(), box.property(_TIP)
    plain = told if isinstance(told, str) and tip.endswith(told) and tip != told else tip
    cut = bool(text) and box.fontMetrics().horizontalAdvance(text) > field.width() - 2
    whole = "\n".join(filter(None, (text, plain))) if cut else plain
    if whole != tip:
        box.setProperty(_TIP, plain)
        box.setToolTip(whole)


def _texts(root: QWidget) -> Iterator[object]:
    """All that a fit depends on: fitting itself does not change it, and so never leads to another."""
    said = [(each, " ".join(each.text().split("\n"))) for each in root.findChildren(QAbstractButton)]
    chosen = [(each, each.currentText()) for each in root.findChildren(QComboBox)]
    numbers = [(each, each.text()) for each in root.findChildren(QAbstractSpinBox)]
    for box, text in (*said, *chosen, *numbers):
        yield (text, box.isHidden(), box.fontMetrics().height())


def _widen(box: QWidget, needed: int, room: int) -> None:
    """Let a box show all that stands in it, as far as there is room: a form then puts it below its label."""
    least = box.property(_LEAST)
    if not isinstance(least, int):
        least = box.minimumWidth()
        box.setProperty(_LEAST, least)
    width = min(max(least, needed), room - _FRAME)
    if box.minimumWidth() != width:
        box.setMinimumWidth(width)


def _width(metrics: QFontMetrics, text: str) -> int:
    return max(metrics.horizontalAdvance(line.replace("&", "")) for line in text.split("\n"))


def _in_lines(text: str, metrics: QFontMetrics, room: int) -> str:
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _width(metrics, longer) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
