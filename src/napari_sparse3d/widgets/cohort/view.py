"""The Cohort panel: its parts, and how they hang together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QWidget

from napari_sparse3d.cohort.tables import Cohort, read_cohort
from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.cohort.case_opener import CaseOpener
from napari_sparse3d.widgets.cohort.case_table import CaseTable
from napari_sparse3d.widgets.cohort.case_words import cohort_words
from napari_sparse3d.widgets.cohort.embedder import Embedder, named
from napari_sparse3d.widgets.cohort.files import CohortFiles
from napari_sparse3d.widgets.cohort.filter_row import FilterRow
from napari_sparse3d.widgets.cohort.likeness import Likeness
from napari_sparse3d.widgets.cohort.map_section import MapSection
from napari_sparse3d.widgets.cohort.open_cases import OpenCases
from napari_sparse3d.widgets.cohort.selection import Selection
from napari_sparse3d.widgets.cohort.source_section import AT_WORK, SourceSection
from napari_sparse3d.widgets.cohort.state import CohortState, last_kept
from napari_sparse3d.widgets.cohort.together import Together
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.failures import failure_of
from napari_sparse3d.widgets.toolbox.layout import stacked
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.session_folder import Lines

if TYPE_CHECKING:
    from napari_sparse3d.widgets.cohort.map_view import MapView
    from napari_sparse3d.widgets.network.state import NetworkRun


class CohortPanel(Panel):
    """Add cases, embed them in the background, look at the map, ask who is like the open case."""

    primary_text = "Embed"

    # -- looks ---------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the controls, and connect them with the other panels."""
        self.state = CohortState()
        self.embedder, self.opener = Embedder(self, self.state, self._take), CaseOpener(self)
        self.embedding, self.opening = self.embedder.work, self.opener.work
        self._build_sources()
        self._build_results()
        self.body.addStretch(1)
        self._build_links()
        self._connect()
        self._show_parts()

    def _build_sources(self) -> None:
        self.source = source = SourceSection(self.state, self.workbench)
        self.add_folder, self.open_table, self.about = source.add_folder, source.open_table, source.about
        self.model, self.model_text = source.menu.box, source.model_text
        source.folder_chosen.connect(self.add_source)
        source.table_chosen.connect(self.set_source)
        self.body.addWidget(source)

    def _build_results(self) -> None:
        self.drawn = drawn = MapSection(self, self.state)
        self.legend, self.by, self.pause, self.stop = drawn.legend, drawn.by, drawn.pause, drawn.stop
        self.colour, self.maker, self.mapping = drawn.colour, drawn.maker, drawn.maker.work
        self.selection = selection = Selection(self, self.state)
        self.lasso, self.export_button = selection.lasso, selection.export_button
        self.tag_button, self.undo_button = selection.tag_button, selection.undo_button
        self.likeness = Likeness(self, self.state, drawn)
        self.similar, self.placing = self.likeness.similar, self.likeness.placing
        self.files = CohortFiles(self, self.state, drawn, self.likeness)
        self.saving = self.files.saving
        self.filter, self.cases = FilterRow(self.state), CaseTable(self.state)
        self.open_cases = OpenCases(self, self.state)
        self.together = Together(self.state, drawn, self.filter, selection, self.cases)
        self.results = QWidget()
        column = stacked(self.results)
        for part in (drawn, self.filter, selection, self.cases, self.similar):
            column.addWidget(part)
        self.body.addWidget(self.results)

    def _build_links(self) -> None:
        self.copy_command, self.copy_python = self.add_copy_links(
            "The line that reproduces this map, or finds these cases",
            lambda: self.lines().command,
            lambda: self.lines().python,
        )
        tip = "Embeddings and tags as Parquet, for `map` and `similar`; or as CSV, without embeddings"
        self.save_table = self.add_link("Save table…", tip, self.files.ask)
        tip = "Table, map, similar cases, hashes, versions and the lines, in one folder"
        self.session = self.add_session_link(tip, self.save_session_to)

    def _connect(self) -> None:
        self.follow(self.saving)
        self.files.saved.connect(self._show_parts)
        self.saving.finished.connect(lambda text: self.say(text))
        self.drawn.clicked.connect(self.open_case)
        self.open_cases.chosen.connect(self.drawn.mark_open)
        for part in (self.drawn, self.similar, self.cases):
            part.opened.connect(self.open_case)
        self.workbench.result_changed.connect(self._result_changed)
        for changed in (self.workbench.result_changed, self.workbench.model_changed):
            changed.connect(lambda _: self._show_parts())

    def works_changed(self) -> None:
        """While cases are embedded no others are chosen."""
        self._show_parts()

    def _show_parts(self) -> None:
        state = self.state
        has = state.cohort is not None
        self.results.setVisible(has)
        at_work = self.embedding.running
        self.primary.setEnabled(bool(state.sources) or at_work)
        self.primary.setToolTip(self._primary_tip())
        self.source.show_state(at_work=at_work)
        for link in (self.copy_command, self.copy_python):
            link.setEnabled(state.table is not None)
        for link in (self.save_table, self.session):
            link.setEnabled(has and not at_work)  # that it is saved is not said beside work that goes on
        self.similar.set_askable(has and self.workbench.result is not None)
        models = ", ".join(state.models())
        self.drawn.show_model(
            f"Embedded by {models}" if models else "", chosen=state.is_by(self.workbench.model) is not False
        )
        self.selection.show_state()

    def _primary_tip(self) -> str:
        state = self.state
        if not state.sources:
            return "Add a folder or open a table first"
        if state.added and state.cohort is not None and not state.replaces:
            return "Embed the cases that were added; with another model, all cases again"
        return "Embed all cases" if state.added else "Embed all cases again"

    def _result_changed(self, ran: NetworkRun | None) -> None:
        self.likeness.forget()
        if ran is not None:
            self.state.hashes[ran.result.request.model] = ran.result.model_hash

    # -- which cases ---------------------------------------------------------------------------------------------------

    @property
    def cohort(self) -> Cohort | None:
        """The cases that are shown."""
        return self.state.cohort

    @property
    def table(self) -> Path | None:
        """Where their embeddings are on disk."""
        return self.state.table

    def set_source(self, source: Path) -> None:
        """Take the cases of a folder or table in place of those shown; one that is embedded already is shown at once.

        Not while others are being embedded: their map would take the place of these.
        """
        if not self._may_choose():
            return
        if source.suffix == ".parquet":
            try:
                cohort = read_cohort(source)
            except (InputError, OSError) as error:
                if "no column 'embedding'" not in str(error):
                    self.fail(failure_of(error))
                    return
            else:
                self.state.take(source, embedded=True)
                self.state.show(cohort, table=source)
                self._take(cohort, final=True)
                return
        self.state.take(source)
        self._say_added()

    def add_source(self, source: Path) -> None:
        """Let the cases of a folder or table come to those that are here; each of them once."""
        if self._may_choose():
            self.state.add(source)
            self._say_added()

    def _may_choose(self) -> bool:
        if self.embedding.running:
            self.say(AT_WORK, warning=True)
        return not self.embedding.running

    def _say_added(self) -> None:
        state, added = self.state, named(self.state.added)
        self.say("")
        if self.cohort is None:
            text = f"{added}: press Embed to find and embed its cases in the background."
        elif state.replaces:
            text = f"{added}: press Embed. Its cases replace those shown."
        else:
            text = f"{cohort_words(self.cohort)}\n{added}: press Embed to add its cases to these."
        self.about.setText(text)
        self._show_parts()

    def run(self) -> None:
        """The primary button: embed the cases that were added, or all of them anew."""
        if self.state.sources:
            self.embedder.start()
        else:
            self.say("Add a folder or open a table first.", warning=True)

    def _primary_clicked(self) -> None:
        partly = self.embedding.running and self.embedder.shown
        super()._primary_clicked()
        if partly and not self.embedding.running:
            n_cases = words.count(len(self.cohort or ()), "cases")
            self._say_added()
            self.say(
                f"Cancelled; the map shows the {n_cases} embedded so far. Save table… keeps them, Embed continues."
            )

    def _take(self, cohort: Cohort, *, final: bool) -> None:
        """Draw what the state has come to show."""
        self.likeness.forget()
        self.about.setText(cohort_words(cohort))
        self.together.show_cases(cohort, only_pca=not final)
        self.open_cases.refresh()
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

    def tag_selected(self, tag: str) -> None:
        """Give the selected cases a tag (in this cohort; the table on disk changes when it is saved)."""
        self.selection.tag(tag)

    def export_to(self, path: Path) -> None:
        """Write the selected cases, or all if none is selected."""
        self.selection.export_to(path)

    def open_case(self, index: int) -> None:
        """Choose the layer of a case; where it is not open, read it in the background and show it."""
        if self.cohort is not None and not self.open_cases.choose(index):
            self.opener.open(self.cohort.row(index), self.table)

    def ask(self) -> None:
        """List the cases like the open one: among those shown, or those embedded last by the same model, or later."""
        ran = self.workbench.result
        if ran is not None and self.cohort is None and not self.embedding.running:
            kept = last_kept(ran.result.model_hash)
            if kept is not None:
                self.set_source(kept)
        if ran is None:
            self.say("Run a model on the open case first (Network); then similar cases can be found.", warning=True)
        elif self.cohort is not None:
            self.find_similar()
            self.area.ensureWidgetVisible(self.similar)
        else:
            self.state.asked = True
            self.about.setText(
                "Similar among which cases? Add a folder of scans, or open a table of them; "
                "the most similar are then listed."
            )

    def find_similar(self) -> None:
        """List the cases nearest to the last result's embedding, and put it on the map."""
        self.likeness.find()

    # -- links ---------------------------------------------------------------------------------------------------------

    def lines(self, *, named: bool = True) -> Lines:
        """What repeats the map, or the question for similar cases: see :meth:`CohortFiles.lines`."""
        return self.files.lines(named=named)

    def save_to(self, path: Path) -> None:
        """Write the table of the cases that are shown."""
        self.files.save_to(path)

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        self.files.save_session_to(folder)
