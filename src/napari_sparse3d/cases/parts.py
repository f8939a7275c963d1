"""A table that is made over hours: its rows reach the disk in parts, and the table itself appears whole.

The parts lie in a folder beside the table, ``OUT.parquet.parts``: ``call.json`` says which call they belong to, each
part holds some rows in the order in which they were made, with the state of the files that a row was made from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.identity import series_files
from napari_sparse3d.files import locked, replacing, try_output
from napari_sparse3d.parse import parse_json

PART_S = 10.0
"""At most so much work is lost when the machine stops."""
_PART_ROWS = 256
_STATE = "files"
"""The column that only parts have."""


class Parts:
    """The rows of one call, kept until its table is whole.

    Parameters
    ----------
    output : Path
        The table, in Parquet.
    columns : pyarrow.Schema
    call : mapping
        What the rows follow from, in hashes. Parts of another call are put away, and that is said.
    say : function
        Takes one line for the user.

    Raises
    ------
    Locked
        If another process makes this table now.
    OSError
        If nothing can be written there.
    """

    def __init__(self, output: Path, columns: Any, call: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.output, self.columns, self._say = output, columns, say
        self.folder = output.with_name(f"{output.name}.parts")
        self._rows: dict[tuple[str, int | None], tuple[str, dict[str, Any]]] = {}
        self._new: list[tuple[str, dict[str, Any]]] = []
        self._written = monotonic()
        try_output(output)
        self._open = contextlib.ExitStack()
        self._open.enter_context(locked(self.folder / "lock", f"{output.name} is being made"))
        try:
            self._begin(dict(call))
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None:
                with contextlib.suppress(OSError):  # what ended the call is what is said
                    self._write()
                self._say_kept()
        finally:
            self._open.close()

    def earlier_row(self, path: str, series: int | None, state: str) -> dict[str, Any] | None:
        """The row of an earlier start, where it did not fail and its files are as they were."""
        before, row = self._rows.get((path, series), ("", {}))
        return row if row.get("status") == "done" and state and before == state else None

    def keep(self, row: dict[str, Any], state: str) -> dict[str, Any]:
        """Keep a new row, made from files in this state; gives it back."""
        self._rows[(row["path"], row["series"])] = state, row
        self._new.append((state, row))
        if len(self._new) >= _PART_ROWS or monotonic() - self._written > PART_S:
            self._write()
        return row

    def join(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write the table, and remove the parts."""
        import pyarrow as pa
        from pyarrow import parquet

        self._write()
        with replacing(self.output) as temporary:
            parquet.write_table(pa.Table.from_pylist(list(rows), schema=self.columns), temporary)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _say_kept(self) -> None:
        if self._rows:
            self._say(f"{len(self._rows)} rows are kept in {self.folder.name}; the same call goes on from there")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _begin(self, call: dict[str, str]) -> None:
        noted = self.folder / "call.json"
        before: Any = None
        with contextlib.suppress(OSError, ValueError):
            before = parse_json(noted.read_text(encoding="utf-8"))
        if before == call:
            self._read()
            return
        if isinstance(before, dict):
            other = ", ".join(name for name in call if before.get(name) != call[name])
            self._say(f"{self.folder.name} holds rows of another call (other {other}): starting anew")
        for part in self._parts():
            part.unlink()
        with replacing(noted) as temporary:
            temporary.write_text(json.dumps(call), encoding="utf-8")

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def _read(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        for part in self._parts():
            try:
                rows = parquet.read_table(part).to_pylist()
                kept_rows = [(row.pop(_STATE), row) for row in rows]
            except (pa.ArrowException, OSError, KeyError) as error:
                why = type(error).__name__
                self._say(f"{part.name} of {self.folder.name} is damaged ({why}): its rows are made anew")
                part.unlink(missing_ok=True)
                continue
            for state, row in kept_rows:
                self._rows[(row["path"], row["series"])] = state, row
        if self._rows:
            done = sum(row["status"] == "done" for _, row in self._rows.values())
            self._say(f"going on: {done} rows of an earlier start are kept")

    def _write(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        self._written = monotonic()
        if not self._new:
            return
        schema = self.columns.append(pa.field(_STATE, pa.string()))
        table = pa.Table.from_pylist([{**row, _STATE: state} for state, row in self._new], schema=schema)
        parts = self._parts()
        number = int(parts[-1].stem) + 1 if parts else 0
        with replacing(self.folder / f"{number:06d}.parquet") as temporary:
            parquet.write_table(table, temporary)
        self._new.clear()
        self._written = monotonic()


def state_of(case: Case) -> str:
    """A hash of what a case's row is made from: its files' names, sizes and times of change, and what its table says.

    Empty where that cannot be told.
    """
    from napari_sparse3d.io.sources import files_behind

    total = hashlib.sha256()
    try:
        # of a folder of many series only this one's; the data file beside a header counts as well
        own = series_files(case.info) if case.info is not None else [case.path]
        own += [case.mask] if case.mask is not None else []
        for file in sorted({each for path in own for each in files_behind(path)}):
            status = file.stat()
            total.update(f"{os.fspath(file)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    except OSError:
        return ""
    total.update("\0".join(map(str, (case.kind, case.item, case.label, case.patient))).encode())
    return total.hexdigest()[:32]
