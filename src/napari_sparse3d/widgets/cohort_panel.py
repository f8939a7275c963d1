"""The Cohort panel: many cases embedded, on a map, and the ones most like the open case."""

from __future__ import annotations

import base64
from collections.abc import Generator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QByteArray, QSize
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_sparse3d.analysis.neighbours import similar
from napari_sparse3d.cohort.tables import Cohort, cohort_of, read_cohort, rows_of, write_rows
from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.map_view import MapView
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.faults import fault_of
from napari_sparse3d.widgets.toolbox.layers import volume_layer
from napari_sparse3d.widgets.toolbox.panel import SPACE, Panel, combo, form, small_label
from napari_sparse3d.widgets.toolbox.theme import Colours
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.voxels_panel import source_of

_MAX_CLASSES = 20
"""A column of text with more values than this has no legend that anybody could read."""


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
        self._like: list[int] = []
        child = self.workbench.cohort_child
        self.embedding = Work(self, interrupt=child.stop)
        self.mapping = Work(self, interrupt=child.stop)
        self.placing = Work(self)
        self.opening = Work(self)
        self._build()
        self.follow(self.embedding)
        self.embedding.stepped.connect(self._embedded_one)
        self.embedding.finished.connect(self._embedded)
        self.mapping.stepped.connect(self._moved)
        self.mapping.finished.connect(self._mapped)
        self.mapping.failed.connect(self.fail)
        self.mapping.ended.connect(self._mapping_ended)
        self.placing.finished.connect(self._placed)
        self.placing.failed.connect(self.fail)
        self.opening.finished.connect(self._show_case)
        self.opening.failed.connect(self.fail)
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
        self.map = MapView()
        self.map.opened.connect(self.open_case)
        self.map.selected.connect(self._lassoed)
        layout.addWidget(self.map)
        self.legend = small_label()
        layout.addWidget(self.legend)
        controls = QHBoxLayout()
        self.by = combo("How the map is made", 4)
        self.by.addItems(["PCA", "t-SNE"])
        self.by.activated.connect(lambda _: self.draw_map())
        self.pause = QPushButton("Pause")
        self.pause.setCheckable(True)
        self.pause.setToolTip("Hold t-SNE, and go on later")
        self.pause.setEnabled(False)
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("End t-SNE and keep the map as it is")
        self.stop.setEnabled(False)
        self.stop.clicked.connect(self._stop_mapping)
        self.pause.toggled.connect(self._pause_mapping)
        controls.addWidget(self.by, 1)
        controls.addWidget(self.pause)
        controls.addWidget(self.stop)
        layout.addLayout(controls)
        top = form()
        self.colour = combo("Which column gives the colour")
        self.colour.currentIndexChanged.connect(self._recolour)
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
        like = QHBoxLayout()
        self.like_button = QPushButton("Who is like the open case?")
        self.like_button.setToolTip("The nearest embeddings to that of the last run in the Network panel")
        self.like_button.clicked.connect(self.find_similar)
        self.k = QSpinBox()
        self.k.setRange(1, 50)
        self.k.setValue(5)
        self.k.setToolTip("How many")
        self.k.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        self.k.setMaximumWidth(44)
        like.addWidget(self.like_button, 1)
        like.addWidget(self.k)
        layout.addLayout(like)
        self.like_text = small_label()
        layout.addWidget(self.like_text)
        self.similar_list = QListWidget()
        self.similar_list.setAccessibleName("The most similar cases")
        self.similar_list.setIconSize(QSize(48, 48))
        self.similar_list.setMinimumHeight(120)
        self.similar_list.setToolTip("Double click: open beside the scan")
        self.similar_list.itemDoubleClicked.connect(self._open_similar)
        self.similar_list.itemSelectionChanged.connect(self._mark_similar)
        self.similar_list.hide()
        layout.addWidget(self.similar_list)
        self.body.addWidget(self.results)
        self.body.addStretch(1)
        tip = "The line that makes this map, or finds these cases"
        self.copy_command = self.add_link("Copy as command", tip, self._command)
        self.save_table = self.add_link("Save table…", "The embeddings as Parquet, for `map` and `similar`", self._save)

    def restyle(self, look: Colours) -> None:
        """Follow the theme."""
        if hasattr(self, "map"):
            self.map.restyle(look)

    def _show_parts(self) -> None:
        has = self.cohort is not None
        self.results.setVisible(has)
        self.primary.setEnabled(self.source is not None or self.embedding.running)
        self.primary.setToolTip("" if self.source is not None else "Add a folder or open a table first")
        self.copy_command.setEnabled(self.table is not None)
        self.save_table.setEnabled(has)
        self.like_button.setEnabled(has and self.workbench.result is not None)
        self.like_button.setToolTip(
            "The nearest embeddings to that of the open case"
            if self.workbench.result is not None
            else "Run a model on the open case first (Network)"
        )
        self.model_text.setText(f"Model: {Path(self.workbench.model).stem} (chosen in Network)")
        chosen = len(self._selected) > 0
        self.label_button.setEnabled(chosen)

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
            lambda: child.call("embed", source=source, model=model), f"looking for cases in {self.source.name}"
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
        if len(self._rows) >= 5 and monotonic() - self._drawn > 2:  # the map grows while it is made
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
            failed = next(str(row["error"]) for row in rows if row["status"] == "failed")
            self.say(
                f"{words.count(cohort.n_failed, 'cases')} failed, the first because: {failed}",
                warning=True,
            )

    def _keep(self, rows: Sequence[dict[str, Any]]) -> Path:
        """Embeddings took their time: they are kept in the user's data folder, and named in Copy as command."""
        name = self.source.stem if self.source is not None else "cohort"
        path = repeat.recipe_folder().parent / "cohorts" / f"{name}-{Path(self.workbench.model).stem}.parquet"
        write_rows(rows, path)
        return path

    def _take(self, cohort: Cohort, *, final: bool = True) -> None:
        self._drawn = monotonic()
        self.cohort = cohort
        self._selected = np.empty(0, dtype=np.int64)
        self.about.setText(
            words.count(len(cohort), "cases") + (f", {cohort.n_failed} failed" if cohort.n_failed else "")
        )
        self._fill_colours(cohort)
        self.map.set_words(_hover_words(cohort) if final else ())
        self.draw_map(only_pca=not final)
        self._show_parts()

    # -- the map -------------------------------------------------------------------------------------------------------

    def draw_map(self, *, only_pca: bool = False) -> None:
        """PCA at once; t-SNE after it, where that is chosen."""
        cohort = self.cohort
        if cohort is None or not len(cohort):
            return
        self.mapping.drop()
        from napari_sparse3d.analysis.maps import pca

        self.map.set_positions(pca(cohort.embeddings))
        self.map.show_here(None)
        self._recolour()
        if self.by.currentText() == "t-SNE" and not only_pca:
            if len(cohort) < 5:
                self.say("t-SNE needs at least 5 cases; this is PCA.", warning=True)
                return
            self.pause.setEnabled(True)
            self.stop.setEnabled(True)
            self._stopping = self._paused = False
            child, embeddings = self.workbench.cohort_child, cohort.embeddings
            self.mapping.start(lambda: self._tsne(child, embeddings), "t-SNE")

    def _tsne(self, child: Any, embeddings: NDArray[np.float32]) -> Generator[Any, Any, Any]:
        """In the worker's thread: pass the positions on; wait while paused; stop with what there is."""
        from time import sleep

        call = child.call("tsne", embeddings=embeddings, perplexity=30.0)
        last: Any = None
        try:
            step = next(call)
            while True:
                last = step[1]
                yield step
                while self._paused and not self._stopping:
                    sleep(0.03)
                    yield None
                step = call.send(not self._stopping)
        except StopIteration as done:
            return last if self._stopping else done.value

    def _moved(self, step: object) -> None:
        if isinstance(step, tuple):
            iteration, positions = step
            self.map.set_positions(positions)
            self.legend_iteration(iteration)

    def legend_iteration(self, iteration: int) -> None:
        """Say how far t-SNE is."""
        self.say(f"t-SNE, iteration {iteration} …" if iteration else "t-SNE: looking for neighbours …")
        self._waiting = True

    def _mapped(self, positions: NDArray[np.float32]) -> None:
        self.map.set_positions(positions)
        self.say("")

    def _mapping_ended(self) -> None:
        for button in (self.pause, self.stop):
            button.setEnabled(False)
        self.pause.setChecked(False)
        if self._waiting:
            self.say("")

    def _pause_mapping(self, on: bool) -> None:
        self._paused = on
        self.pause.setText("Go on" if on else "Pause")

    def _stop_mapping(self) -> None:
        self._stopping = True

    def _fill_colours(self, cohort: Cohort) -> None:
        current = self.colour.currentText()
        names = [name for name in cohort.columns if _tells(cohort.column(name))]
        first = [name for name in ("label", "prediction", "split", "probability", "n_active") if name in names]
        self.colour.blockSignals(True)
        self.colour.clear()
        self.colour.addItems([*first, *(name for name in names if name not in first)])
        self.colour.setCurrentIndex(max(self.colour.findText(current), 0) if self.colour.count() else -1)
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
            self.legend.setText(f"{name}: {low:.3g} (dark) to {high:.3g} (bright)")
            return
        classes = sorted({str(value) for value in values if value not in (None, "")})
        codes = np.array([classes.index(str(v)) if v not in (None, "") else -1 for v in values], dtype=np.int64)
        self.map.set_colours(codes, continuous=False)
        from napari_sparse3d.widgets.toolbox.theme import CLASS_COLOURS

        shown = classes[: len(CLASS_COLOURS)]
        spots = [f'<span style="color:{CLASS_COLOURS[i]}">●</span> {name}' for i, name in enumerate(shown)]
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
        child = self.workbench.cohort_child
        name = str(row.get("name") or Path(str(row["path"])).stem)
        self.say(f"Reading {name} …")
        self.opening.start(
            lambda: child.call("load_case", path=str(row["path"]), series=row.get("series")), f"reading {name}"
        )

    def _show_case(self, data: Any) -> None:
        array, arguments, kind = data
        layer: Layer = Labels(array, **arguments) if kind == "labels" else Image(array, **arguments)
        ran = self.workbench.result
        scan = None if ran is None else volume_layer(self.viewer, ran.volume_id)
        if scan is not None and isinstance(layer, Image):
            if layer.metadata.get("unit") == scan.metadata.get("unit") == "HU":
                layer.contrast_limits = scan.contrast_limits
            # beside the open scan, in the same world: the camera is then one for both
            shift = np.zeros(layer.ndim)
            width = (scan.extent.world[1] - scan.extent.world[0])[-1]
            shift[-1] = (scan.extent.world[1][-1] - layer.extent.world[0][-1]) + 0.05 * width
            middle = scan.extent.world.mean(axis=0)[-3:-1] - layer.extent.world.mean(axis=0)[-3:-1]
            shift[-3:-1] = middle
            layer.translate = np.asarray(layer.translate) + shift
        self.viewer.add_layer(layer)
        self.viewer.reset_view()
        self.say(f"Opened {layer.name}" + (" beside the open case." if scan is not None else "."))

    # -- who is like it ------------------------------------------------------------------------------------------------

    def find_similar(self) -> None:
        """List the cases nearest to the last result's embedding, and put it on the map."""
        ran, cohort = self.workbench.result, self.cohort
        if ran is None or cohort is None:
            return
        embedding = np.asarray(ran.result.embedding)[None]
        patient = ran.made.volume.meta.get("patient")
        models = {str(value) for value in cohort.column("model") if value}
        try:
            indices, distances = similar(
                embedding,
                cohort.embeddings,
                self.k.value(),
                groups=cohort.column("patient"),
                query_groups=[patient],
            )
        except InputError as error:
            self.fail(fault_of(error))
            return
        self.similar_list.clear()
        self._like = [int(index) for index in indices[0] if index >= 0]
        for index, distance in zip(self._like, distances[0], strict=False):
            self.similar_list.addItem(_similar_item(cohort, index, float(distance)))
        self.similar_list.setVisible(bool(self._like))
        self.similar_list.setMinimumHeight(min(58 * max(len(self._like), 1), 240))
        same = models <= {ran.result.model.name}
        self.like_text.setText(
            ("" if same else f"⚠ The cohort was embedded by {', '.join(sorted(models))}, the case by another model. ")
            + ("Cases of the same patient are left out. " if patient else "")
            + words.RESEARCH_ONLY
        )
        self.map.mark(self._like)
        child, positions, by = self.workbench.cohort_child, self.map.positions, self.by.currentText()
        self.placing.start(
            lambda: child.call("place", new=embedding, embeddings=cohort.embeddings, positions=positions, by=by),
            "placing the open case on the map",
        )

    def _placed(self, positions: NDArray[np.float32]) -> None:
        self.map.show_here(positions[0])

    def _mark_similar(self) -> None:
        chosen = [self._like[self.similar_list.row(item)] for item in self.similar_list.selectedItems()]
        self.map.mark(chosen or self._like)

    def _open_similar(self, item: QListWidgetItem) -> None:
        self.open_case(self._like[self.similar_list.row(item)])

    # -- links ---------------------------------------------------------------------------------------------------------

    def _command(self) -> None:
        if self.table is None:
            return
        ran = self.workbench.result
        try:
            if ran is None or not self._like:
                self.copy(repeat.map_command(self.table), "Command")
                return
            layer = volume_layer(self.viewer, ran.volume_id)
            if layer is None:
                raise InputError("the open case was closed; open it again")
            source = source_of(layer, ran.made.frame)
            recipe = repeat.recipe_argument(ran.made.recipe)
            line = repeat.similar_command(self.table, source, ran.result.request.model, self.k.value(), recipe)
            self.copy(line, "Command")
        except (InputError, OSError) as error:
            self.fail(fault_of(error))

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


