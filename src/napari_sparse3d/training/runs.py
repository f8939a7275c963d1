"""Every training is written down by itself: one row a run, in an SQLite file that many processes may write to."""

from __future__ import annotations

import contextlib
import json
import platform
import sqlite3
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from napari_sparse3d.environment import folder_named_by
from napari_sparse3d.errors import InputError
from napari_sparse3d.files import is_locked, remove_left, replacing
from napari_sparse3d.parse import parse_json
from napari_sparse3d.text import did_you_mean, one_file_name
from napari_sparse3d.training.run_title import title_of, write_title

COLUMNS: dict[str, str] = {
    "run": "TEXT PRIMARY KEY",
    "title": "TEXT",  # a name of the user's own, see run_title.py
    "status": "TEXT",  # running, done, stopped, failed; interrupted: its process is gone, see RunStore.rows
    "dataset": "TEXT",
    "architecture": "TEXT",
    "parameters": "INTEGER",
    "classes": "INTEGER",
    "train_cases": "INTEGER",
    "val_cases": "INTEGER",
    "split": "TEXT",  # who chose the validation cases: set, drawn (by the seed) or both
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
    "chance": "REAL",  # what guessing gives of that measure
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
    return folder_named_by("NAPARI_SPARSE3D_RUNS", Path("runs"))


CHECKPOINT, BEST, MODEL, SETTINGS, STOP = (
    "checkpoint.safetensors",
    "best.safetensors",
    "model.safetensors",
    "settings.json",
    "stop",
)
"""Files of a run's folder. A file named ``stop`` asks the run to end and keep its best."""
TABLE, ROW, LOCK = "runs.sqlite", "run.json", "lock"
"""The table; in the folder of each run, its row; and what a process holds as long as it trains it."""

_PATIENCE_S = 5.0
"""How long a write waits for other processes."""


class RunStore:
    """The table of runs in ``folder / "runs.sqlite"``; each run has a folder of its own beside it, with its row.

    The rows in the folders are what counts: the table is made of them, anew where it is damaged or missing. A run whose
    process is gone is shown as ``interrupted``.

    Parameters
    ----------
    folder : Path, optional
        None: :func:`default_runs`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (default_runs() if folder is None else folder).absolute()
        self._warned: set[str] = set()

    def new(self, name: str = "") -> str:
        """A name for a run, that sorts by time and is not taken yet; makes its folder."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        called = one_file_name(name, "") if name else ""  # one folder below ours, whatever the name says
        run = "-".join(filter(None, (stamp, called, uuid4().hex[:4])))
        (self.folder / run).mkdir(parents=True)
        if name:
            write_title(self.folder / run, name)
        self._tidy()
        self.update(run, status="running", started=_now(), server=platform.node(), folder=str(self.folder / run))
        return run

    def update(self, run: str, **values: Any) -> None:
        """Write some columns of one run; mappings and lists become JSON.

        The row is kept in the run's own folder, and copied to the table. A table, or a disk, that takes nothing now is
        a warning: it ends no training.
        """
        unknown = set(values) - set(COLUMNS)
        if unknown:
            raise InputError(f"a run has no column {', '.join(sorted(unknown))}; it has {', '.join(COLUMNS)}")
        row = {**(self._row_in_folder(run) or self._row_in_table(run)), **values, "run": run, "last_update": _now()}
        row["title"] = title_of(self.folder / run)
        if (self.folder / run).is_dir():
            try:
                with replacing(self.folder / run / ROW) as temporary:
                    temporary.write_text(json.dumps(row), encoding="utf-8")
            except OSError as error:
                self._warn(f"the row of run {run} could not be written ({error.strerror}); training goes on")
        try:
            self._insert([row])
        except (sqlite3.Error, OSError) as error:
            self._warn(
                f"the table of runs takes nothing now ({error}); it is brought up to date from the runs' folders"
            )

    def rename(self, run: str, title: str) -> None:
        """Give one run (see :meth:`find`) a name of one's own, ``""`` to take it away; its folder stays as it is."""
        folder = self.folder / self.find(run)["run"]
        write_title(folder, title)
        if not is_locked(folder / LOCK):  # else the process that trains it writes its row, with the title in it
            self.update(folder.name)

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
                near = did_you_mean(column, COLUMNS)
                raise InputError(f"a run has no column {column!r}; choose one of {', '.join(COLUMNS)}{near}")
        if not self.folder.is_dir():
            return []
        rows = [row for row in self._known() if all(_as_text(row[c]) == value for c, value in where.items())]
        missing = [row for row in rows if row[sort_by] is None]
        there = sorted((row for row in rows if row[sort_by] is not None), key=lambda row: str(row["run"]))
        there.sort(key=lambda row: _order(row[sort_by]), reverse=descending)
        return there + sorted(missing, key=lambda row: str(row["run"]))

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

    # -- the table, and the rows in the runs' folders that it is made of --

    def _known(self) -> list[dict[str, Any]]:
        """Every run, from the table; what that lacks or has not heard of, from the runs' own folders."""
        try:
            found = {row["run"]: row for row in self._table()}
        except (sqlite3.Error, OSError) as error:
            self._warn(f"the table of runs cannot be read now ({error}); the runs' own folders are")
            found = {}
        news = []
        for entry in sorted(self.folder.iterdir()):
            known = found.get(entry.name)
            if known is not None and known["status"] != "running":
                continue
            row = self._row_in_folder(entry.name)
            if row and (known is None or any(row[column] != known[column] for column in COLUMNS)):
                found[entry.name] = dict.fromkeys(COLUMNS) | row
                news.append(row)
        if news:
            with contextlib.suppress(sqlite3.Error, OSError):  # a folder that may only be read is read
                self._insert(news)
        for row in found.values():
            if row["status"] == "running" and not is_locked(self.folder / row["run"] / LOCK):
                row["status"] = "interrupted"
            if Path(row["run"]).name == row["run"]:
                row["title"] = title_of(self.folder / row["run"])
        return list(found.values())

    def _table(self) -> list[dict[str, Any]]:
        path = self.folder / TABLE
        if not path.exists():
            return []
        try:
            with self._open() as database:
                return [_decoded(dict(row)) for row in database.execute("SELECT * FROM runs")]
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._put_aside(error)
            return []

    def _insert(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Bring whole rows into the table; a damaged one is put aside and made anew."""
        try:
            self._insert_into(rows)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
            self._put_aside(error)
            self._insert_into(rows)

    def _insert_into(self, rows: Iterable[Mapping[str, Any]]) -> None:
        marks = ", ".join("?" for _ in COLUMNS)
        with self._open() as database:
            for row in rows:
                cells = [_cell(row.get(column)) for column in COLUMNS]
                database.execute(f"INSERT OR REPLACE INTO runs ({', '.join(COLUMNS)}) VALUES ({marks})", cells)

    def _put_aside(self, error: sqlite3.Error) -> None:
        aside = f"runs.damaged-{uuid4().hex[:4]}.sqlite"
        (self.folder / TABLE).replace(self.folder / aside)
        for more in ("-journal", "-wal", "-shm"):
            (self.folder / f"{TABLE}{more}").unlink(missing_ok=True)
        self._warn(f"the table of runs is damaged ({error}): put aside as {aside}, made anew from the runs' folders")

    def _row_in_folder(self, run: str) -> dict[str, Any]:
        try:
            row = parse_json((self.folder / run / ROW).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # none: a run of an earlier version, or no run at all; InputError is a ValueError
            return {}
        usable = isinstance(row, dict) and row.get("run") == run
        return {name: row.get(name) for name in COLUMNS} if usable else {}

    def _row_in_table(self, run: str) -> dict[str, Any]:
        """Of a run that an earlier version made."""
        with contextlib.suppress(sqlite3.Error, OSError):
            return next((row for row in self._table() if row["run"] == run), {})
        return {}

    def _tidy(self) -> None:
        """Remove what killed trainings left half-written in their folders."""
        for folder in self.folder.iterdir():
            if folder.is_dir():
                remove_left(folder)

    def _warn(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            warnings.warn(text, stacklevel=3)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.folder.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.folder / TABLE, timeout=_PATIENCE_S)
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


def _is_damage(error: sqlite3.Error) -> bool:
    text = str(error)
    return "malformed" in text or "not a database" in text or "file is encrypted" in text


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (Mapping, list, tuple)) else value


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, before texts."""
    return (0, float(value), "") if isinstance(value, (int, float)) else (1, 0.0, str(value))


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    for column in ("config", "history"):
        if isinstance(row.get(column), str):
            try:
                row[column] = parse_json(row[column])
            except InputError:
                row[column] = None
    return row


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
