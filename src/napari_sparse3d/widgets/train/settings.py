"""What a training is made with, as controls, as options of ``train``, and in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QAbstractSpinBox, QWidget

from napari_sparse3d.catalog import ARCHITECTURES, DEFAULT_ARCHITECTURE, LOSSES, RECIPES, TRAINING_RECIPE
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.toolbox.controls import Control
from napari_sparse3d.widgets.toolbox.fields import Field
from napari_sparse3d.widgets.toolbox.layout import combo, form, grey_out, stacked
from napari_sparse3d.widgets.train.more_settings import MoreSettings

_EPOCHS = Field("epochs", "whole", 30, low=1, high=10_000, tip="Times that every case is seen")


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
        layout.addLayout(rows)
        layout.addWidget(self.more)

    def _show_arguments(self, _index: int = 0) -> None:
        self.more.choose(self.network.currentData(), self.loss.currentData())

    def options(self) -> list[str]:
        """As options of ``train``.

        Raises
        ------
        InputError
            If something that is typed is no value.
        """
        chosen = {
            "--architecture": self.network.currentData(),
            "--recipe": self.recipe.currentData(),
            "--loss": self.loss.currentData(),
            "--epochs": str(self._epochs.value),
        }
        given = [part for option in chosen.items() for part in option]
        given += [part for name, value in self.more.changes().items() for part in ("--set", f"{name}={_text(value)}")]
        return [*given, "--use-good"] if self.use_good.currentData() else given

    def python(self, data: Path) -> str:
        """The training of these settings, in Python; for errors see :meth:`options`."""
        chosen = {"architecture": self.network.currentData(), "epochs": self._epochs.value}
        return repeat.train_python(
            data,
            chosen,
            self.loss.currentData(),
            self.recipe.currentData(),
            use_good=bool(self.use_good.currentData()),
            more=self.more.changes(),
        )


def _text(value: Any) -> str:
    """As ``--set`` reads it: JSON, or a text that is none."""
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError:
            return value
    return json.dumps(value)
