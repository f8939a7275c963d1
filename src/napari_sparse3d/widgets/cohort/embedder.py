"""Embedding the cases of a folder or table, in a child process; the map grows while it goes on."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from qtpy.QtCore import QObject

from napari_sparse3d.cases.record import write_rows
from napari_sparse3d.cohort.tables import Cohort, cohort_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.cohort.state import CohortState, kept_tables
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.work import Work

_REDRAW_S = 2.0
"""While cases are embedded, the map is drawn anew this often."""
_FIRST_MAP = 5
"""With fewer cases there is nothing to see."""


class ShowCohort(Protocol):
    """Shows cases."""

    def __call__(self, cohort: Cohort, *, final: bool) -> None:
        """``final``: these are all."""


class Embedder(QObject):
    """Embeds by the model that the workbench has; progress stands in ``panel``.

    What is embedded is held here until it is shown: the cases in ``state``, which the user may work with meanwhile, are
    others.

    Parameters
    ----------
    panel : Panel
    state : CohortState
    show : callable
        Given the cases so far (``final=False``), and all of them (``final=True``), which ``state`` has then. It may
        raise what :meth:`Panel.telling` tells, which is why it is no signal: those lose an exception.
    """

    def __init__(self, panel: Panel, state: CohortState, show: ShowCohort) -> None:
        super().__init__(panel)
        self._panel, self._state, self._show = panel, state, show
        self._started = self._drawn = 0.0
        self._source, self._model = Path(), ""
        self._rows: list[dict[str, Any]] = []
        self.work = Work(self, interrupt=panel.workbench.cohort_child.stop)
        panel.follow(self.work)
        self.work.stepped.connect(self._stepped)
        self.work.finished.connect(lambda _rows: self._finish())  # each has come with its step

    def start(self, source: Path) -> None:
        """Look for the cases of a folder or table and embed them."""
        self._started = monotonic()
        workbench = self._panel.workbench
        self._source, self._model, self._rows = source, workbench.model, []
        call = partial(workbench.cohort_child.call, "network.embed", source=str(source), model=self._model)
        self.work.start(call, f"looking for cases in {source.name}")

    @property
    def shown(self) -> bool:
        """Whether the map has come to show cases of the embedding that was started last."""
        return self._drawn > self._started

    def _stepped(self, step: object) -> None:
        if not isinstance(step, tuple):
            return
        done, total, row = step
        if row is not None:
            self._rows.append(row)
        self._panel.progress.setRange(0, total)
        self._panel.progress.setValue(done)
        if total:
            wait = words.left(done, total, monotonic() - self._started)
            self._panel.say_meanwhile(f"Embedding {done} of {total}{', ' if wait else ''}{wait} …")
        if monotonic() - self._drawn > _REDRAW_S and self._n_embedded() >= _FIRST_MAP:
            self._drawn = monotonic()
            cohort = cohort_of(self._rows)
            self._state.show(cohort, rows=self._rows)
            self._show(cohort, final=False)

    def _n_embedded(self) -> int:
        """Of the rows so far, those that did not fail."""
        return sum(row["status"] == "done" for row in self._rows)

    def _finish(self) -> None:
        with self._panel.telling():
            cohort = cohort_of(self._rows)
            try:
                table = self._write()
            except (InputError, OSError):  # a full disk, say: they are shown all the same, and can be saved elsewhere
                self._show_all(cohort, None)
                raise
            self._show_all(cohort, table)
            if failed := self._state.first_failure():
                self._panel.say(failed, warning=True)

    def _show_all(self, cohort: Cohort, table: Path | None) -> None:
        self._state.show(cohort, table=table, rows=self._rows, embedded=(self._source, self._model))
        self._show(cohort, final=True)

    def _write(self) -> Path:
        """Embeddings took their time: they are kept in the user's data folder, and named in Copy as command."""
        # two folders, and two models, may have one name
        which = f"{self._source.absolute()}\n{self._rows[0]['model_hash']}"
        digest = hashlib.sha256(which.encode()).hexdigest()[:8]
        path = kept_tables() / f"{self._source.stem}-{Path(self._model).stem}-{digest}.parquet"
        write_rows(self._rows, path)
        return path
