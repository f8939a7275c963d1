"""The Cohort panel: its parts, and how they hang together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_sparse3d.catalog import ARCHITECTURES
from napari_sparse3d.cohort.tables import Cohort, read_cohort, rows_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.cohort import jobs
from napari_sparse3d.widgets.cohort.case_opener import CaseOpener
from napari_sparse3d.widgets.cohort.case_words import cohort_words
from napari_sparse3d.widgets.cohort.colours import TAG
from napari_sparse3d.widgets.cohort.embedder import Embedder
from napari_sparse3d.widgets.cohort.likeness import Likeness
from napari_sparse3d.widgets.cohort.map_section import MapSection
from napari_sparse3d.widgets.cohort.selection import Selection
from napari_sparse3d.widgets.cohort.state import CohortState, last_kept
from napari_sparse3d.widgets.cohort.table_files import KINDS, holds_embeddings, write_table
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.failures import failure_of
from napari_sparse3d.widgets.toolbox.layout import small_label, stacked
from napari_sparse3d.widgets.toolbox.panel import Panel, saving
from napari_sparse3d.widgets.toolbox.session_folder import Lines
from napari_sparse3d.widgets.toolbox.work import Work

if TYPE_CHECKING:
    from napari_sparse3d.widgets.cohort.map_view import MapView

_AT_WORK = "Cases are being embedded; wait for them, or cancel, then choose others."


class CohortPanel(Panel):
    """Add cases, embed them in the background, look at the map, ask who is like the open case."""

    primary_text = "Embed"

    # -- looks ---------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the controls, and connect them with the other panels."""
        self.state = CohortState()
        self.embedder, self.opener = Embedder(self, self.state, self._take), CaseOpener(self)
        self.embedding, self.opening, self.saving = self.embedder.work, self.opener.work, Work(self)
        self._build_sources()
        self._build_results()
        self.body.addStretch(1)
        self._build_links()
        self._connect()
        self._show_parts()

    def _build_sources(self) -> None:
        self.add_folder = QPushButton("Add folder…")
        self.add_folder.clicked.connect(self._choose_folder)
        self.open_table = QPushButton("Open table…")
        self.open_table.clicked.connect(self._choose_table)
        self._source_tips = {
            self.add_folder: "Every scan and voxel set below it; with one sub-folder a class, labels are taken",
            self.open_table: "A CSV or Parquet table with a column 'path'; or one that is embedded already",
        }
        row = QHBoxLayout()
        row.addWidget(self.add_folder)
        row.addWidget(self.open_table)
        self.body.addLayout(row)
        self.about = small_label("No cases yet: add a folder of scans, or open a table of them.")
        self.model_text = small_label()
        self.body.addWidget(self.about)
        self.body.addWidget(self.model_text)

    def _build_results(self) -> None:
        self.drawn = drawn = MapSection(self, self.state)
        self.legend, self.by, self.pause, self.stop = drawn.legend, drawn.by, drawn.pause, drawn.stop
        self.colour, self.maker, self.mapping = drawn.colour, drawn.maker, drawn.maker.work
        self.selection = selection = Selection(self, self.state)
        self.lasso, self.export_button = selection.lasso, selection.export_button
        self.tag_button, self.undo_button = selection.tag_button, selection.undo_button
        self.likeness = Likeness(self, self.state, drawn)
        self.similar, self.placing = self.likeness.similar, self.likeness.placing
        self.results = QWidget()
        column = stacked(self.results)
        for part in (drawn, selection, self.similar):
            column.addWidget(part)
        self.body.addWidget(self.results)

    def _build_links(self) -> None:
        self.copy_command, self.copy_python = self.add_copy_links(
            "The line that makes this map, or finds these cases",
            lambda: self.lines().command,
            lambda: self.lines().python,
        )
        tip = "Embeddings and tags as Parquet, for `map` and `similar`; or as CSV, without embeddings"
        self.save_table = self.add_link("Save table…", tip, self._save)
        tip = "Table, map, similar cases, hashes, versions and the lines, in one folder"
        self.session = self.add_session_link(tip, self.save_session_to)

    def _connect(self) -> None:
        self.follow(self.saving)
        for changed in (self.embedding.started, self.embedding.ended):
            changed.connect(lambda *_: self._show_parts())
        self.saving.finished.connect(lambda text: self.say(text))
        self.drawn.selected.connect(self._lassoed)
        self.selection.lassoing.connect(lambda on: setattr(self.map, "lassoing", on))
        self.selection.changed.connect(lambda: self.map.mark(self.state.selected.tolist()))
        self.selection.tagged.connect(lambda: self.drawn.colour_by(TAG))
        for part in (self.drawn, self.similar):
            part.opened.connect(self.open_case)
        self.workbench.result_changed.connect(lambda _: self.likeness.forget())
        for changed in (self.workbench.result_changed, self.workbench.model_changed):
            changed.connect(lambda _: self._show_parts())

    def _show_parts(self) -> None:
        state = self.state
        has = state.cohort is not None
        self.results.setVisible(has)
        at_work = self.embedding.running
        self.primary.setEnabled(state.source is not None or at_work)
        self.primary.setToolTip("" if state.source is not None else "Add a folder or open a table first")
        for button, tip in self._source_tips.items():
            button.setEnabled(not at_work)
            button.setToolTip(_AT_WORK if at_work else tip)
        for link in (self.copy_command, self.copy_python):
            link.setEnabled(state.table is not None)
        for link in (self.save_table, self.session):
            link.setEnabled(has)
        self.similar.set_askable(has and self.workbench.result is not None)
        untrained = self.workbench.model in ARCHITECTURES
        random = "\n⚠ Random weights: nothing was learned; choose a trained model" if untrained else ""
        shown = f"\nThe cases shown were embedded by {', '.join(state.models())}" if state.models() else ""
        self.model_text.setText(f"Model: {Path(self.workbench.model).stem} (chosen in Network){random}{shown}")
        self.selection.show_state()

    # -- which cases ---------------------------------------------------------------------------------------------------

    @property
    def cohort(self) -> Cohort | None:
        """The cases that are shown."""
        return self.state.cohort

    @property
    def table(self) -> Path | None:
        """Where their embeddings are on disk."""
        return self.state.table

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder of cases")
        if folder:
            self.set_source(Path(folder))

    def _choose_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Table of cases", "", "Tables (*.csv *.parquet)")
        if path:
            self.set_source(Path(path))

    def set_source(self, source: Path) -> None:
        """Take the cases of a folder or table; one that is embedded already is shown at once.

        Not while others are being embedded: their map would take the place of these.
        """
        if self.embedding.running:
            self.say(_AT_WORK, warning=True)
            return
        if source.suffix == ".parquet":
            try:
                cohort = read_cohort(source)
            except (InputError, OSError) as error:
                if "no column 'embedding'" not in str(error):
                    self.fail(failure_of(error))
                    return
            else:
                self.state.source = None
                self.state.show(cohort, table=source)
                self._take(cohort, final=True)
                return
        self.state.source = source
        self.about.setText(f"{source.name}: press Embed. Cases are looked for and embedded in the background.")
        self._show_parts()

    def run(self) -> None:
        """The primary button: embed all cases."""
        if self.state.source is None:
            self.say("Add a folder or open a table first.", warning=True)
        else:
            self.embedder.start(self.state.source)

    def _primary_clicked(self) -> None:
        partly = self.embedding.running and self.embedder.shown
        super()._primary_clicked()
        if partly and not self.embedding.running:
            n_cases = words.count(len(self.cohort or ()), "cases")
            self.say(f"Cancelled; the map shows the {n_cases} embedded until then. Save table… keeps them.")

    def _take(self, cohort: Cohort, *, final: bool) -> None:
        """Draw what the state has come to show."""
        self.likeness.forget()
        self.about.setText(cohort_words(cohort))
        self.drawn.show_cases(cohort, only_pca=not final)
        self._show_parts()
        if final and self.state.asked:
            self.state.asked = False
            self.find_similar()

    # -- what is done with them ----------------------------------------------------------------------------------------

    @property
    def map(self) -> MapView:
        """The map; the first call makes it."""
        return self.drawn.view

    def draw_map(self) -> None:
        """PCA at once; t-SNE after it, where that is chosen."""
        self.drawn.draw()

    def _lassoed(self, indices: NDArray[np.int64], adding: bool) -> None:
        self.selection.select(np.union1d(self.state.selected, indices) if adding else indices)

    def tag_selected(self, tag: str) -> None:
        """Give the selected cases a tag (in this cohort; the table on disk changes when it is saved)."""
        self.selection.tag(tag)

    def export_to(self, path: Path) -> None:
        """Write the selected cases, or all if none is selected."""
        self.selection.export_to(path)

    def open_case(self, index: int) -> None:
        """Read a case in the background and show it."""
        if self.cohort is not None:
            self.opener.open(self.cohort.row(index), self.table)

    def ask(self) -> None:
        """List the cases like the open one: among those shown, or those embedded last by the same model, or later."""
        ran = self.workbench.result
        if ran is not None and self.cohort is None and not self.embedding.running:
            kept = last_kept(ran.result.model_hash)
            if kept is not None:
                self.set_source(kept)
        if ran is None:
            self.say("Run a model on the open case first (Network); then its like can be found.", warning=True)
        elif self.cohort is not None:
            self.find_similar()
            self.area.ensureWidgetVisible(self.similar)
        else:
            self.state.asked = True
            self.about.setText(
                "Like which cases? Add a folder of scans, or open a table of them; "
                "the most similar ones are then listed."
            )

    def find_similar(self) -> None:
        """List the cases nearest to the last result's embedding, and put it on the map."""
        self.likeness.find()

    # -- links ---------------------------------------------------------------------------------------------------------

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
        if self.table is None:
            raise InputError("save the table first, or embed the cases")
        table = self.table if named else Path(repeat.TABLE)
        if self.likeness.asked:
            query = self.likeness.query(table, named=named)
            command, python = repeat.similar_command(query), repeat.similar_python(query)
        else:
            command, python = repeat.map_command(table, self.drawn.method), repeat.map_python(table, self.drawn.method)
        if self.state.embedded is not None and named:
            source, model = self.state.embedded
            python = repeat.embed_python(source, model, table) + "\n" + python
        return Lines(command, python)

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save table", "cohort.parquet", KINDS)
        if path and self.cohort is not None:
            self.save_to(Path(path))

    def save_to(self, path: Path) -> None:
        """Write the table of the cases that are shown, tags and those that failed among them."""
        if self.cohort is None:
            return
        with self.telling():
            write_table(self.state.rows or rows_of(self.cohort), path, self.state.class_orders())
            without = ""
            if holds_embeddings(path):
                self.state.saved(path)
            else:
                without = " It has no embeddings: opened again, its cases are embedded anew."
            self.say(f"Saved {path.name}.{without}")
            self._show_parts()

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        cohort = self.cohort
        if cohort is None:
            return
        try:
            lines = self.lines(named=False)
        except (InputError, OSError):
            lines = Lines()  # the session says that it cannot be repeated
        place, ran = self.map.here_position, self.workbench.result
        about = {
            "models": self.state.models(),
            "map": self.drawn.method,
            "open_case_xy": None if place is None else [float(value) for value in place],
        }
        write = jobs.save_session(
            folder,
            cohort,
            self.map.positions.copy(),
            about,
            self.state.similar_rows(self.similar.indices),
            lines,
            colour=self.colour.currentText(),
            coloured=self.state.colouring(self.colour.currentText()),
            classes=self.state.class_orders(),
            table=self.table,
            recipe=None if ran is None else ran.made.recipe,
        )
        self.saving.start(saving("Drawing the map, writing the table …", write), "saving the session")
