"""Embedding the cases of folders and tables, in a child process; the map grows while it goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from qtpy.QtCore import QObject

from napari_sparse3d.cases.record import stored_classes, write_rows
from napari_sparse3d.cohort.classes import checked_orders
from napari_sparse3d.cohort.gather import places_of
from napari_sparse3d.cohort.tables import Cohort, cohort_of, rows_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.child.records import Shown
from napari_sparse3d.widgets.cohort.colours import TAG, class_orders
from napari_sparse3d.widgets.cohort.state import CohortState, kept_tables
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.work import Work

_REDRAW_S = 2.0
"""While cases are embedded, the map is drawn anew this often."""
_FIRST_MAP = 5
"""With fewer cases there is nothing to see."""
Row = dict[str, Any]


class ShowCohort(Protocol):
    """Shows cases."""

    def __call__(self, cohort: Cohort, *, final: bool) -> None:
        """``final``: these are all."""


class Embedder(QObject):
    """Embeds by the model that the workbench has; progress stands in ``panel``.

    What is embedded is held here until it is shown: the cases in ``state``, which the user may work with meanwhile, are
    others. Cases that come to those shown are embedded alone, where the model is the one that embedded them; by another
    model all are embedded anew, and those shown stay until that is done.

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
        self._sources: tuple[Path, ...] = ()
        self._model = ""
        self._rows: list[Row] = []
        self._before: list[Row] = []
        self._by: tuple[str, str] | None = None
        self._anew = False
        self.work = Work(self, interrupt=panel.workbench.cohort_child.stop)
        panel.follow(self.work)
        self.work.stepped.connect(self._stepped)
        self.work.finished.connect(self._finish)  # each row has come with its step

    def start(self) -> None:
        """Embed the cases that were added, or all of them anew where none were."""
        state, workbench = self._state, self._panel.workbench
        self._started = monotonic()
        self._sources, self._model, self._rows = tuple(state.sources), workbench.model, []
        comes = state.cohort is not None and not state.replaces
        if comes and state.cohort is not None:
            state.rows = state.rows or rows_of(state.cohort)  # these have the tags that are given meanwhile
        self._before = state.rows if comes else []
        self._by = state.origin() if comes and state.added else None
        self._anew = comes and not state.added
        shown = None
        if self._by is not None:
            embedded = [row for row in self._before if row.get("embedding") is not None]
            shown = Shown(places_of(embedded, state.table), self._by, [str(source) for source in state.added])
        call = partial(
            workbench.cohort_child.call,
            "network.embed",
            sources=[str(source) for source in self._sources],
            model=self._model,
            shown=shown,
        )
        looked = state.added or list(self._sources)
        self.work.start(call, f"looking for cases in {named(looked)}")

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
        if self._takes_the_place_of_those_shown() or monotonic() - self._drawn <= _REDRAW_S:
            return
        if self._n_embedded() >= (1 if self._comes_to_those_shown() else _FIRST_MAP):
            grown = self.shown or self._comes_to_those_shown()
            self._drawn = monotonic()
            rows = self._all_rows()
            cohort = cohort_of(rows)
            self._state.show(cohort, rows=rows, grown=grown)
            self._show(cohort, final=False)

    def _n_embedded(self) -> int:
        """Of the rows so far, those that did not fail."""
        return sum(row["status"] == "done" for row in self._rows)

    def _comes_to_those_shown(self) -> bool:
        """Whether the cases come to those shown: one model and one recipe have embedded both."""
        origins = {(row.get("model_hash"), row.get("recipe_hash")) for row in self._rows}
        return self._by is not None and origins <= {self._by}

    def _takes_the_place_of_those_shown(self) -> bool:
        """Whether the cases shown are embedded anew: until that is done, or is cancelled, they stay."""
        return self._anew or (self._by is not None and not self._comes_to_those_shown())

    def _all_rows(self) -> list[Row]:
        if not self._comes_to_those_shown():
            return self._rows
        again = {_key(row) for row in self._rows}
        stay = [row for row in self._before if row.get("embedding") is not None or _key(row) not in again]
        return [*stay, *self._rows]

    def _finish(self, n_known: object) -> None:
        n_known = n_known if isinstance(n_known, int) else 0
        with self._panel.telling():
            if not self._rows:
                self._state.taken()
                self._show_nothing_new(n_known)
                return
            rows, grown = self._all_rows(), self.shown or self._comes_to_those_shown()
            if self._takes_the_place_of_those_shown():
                _carry_tags(self._before, rows)
            cohort = cohort_of(rows)
            try:
                table, cohort = self._write(rows, cohort)
            except (InputError, OSError):  # a full disk, say: they are shown all the same, and can be saved elsewhere
                self._show_all(cohort, rows, None, grown=grown)
                raise
            self._show_all(cohort, rows, table, grown=grown)
            self._panel.say(self._outcome(n_known), warning=bool(cohort.n_failed))

    def _show_nothing_new(self, n_known: int) -> None:
        cohort = self._state.cohort
        if cohort is not None:
            self._show(cohort, final=True)
        self._panel.say(f"No new cases: {words.count(n_known, 'cases')} found, all of them here already.")

    def _outcome(self, n_known: int) -> str:
        said = []
        if self._comes_to_those_shown():
            said = [f"{words.count(self._n_embedded(), 'cases')} added."]
        if n_known:
            said.append(f"{words.count(n_known, 'cases')} here already, or found twice.")
        return " ".join([*said, self._state.first_failure()]).strip()

    def _show_all(self, cohort: Cohort, rows: list[Row], table: Path | None, *, grown: bool) -> None:
        self._state.show(cohort, table=table, rows=rows, embedded=(self._sources, self._model), grown=grown)
        self._state.taken()
        self._show(cohort, final=True)

    def _write(self, rows: list[Row], cohort: Cohort) -> tuple[Path, Cohort]:
        """Embeddings took their time: they are kept in the user's data folder, and named in Copy as command."""
        # two folders, and two models, may have one name
        places = "\n".join(str(source.absolute()) for source in self._sources)
        digest = hashlib.sha256(f"{places}\n{rows[0]['model_hash']}".encode()).hexdigest()[:8]
        path = kept_tables() / f"{self._sources[0].stem}-{Path(self._model).stem}-{digest}.parquet"
        # the colours that these classes had when they were embedded before
        cohort = replace(cohort, classes=checked_orders(stored_classes(path)))
        write_rows(rows, path, classes=class_orders(cohort, self._state.class_numbers))
        return path, cohort


def named(sources: Sequence[Path]) -> str:
    """Folders and tables by their names."""
    names = [source.name for source in sources]
    return ", ".join(names) if len(names) < 4 else f"{names[0]} and {len(names) - 1} more"


def _key(row: Row) -> tuple[Any, ...]:
    """Which case it is; several things may lie in one scan."""
    return row.get("path"), row.get("series"), row.get("mask"), row.get("value")


def _carry_tags(before: Sequence[Row], rows: Sequence[Row]) -> None:
    """What the user has called a case, it is called by another model's embedding too."""
    tags = {_key(row): row.get(TAG) for row in before if TAG in row}
    for row in rows:
        if _key(row) in tags:
            row[TAG] = tags[_key(row)]
