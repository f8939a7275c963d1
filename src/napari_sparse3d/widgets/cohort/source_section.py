"""Which cases, and which model embeds them: the top of the Cohort panel."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog, QPushButton, QWidget

from napari_sparse3d.catalog import ARCHITECTURES
from napari_sparse3d.widgets.cohort.model_menu import ModelMenu
from napari_sparse3d.widgets.cohort.state import CohortState
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layout import form, small_label, stacked
from napari_sparse3d.widgets.workbench import Workbench

AT_WORK = "Cases are being embedded; wait or cancel, then choose others."
_FOLDER_TIP = (
    "Adds every scan and voxel set in the folder to these cases, each once; sub-folders, one per class, give the labels"
)
_TABLE_TIP = "Replaces these cases: a CSV or Parquet table with a column 'path', or one that is already embedded"


class SourceSection(QWidget):
    """Asks for folders, tables and the model; what they mean for the cases of ``state`` is said below."""

    folder_chosen = Signal(Path)
    table_chosen = Signal(Path)

    def __init__(self, state: CohortState, workbench: Workbench) -> None:
        super().__init__()
        self._state, self._workbench = state, workbench
        self.add_folder = QPushButton("Add folder…")
        self.add_folder.clicked.connect(self._choose_folder)
        self.open_table = QPushButton("Open table…")
        self.open_table.clicked.connect(self._choose_table)
        row = Row()
        row.add(self.add_folder, self.open_table)
        self.about = small_label("No cases yet: add a folder of scans, or open a table of them.")
        self.menu = ModelMenu(self, workbench)
        self.model_text = small_label()
        chosen = form()
        chosen.addRow("Model", self.menu.box)
        column = stacked(self)
        column.addLayout(row)
        column.addWidget(self.about)
        column.addLayout(chosen)
        column.addWidget(self.model_text)

    def show_state(self, *, at_work: bool) -> None:
        """What can be chosen, and what becomes of the embeddings that are shown."""
        for button, tip in ((self.add_folder, _FOLDER_TIP), (self.open_table, _TABLE_TIP)):
            button.setEnabled(not at_work)
            button.setToolTip(AT_WORK if at_work else tip)
        self.menu.set_enabled("Cases are being embedded; wait or cancel." if at_work else "")
        model = self._workbench.model
        untrained = model in ARCHITECTURES
        random = "⚠ Random weights: nothing was learned; choose a trained model" if untrained else ""
        text = "\n".join(filter(None, (random, self._becomes_of_them(Path(model).stem))))
        self.model_text.setText(text)
        self.model_text.setVisible(bool(text))

    def _becomes_of_them(self, chosen: str) -> str:
        """What the chosen model means for the embeddings of the cases shown."""
        state, by = self._state, self._state.is_by(self._workbench.model)
        if state.cohort is None or by or not state.models():
            return ""
        cases, models = words.count(len(state.cohort), "cases"), ", ".join(state.models())
        if by is None:
            return (
                f"The {cases} shown were embedded by {models}; if {chosen} is another model, "
                "Embed embeds all of them again."
            )
        return (
            f"⚠ The {cases} shown were embedded by {models}; Embed embeds all of them again by {chosen}. "
            "Embeddings of two models are never compared."
        )

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of cases")
        if folder:
            self.folder_chosen.emit(Path(folder))

    def _choose_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Table of cases", "", "Tables (*.csv *.parquet)")
        if path:
            self.table_chosen.emit(Path(path))
