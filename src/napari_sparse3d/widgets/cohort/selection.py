"""The selected cases of the Cohort panel: drawn around with the mouse, tagged, written as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QKeySequence, QShortcut  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QInputDialog, QPushButton, QWidget

from napari_sparse3d.widgets.cohort.state import CohortState
from napari_sparse3d.widgets.cohort.table_files import KINDS, write_table
from napari_sparse3d.widgets.cohort.tags import known_tags
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layout import small_label, stacked
from napari_sparse3d.widgets.toolbox.panel import Panel


class Selection(QWidget):
    """Which cases of ``state`` are selected, and what is done with them; it speaks through ``panel``."""

    lassoing = Signal(bool)
    """Whether a drag over the map selects."""
    changed = Signal()
    """Other cases are selected."""
    tagged = Signal()
    """Cases have another tag."""

    def __init__(self, panel: Panel, state: CohortState) -> None:
        super().__init__()
        self._panel, self._state = panel, state
        self.lasso = QPushButton("Lasso")
        self.lasso.setToolTip("Draw around cases to select them; hold Shift to add to the selection")
        self.lasso.setCheckable(True)
        self.lasso.toggled.connect(self.lassoing)
        self.tag_button = QPushButton("Tag…")
        self.tag_button.clicked.connect(self._ask_tag)
        self.undo_button = QPushButton("Undo tag")
        self.undo_button.setToolTip("Undo the last tag (Ctrl+Z)")
        self.undo_button.clicked.connect(self.undo)
        # no key event: a combo box takes each key for the beginning of a name; a box with text undoes its typing
        undo = QShortcut(QKeySequence(QKeySequence.StandardKey.Undo), panel)
        undo.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        undo.activated.connect(self.undo)
        self.export_button = QPushButton("Export…")
        self.export_button.setToolTip("Write the selected cases (or all) as a table")
        self.export_button.clicked.connect(self._ask_file)
        self.text = small_label()
        row = Row()
        row.add(self.lasso, self.export_button, self.tag_button, self.undo_button)
        column = stacked(self)
        column.addLayout(row)
        column.addWidget(self.text)
        self.show_state()

    def show_state(self) -> None:
        """A tag is for selected cases."""
        n_selected = len(self._state.selected)
        self.tag_button.setEnabled(n_selected > 0)
        self.tag_button.setToolTip(
            "Give the selected cases a word of your own, in the column tag; their labels stay as they are"
            if n_selected
            else "Select cases first, with the lasso or in the table"
        )
        self.undo_button.setEnabled(self._state.tags.can_undo)
        # always a line: the map must not move under the mouse when something is selected
        self.text.setText(f"{words.count(n_selected, 'cases') if n_selected else 'Nothing'} selected")

    def select(self, indices: NDArray[np.int64]) -> None:
        """Select these cases: (K,) numbers."""
        self._state.selected = np.asarray(indices, dtype=np.int64)
        self.show_state()
        self.changed.emit()

    def tag(self, tag: str) -> None:
        """Give the selected cases a tag, or take it away (""); the table on disk changes when it is saved."""
        self._state.tag_selected(tag)
        self.tagged.emit()
        self.show_state()

    def undo(self) -> None:
        """Take back the last tag."""
        if self._state.undo_tag():
            self.tagged.emit()
            self.show_state()

    def export_to(self, path: Path) -> None:
        """Write the selected cases, or all if none is selected."""
        if self._state.cohort is None:
            return
        with self._panel.telling():
            rows = self._state.chosen_rows()
            write_table(rows, path, self._state.class_orders())
            self._panel.say(f"Wrote {words.count(len(rows), 'cases')} to {path.name}.")

    def _ask_tag(self) -> None:
        if self._state.cohort is None:
            return
        count = words.count(len(self._state.selected), "selected cases")
        text, accepted = QInputDialog.getItem(
            self._panel, "Tag", f"Tag for {count} (empty takes it away):", known_tags(self._state.cohort), -1, True
        )
        if accepted:
            self.tag(text)

    def _ask_file(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self._panel, "Export cases", "cases.parquet", KINDS)
        if path:
            self.export_to(Path(path))