def _tells(values: Sequence[Any]) -> bool:
    """Whether a column has more than one value, and is a number or a class."""
    known = {str(value) for value in values if value not in (None, "")}
    if len(known) < 1:
        return False
    numbers = all(isinstance(value, (int, float)) or value is None for value in values)
    return len(known) > 1 and (numbers or len(known) <= _MAX_CLASSES)


def _hover_words(cohort: Cohort) -> list[str]:
    """Name, label, prediction and a thumbnail, for each case."""
    found = []
    for index in range(len(cohort)):
        row = cohort.row(index)
        lines = [str(row.get("name") or Path(str(row.get("path", ""))).stem)]
        for name in ("label", "prediction", "split"):
            if row.get(name) not in (None, ""):
                lines.append(f"{name}: {row[name]}")  # noqa: PERF401  (a comprehension would hide the condition)
        picture = ""
        if cohort.thumbnails is not None and len(cohort) <= 3000:
            picture = f'<img src="data:image/png;base64,{_png(cohort.thumbnails[index])}"><br>'
        found.append(picture + "<br>".join(lines))
    return found


def _png(picture: NDArray[np.uint8]) -> str:
    from qtpy.QtCore import QBuffer, QIODevice

    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    _image(picture).save(buffer, "PNG")
    return base64.b64encode(data.data()).decode()


def _image(picture: NDArray[np.uint8]) -> QImage:
    height, width = picture.shape
    return QImage(np.ascontiguousarray(picture).tobytes(), width, height, width, QImage.Format.Format_Grayscale8).copy()


def _similar_item(cohort: Cohort, index: int, distance: float) -> QListWidgetItem:
    row = cohort.row(index)
    name = str(row.get("name") or Path(str(row.get("path", ""))).stem)
    label = row.get("label") or row.get("prediction") or ""
    item = QListWidgetItem(f"{name}\n{distance:.4f}   {label}")
    if cohort.thumbnails is not None:
        item.setIcon(QIcon(QPixmap.fromImage(_image(cohort.thumbnails[index]))))
    return item
