"""What is written of a cohort: its table, its session, and the lines that repeat what is shown."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog

from napari_sparse3d.cohort.tables import rows_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.cohort import jobs
from napari_sparse3d.widgets.cohort.likeness import Likeness
from napari_sparse3d.widgets.cohort.map_section import MapSection
from napari_sparse3d.widgets.cohort.state import CohortState
from napari_sparse3d.widgets.cohort.table_files import KINDS, holds_embeddings, write_table
from napari_sparse3d.widgets.toolbox.panel import Panel, saving
from napari_sparse3d.widgets.toolbox.session_folder import Lines
from napari_sparse3d.widgets.toolbox.work import Work


class CohortFiles(QObject):
    """Writes what ``state`` and its map hold; it speaks through ``panel``."""

    saved = Signal()
    """The cases are in a table of the user's."""

    def __init__(self, panel: Panel, state: CohortState, drawn: MapSection, likeness: Likeness) -> None:
        super().__init__(panel)
        self._panel, self._state, self._drawn, self._likeness = panel, state, drawn, likeness
        self.saving = Work(self)

    def lines(self, *, named: bool = True) -> Lines:
        """What repeats the map, or the question for similar cases if one was asked.

        Parameters
        ----------
        named : bool
            Whether files are called by their names, as for the clipboard; a session has words in their place.

        Raises
        ------
        InputError
            If the open case cannot be read again.
        """
        if self._state.table is None:
            raise InputError("save the table first, or embed the cases")
        table = self._state.table if named else Path(repeat.TABLE)
        if self._likeness.asked:
            query = self._likeness.query(table, named=named)
            command, python = repeat.similar_command(query), repeat.similar_python(query)
        else:
            command, python = (
                repeat.map_command(table, self._drawn.method),
                repeat.map_python(table, self._drawn.method),
            )
        if self._state.embedded is not None and named:
            sources, model = self._state.embedded
            python = repeat.embed_python(sources, model, table) + "\n" + python
        return Lines(command, python)

    def ask(self) -> None:
        """Ask for a file, and write the table there."""
        path, _ = QFileDialog.getSaveFileName(self._panel, "Save table", "cohort.parquet", KINDS)
        if path and self._state.cohort is not None:
            self.save_to(Path(path))

    def save_to(self, path: Path) -> None:
        """Write the table of the cases that are shown, tags and those that failed among them."""
        if self._state.cohort is None:
            return
        with self._panel.telling():
            write_table(self._state.rows or rows_of(self._state.cohort), path, self._state.class_orders())
            without = ""
            if holds_embeddings(path):
                self._state.saved(path)
            else:
                without = " It has no embeddings: when it is opened, its cases have to be embedded again."
            self._panel.say(f"Saved {path.name}.{without}")
            self.saved.emit()

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        cohort = self._state.cohort
        if cohort is None:
            return
        try:
            lines = self.lines(named=False)
        except (InputError, OSError):
            lines = Lines()  # the session says that it cannot be repeated
        place, ran = self._drawn.view.here_position, self._panel.workbench.result
        about = {
            "models": self._state.models(),
            "map": self._drawn.method,
            "open_case_xy": None if place is None else [float(value) for value in place],
        }
        write = jobs.save_session(
            folder,
            cohort,
            self._drawn.view.positions.copy(),
            about,
            self._state.similar_rows(self._likeness.similar.indices),
            lines,
            colour=self._drawn.colour.currentText(),
            coloured=self._state.colouring(self._drawn.colour.currentText()),
            classes=self._state.class_orders(),
            table=self._state.table,
            recipe=None if ran is None else ran.made.recipe,
        )
        self.saving.start(saving("Drawing the map, writing the table …", write), "saving the session")
