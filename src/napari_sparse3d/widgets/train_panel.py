"""The Train panel: a labelled set becomes a model, in a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import QProcess, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sparse3d.catalog import ARCHITECTURES, DEFAULT_ARCHITECTURE, LOSSES
from napari_sparse3d.pictures.palette import CLASS_COLOURS
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.curve import Curve
from napari_sparse3d.widgets.runs_view import RunsView
from napari_sparse3d.widgets.session import Lines, save_training_session
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.faults import Fault
from napari_sparse3d.widgets.toolbox.panel import SPACE, Panel, combo, fit_height, form, small_label, table_style
from napari_sparse3d.widgets.toolbox.theme import Colours
from napari_sparse3d.widgets.toolbox.work import Step, Work

RECIPES = {
    "Shape, 64 voxels": "shape-64",
    "Shape, 40 voxels": "shape-40",
    "Head MR, 110 voxels": "mri-110",
    "Bone CT, 110 voxels": "ct-bone-110",
}
_ROW = 24
_CLASSES_SHOWN = 10
STOP_FILE = "stop"
"""A file of this name in a run's folder ends it after the epoch; the best epoch is kept."""


class TrainPanel(Panel):
    """Choose a labelled set and a network, train, watch the curves, use the model."""

    primary_text = "Train"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.workbench.enter(self)
        self.data: Path | None = None
        self.process: QProcess | None = None
        self.runs_folder = repeat.recipe_folder().parent / "runs"
        self._run_name = ""
        self._classes: list[str] = []
        self._epochs: list[dict[str, Any]] = []
        self._errors = b""
        self._half_line = b""
        self._stopping = False
        self.saving = Work(self)
        self._build()
        self.saving.finished.connect(lambda text: self.say(text))
        self.saving.failed.connect(self.fail)
        self._show_parts()
        self.runs.refresh(self.runs_folder)

    # -- looks ---------------------------------------------------------------------------------------------------------

    def _build(self) -> None:
        row = QHBoxLayout()
        self.folder_button = QPushButton("Folder per class…")
        self.folder_button.setToolTip("One sub-folder a class, with the scans or voxel sets of that class in it")
        self.folder_button.clicked.connect(self._choose_folder)
        self.table_button = QPushButton("Table…")
        self.table_button.setToolTip("Columns path, label, and perhaps patient and split; or MedMNIST's .npz")
        self.table_button.clicked.connect(self._choose_table)
        row.addWidget(self.folder_button)
        row.addWidget(self.table_button)
        self.body.addLayout(row)
        self.about = small_label("No data yet: choose a folder with one sub-folder a class, or a table.")
        self.body.addWidget(self.about)
        self.check_text = small_label()
        self.check_text.hide()
        self.body.addWidget(self.check_text)
        top = form()
        self.network = combo("The architecture")
        for each in sorted(ARCHITECTURES.values(), key=lambda each: each.name != DEFAULT_ARCHITECTURE):
            self.network.addItem(each.title, each.name)
        self.recipe = combo("How a case becomes voxels")
        for title, name in RECIPES.items():
            self.recipe.addItem(title, name)
        self.loss = combo("What is learned: classes, or distances")
        for loss in LOSSES.values():
            if not loss.spelled:
                self.loss.addItem(loss.title, loss.name)
        self.epochs = QSpinBox()
        self.epochs.setRange(1, 10_000)
        self.epochs.setValue(30)
        self.epochs.setToolTip("Times that every case is seen")
        self.use_good = combo("What to do with cases that cannot be used")
        self.use_good.addItem("stop and say which", False)
        self.use_good.addItem("leave them out, and say which", True)
        top.addRow("Network", self.network)
        top.addRow("Recipe", self.recipe)
        top.addRow("Loss", self.loss)
        top.addRow("Epochs", self.epochs)
        top.addRow("Bad cases", self.use_good)
        self.body.addLayout(top)

        self.results = QWidget()
        layout = QVBoxLayout(self.results)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        self.loss_plot = Curve("training loss", CLASS_COLOURS[1])
        self.measure_plot = Curve("validation", CLASS_COLOURS[2])
        for plot in (self.loss_plot, self.measure_plot):
            layout.addWidget(plot)
        self.state = small_label()
        layout.addWidget(self.state)
        self.confusion = QTableWidget()
        self.confusion.setAccessibleName("Confusion matrix")
        self.confusion.setToolTip("Rows: what the cases are. Columns: what the model says.")
        self.confusion.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.confusion.setTabKeyNavigation(False)
        header, side = self.confusion.horizontalHeader(), self.confusion.verticalHeader()
        if header is not None and side is not None:
            header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
            side.setDefaultSectionSize(_ROW)
        self.confusion.hide()
        layout.addWidget(self.confusion)
        row = QHBoxLayout()
        self.stop_button = QPushButton("Stop, keep best")
        self.stop_button.setToolTip("End after this epoch; the model of the best epoch is kept")
        self.stop_button.clicked.connect(self.stop)
        self.resume_button = QPushButton("Resume")
        self.resume_button.setToolTip("Go on where the last run was stopped")
        self.resume_button.clicked.connect(self.resume)
        row.addWidget(self.stop_button)
        row.addWidget(self.resume_button)
        layout.addLayout(row)
        self.body.addWidget(self.results)
        self.runs = RunsView()
        self.runs.used.connect(self._use)
        self.body.addWidget(self.runs)
        self.body.addStretch(1)
        self.copy_command = self.add_link("Copy as command", "The line that trains this model", self._command)
        self.copy_python = self.add_link("Copy as Python", "The same in Python", self._python)
        self.use_button = self.add_link("Use in Network", "Choose the trained model there", self.use_model)
        self.session = self.add_link(
            "Save session…", "The run, its curves, hashes, versions and the lines, in one folder", self._session
        )
        self.model_path: Path | None = None

    def restyle(self, look: Colours) -> None:
        """Follow the theme."""
        if hasattr(self, "loss_plot"):
            for plot in (self.loss_plot, self.measure_plot):
                plot.look = look
                plot.update()
            self.runs.restyle(look)
            self.confusion.setStyleSheet(table_style(look))

    def _show_parts(self) -> None:
        running = self.process is not None
        self.primary.setEnabled(self.data is not None)
        self.primary.setToolTip("" if self.data is not None else "Choose data first")
        self.primary.setText("Cancel" if running else "Train")
        self.results.setVisible(running or bool(self._epochs))
        self.stop_button.setEnabled(running and bool(self._epochs) and not self._stopping)
        self.resume_button.setEnabled(not running and bool(self._run_name))
        self.use_button.setEnabled(self.model_path is not None)
        for link in (self.copy_command, self.copy_python):
            link.setEnabled(self.data is not None)
        self.session.setEnabled(bool(self._run_name) and not running)

    # -- the data ------------------------------------------------------------------------------------------------------

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A folder per class")
        if folder:
            self.set_data(Path(folder))

    def _choose_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Table", "", "Labelled sets (*.csv *.parquet *.npz)")
        if path:
            self.set_data(Path(path))

    def set_data(self, path: Path) -> None:
        """Take a labelled set; it is checked before the first epoch."""
        self.data = path
        classes = sorted(child.name for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
        found = f": {', '.join(classes[:6])}{' …' if len(classes) > 6 else ''}" if classes else ""
        self.about.setText(f"{path.name}{found}. Every case is checked before the first epoch.")
        self._show_parts()

    # -- the process ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """The primary button: train, in a child process."""
        self._start(self.arguments())

    def resume(self) -> None:
        """Go on with the last run."""
        self._start([*self.arguments(), "--resume", self._run_name])

    def arguments(self, data: str = "") -> list[str]:
        """The command line after ``napari-sparse3d``, without what only this panel needs; ``data`` in place of ours."""
        chosen = {
            "--architecture": self.network.currentData(),
            "--recipe": self.recipe.currentData(),
            "--loss": self.loss.currentData(),
            "--epochs": str(self.epochs.value()),
        }
        given = ["train", data or str(self.data), *(part for option in chosen.items() for part in option)]
        return [*given, "--use-good"] if self.use_good.currentData() else given

    def _primary_clicked(self) -> None:
        if self.process is None:
            self.run()
        else:
            self.cancel()

    def _start(self, arguments: list[str]) -> None:
        if self.data is None or self.process is not None:
            return
        if "--resume" not in arguments:
            self._epochs, self._run_name, self.model_path = [], "", None
        self._errors = self._half_line = b""
        self._stopping = False
        self.confusion.hide()
        self._draw()
        self.check_text.hide()
        process = QProcess(self)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self.process = process
        program = "from napari_sparse3d.cli import main; main()"
        own = ["--json-lines", "--runs", str(self.runs_folder)]
        process.start(sys.executable, ["-c", program, *arguments, *own])
        self.say("Checking every case …")
        self.progress.setRange(0, 0)
        self.progress.show()
        self.state.setText("")
        self._show_parts()

    def cancel(self) -> None:
        """End the process now; what was trained so far stays as a run that can be resumed."""
        if self.process is not None:
            process, self.process = self.process, None
            process.finished.disconnect()
            process.kill()
            process.waitForFinished(3000)
            process.deleteLater()
            self.progress.hide()
            resumable = " Resume goes on after its last epoch." if self._run_name else ""
            self.say(f"Cancelled.{resumable}")
            self.runs.refresh(self.runs_folder)
            self._show_parts()

    def stop(self) -> None:
        """Ask the run to end after this epoch and to keep its best model."""
        if self._run_name:
            (self.runs_folder / self._run_name / STOP_FILE).touch()
            self._stopping = True
            self.say("Stopping after this epoch; the best model is kept …")
            self._show_parts()

    def _read(self) -> None:
        if self.process is None:
            return
        *lines, self._half_line = (self._half_line + bytes(self.process.readAllStandardOutput().data())).split(b"\n")
        for line in lines:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue  # what a library printed
            if isinstance(event, dict):
                self.take_event(event)

    def _read_errors(self) -> None:
        if self.process is not None:
            self._errors += bytes(self.process.readAllStandardError().data())

    def take_event(self, event: dict[str, Any]) -> None:
        """Show one event of ``train --json-lines``: check, epoch, done or error."""
        kind = event.get("event")
        if kind == "check":
            self._classes = list(event.get("classes") or {})
            self.check_text.setText(_check_words(event))
            self.check_text.show()
        elif kind == "epoch":
            self._run_name = str(event["run"])
            self._epochs.append(event)
            self._draw()
            chosen = event["selected_by"]
            wait = f" · {words.seconds(event['seconds_left'])} left" if event["epoch"] < event["epochs"] else ""
            self.state.setText(
                f"epoch {event['epoch']}/{event['epochs']} · {chosen} {event['val'][chosen]:.3f} · "
                f"best {event['best']:.3f} at {event['best_epoch']}{wait}"
            )
            self.progress.setRange(0, int(event["epochs"]))
            self.progress.setValue(int(event["epoch"]))
            if not self._stopping:
                self.say("")
        elif kind == "done":
            self._run_name = str(event["run"])
            self.model_path = Path(event["model"])
            self._show_confusion(event.get("metrics") or {})
            self.say(f"{'Done' if event['status'] == 'done' else 'Stopped'}: the model is in the Network panel.")
            self.workbench.add_model_file(str(self.model_path))
            self.runs.refresh(self.runs_folder)
        elif kind == "error":
            self.fail(Fault(str(event["message"]), self._errors.decode(errors="replace"), expected=False))
        self._show_parts()

    def _finished(self, code: int, _status: object) -> None:
        if self.process is None:
            return
        self._read()
        process, self.process = self.process, None
        process.deleteLater()
        self.progress.hide()
        if code and self._fault is None:
            said = self._errors.decode(errors="replace").strip()
            last = said.rpartition("\n")[2].removeprefix("error: ")
            self.fail(Fault(last or f"Training ended with code {code}.", said, expected=False))
        if code:
            self.runs.refresh(self.runs_folder)
        self._show_parts()

    def _broken(self, error: object) -> None:
        if self.process is not None and error == QProcess.ProcessError.FailedToStart:
            self.process = None
            self.progress.hide()
            self.fail(Fault("The training process could not be started.", str(sys.executable), expected=False))
            self._show_parts()

    # -- pictures ------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        epochs = [event["epoch"] for event in self._epochs]
        self.loss_plot.set_points(epochs, [event["loss"] for event in self._epochs])
        if epochs:
            chosen = self._epochs[-1]["selected_by"]
            values = [event["val"][chosen] for event in self._epochs]
            self.measure_plot.set_points(epochs, values, f"validation {chosen}")
        else:
            self.measure_plot.set_points([], [])

    def _show_confusion(self, metrics: dict[str, Any]) -> None:
        matrix = metrics.get("confusion")
        if not matrix:
            return
        names = self._classes if len(self._classes) == len(matrix) else [str(n) for n in range(len(matrix))]
        self.confusion.setRowCount(len(matrix))
        self.confusion.setColumnCount(len(matrix))
        self.confusion.setHorizontalHeaderLabels([f"→ {name}" for name in names])
        self.confusion.setVerticalHeaderLabels(names)
        for y, row in enumerate(matrix):
            for x, value in enumerate(row):
                item = QTableWidgetItem(f"{value}")
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.confusion.setItem(y, x, item)
        fit_height(self.confusion, _CLASSES_SHOWN)
        self.confusion.show()

    # -- links ---------------------------------------------------------------------------------------------------------

    def _command(self) -> None:
        self.copy(repeat.line(self.arguments()), "Command")

    def _python(self) -> None:
        if self.data is not None:
            self.copy(self.python(), "Python")

    def python(self, data: str = "") -> str:
        """The training of these settings in Python; ``data`` in place of ours."""
        chosen = {"architecture": self.network.currentData(), "epochs": self.epochs.value()}
        return repeat.train_python(
            Path(data) if data else self.data or Path(),
            chosen,
            self.loss.currentData(),
            self.recipe.currentData(),
            use_good=bool(self.use_good.currentData()),
        )

    def use_model(self) -> None:
        """Choose the trained model in the Network panel."""
        if self.model_path is not None:
            self._use(str(self.model_path))

    def _use(self, path: str) -> None:
        self.workbench.add_model_file(path)
        self.viewer.window.add_plugin_dock_widget("napari-sparse3d", "Network", tabify=True)
        self.say("Chosen in the Network panel.")

    def _session(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Save session into an empty folder")
        if folder:
            self.save_session_to(Path(folder))

    def save_session_to(self, folder: Path) -> None:
        """Write the last run's session into a folder."""
        if self.data is None or not self._run_name:
            return
        data, model, runs, name = self.data, self.model_path, self.runs_folder, self._run_name
        lines = Lines(repeat.line(self.arguments(repeat.DATA)), self.python(repeat.DATA))

        def job() -> Generator[Step, None, str]:
            yield Step(0, 0, "Hashing the data, drawing the curves …")
            from napari_sparse3d.pictures.evaluation import curves_figure
            from napari_sparse3d.training.runs import RunStore

            run = RunStore(runs).find(name)
            figure = curves_figure(run["history"], run["selected_by"], title=name) if run["history"] else None
            files = save_training_session(folder, run, data, model, figure, lines)
            return f"Saved {words.count(len(files), 'files')} in {folder.name}."

        self.say("Saving the session …")
        self.saving.start(job, "saving the session")


def _check_words(event: dict[str, Any]) -> str:
    classes = ", ".join(f"{name} {count}" for name, count in event.get("classes", {}).items())
    text = f"✓ {event.get('train', 0):,} cases to train on ({classes}), {event.get('val', 0):,} to validate"
    problems = event.get("problems") or []
    if problems:
        said = [str(problem.get("message") or problem.get("what") or problem) for problem in problems]
        text += f"\n⚠ {words.count(len(problems), 'problems')}: " + "; ".join(said[:4])
    return text
