"""The Cohort panel: many cases embedded, on a map, and the ones most like the open case."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QInputDialog, QPushButton, QVBoxLayout, QWidget

from napari_sparse3d.cases.record import write_rows
from napari_sparse3d.catalog import ARCHITECTURES
from napari_sparse3d.cohort.same import SAME, same_case
from napari_sparse3d.cohort.tables import Cohort, cohort_of, read_cohort, rows_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.maps import pca, trustworthiness
from napari_sparse3d.measure.neighbours import similar
from napari_sparse3d.pictures.palette import CLASS_COLOURS
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.beside import Case, layer_from, put_saved_voxels, read_case, show_beside
from napari_sparse3d.widgets.case_words import case_name, hover_words, tells
from napari_sparse3d.widgets.map_maker import MapMaker
from napari_sparse3d.widgets.session import Lines, content_hash, save_cohort_session
from napari_sparse3d.widgets.similar_cases import SimilarCases
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.faults import fault_of
from napari_sparse3d.widgets.toolbox.layers import volume_layer
from napari_sparse3d.widgets.toolbox.panel import SPACE, Panel, combo, form, small_label
from napari_sparse3d.widgets.toolbox.plain_text import as_html
from napari_sparse3d.widgets.toolbox.sources import source_of, source_path
from napari_sparse3d.widgets.toolbox.theme import Colours
from napari_sparse3d.widgets.toolbox.work import Step, Work

if TYPE_CHECKING:
    from napari_sparse3d.widgets.map_view import MapView

METHODS = {"PCA": "pca", "t-SNE": "tsne"}
_REDRAW_S = 2.0
"""While cases are embedded, the map is drawn anew this often."""
_FIRST_MAP = 5
"""With fewer cases there is nothing to see."""


class CohortPanel(Panel):
    """Add cases, embed them in the background, look at the map, ask who is like the open case."""

    primary_text = "Embed"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.workbench.enter(self)
        self.source: Path | None = None
        self.table: Path | None = None
        self.cohort: Cohort | None = None
        self._rows: list[dict[str, Any]] = []
        self._started = 0.0
        self._drawn = 0.0
        self._selected: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._distances: list[float] = []
        self._asked = False  # who is like the open case, before there were cases
        self._colour_chosen = ""  # by the user; until then the most telling column
        child = self.workbench.cohort_child
        self.embedding = Work(self, interrupt=child.stop)
        self.maker = MapMaker(self, self.workbench.map_child)
        self.mapping = self.maker.work
        self.placing = Work(self)
        self.opening = Work(self)
        self.saving = Work(self)
        self._build()
        self.follow(self.embedding)
        self.follow(self.saving)
        self.embedding.stepped.connect(self._embedded_one)
        self.embedding.finished.connect(self._embedded)
        self.maker.moved.connect(self._moved)
        self.maker.finished.connect(lambda trust: self._say_trust("t-SNE", trust))
        self.maker.failed.connect(self.fail)
        self.maker.ended.connect(self._mapping_ended)
        self.placing.finished.connect(lambda positions: self.map.show_here(positions[0]))
        self.placing.failed.connect(self.fail)
        self.opening.finished.connect(self._show_case)
        self.opening.failed.connect(self.fail)
        self.saving.finished.connect(lambda text: self.say(text))
        self.workbench.result_changed.connect(lambda _: self._show_parts())
        self.workbench.model_changed.connect(lambda _: self._show_parts())
        self._show_parts()

    # -- looks ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        row = QHBoxLayout()
        self.add_folder = QPushButton("Add folder…")
        self.add_folder.setToolTip("Every scan and voxel set below it; with one sub-folder a class, labels are taken")
        self.add_folder.clicked.connect(self._choose_folder)
        self.open_table = QPushButton("Open table…")
        self.open_table.setToolTip("A CSV or Parquet table with a column 'path'; or one that is embedded already")
        self.open_table.clicked.connect(self._choose_table)
        row.addWidget(self.add_folder)
        row.addWidget(self.open_table)
        self.body.addLayout(row)
        self.about = small_label("No cases yet: add a folder of scans, or open a table of them.")
        self.body.addWidget(self.about)
        self.model_text = small_label()
        self.body.addWidget(self.model_text)

        self.results = QWidget()
        layout = QVBoxLayout(self.results)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        self._map: MapView | None = None
        self.legend = small_label()
        self.legend.setTextFormat(Qt.TextFormat.RichText)  # its dots are coloured
        layout.addWidget(self.legend)
        controls = QHBoxLayout()
        self.by = combo("How the map is made", 4)
        self.by.addItems(list(METHODS))
        self.by.activated.connect(lambda _: self.draw_map())
        self.pause = QPushButton("Pause")
        self.pause.setCheckable(True)
        self.pause.setToolTip("Hold t-SNE, and go on later")
        self.pause.setEnabled(False)
        self.pause.toggled.connect(self._pause_mapping)
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("End t-SNE and keep the map as it is")
        self.stop.setEnabled(False)
        self.stop.clicked.connect(self.maker.stop)
        controls.addWidget(self.by, 1)
        controls.addWidget(self.pause)
        controls.addWidget(self.stop)
        layout.addLayout(controls)
        top = form()
        self.colour = combo("Which column gives the colour")
        self.colour.currentIndexChanged.connect(self._recolour)
        self.colour.activated.connect(lambda _: setattr(self, "_colour_chosen", self.colour.currentText()))
        top.addRow("Colour", self.colour)
        layout.addLayout(top)
        chosen = QHBoxLayout()
        self.lasso = QPushButton("Lasso")
        self.lasso.setCheckable(True)
        self.lasso.setToolTip("Draw around cases to select them")
        self.lasso.toggled.connect(lambda on: setattr(self.map, "lassoing", on))
        self.label_button = QPushButton("Label…")
        self.label_button.setToolTip("Give the selected cases a label")
        self.label_button.clicked.connect(self._label_selected)
        self.export_button = QPushButton("Export…")
        self.export_button.setToolTip("Write the selected cases (or all) as a Parquet table")
        self.export_button.clicked.connect(self._export)
        for button in (self.lasso, self.label_button, self.export_button):
            chosen.addWidget(button)
        layout.addLayout(chosen)
        self.similar = SimilarCases()
        self.similar.asked.connect(lambda _k: self.find_similar())
        self.similar.opened.connect(self.open_case)
        self.similar.chosen.connect(lambda indices: self.map.mark(indices))
        layout.addWidget(self.similar)
        self.body.addWidget(self.results)
        self.body.addStretch(1)
        tip = "The line that makes this map, or finds these cases"
        self.copy_command = self.add_link("Copy as command", tip, partial(self._copy, "command"))
        self.copy_python = self.add_link("Copy as Python", "The same in Python", partial(self._copy, "python"))
        self.save_table = self.add_link("Save table…", "The embeddings as Parquet, for `map` and `similar`", self._save)
        self.session = self.add_link(
            "Save session…", "Table, map, similar cases, hashes, versions and the lines, in one folder", self._session
        )

    @property
    def map(self) -> MapView:
        """The map. Made when there is one to draw: it imports pyqtgraph, for which an empty panel need not wait."""
        if self._map is None:
            from napari_sparse3d.widgets.map_view import MapView

            self._map = MapView()
            self._map.opened.connect(self.open_case)
            self._map.selected.connect(self._lassoed)
            self._map.restyle(self._look)
            layout = self.results.layout()
            if isinstance(layout, QVBoxLayout):
                layout.insertWidget(0, self._map)
        return self._map

    def restyle(self, look: Colours) -> None:
        """Follow the theme."""
        if getattr(self, "_map", None) is not None:
            self.map.restyle(look)

    def _show_parts(self) -> None:
        has = self.cohort is not None
        self.results.setVisible(has)
        self.primary.setEnabled(self.source is not None or self.embedding.running)
        self.primary.setToolTip("" if self.source is not None else "Add a folder or open a table first")
        for link in (self.copy_command, self.copy_python):
            link.setEnabled(self.table is not None)
        for link in (self.save_table, self.session):
            link.setEnabled(has)
        self.similar.set_askable(has and self.workbench.result is not None)
        random = "\n⚠ Random weights: nothing was learned; choose a trained model" if self._random_weights() else ""
        self.model_text.setText(f"Model: {Path(self.workbench.model).stem} (chosen in Network){random}")
        self.label_button.setEnabled(len(self._selected) > 0)

    def _random_weights(self) -> bool:
        return self.workbench.model in ARCHITECTURES

    # -- which cases ---------------------------------------------------------------------------------------------------

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
                    self.fail(fault_of(error))
                    return
            else:
                self.source, self.table = None, source
                self._take(cohort)
                return
        self.source = source
        self.about.setText(f"{source.name}: press Embed. Cases are looked for and embedded in the background.")
        self._show_parts()

    def run(self) -> None:
        """The primary button: embed all cases."""
        if self.source is None:
            self.say("Add a folder or open a table first.", warning=True)
            return
        source, model, child = str(self.source), self.workbench.model, self.workbench.cohort_child
        self._rows, self._started = [], monotonic()
        self.embedding.start(
            lambda: child.call("network.embed", source=source, model=model), f"looking for cases in {self.source.name}"
        )

    def _embedded_one(self, step: object) -> None:
        if not isinstance(step, tuple):
            return
        done, total, row = step
        if row is not None:
            self._rows.append(row)
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        if total:
            wait = words.left(done, total, monotonic() - self._started)
            self.say(f"Embedding {done} of {total}{', ' if wait else ''}{wait} …")
            self._waiting = True
        n_done = sum(each["status"] == "done" for each in self._rows)
        if n_done >= _FIRST_MAP and monotonic() - self._drawn > _REDRAW_S:  # the map grows while it is made
            self._take(cohort_of(self._rows), final=False)

    def _embedded(self, rows: Sequence[dict[str, Any]]) -> None:
        try:
            cohort = cohort_of(rows)
        except InputError as error:
            self.fail(fault_of(error))
            return
        self._rows = list(rows)
        self.table = self._keep(rows)
        self._take(cohort)
        if cohort.n_failed:
            number, failed = next((n, row["error"]) for n, row in enumerate(rows) if row["status"] == "failed")
            said = f"{words.count(cohort.n_failed, 'cases')} failed, the first (row {number}) because: {failed}"
            self.say(said, warning=True)

    def _keep(self, rows: Sequence[dict[str, Any]]) -> Path:
        """Embeddings took their time: they are kept in the user's data folder, and named in Copy as command."""
        name = self.source.stem if self.source is not None else "cohort"
        path = _kept_tables() / f"{name}-{Path(self.workbench.model).stem}.parquet"
        write_rows(rows, path)
        return path

    def _take(self, cohort: Cohort, *, final: bool = True) -> None:
        self._drawn = monotonic()
        self.cohort = cohort
        self._selected = np.empty(0, dtype=np.int64)
        self.similar.clear()
        failed = f", {cohort.n_failed} failed" if cohort.n_failed else ""
        self.about.setText(words.count(len(cohort), "cases") + failed)
        self._fill_colours(cohort)
        self.map.set_words(partial(hover_words, cohort))
        self.draw_map(only_pca=not final)
        self._show_parts()
        if final and self._asked:
            self._asked = False
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
            self.pause.setEnabled(True)
            self.stop.setEnabled(True)
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
        for button in (self.pause, self.stop):
            button.setEnabled(False)
        self.pause.setChecked(False)
        if self._waiting:
            self.say("")

    def _pause_mapping(self, on: bool) -> None:
        self.maker.hold(on)
        self.pause.setText("Go on" if on else "Pause")

    def _fill_colours(self, cohort: Cohort) -> None:
        names = [name for name in cohort.columns if tells(cohort.column(name))]
        first = [name for name in ("label", "prediction", "split", "probability", "n_active") if name in names]
        self.colour.blockSignals(True)
        self.colour.clear()
        self.colour.addItems([*first, *(name for name in names if name not in first)])
        self.colour.setCurrentIndex(max(self.colour.findText(self._colour_chosen), 0) if self.colour.count() else -1)
        self.colour.blockSignals(False)

    def _recolour(self, _index: int = 0) -> None:
        cohort, name = self.cohort, self.colour.currentText()
        if cohort is None:
            return
        if not name:
            self.map.set_colours(np.zeros(len(cohort), dtype=np.int64), continuous=False)
            self.legend.setText("")
            return
        values = cohort.column(name)
        if all(isinstance(value, (int, float)) or value is None for value in values):
            numbers = np.array([np.nan if value is None else float(value) for value in values])
            low, high = np.nanmin(numbers), np.nanmax(numbers)
            self.map.set_colours((numbers - low) / ((high - low) or 1.0), continuous=True)
            self.legend.setText(f"{as_html(name)}: {low:.3g} (dark) to {high:.3g} (bright)")
            return
        classes = sorted({str(value) for value in values if value not in (None, "")})
        number_of = {each: number for number, each in enumerate(classes)}
        codes = np.array([number_of.get(str(value), -1) for value in values], dtype=np.int64)
        self.map.set_colours(codes, continuous=False)
        shown = classes[: len(CLASS_COLOURS)]
        spots = [
            f'<span style="color:{CLASS_COLOURS[i]}">●</span>&nbsp;{as_html(each)}' for i, each in enumerate(shown)
        ]
        more = f" and {len(classes) - len(shown)} more" if len(classes) > len(shown) else ""
        self.legend.setText(" &nbsp; ".join(spots) + more)

    # -- selecting and opening -----------------------------------------------------------------------------------------

    def _lassoed(self, indices: NDArray[np.int64]) -> None:
        self._selected = indices
        self.map.mark(indices.tolist())
        self.say(f"{words.count(len(indices), 'cases')} selected.")
        self._show_parts()

    def _label_selected(self) -> None:
        text, accepted = QInputDialog.getText(self, "Label", f"Label of the {len(self._selected)} selected cases:")
        if accepted and text:
            self.label_selected(text)

    def label_selected(self, label: str) -> None:
        """Give the selected cases a label (in this cohort; the table on disk changes when it is saved)."""
        if self.cohort is None:
            return
        labels = list(self.cohort.column("label"))
        for index in self._selected:
            labels[int(index)] = label
        columns = {**self.cohort.columns, "label": labels}
        self.cohort = Cohort(columns, self.cohort.embeddings, self.cohort.thumbnails, self.cohort.n_failed)
        self._fill_colours(self.cohort)
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
        rows = rows_of(self.cohort)
        chosen = [rows[int(index)] for index in self._selected] if len(self._selected) else rows
        try:
            write_rows(chosen, path)
        except (InputError, OSError) as error:
            self.fail(fault_of(error))
        else:
            self.say(f"Wrote {words.count(len(chosen), 'cases')} to {path.name}.")

    def open_case(self, index: int) -> None:
        """Read a case in the background and show it."""
        if self.cohort is None:
            return
        row = self.cohort.row(index)
        self.say(f"Reading {case_name(row)} …")
        self.opening.start(partial(read_case, str(row["path"]), row.get("series")), f"reading {case_name(row)}")

    def _show_case(self, case: Case) -> None:
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
            found = _kept_tables().glob(f"*-{Path(self.workbench.model).stem}.parquet")
            kept = sorted(found, key=lambda path: path.stat().st_mtime)
            if kept:
                self.set_source(kept[-1])
        if self.workbench.result is None:
            self.say("Run a model on the open case first (Network); then its like can be found.", warning=True)
            return
        if self.cohort is not None:
            self.find_similar()
            self.area.ensureWidgetVisible(self.similar)
            return
        self._asked = True
        self.about.setText(
            "Like which cases? Add a folder of scans, or open a table of them; the most similar ones are then listed."
        )

    def find_similar(self) -> None:
        """List the cases nearest to the last result's embedding, and put it on the map."""
        ran, cohort = self.workbench.result, self.cohort
        if ran is None or cohort is None:
            return
        embedding = np.asarray(ran.result.embedding)[None]
        patient = ran.made.volume.meta.get("patient")
        models = {str(value) for value in cohort.column("model") if value}
        layer = volume_layer(self.viewer, ran.volume_id)
        path = None if layer is None else source_path(layer)
        series = None if layer is None else layer.metadata.get("series")
        groups = same_case(cohort, path, series, patient)
        n_same = groups.count(SAME)
        try:
            indices, distances = similar(
                embedding,
                cohort.embeddings,
                self.similar.k.value(),
                groups=groups,
                query_groups=[SAME],
                keys=cohort.keys(),
            )
        except InputError as error:
            self.fail(fault_of(error))
            return
        found = [int(index) for index in indices[0] if index >= 0]
        self._distances = [float(distance) for distance in distances[0][: len(found)]]
        same = models <= {ran.result.model.name}
        self.similar.show_cases(
            cohort,
            found,
            self._distances,
            ("" if same else f"⚠ The cohort was embedded by {', '.join(sorted(models))}, the case by another model. ")
            + (f"{words.count(n_same, 'cases')} left out: itself, or of its patient. " if n_same else "")
            + words.RESEARCH_ONLY,
        )
        self.map.mark(found)
        child, positions, by = self.workbench.map_child, self.map.positions, self.by.currentText()
        self.placing.start(
            lambda: child.call("maps.place", new=embedding, embeddings=cohort.embeddings, positions=positions, by=by),
            "placing the open case on the map",
        )

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
        ran = self.workbench.result
        if ran is None or not self.similar.indices:
            method = METHODS[self.by.currentText()]
            command, python = repeat.map_command(table, method), repeat.map_python(table, method)
        else:
            layer = volume_layer(self.viewer, ran.volume_id)
            if layer is None:
                raise InputError("the open case was closed; open it again")
            source, model = source_of(layer, ran.made.frame), ran.result.request.model
            query = repeat.Query(
                table,
                source if named else repeat.without_name(source),
                ran.made.recipe,
                model if named else repeat.model_without_name(model),
                self.similar.k.value(),
                ran.made.volume.meta.get("patient"),
                "" if named else "recipe.toml",
            )
            command, python = repeat.similar_command(query), repeat.similar_python(query)
        if self.source is not None and named:
            python = repeat.embed_python(self.source, self.workbench.model, table) + "\n" + python
        return Lines(command, python)

    def _copy(self, which: str) -> None:
        try:
            lines = self.lines()
        except (InputError, OSError) as error:
            self.fail(fault_of(error))
            return
        self.copy(lines.command if which == "command" else lines.python, "Python" if which == "python" else "Command")

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save table", "cohort.parquet", "Tables (*.parquet)")
        if path and self.cohort is not None:
            try:
                write_rows(self._rows or rows_of(self.cohort), Path(path))
            except (InputError, OSError) as error:
                self.fail(fault_of(error))
                return
            self.table = Path(path)
            self.say(f"Saved {self.table.name}.")
            self._show_parts()

    def _session(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save session into an empty folder")
        if folder:
            self.save_session_to(Path(folder))

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        cohort = self.cohort
        if cohort is None:
            return
        try:
            lines = self.lines(named=False)
        except (InputError, OSError):
            lines = Lines()  # the session says that it cannot be repeated
        positions, colour, table = self.map.positions.copy(), self.colour.currentText(), self.table
        place, ran = self.map.here_position, self.workbench.result
        recipe = None if ran is None else ran.made.recipe
        about = {
            "models": sorted({str(value) for value in cohort.column("model") if value}),
            "map": METHODS[self.by.currentText()],
            "open_case_xy": None if place is None else [float(value) for value in place],
        }
        near = [
            {"case": index, "distance": distance, **cohort.row(index)}
            for index, distance in zip(self.similar.indices, self._distances, strict=False)
        ]

        def job() -> Generator[Step, None, str]:
            yield Step(0, 0, "Drawing the map, writing the table …")
            from napari_sparse3d.pictures.maps import map_figure

            trust = trustworthiness(cohort.embeddings, positions)
            faithful = f", trustworthiness {trust:.2f}" if math.isfinite(trust) else ""
            title = f"{len(cohort)} cases by {about['map']}{faithful}"
            figure = map_figure(positions, cohort.column(colour), title=title, name=colour, here=place)
            kept = None if table is None else {"sha256": content_hash(table)}
            if recipe is not None:
                folder.mkdir(parents=True, exist_ok=True)
                recipe.save(folder / "recipe.toml")
            files = save_cohort_session(folder, cohort, positions, {**about, "table": kept}, near, figure, lines)
            return f"Saved {words.count(len(files), 'files')} in {folder.name}."

        self.saving.start(job, "saving the session")


def _kept_tables() -> Path:
    """Where embedded cohorts are kept."""
    return repeat.recipe_folder().parent / "cohorts"
