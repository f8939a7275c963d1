"""A control for each kind of :class:`~napari_sparse3d.widgets.toolbox.fields.Field`, made by magicgui."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magicgui.widgets import create_widget
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLineEdit,
    QWidget,
)

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.toolbox.fields import Field
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layout import NARROW, shrink, stacked
from napari_sparse3d.widgets.toolbox.number_box import NumberBox
from napari_sparse3d.widgets.toolbox.plain_text import plain_tip

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
        self._boxes: dict[str, ValueWidget[Any] | _TypedNumber] = {}
        self._showing = False
        if field.kind == "subset":
            self.widget = self._subset()
        elif field.words:
            self.widget = self._words_or_number()
        elif field.kind in ("whole", "number"):
            self.widget = self._number_box()
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
            return _parsed(str(value), field)
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
        return {"annotation": str}

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
        if isinstance(native, QLineEdit):
            native.editingFinished.connect(self._edited)
        else:
            box.changed.connect(self._edited)
        return native

    def _words_or_number(self) -> QWidget:
        choices = [(self._title(word), _word(word, self._titles)) for word in self.field.words]
        choices.append((self._titles.get(_NUMBER, "value"), _NUMBER))
        words = self._box("words", {"widget_type": "ComboBox", "options": {"choices": choices}})
        return below_each_other(words, self._number_box())

    def _number_box(self) -> QWidget:
        field = self.field
        native = NumberBox(
            field.title,
            low=field.low,
            high=field.high,
            above=field.above,
            below=field.below,
            whole=field.kind == "whole",
            unit=field.unit,
        )
        native.setSingleStep(1 if field.kind == "whole" else 10.0 ** -min(_digits(field), 2))
        native.show_value(_first(field))
        native.setToolTip(plain_tip(field.tip))
        native.taken.connect(self._edited)
        self._boxes["value"] = _TypedNumber(native)
        return native

    def _subset(self) -> QWidget:
        inside = QWidget()
        row = Row(spacing=2)
        inside.setLayout(row)
        for name in self.field.choices:
            box = self._box(name, {"annotation": bool})
            box.setToolTip(self._titles.get(name, self.field.tip))
            box.setAccessibleName(name)
            row.add(box)
        return inside

    def _title(self, value: Any) -> str:
        return _title(value, self._titles)

    def _edited(self, _value: Any = None) -> None:
        if self._showing:
            return
        if self.field.words:
            self._boxes["value"].native.setEnabled(self._boxes["words"].value == _NUMBER)
        self.changed.emit()


def below_each_other(*widgets: QWidget) -> QWidget:
    """A choice and its number: beside each other both would be cut in a narrow panel."""
    inside = QWidget()
    column = stacked(inside)
    for widget in widgets:
        widget.setMinimumWidth(NARROW)
        column.addWidget(widget)
    return inside


@dataclass
class _TypedNumber:
    """A box for a number, beside those of magicgui."""

    native: NumberBox

    @property
    def value(self) -> float:
        return self.native.value()

    @value.setter
    def value(self, number: float) -> None:
        self.native.show_value(number)


def _first(field: Field) -> float:
    """What stands in a box until something else is shown: the lowest number that may be."""
    if field.low is None:
        return 0.0
    least = 1.0 if field.kind == "whole" else 10.0 ** -_digits(field)
    return field.low + (least if field.above else 0.0)


def _digits(field: Field) -> int:
    """Decimals: six for rates, which may be tiny; three for shares; two else; more where the default has them."""
    tiny = not isinstance(field.default, float) or field.default < 0.1
    if field.above and field.high is None and tiny:
        return 6
    usual = 3 if field.high is not None and field.high <= 1 else 2
    return max(usual, len(str(field.default).partition(".")[2]) if isinstance(field.default, float) else 0)


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
