"""The selected cases of the Cohort panel: drawn around with the mouse, labelled, written as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QInputDialog, QPushButton, QWidget

from napari_sparse3d.cases.record import write_rows
from napari_sparse3d.widgets.cohort.state import CohortState
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.layout import SPACE
from napari_sparse3d.widgets.toolbox.panel import Panel


class Selection(QWidget):
    """Which cases of ``state`` are selected, and what is done with them; it speaks through ``panel``."""

    lassoing = Signal(bool)
    """Whether a drag over the map selects."""
    labelled = Signal()
    """Cases have another label."""

    def __init__(self, panel: Panel, state: CohortState) -> None:
        super().__init__()
        self._panel, self._state = panel, state
        self.lasso = QPushButton("Lasso")
        self.lasso.setToolTip("Draw around cases to select them")
        self.lasso.setCheckable(True)
        self.lasso.toggled.connect(self.lassoing)
        self.label_button = QPushButton("Label…")
        self.label_button.setToolTip("Give the selected cases a label")
        self.label_button.clicked.connect(self._ask_label)
        self.export_button = QPushButton("Export…")
        self.export_button.setToolTip("Write the selected cases (or all) as a Parquet table")
        self.export_button.clicked.connect(self._ask_file)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(SPACE)
        for button in (self.lasso, self.label_button, self.export_button):
            row.addWidget(button)
        self.show_state()

    def show_state(self) -> None:
        """A label is for selected cases."""
        self.label_button.setEnabled(len(self._state.selected) > 0)

    def select(self, indices: NDArray[np.int64]) -> None:
        """Select these cases: (K,) numbers."""
        self._state.selected = indices
        self._panel.say(f"{words.count(len(indices), 'cases')} selected.")
        self.show_state()

    def label(self, label: str) -> None:
        """Give the selected cases a label (in this cohort; the table on disk changes when it is saved)."""
        if self._state.cohort is not None:
            self._state.label_selected(label)
            self.labelled.emit()

    def export_to(self, path: Path) -> None:
        """Write the selected cases, or all if none is selected."""
        if self._state.cohort is None:
            return
        with self._panel.telling():
            rows = self._state.chosen_rows()
            write_rows(rows, path)
            self._panel.say(f"Wrote {words.count(len(rows), 'cases')} to {path.name}.")

    def _ask_label(self) -> None:
        count = len(self._state.selected)
        text, accepted = QInputDialog.getText(self._panel, "Label", f"Label of the {count} selected cases:")
        if accepted and text:
            self.label(text)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self._panel, "Export cases", "cases.parquet", "Tables (*.parquet)")
        if path:
            self.export_to(Path(path))
