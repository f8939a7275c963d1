"""What a training is made with, as controls, as options of ``train``, and in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QAbstractSpinBox, QLineEdit, QWidget

from napari_sparse3d.catalog import ARCHITECTURES, DEFAULT_ARCHITECTURE, LOSSES, RECIPES, TRAINING_RECIPE
from napari_sparse3d.training.run_title import LONGEST, one_line
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.toolbox.controls import Control
from napari_sparse3d.widgets.toolbox.fields import Field
from napari_sparse3d.widgets.toolbox.layout import combo, form, grey_out, stacked
from napari_sparse3d.widgets.train.more_settings import MoreSettings

_EPOCHS = Field("epochs", "whole", 30, low=1, high=10_000, tip="How often every case is seen")


@dataclass(frozen=True)
class ChosenSettings:
    """What the controls say at one moment; what is chosen afterwards does not change it."""

    architecture: str
    recipe: str
    loss: str
    epochs: int
    use_good: bool
    name: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)
    """By the dotted names of ``train --set``."""

    def options(self) -> list[str]:
        """As options of ``train``."""
        chosen = {
            "--architecture": self.architecture,
            "--recipe": self.recipe,
            "--loss": self.loss,
            "--epochs": str(self.epochs),
        }
        if self.name:
            chosen["--name"] = self.name
        options = [part for option in chosen.items() for part in option]
        options += [part for name, value in self.more.items() for part in ("--set", f"{name}={_text(value)}")]
        return [*options, "--use-good"] if self.use_good else options

    def python(self, data: Path) -> str:
        """The training of these settings, in Python."""
        chosen = {"architecture": self.architecture, "epochs": self.epochs}
        return repeat.train_python(
            data, chosen, self.loss, self.recipe, use_good=self.use_good, more=self.more, name=self.name
        )

    def words(self) -> str:
        """What a person knows it by."""
        return f"{self.architecture} · {self.recipe} · {self.loss} · {self.epochs} epochs"


class Settings(QWidget):
    """Architecture, recipe, loss, epochs, and what to do with bad cases; all others folded away below."""

    asked = Signal()
    """The other settings are wanted: ``more.show_fields`` is to be called."""

    def __init__(self) -> None:
        super().__init__()
        self.network = combo("The architecture")
        for each in sorted(ARCHITECTURES.values(), key=lambda each: each.name != DEFAULT_ARCHITECTURE):
            self.network.addItem(each.title, each.name)
            grey_out(self.network, each.missing)
        self.recipe = combo("How a case becomes voxels")
        for recipe in sorted(RECIPES.values(), key=lambda each: each.name != TRAINING_RECIPE):
            self.recipe.addItem(recipe.title, recipe.name)
        self.loss = combo("What is learned: classes, or distances")
        for loss in LOSSES.values():
            if not loss.spelled:
                self.loss.addItem(loss.title, loss.name)
                grey_out(self.loss, loss.missing)
        self._epochs = Control(_EPOCHS)
        self.epochs = self._epochs.widget
        if isinstance(self.epochs, QAbstractSpinBox):
            self.epochs.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.UpDownArrows)
        self.use_good = combo("What to do with cases that cannot be used")
        self.use_good.addItem("stop and say which", False)
        self.use_good.addItem("leave them out, and say which", True)
        self.name = QLineEdit()
        self.name.setPlaceholderText("optional")
        self.name.setMaxLength(LONGEST)
        self.name.setToolTip("What this run and its model are called; a run can be renamed below, too")
        self.more = MoreSettings()
        self.more.opened.connect(self.asked)
        for box in (self.network, self.loss):
            box.currentIndexChanged.connect(self._show_arguments)
        self._lay_out()
        self._show_arguments()

    def _lay_out(self) -> None:
        layout, rows = stacked(self), form()
        rows.addRow("Network", self.network)
        rows.addRow("Recipe", self.recipe)
        rows.addRow("Loss", self.loss)
        rows.addRow("Epochs", self.epochs)
        rows.addRow("Bad cases", self.use_good)
        rows.addRow("Name", self.name)
        layout.addLayout(rows)
        layout.addWidget(self.more)

    def _show_arguments(self, _index: int = 0) -> None:
        self.more.choose(self.network.currentData(), self.loss.currentData())

    def chosen(self) -> ChosenSettings:
        """What is set now.

        Raises
        ------
        InputError
            If something that is typed is no value.
        """
        return ChosenSettings(
            self.network.currentData(),
            self.recipe.currentData(),
            self.loss.currentData(),
            int(self._epochs.value),
            bool(self.use_good.currentData()),
            one_line(self.name.text()),
            self.more.changes(),
        )


def _text(value: Any) -> str:
    """As ``--set`` reads it: JSON, or a text that is none."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)
