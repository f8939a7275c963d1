"""The Cohort panel: its controls, and what happens when they are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QInputDialog, QPushButton

from napari_sparse3d.cases.record import write_rows
from napari_sparse3d.catalog import ARCHITECTURES
from napari_sparse3d.cohort.tables import Cohort, cohort_of, read_cohort, rows_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.maps import pca, trustworthiness
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.cohort import jobs
from napari_sparse3d.widgets.cohort.beside import layer_from, put_saved_voxels, show_beside
from napari_sparse3d.widgets.cohort.case_words import case_name, hover_words
from napari_sparse3d.widgets.cohort.controls import METHODS, Controls
from napari_sparse3d.widgets.cohort.map_maker import MapMaker
from napari_sparse3d.widgets.cohort.state import CohortState, LoadedCase, kept_tables, last_kept, nearest
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.failures import failure_of
from napari_sparse3d.widgets.toolbox.layers import volume_layer
from napari_sparse3d.widgets.toolbox.layout import small_label
from napari_sparse3d.widgets.toolbox.panel import Panel, saving
from napari_sparse3d.widgets.toolbox.session_folder import Lines
from napari_sparse3d.widgets.toolbox.sources import source_of, source_path
from napari_sparse3d.widgets.toolbox.work import Work

if TYPE_CHECKING:
    from napari_sparse3d.widgets.cohort.map_view import MapView

_REDRAW_S = 2.0
"""While cases are embedded, the map is drawn anew this often."""
_FIRST_MAP = 5
"""With fewer cases there is nothing to see."""


class CohortPanel(Panel):
    """Add cases, embed them in the background, look at the map, ask who is like the open case."""

    primary_text = "Embed"

    # -- looks ---------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the controls, and connect them with the other panels."""
        self.state = CohortState()
        self._started = self._drawn = 0.0
        self._map: MapView | None = None
        self.embedding = Work(self, interrupt=self.workbench.cohort_child.stop)
        self.maker = MapMaker(self, self.workbench.map_child)
        self.mapping = self.maker.work
        self.placing, self.opening, self.saving = Work(self), Work(self), Work(self)
        self._build_sources()
        self._build_results()
        self.body.addStretch(1)
        self._build_links()
        self._connect()
        self._show_parts()

    def _build_sources(self) -> None:
        self.add_folder = QPushButton("Add folder…")
        self.add_folder.setToolTip("Every scan and voxel set below it; with one sub-folder a class, labels are taken")
        self.add_folder.clicked.connect(self._choose_folder)
        self.open_table = QPushButton("Open table…")
        self.open_table.setToolTip("A CSV or Parquet table with a column 'path'; or one that is embedded already")
        self.open_table.clicked.connect(self._choose_table)
        row = QHBoxLayout()
        row.addWidget(self.add_folder)
        row.addWidget(self.open_table)
        self.body.addLayout(row)
        self.about = small_label("No cases yet: add a folder of scans, or open a table of them.")
        self.model_text = small_label()
        self.body.addWidget(self.about)
        self.body.addWidget(self.model_text)

    def _build_results(self) -> None:
        self.results = shown = Controls()
        self.legend, self.by, self.pause, self.stop = shown.legend, shown.by, shown.pause, shown.stop
        self.colour, self.lasso, self.similar = shown.colour, shown.lasso, shown.similar
        self.label_button, self.export_button = shown.label_button, shown.export_button
        self.by.activated.connect(lambda _: self.draw_map())
        self.pause.toggled.connect(self._pause_mapping)
        self.stop.clicked.connect(self.maker.stop)
        self.colour.currentIndexChanged.connect(self._recolour)
        self.colour.activated.connect(lambda _: setattr(self.state, "colour_chosen", self.colour.currentText()))
        self.lasso.toggled.connect(lambda on: setattr(self.map, "lassoing", on))
        self.label_button.clicked.connect(self._label_selected)
        self.export_button.clicked.connect(self._export)
        self.similar.asked.connect(lambda _k: self.find_similar())
        self.similar.opened.connect(self.open_case)
        self.similar.chosen.connect(lambda indices: self.map.mark(indices))
        self.body.addWidget(self.results)

    def _build_links(self) -> None:
        self.copy_command, self.copy_python = self.add_copy_links(
            "The line that makes this map, or finds these cases",
            lambda: self.lines().command,
            lambda: self.lines().python,
        )
        self.save_table = self.add_link("Save table…", "The embeddings as Parquet, for `map` and `similar`", self._save)
        tip = "Table, map, similar cases, hashes, versions and the lines, in one folder"
        self.session = self.add_session_link(tip, self.save_session_to)

    def _connect(self) -> None:
        self.follow(self.embedding)
        self.follow(self.saving)
        self.embedding.stepped.connect(self._embedded_one)
        self.embedding.finished.connect(self._embedded)
        self.maker.moved.connect(self._moved)
        self.maker.finished.connect(lambda trust: self._say_trust("t-SNE", trust))
        self.maker.ended.connect(self._mapping_ended)
        self.placing.finished.connect(lambda positions: self.map.show_here(positions[0]))
        self.opening.finished.connect(self._show_case)
        for work in (self.maker, self.placing, self.opening):
            work.failed.connect(self.fail)
        self.saving.finished.connect(lambda text: self.say(text))
        self.workbench.result_changed.connect(lambda _: self._show_parts())
        self.workbench.model_changed.connect(lambda _: self._show_parts())

    @property
    def map(self) -> MapView:
        """The map. Made when there is one to draw: it imports pyqtgraph, for which an empty panel need not wait."""
        if self._map is None:
            from napari_sparse3d.widgets.cohort.map_view import MapView

            self._map = MapView()
            self._map.opened.connect(self.open_case)
            self._map.selected.connect(self._lassoed)
            self._map.restyle(self._look)
            self.results.add_map(self._map)
        return self._map

    def _show_parts(self) -> None:
        state = self.state
        has = state.cohort is not None
        self.results.setVisible(has)
        self.primary.setEnabled(state.source is not None or self.embedding.running)
        self.primary.setToolTip("" if state.source is not None else "Add a folder or open a table first")
        for link in (self.copy_command, self.copy_python):
            link.setEnabled(state.table is not None)
        for link in (self.save_table, self.session):
            link.setEnabled(has)
        self.similar.set_askable(has and self.workbench.result is not None)
        untrained = self.workbench.model in ARCHITECTURES
        random = "\n⚠ Random weights: nothing was learned; choose a trained model" if untrained else ""
        self.model_text.setText(f"Model: {Path(self.workbench.model).stem} (chosen in Network){random}")
        self.label_button.setEnabled(len(state.selected) > 0)

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
        """Take the cases of a folder or table; one that is embedded already is shown at once."""
        if source.suffix == ".parquet":
            try:
                cohort = read_cohort(source)
            except (InputError, OSError) as error:
                if "no column 'embedding'" not in str(error):
                    self.fail(failure_of(error))
                    return
            else:
                self.state.source, self.state.table = None, source
                self._take(cohort)
                return
        self.state.source = source
        self.about.setText(f"{source.name}: press Embed. Cases are looked for and embedded in the background.")
        self._show_parts()

    def run(self) -> None:
        """The primary button: embed all cases."""
        source = self.state.source
        if source is None:
            self.say("Add a folder or open a table first.", warning=True)
            return
        self.state.rows, self._started = [], monotonic()
        child, model = self.workbench.cohort_child, self.workbench.model
        call = partial(child.call, "network.embed", source=str(source), model=model)
        self.embedding.start(call, f"looking for cases in {source.name}")

    def _embedded_one(self, step: object) -> None:
        if not isinstance(step, tuple):
            return
        done, total, row = step
        if row is not None:
            self.state.rows.append(row)
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        if total:
            wait = words.left(done, total, monotonic() - self._started)
            self.say(f"Embedding {done} of {total}{', ' if wait else ''}{wait} …")
            self._waiting = True
        if self.state.n_embedded >= _FIRST_MAP and monotonic() - self._drawn > _REDRAW_S:
            self._take(cohort_of(self.state.rows), final=False)  # the map grows while it is made

    def _embedded(self, rows: Sequence[dict[str, Any]]) -> None:
        with self.telling():
            cohort = cohort_of(rows)
            self.state.rows = list(rows)
            self.state.table = self._keep(rows)
            self._take(cohort)
            if failed := self.state.first_failure():
                self.say(failed, warning=True)

    def _keep(self, rows: Sequence[dict[str, Any]]) -> Path:
        """Embeddings took their time: they are kept in the user's data folder, and named in Copy as command."""
        name = self.state.source.stem if self.state.source is not None else "cohort"
        path = kept_tables() / f"{name}-{Path(self.workbench.model).stem}.parquet"
        write_rows(rows, path)
        return path

    def _take(self, cohort: Cohort, *, final: bool = True) -> None:
        self._drawn = monotonic()
        self.state.show(cohort)
        self.similar.clear()
        failed = f", {cohort.n_failed} failed" if cohort.n_failed else ""
        self.about.setText(words.count(len(cohort), "cases") + failed)
        self.results.set_columns(self.state.columns(), self.state.colour_chosen)
        self.map.set_words(partial(hover_words, cohort))
        self.draw_map(only_pca=not final)
        self._show_parts()
        if final and self.state.asked:
            self.state.asked = False
            self.find_similar()

    # -- the map -------------------------------------------------------------------------------------------------------

    def draw_map(self, *, only_pca: bool = False) -> None:
        """PCA at once; t-SNE after it, where that is chosen."""
        cohort = self.cohort
        if cohort is None or not len(cohort):
            return
        self.maker.stop()
        self.map.set_positions(pca(cohort.embeddings))
        self.map.show_here(None)
        self._recolour()
        if self.by.currentText() == "t-SNE" and not only_pca:
            if len(cohort) < 5:
                self.say("t-SNE needs at least 5 cases; this is PCA.", warning=True)
                return
            self.results.set_mapping(True)
            self.say(
                "t-SNE: its process is still being started, a few seconds once in a session …"
                if self.maker.preparing
                else "t-SNE: looking for neighbours …"
            )
            self.maker.start(cohort.embeddings)
        elif not only_pca:
            self._say_trust("PCA", trustworthiness(cohort.embeddings, self.map.positions, rows=200))

    def _say_trust(self, method: str, trust: float) -> None:
        if math.isfinite(trust):
            self.say(f"{method}: trustworthiness {trust:.2f} (1: neighbours on the map are neighbours; 0.5: chance).")
            self._waiting = False

    def _moved(self, iteration: int, positions: NDArray[np.float32]) -> None:
        self.map.set_positions(positions)
        if iteration >= 0:
            self.say(f"t-SNE, iteration {iteration} …" if iteration else "t-SNE: looking for neighbours …")
            self._waiting = True

    def _mapping_ended(self) -> None:
        self.results.set_mapping(False)
        if self._waiting:
            self.say("")

    def _pause_mapping(self, on: bool) -> None:
        self.maker.hold(on)
        self.pause.setText("Go on" if on else "Pause")

    def _recolour(self, _index: int = 0) -> None:
        colouring = self.state.colouring(self.colour.currentText())
        if colouring is not None:
            self.map.set_colours(colouring.codes, continuous=colouring.continuous)
            self.results.set_legend(colouring)

    # -- selecting and opening -----------------------------------------------------------------------------------------

    def _lassoed(self, indices: NDArray[np.int64]) -> None:
        self.state.selected = indices
        self.map.mark(indices.tolist())
        self.say(f"{words.count(len(indices), 'cases')} selected.")
        self._show_parts()

    def _label_selected(self) -> None:
        count = len(self.state.selected)
        text, accepted = QInputDialog.getText(self, "Label", f"Label of the {count} selected cases:")
        if accepted and text:
            self.label_selected(text)

    def label_selected(self, label: str) -> None:
        """Give the selected cases a label (in this cohort; the table on disk changes when it is saved)."""
        if self.cohort is None:
            return
        self.state.label_selected(label)
        self.results.set_columns(self.state.columns(), self.state.colour_chosen)
        self.colour.setCurrentText("label")
        self._recolour()

    def _export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Export cases", "cases.parquet", "Tables (*.parquet)")
        if path:
            self.export_to(Path(path))

    def export_to(self, path: Path) -> None:
        """Write the selected cases, or all if none is selected."""
        if self.cohort is None:
            return
        with self.telling():
            rows = self.state.chosen_rows()
            write_rows(rows, path)
            self.say(f"Wrote {words.count(len(rows), 'cases')} to {path.name}.")

    def open_case(self, index: int) -> None:
        """Read a case in the background and show it."""
        if self.cohort is None:
            return
        row = self.cohort.row(index)
        self.say(f"Reading {case_name(row)} …")
        self.opening.start(partial(jobs.read_case, str(row["path"]), row.get("series")), f"reading {case_name(row)}")

    def _show_case(self, case: LoadedCase) -> None:
        layer, ran = layer_from(case), self.workbench.result
        scan = None if ran is None else volume_layer(self.viewer, ran.volume_id)
        show_beside(self.viewer, layer, scan)
        if case.made is not None:
            shown = put_saved_voxels(self.viewer, layer, case.made)
            if scan is None:
                self.workbench.voxels_changed.emit(shown)
        self.say(f"Opened {layer.name}{'' if scan is None else ' beside the open case; camera and contrast are one'}.")

    # -- who is like it ------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """List the cases like the open one: among those shown, or those embedded last by the same model, or later."""
        if self.cohort is None and not self.embedding.running:
            kept = last_kept(self.workbench.model)
            if kept is not None:
                self.set_source(kept)
        if self.workbench.result is None:
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
        ran, cohort = self.workbench.result, self.cohort
        if ran is None or cohort is None:
            return
        layer = volume_layer(self.viewer, ran.volume_id)
        path = None if layer is None else source_path(layer)
        series = None if layer is None else layer.metadata.get("series")
        with self.telling():
            found = nearest(cohort, ran, self.similar.k.value(), path, series)
            self.state.distances = found.distances
            self.similar.show_cases(cohort, found.indices, found.distances, found.text)
            self.map.mark(found.indices)
            call = partial(
                self.workbench.map_child.call,
                "maps.place",
                new=np.asarray(ran.result.embedding)[None],
                embeddings=cohort.embeddings,
                positions=self.map.positions,
                by=self.by.currentText(),
            )
            self.placing.start(call, "placing the open case on the map")

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
        if self.workbench.result is None or not self.similar.indices:
            method = METHODS[self.by.currentText()]
            command, python = repeat.map_command(table, method), repeat.map_python(table, method)
        else:
            query = self._query(table, named=named)
            command, python = repeat.similar_command(query), repeat.similar_python(query)
        if self.state.source is not None and named:
            python = repeat.embed_python(self.state.source, self.workbench.model, table) + "\n" + python
        return Lines(command, python)

    def _query(self, table: Path, *, named: bool) -> repeat.Query:
        ran = self.workbench.result
        layer = None if ran is None else volume_layer(self.viewer, ran.volume_id)
        if ran is None or layer is None:
            raise InputError("the open case was closed; open it again")
        source, model = source_of(layer, ran.made.frame), ran.result.request.model
        return repeat.Query(
            table,
            source if named else repeat.without_name(source),
            ran.made.recipe,
            model if named else repeat.model_without_name(model),
            self.similar.k.value(),
            ran.made.volume.meta.get("patient"),
            "" if named else "recipe.toml",
        )

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save table", "cohort.parquet", "Tables (*.parquet)")
        if not path or self.cohort is None:
            return
        with self.telling():
            write_rows(self.state.rows or rows_of(self.cohort), Path(path))
            self.state.table = Path(path)
            self.say(f"Saved {self.state.table.name}.")
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
            "map": METHODS[self.by.currentText()],
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
            table=self.table,
            recipe=None if ran is None else ran.made.recipe,
        )
        self.saving.start(saving("Drawing the map, writing the table …", write), "saving the session")
