"""Every training is written down by itself: one row a run, in an SQLite file that many processes may write to."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

from napari_sparse3d.errors import InputError
from napari_sparse3d.text import one_file_name

COLUMNS: dict[str, str] = {
    "run": "TEXT PRIMARY KEY",
    "status": "TEXT",  # running, done, stopped, failed
    "dataset": "TEXT",
    "architecture": "TEXT",
    "parameters": "INTEGER",
    "classes": "INTEGER",
    "train_cases": "INTEGER",
    "val_cases": "INTEGER",
    "batch_size": "INTEGER",
    "test_interval": "INTEGER",  # epochs between validations
    "loss_name": "TEXT",
    "pair_method": "TEXT",
    "triplets": "INTEGER",  # that went into the loss so far
    "margin": "REAL",
    "norm": "TEXT",  # the distance of a metric loss
    "optimizer": "TEXT",
    "learning_rate": "REAL",
    "learning_rate_policy": "TEXT",
    "render_size": "INTEGER",  # longest side of a shape in voxels, or the field
    "seed": "INTEGER",
    "hash": "TEXT",  # of settings and data
    "server": "TEXT",
    "device": "TEXT",
    "threads": "INTEGER",
    "epoch": "INTEGER",
    "epochs": "INTEGER",
    "loss": "REAL",
    "accuracy": "REAL",
    "auc": "REAL",
    "map": "REAL",
    "best": "REAL",
    "best_epoch": "INTEGER",
    "selected_by": "TEXT",
    "seconds": "REAL",
    "cpu_seconds": "REAL",  # processor time, all threads: what does not grow when the machine is busy with other work
    "started": "TEXT",
    "last_update": "TEXT",
    "plot": "TEXT",
    "folder": "TEXT",
    "error": "TEXT",
    "config": "TEXT",  # JSON
    "history": "TEXT",  # JSON: one row an epoch
}
"""Name and SQL type of every column; the last two are JSON."""


def default_runs() -> Path:
    """``NAPARI_SPARSE3D_RUNS``, or the folder ``runs`` where the program was started."""
    return Path(os.environ.get("NAPARI_SPARSE3D_RUNS", "runs"))


class RunStore:
    """The table of runs in ``folder / "runs.sqlite"``; each run has a folder of its own beside it.

    Parameters
    ----------
    folder : Path, optional
        None: :func:`default_runs`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (default_runs() if folder is None else folder).absolute()

    def new(self, name: str = "") -> str:
        """A name for a run, that sorts by time and is not taken yet; makes its folder."""
        stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
        called = one_file_name(name, "") if name else ""  # one folder below ours, whatever the name says
        run = "-".join(filter(None, (stamp, called, uuid4().hex[:4])))
        (self.folder / run).mkdir(parents=True)
        self.update(run, status="running", started=_now(), server=platform.node(), folder=str(self.folder / run))
        return run

    def update(self, run: str, **values: Any) -> None:
        """Write some columns of one run; mappings and lists become JSON."""
        unknown = set(values) - set(COLUMNS)
        if unknown:
            raise InputError(f"a run has no column {', '.join(sorted(unknown))}; it has {', '.join(COLUMNS)}")
        row = {**values, "last_update": _now()}
        cells = [json.dumps(cell) if isinstance(cell, (Mapping, list, tuple)) else cell for cell in row.values()]
        with self._open() as database:
            database.execute("INSERT OR IGNORE INTO runs (run) VALUES (?)", (run,))
            assignments = ", ".join(f"{column} = ?" for column in row)
            database.execute(f"UPDATE runs SET {assignments} WHERE run = ?", (*cells, run))

    def rows(
        self, *, sort_by: str = "started", descending: bool = True, where: Mapping[str, str] = {}
    ) -> list[dict[str, Any]]:
        """The runs as dicts, missing values last.

        Parameters
        ----------
        sort_by : str
            A column.
        descending : bool
        where : mapping
            Column and the value that it must have, as text.

        Raises
        ------
        InputError
            If there is no such column.
        """
        for column in (sort_by, *where):
            if column not in COLUMNS:
                raise InputError(f"a run has no column {column!r}; choose one of {', '.join(COLUMNS)}")
        if not (self.folder / "runs.sqlite").exists():
            return []
        conditions = " AND ".join(f"CAST({column} AS TEXT) = ?" for column in where)
        order = f"{sort_by} IS NULL, {sort_by} {'DESC' if descending else 'ASC'}, run"
        query = f"SELECT * FROM runs {f'WHERE {conditions}' if where else ''} ORDER BY {order}"
        with self._open() as database:
            return [_decoded(dict(row)) for row in database.execute(query, tuple(where.values()))]

    def find(self, run: str) -> dict[str, Any]:
        """The one run whose name is, or begins or ends with, ``run``; ``last`` is the newest.

        Raises
        ------
        InputError
            If there is none, or more than one.
        """
        rows = self.rows()
        found = rows[:1] if run == "last" else [row for row in rows if row["run"] == run]
        found = found or [row for row in rows if row["run"].startswith(run) or row["run"].endswith(run)]
        if len(found) != 1:
            what = f"{len(found)} runs are" if found else "no run is"
            raise InputError(f"{what} called {run!r} in {self.folder}; `napari-sparse3d runs` lists them")
        if found[0]["run"] in (".", "..") or set(found[0]["run"]) & set("/\\\0"):
            raise InputError("the table of runs has a run whose name is none; it was not written by this program")
        return found[0]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.folder / "runs.sqlite", timeout=60)
        database.row_factory = sqlite3.Row
        try:
            with database:
                declared = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
                database.execute(f"CREATE TABLE IF NOT EXISTS runs ({declared})")
                _add_new_columns(database)
                yield database
        finally:
            database.close()


def _add_new_columns(database: sqlite3.Connection) -> None:
    """Give a table that an earlier version made the columns that it lacks."""
    present = {row["name"] for row in database.execute("PRAGMA table_info(runs)")}
    for name, kind in COLUMNS.items():
        if name not in present:
            database.execute(f"ALTER TABLE runs ADD COLUMN {name} {kind}")


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    for column in ("config", "history"):
        if row.get(column):
            row[column] = json.loads(row[column])
    return row


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
