"""The rows of a table of cases: CSV or Parquet, values as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from napari_sparse3d.errors import InputError, line_of
from napari_sparse3d.parse import read_csv
from napari_sparse3d.text import text_of_cell

TABLE_ENDINGS = (".csv", ".parquet")
PATIENT_COLUMNS = ("patient", "patient_id", "subject", "participant_id")
"""How sets call the column of the patient; the first that a table has counts."""


def is_table(path: Path) -> bool:
    """Whether a path is called as a table is."""
    return path.suffix.lower() in TABLE_ENDINGS


def rows_of_table(table: Path) -> list[dict[str, Any]]:
    """The rows of a CSV (values are text) or Parquet table (values are what they are).

    Raises
    ------
    InputError
        If it is a folder, or cannot be read.
    """
    if table.is_dir():
        raise InputError("a folder is no table; name the table in it")
    try:
        if table.suffix.lower() == ".csv":
            return _without_guards(read_csv(table))
        from pyarrow import parquet

        with parquet.ParquetFile(table) as stored:
            rows: list[dict[str, Any]] = stored.read().to_pylist()
    except (FileNotFoundError, InputError):
        raise
    # pyarrow's errors are ValueErrors, NotImplementedErrors and OSErrors
    except (ValueError, NotImplementedError, MemoryError, OverflowError, OSError) as error:
        raise InputError(f"the table cannot be read: {line_of(error, table)[:160]}") from error
    return rows


def text_of(value: object) -> str:
    """A plain value as text; "" for what is missing, nested or binary."""
    return str(value) if isinstance(value, (str, int, float, bool)) else ""


def patient_column(columns: Iterator[str] | list[str]) -> str | None:
    """The column that names the patient."""
    by_name = {str(column).strip().lower(): column for column in reversed(list(columns))}
    return next((by_name[name] for name in PATIENT_COLUMNS if name in by_name), None)


def _without_guards(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    names = {name: text_of_cell(name) for name in (rows[0] if rows else ())}
    if len(set(names.values())) < len(names):
        raise InputError("two columns of the table have the same name but for an apostrophe before it; rename one")
    return [{names[name]: text_of_cell(value) for name, value in row.items()} for row in rows]
