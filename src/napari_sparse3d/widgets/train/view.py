"""The Train panel: its controls, and what happens when they are used."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QProcess
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.toolbox.failures import Failure
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layout import small_label
from napari_sparse3d.widgets.toolbox.panel import Panel, saving
from napari_sparse3d.widgets.toolbox.session_folder import Lines
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.train import jobs
from napari_sparse3d.widgets.train.closing import ClosingGuard
from napari_sparse3d.widgets.train.progress import Progress
from napari_sparse3d.widgets.train.runs_view import RunsView
from napari_sparse3d.widgets.train.settings import Settings
from napari_sparse3d.widgets.train.state import GoneOn, Started, TrainingState, check_words, data_words, epoch_words

STOP_FILE = "stop"
"""A file of this name in a run's folder ends it after the epoch; the best epoch is kept."""


class TrainPanel(Panel):
    """Choose a labelled set and a network, train, watch the curves, use the model."""

    primary_text = "Train"

    # -- looks ---------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Lay out the controls, and list the runs so far."""
        self.state = TrainingState()
        self.runs_folder = repeat.recipe_folder().parent / "runs"
        self.training = jobs.TrainingProcess(self)
        self.saving, self.describing = Work(self), Work(self)
        self._build_data()
        self._build_settings()
        self._build_results()
        self.body.addStretch(1)
        self._build_links()
        self.training.reported.connect(self.take_event)
        self.training.ended.connect(self._training_ended)
        self.follow(self.training)
        self.guard = ClosingGuard(self)
        self.saving.finished.connect(lambda text: self.say(text))
        self.saving.failed.connect(self.fail)
        self._show_parts()
        self.runs.refresh(self.runs_folder)

    def _build_data(self) -> None:
        self.folder_button = QPushButton("Folder per class…")
        self.folder_button.setToolTip("One sub-folder per class, with the scans or voxel sets of that class in it")
        self.folder_button.clicked.connect(self._choose_folder)
        self.table_button = QPushButton("Table…")
        self.table_button.setToolTip("Columns path, label and, optionally, patient and split; or a MedMNIST .npz")
        self.table_button.clicked.connect(self._choose_table)
        row = Row()
        row.add(self.folder_button, self.table_button)
        self.body.addLayout(row)
        self.about = small_label("No data yet: choose a folder with one sub-folder per class, or a table.")
        self.check_text = small_label()
        self.check_text.hide()
        self.body.addWidget(self.about)
        self.body.addWidget(self.check_text)

    def _build_settings(self) -> None:
        self.settings = chosen = Settings()
        self.network, self.recipe, self.loss = chosen.network, chosen.recipe, chosen.loss
        self.epochs, self.use_good = chosen.epochs, chosen.use_good
        self.more = chosen.more.heading
        chosen.asked.connect(self._describe)
        self.describing.finished.connect(chosen.more.show_fields)
        self.describing.failed.connect(self.fail)
        self.body.addWidget(self.settings)

    def _describe(self) -> None:
        """Ask the process that knows networks and losses what can be set."""
        call = partial(self.workbench.network_child.call, "settings.training")
        self.describing.start(call, "reading the settings")

    def _build_results(self) -> None:
        self.results = shown = Progress()
        self.loss_plot, self.measure_plot, self.confusion = shown.loss_plot, shown.measure_plot, shown.confusion
        self.progress_text = shown.text
        self.stop_button, self.resume_button = shown.stop_button, shown.resume_button
        self.stop_button.clicked.connect(self.stop)
        self.resume_button.clicked.connect(self.resume)
        self.runs = RunsView()
        self.runs.used.connect(self._use)
        self.runs.resumed.connect(self.resume_run)
        self.runs.renamed.connect(self.rename_run)
        self.body.addWidget(self.results)
        self.body.addWidget(self.runs)

    def _build_links(self) -> None:
        self.copy_command, self.copy_python = self.add_copy_links(
            "The line that trains this model; during a training, with the settings of that run",
            lambda: repeat.line(self.arguments()),
            self.python,
        )
        self.use_button = self.add_link("Use in Network", "Choose the trained model there", self.use_model)
        tip = "The run, its curves, hashes, versions and the lines, in one folder"
        self.session = self.add_session_link(tip, self.save_session_to)

    def _show_parts(self) -> None:
        running, state = self.process is not None, self.state
        self.primary.setEnabled(running or state.data is not None)
        self.primary.setToolTip("" if state.data is not None else "Choose data first")
        self.results.setVisible(running or bool(state.epochs))
        self.stop_button.setEnabled(running and bool(state.epochs) and not state.stopping)
        self.resume_button.setEnabled(not running and bool(state.run_name))
        self.use_button.setEnabled(state.model is not None)
        for link in (self.copy_command, self.copy_python):
            link.setEnabled(state.data is not None)
        self.session.setEnabled(bool(state.run_name) and not running)

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
        self.state.data = path
        self.about.setText(data_words(path))
        self._show_check()
        self._show_parts()

    def _show_check(self) -> None:
        """What was found in the data of a run stands below those data alone."""
        run = self.state.started
        self.check_text.setVisible(bool(self.check_text.text()) and run is not None and run.data == self.state.data)

    # -- the process ---------------------------------------------------------------------------------------------------

    @property
    def process(self) -> QProcess | None:
        """The training that is going on."""
        return self.training.process

    @property
    def model_path(self) -> Path | None:
        """The trained model."""
        return self.state.model

    def run(self) -> None:
        """The primary button: train, in a child process."""
        with self.telling():
            if self.state.data is not None:
                self._start(self._chosen(), anew=True)

    def resume(self) -> None:
        """Go on with the last run: its own data and settings, to the epochs that are chosen now."""
        with self.telling():
            if (started := self.state.started) is not None:
                name = "" if isinstance(started, GoneOn) else self.state.run_name  # it says so itself
                self._start(started.to_epochs(self._chosen().planned), resume=name)

    def resume_run(self, run: str) -> None:
        """Go on with a run of the list, on the data that are chosen: its settings are those in its folder."""
        if self.process is not None:
            self.say("A training is running; wait for it, or cancel it.", warning=True)
        elif self.state.data is None:
            self.say("First choose the data that it was trained on.", warning=True)
        else:
            row = next(row for row in self.runs.rows if row["run"] == run)
            called, planned = row.get("title") or run, int(row.get("epochs") or 0)
            self._start(GoneOn(self.state.data, run, self.runs_folder, called, planned), anew=True)

    def _chosen(self) -> Started:
        """The controls as they stand; for errors see :meth:`Settings.chosen`."""
        return Started(self.state.data or Path(), self.settings.chosen())

    def _repeated(self) -> Started | GoneOn:
        """What the links repeat: the last run, until something else is chosen after its end."""
        run = self.state.started
        if run is not None and (self.process is not None or self._chosen() == self.state.chosen_at_end):
            return run
        return self._chosen()

    def arguments(self, data: str = "") -> list[str]:
        """The command line after ``napari-sparse3d``, without what only this panel needs; ``data`` in place of ours."""
        return self._repeated().arguments(data)

    def copy(self, text: str, what: str) -> None:
        """As of every panel; where the lines are not those of the run whose curves are shown, that is said."""
        super().copy(text, what)
        if self.state.started is not None and self._repeated() is not self.state.started:
            self.say(f"{what} copied: it trains with the settings above, which differ from those of the run below.")

    def _start(self, started: Started | GoneOn, *, anew: bool = False, resume: str = "") -> None:
        if self.process is not None:
            return
        self.state.begin(started, anew=anew)
        self.results.begin(started.words())
        self._draw()
        self.check_text.setText("")
        self._show_check()
        arguments = [*started.arguments(), *(["--resume", resume] if resume else []), "--json-lines"]
        self.guard.watch()
        self.training.start(arguments if "--runs" in arguments else [*arguments, "--runs", str(self.runs_folder)])
        self._show_parts()

    def cancel(self) -> None:
        """End the process now; what was trained so far stays as a run that can be resumed."""
        if self.process is not None:
            self.training.cancel()
            self.say(self.cancelled_text())

    def cancelled_text(self) -> str:
        """What is said after *Cancel*."""
        return f"Cancelled.{' Resume continues after its last epoch.' if self.state.run_name else ''}"

    def stop(self) -> None:
        """Ask the run to end after this epoch and to keep its best model."""
        if self.state.run_name:
            (self.runs_folder / self.state.run_name / STOP_FILE).touch()
            self.state.stopping = True
            self.say_meanwhile("Stopping after this epoch; the best model is kept …")
            self._show_parts()

    def _training_ended(self) -> None:
        self.guard.rest()
        with suppress(InputError):  # what is typed is no value: then it is not what was trained with
            self.state.chosen_at_end = self._chosen()
        self.runs.refresh(self.runs_folder)  # only now is a run without an end known as interrupted
        self._show_parts()

    def take_event(self, event: dict[str, Any]) -> None:
        """Show one event of ``train --json-lines``: check, epoch, done or error."""
        kind = event.get("event")
        if kind == "check":
            self.state.checked(event)
            self.check_text.setText(check_words(event))
            self._show_check()
        elif kind == "epoch":
            self.state.epoch_done(event)
            self._draw()
            self.progress_text.setText(epoch_words(event))
            if not self.state.stopping:
                self.hush()
        elif kind == "done":
            model = self.state.done(event)
            if matrix := (event.get("metrics") or {}).get("confusion"):
                self.confusion.set_matrix(matrix, self.state.class_names(len(matrix)))
            self.conclude(f"{'Done' if event['status'] == 'done' else 'Stopped'}: the model is in the Network panel.")
            self.workbench.add_model_file(str(model))
            self.runs.refresh(self.runs_folder)
        elif kind == "error":
            expected = bool(event.get("expected"))
            self.conclude_failure(Failure(str(event["message"]), self.training.said, expected=expected))
        self._show_parts()

    def rename_run(self, run: str, name: str) -> None:
        """Call a run so in every list."""
        from napari_sparse3d.training.runs import RunStore

        with self.telling():
            RunStore(self.runs_folder).rename(run, name)
        self.runs.refresh(self.runs_folder)

    def _draw(self) -> None:
        loss, measure, name, chance = self.state.curves()
        self.loss_plot.set_series([loss])
        self.measure_plot.set_series([measure], f"validation {name}" if name else "", chance=chance)

    # -- links ---------------------------------------------------------------------------------------------------------

    def python(self, data: str = "") -> str:
        """The training of these settings in Python; ``data`` in place of ours."""
        return self._repeated().python(data)

    def use_model(self) -> None:
        """Choose the trained model in the Network panel."""
        if self.state.model is not None:
            self._use(str(self.state.model))

    def _use(self, path: str) -> None:
        self.workbench.add_model_file(path)
        self.show_panel("network")
        self.say("Chosen in the Network panel.")

    def save_session_to(self, folder: Path) -> None:
        """Write the last run's session into a folder."""
        state = self.state
        if state.started is None or not state.run_name:
            return
        with self.telling():
            own = state.started
            lines = Lines(repeat.line(own.arguments(repeat.DATA)), own.python(repeat.DATA))
            write = jobs.save_session(folder, own.data, state.model, self.runs_folder, state.run_name, lines)
            self.say_meanwhile("Saving the session …")
            self.saving.start(saving("Hashing the data, drawing the curves …", write), "saving the session")
