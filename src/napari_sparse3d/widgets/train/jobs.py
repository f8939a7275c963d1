"""A training in a process of its own, and what is written of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtCore import QObject, QProcess, Signal  # type: ignore[attr-defined]

from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.failures import Failure
from napari_sparse3d.widgets.toolbox.session_folder import Lines
from napari_sparse3d.widgets.toolbox.step import Step
from napari_sparse3d.widgets.train.save import save_training_session

_REFUSAL = "error: "
"""So begins the line with which a command says what cannot be done, and what to do."""
_PROGRAM = "from napari_sparse3d.cli import main; main()"


class TrainingProcess(QObject):
    """``napari-sparse3d train --json-lines``: its events, and how it ended."""

    started = Signal(str)
    """A title; this and ``stepped`` are for :meth:`Panel.follow`."""
    stepped = Signal(object)
    """A :class:`Step` after each epoch."""
    reported = Signal(dict)
    """One event: check, epoch, done or error. Not called ``event``, which Qt calls for each of its own."""
    failed = Signal(object)
    """A :class:`Failure`: it could not be started, or ended badly without a word."""
    ended = Signal()
    """It is gone."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.process: QProcess | None = None
        self._errors = b""
        self._half_line = b""
        self._explained = False

    @property
    def running(self) -> bool:
        """Whether it is there."""
        return self.process is not None

    @property
    def said(self) -> str:
        """What it has printed for people so far."""
        return self._errors.decode(errors="replace")

    def start(self, arguments: Sequence[str]) -> None:
        """Begin; ``arguments`` are those of the command line."""
        self._errors, self._half_line, self._explained = b"", b"", False
        process = QProcess(self)
        process.readyReadStandardOutput.connect(self._read)
        process.readyReadStandardError.connect(self._read_errors)
        process.finished.connect(self._finished)
        process.errorOccurred.connect(self._broken)
        self.process = process
        self.started.emit("checking every case")
        process.start(sys.executable, ["-c", _PROGRAM, *arguments])

    def cancel(self) -> None:
        """End it now; its checkpoint stays."""
        if self.process is not None:
            process, self.process = self.process, None
            process.finished.disconnect()
            process.kill()
            process.waitForFinished(3000)
            process.deleteLater()
            self.ended.emit()

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
                self._explained |= event.get("event") == "error"
                self.reported.emit(event)
                if event.get("event") == "epoch":
                    self.stepped.emit(Step(int(event["epoch"]), int(event["epochs"]), ""))

    def _read_errors(self) -> None:
        if self.process is not None:
            self._errors += bytes(self.process.readAllStandardError().data())

    def _finished(self, code: int, _status: object) -> None:
        if self.process is None:
            return
        self._read()
        self._read_errors()
        process, self.process = self.process, None
        process.deleteLater()
        if code and not self._explained:
            said = self.said.strip()
            last = said.rpartition("\n")[2]
            refused = last.startswith(_REFUSAL)
            sentence = last.removeprefix(_REFUSAL) or f"Training ended with code {code}."
            self.failed.emit(Failure(sentence, said, expected=refused))
        self.ended.emit()

    def _broken(self, error: object) -> None:
        if self.process is not None and error == QProcess.ProcessError.FailedToStart:
            self.process = None
            self.failed.emit(Failure("The training process could not be started.", str(sys.executable), expected=False))
            self.ended.emit()


def save_session(
    folder: Path, data: Path, model: Path | None, runs: Path, run_name: str, lines: Lines
) -> Callable[[], str]:
    """Draw the curves of a run and write its session."""

    def write() -> str:
        from napari_sparse3d.pictures.evaluation import curves_figure
        from napari_sparse3d.training.runs import RunStore

        run = RunStore(runs).find(run_name)
        figure = curves_figure(run["history"], run["selected_by"], title=run_name) if run["history"] else None
        files = save_training_session(folder, run, data, model, figure, lines)
        return f"Saved {words.count(len(files), 'files')} in {folder.name}."

    return write
