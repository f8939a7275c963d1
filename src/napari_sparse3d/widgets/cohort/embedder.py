"""Embedding the cases of a folder or table, in a child process; the map grows while it goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from qtpy.QtCore import QObject

from napari_sparse3d.cases.record import write_rows
from napari_sparse3d.cohort.tables import Cohort, cohort_of
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
    """Embeds by the model that the workbench has; rows and table stand in ``state``, progress in ``panel``.

    Parameters
    ----------
    panel : Panel
    state : CohortState
    show : callable
        Given the cases so far (``final=False``), and all of them once their table is on disk (``final=True``). It may
        raise what :meth:`Panel.telling` tells, which is why it is no signal: those lose an exception.
    """

    def __init__(self, panel: Panel, state: CohortState, show: ShowCohort) -> None:
        super().__init__(panel)
        self._panel, self._state, self._show = panel, state, show
        self._started = self._drawn = 0.0
        self.work = Work(self, interrupt=panel.workbench.cohort_child.stop)
        panel.follow(self.work)
        self.work.stepped.connect(self._stepped)
        self.work.finished.connect(self._finish)

    def start(self, source: Path) -> None:
        """Look for the cases of a folder or table and embed them."""
        self._started = monotonic()
        workbench = self._panel.workbench
        self._state.rows, self._state.embedded = [], (source, workbench.model)
        call = partial(workbench.cohort_child.call, "network.embed", source=str(source), model=workbench.model)
        self.work.start(call, f"looking for cases in {source.name}")

    def _stepped(self, step: object) -> None:
        if not isinstance(step, tuple):
            return
        done, total, row = step
        if row is not None:
            self._state.rows.append(row)
        self._panel.progress.setRange(0, total)
        self._panel.progress.setValue(done)
        if total:
            wait = words.left(done, total, monotonic() - self._started)
            self._panel.say_meanwhile(f"Embedding {done} of {total}{', ' if wait else ''}{wait} …")
        if self._state.n_embedded >= _FIRST_MAP and monotonic() - self._drawn > _REDRAW_S:
            self._drawn = monotonic()
            self._show(cohort_of(self._state.rows), final=False)

    def _finish(self, rows: Sequence[dict[str, Any]]) -> None:
        with self._panel.telling():
            cohort = cohort_of(rows)
            self._state.rows = list(rows)
            self._state.table = self._write(rows)
            self._show(cohort, final=True)
            if failed := self._state.first_failure():
                self._panel.say(failed, warning=True)

    def _write(self, rows: Sequence[dict[str, Any]]) -> Path:
        """Embeddings took their time: they are kept in the user's data folder, and named in Copy as command."""
        assert self._state.embedded is not None  # by start
        source, model = self._state.embedded
        # two folders, and two models, may have one name
        which = hashlib.sha256(f"{source.absolute()}\n{rows[0]['model_hash']}".encode()).hexdigest()[:8]
        path = kept_tables() / f"{source.stem}-{Path(model).stem}-{which}.parquet"
        write_rows(rows, path)
        return path
