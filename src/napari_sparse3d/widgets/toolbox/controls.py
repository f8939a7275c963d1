"""A control for each kind of :class:`~napari_sparse3d.widgets.toolbox.fields.Field`, made by magicgui."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from magicgui.widgets import create_widget
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QWidget,
)

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.toolbox.fields import Field
from napari_sparse3d.widgets.toolbox.layout import NARROW, SPACE, shrink
from napari_sparse3d.widgets.toolbox.plain_text import plain_tip

_LARGEST = 2**31 - 1
_NUMBER = "number"
"""What stands in the box of words where a number is meant."""


class Control(QObject):
    """Shows the value of a field and lets it be changed.

    Attributes
    ----------
    widget : QWidget
        What is laid out.
    parts : dict of str to QWidget
        The single boxes in it: ``"value"``; ``"words"`` where words may stand in the place of a number; the names of a
        subset.
    """

    changed = Signal()
    """By the user, or by whoever sets one of the parts; not by :meth:`show`."""

    def __init__(self, field: Field, titles: Mapping[Any, str] | None = None) -> None:
        super().__init__()
        self.field = field
        self._titles = titles or {}
        self._boxes: dict[str, ValueWidget[Any]] = {}
        self._showing = False
        if field.kind == "subset":
            self.widget = self._subset()
        elif field.words:
            self.widget = self._words_or_number()
        else:
            self.widget = self._box("value", self._kind_of_box())
        self.parts: dict[str, QWidget] = {name: box.native for name, box in self._boxes.items()}
        if field.default is not None or None in field.words:
            self.show(field.default)

    @property
    def value(self) -> Any:
        """What is chosen.

        Raises
        ------
        InputError
            If what is typed is no JSON, where that is asked for.
        """
        field = self.field
        if field.kind == "subset":
            return tuple(name for name, box in self._boxes.items() if box.value)
        if field.words and (word := self._boxes["words"].value) != _NUMBER:
            return None if word == _title(None, self._titles) else word
        value = self._boxes["value"].value
        if field.kind == "json":
            return _parsed(value, field)
        number = int(value) if field.kind == "whole" else value
        return (number,) * field.count if field.count > 1 else number

    def show(self, value: Any) -> None:
        """Show another value, without a signal."""
        self._showing = True
        try:
            self._show(value)
        finally:
            self._showing = False

    def _show(self, value: Any) -> None:
        field = self.field
        if field.kind == "subset":
            for name, box in self._boxes.items():
                box.value = name in value
            return
        if field.words:
            is_word = value in field.words
            self._boxes["words"].value = _word(value, self._titles) if is_word else _NUMBER
            self._boxes["value"].native.setEnabled(not is_word)
            if is_word:
                return
        if field.count > 1:
            value = min(value)  # what differs is kept by whoever holds the whole
        self._boxes["value"].value = json.dumps(value) if field.kind == "json" else value

    # -- boxes ---------------------------------------------------------------------------------------------------------

    def _kind_of_box(self) -> dict[str, Any]:
        field = self.field
        if field.kind == "switch":
            return {"annotation": bool}
        if field.kind == "choice":
            return {"widget_type": "ComboBox", "options": {"choices": [(self._title(x), x) for x in field.choices]}}
        if field.kind in ("text", "json"):
            return {"annotation": str}
        return _number(field)

    def _box(self, name: str, how: Mapping[str, Any]) -> QWidget:
        box: Any = create_widget(name=self.field.name, **how)
        self._boxes[name] = box
        native: QWidget = box.native
        native.setToolTip(plain_tip(self.field.tip))
        native.setAccessibleName(self.field.title)
        if isinstance(native, QCheckBox):
            native.setText(name if self.field.kind == "subset" else "")  # a switch has its label beside it
        if isinstance(native, QComboBox):
            shrink(native)
        if isinstance(native, QAbstractSpinBox):
            _fit_spin_box(native, self.field)
        if isinstance(native, QLineEdit):
            native.editingFinished.connect(self._edited)
        else:
            box.changed.connect(self._edited)
        return native

    def _words_or_number(self) -> QWidget:
        choices = [(self._title(word), _word(word, self._titles)) for word in self.field.words]
        choices.append((self._titles.get(_NUMBER, "value"), _NUMBER))
        words = self._box("words", {"widget_type": "ComboBox", "options": {"choices": choices}})
        return side_by_side(words, self._box("value", _number(self.field)))

    def _subset(self) -> QWidget:
        inside = QWidget()
        grid = QGridLayout(inside)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setHorizontalSpacing(0)
        for number, name in enumerate(self.field.choices):
            box = self._box(name, {"annotation": bool})
            box.setToolTip(self._titles.get(name, self.field.tip))
            box.setAccessibleName(name)
            grid.addWidget(box, number // 2, number % 2)
        return inside

    def _title(self, value: Any) -> str:
        return _title(value, self._titles)

    def _edited(self, _value: Any = None) -> None:
        if self._showing:
            return
        if self.field.words:
            self._boxes["value"].native.setEnabled(self._boxes["words"].value == _NUMBER)
        self.changed.emit()


def side_by_side(*widgets: QWidget) -> QWidget:
    """A choice and its number in one line: the choice takes more of it."""
    inside = QWidget()
    row = QHBoxLayout(inside)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(SPACE)
    for number, widget in enumerate(widgets):
        widget.setMinimumWidth(NARROW)
        row.addWidget(widget, 3 if number else 5)
    return inside


def _number(field: Field) -> dict[str, Any]:
    """Bounds and steps as magicgui takes them; a whole number with a unit is a decimal one without decimals."""
    whole = field.kind == "whole"
    digits = 0 if whole else _digits(field)
    step = 1 if whole else 10.0 ** -min(digits, 2)
    least = 1 if whole else 10.0**-digits
    low = -_LARGEST if field.low is None else field.low + (least if field.above else 0)
    high = _LARGEST if field.high is None else field.high - (least if field.below else 0)
    start = low if field.low is not None else 0
    spin = "SpinBox" if whole and not field.unit else "FloatSpinBox"
    return {"widget_type": spin, "value": start, "options": {"min": low, "max": high, "step": step}}


def _digits(field: Field) -> int:
    """Decimals: six for rates, which may be tiny; three for shares; two else; more where the default has them."""
    tiny = not isinstance(field.default, float) or field.default < 0.1
    if field.above and field.high is None and tiny:
        return 6
    usual = 3 if field.high is not None and field.high <= 1 else 2
    return max(usual, len(str(field.default).partition(".")[2]) if isinstance(field.default, float) else 0)


def _fit_spin_box(box: QAbstractSpinBox, field: Field) -> None:
    box.setKeyboardTracking(False)
    box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
    box.setAlignment(Qt.AlignmentFlag.AlignRight)
    if isinstance(box, QDoubleSpinBox):
        box.setDecimals(0 if field.kind == "whole" else _digits(field))
        if field.unit:
            box.setSuffix(field.unit if field.unit == "°" else f" {field.unit}")


def _title(value: Any, titles: Mapping[Any, str]) -> str:
    return titles.get(value, "none" if value is None else str(value))


def _word(value: Any, titles: Mapping[Any, str]) -> Any:
    """What a box of words holds for a word; None would be no choice."""
    return _title(None, titles) if value is None else value


def _parsed(text: str, field: Field) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"{field.name} is written as JSON, for example [16, 32]; got {text[:80]!r}") from error
