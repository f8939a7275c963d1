"""All other settings of a training, folded away until somebody wants them."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QPushButton, QWidget

from napari_sparse3d.widgets.child.records import TrainingFields
from napari_sparse3d.widgets.toolbox.forms import FieldsForm
from napari_sparse3d.widgets.toolbox.layout import small_label, stacked


class MoreSettings(QWidget):
    """Forms for the chosen network, the chosen loss, the training and its augmentation."""

    opened = Signal()
    """They are wanted for the first time: :meth:`show_fields` is to be called."""

    def __init__(self) -> None:
        super().__init__()
        self.heading = QPushButton()
        self.heading.setCheckable(True)
        self.heading.setFlat(True)
        self.heading.setObjectName("sparse3d-link")
        self.heading.setToolTip("Arguments of the network and of the loss, batches, learning rate, augmentation")
        self.heading.toggled.connect(self._fold)
        self.text = small_label("Reading the settings …")
        self.inside = QWidget()
        self.forms: dict[str, FieldsForm] = {}
        """By their title: *Training*, *Augmentation*, and the names of networks and losses."""
        self._titles: dict[str, QWidget] = {}
        self._network = self._loss = ""
        layout = stacked(self)
        layout.addWidget(self.heading, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.text)
        layout.addWidget(self.inside)
        self._layout = stacked(self.inside)
        self._fold(False)

    def choose(self, network: str, loss: str) -> None:
        """Show the arguments of these."""
        self._network, self._loss = network, loss
        for key, form in self.forms.items():
            shown = key in ("training", "augment", f"arguments/{network}", f"loss/{loss}") and bool(form.controls)
            form.setVisible(shown)
            self._titles[key].setVisible(shown)

    def show_fields(self, fields: TrainingFields) -> None:
        """Make the forms."""
        made = {
            **{f"arguments/{name}": (f"Network: {name}", each) for name, each in fields.architectures.items()},
            **{f"loss/{name}": (f"Loss: {name}", each) for name, each in fields.losses.items()},
            "training": ("Training", fields.training),
            "augment": ("Augmentation", fields.augment),
        }
        for key, (title, each) in made.items():
            self._titles[key] = small_label(title)
            self.forms[key] = FieldsForm(each)
            self._layout.addWidget(self._titles[key])
            self._layout.addWidget(self.forms[key])
        self.text.setText("")
        self.text.hide()
        self.choose(self._network, self._loss)

    def changes(self) -> dict[str, Any]:
        """What is not as it begins, by the dotted names of ``train --set``.

        The arguments of a network fit each other: where one is changed, all are given.

        Raises
        ------
        InputError
            If something that is typed is no value.
        """
        found: dict[str, Any] = {}
        for key, prefix in {
            f"arguments/{self._network}": "arguments.",
            f"loss/{self._loss}": "loss.",
            "training": "",
            "augment": "augment.",
        }.items():
            form = self.forms.get(key)
            changed = {} if form is None else form.changes()
            if form is not None and changed and prefix == "arguments.":
                changed = form.values()
            found |= {prefix + name: value for name, value in changed.items()}
        return found

    def _fold(self, open_: bool) -> None:
        self.heading.setText(f"{'▾' if open_ else '▸'} More settings")
        self.inside.setVisible(open_)
        self.text.setVisible(open_ and not self.forms)
        if open_ and not self.forms:
            self.opened.emit()
