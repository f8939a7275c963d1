"""Forms made from annotations: a control for each field, and choices whose kind decides what else can be set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QComboBox, QWidget

from napari_sparse3d.widgets.toolbox.controls import Control
from napari_sparse3d.widgets.toolbox.fields import Field
from napari_sparse3d.widgets.toolbox.layout import NARROW, Form, combo, form, stacked
from napari_sparse3d.widgets.toolbox.plain_text import plain_tip

Titles = Mapping[str, Mapping[Any, str]]
"""What values are called, by the name of their field."""


class FieldsForm(QWidget):
    """One row a field."""

    changed = Signal()

    def __init__(self, fields: Sequence[Field], titles: Titles | None = None) -> None:
        super().__init__()
        self.controls = {each.name: Control(each, (titles or {}).get(each.name)) for each in fields}
        layout: Form = form()
        self.setLayout(layout)
        for control in self.controls.values():
            layout.addRow(control.field.title, control.widget)
            label = layout.labelForField(control.widget)
            if label is not None:
                label.setToolTip(plain_tip(control.field.tip))
            control.changed.connect(self.changed)

    def values(self) -> dict[str, Any]:
        """All of them.

        Raises
        ------
        InputError
            If something that is typed is no value.
        """
        return {name: control.value for name, control in self.controls.items()}

    def changes(self) -> dict[str, Any]:
        """Those that are not their default."""
        return {name: value for name, value in self.values().items() if not _same(value, self._default(name))}

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Show other values, without a signal."""
        for name, value in values.items():
            if name in self.controls:
                self.controls[name].show(value)

    def _default(self, name: str) -> Any:
        return self.controls[name].field.default


class KindForm(QWidget):
    """A choice: choosing the kind shows its arguments below it, where both have room in a narrow panel.

    Parameters
    ----------
    kinds : mapping
        The fields of each kind; what no control shows stays as it was.
    titles : mapping
        What the kinds are called.
    begin : mapping
        The values of each kind until others are shown.
    tip : str
        Of the choice.
    argument_titles : mapping
        What values of the arguments are called.
    """

    changed = Signal()

    def __init__(
        self,
        kinds: Mapping[str, Sequence[Field]],
        titles: Mapping[str, str],
        begin: Mapping[str, Mapping[str, Any]],
        tip: str,
        argument_titles: Titles | None = None,
    ) -> None:
        super().__init__()
        self._values = {kind: dict(begin.get(kind, {})) for kind in kinds}
        self.choice: QComboBox = combo(tip)
        self.choice.setMinimumWidth(NARROW)
        self.controls: dict[str, dict[str, Control]] = {}
        column = stacked(self)
        column.addWidget(self.choice)
        for kind, fields in sorted(kinds.items(), key=lambda each: _place(each[0], titles)):
            self.choice.addItem(titles.get(kind, kind), kind)
            self.controls[kind] = {}
            for each in fields:
                control = Control(each, (argument_titles or {}).get(each.name))
                control.widget.setMinimumWidth(NARROW)
                control.changed.connect(lambda kind=kind, name=each.name: self._edited(kind, name))
                column.addWidget(control.widget)
                self.controls[kind][each.name] = control
        self.choice.currentIndexChanged.connect(self._chosen)
        self._show_arguments()

    @property
    def kind(self) -> str:
        """What is chosen."""
        return str(self.choice.currentData())

    def values(self) -> dict[str, Any]:
        """The kind and its arguments."""
        return {"kind": self.kind, **self._values[self.kind]}

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Show another choice, without a signal."""
        kind = values["kind"]
        self._values[kind] = {name: value for name, value in values.items() if name != "kind"}
        self.choice.blockSignals(True)
        self.choice.setCurrentIndex(self.choice.findData(kind))
        self.choice.blockSignals(False)
        self._show_arguments()

    def _chosen(self, _index: int) -> None:
        self._show_arguments()
        self.changed.emit()

    def _edited(self, kind: str, name: str) -> None:
        self._values[kind][name] = self.controls[kind][name].value
        self.changed.emit()

    def _show_arguments(self) -> None:
        for kind, controls in self.controls.items():
            for name, control in controls.items():
                control.widget.setVisible(kind == self.kind)
                if name in self._values[kind]:
                    control.show(self._values[kind][name])


def _place(kind: str, titles: Mapping[str, str]) -> int:
    """In the order of the titles; what has none comes last."""
    return list(titles).index(kind) if kind in titles else len(titles)


def _same(value: Any, default: Any) -> bool:
    """Whether a value is the default, lists and tuples being alike."""
    if isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)):
        return list(value) == list(default)
    return bool(value == default)
