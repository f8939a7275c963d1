"""The record of a case that was run: its columns, one Arrow schema, and what earlier versions meant by theirs.

``label`` is the truth where it is known, ``prediction`` what the model answered. A row finds its scan again by ``path``
and ``series``, and knows it by ``content``; ``recipe_hash`` and ``model_hash`` say what its embedding is compared to.

Tables written before the column ``schema`` was there hold the prediction under ``label``: that is how they are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sparse3d.errors import InputError, line_of
from napari_sparse3d.files import replacing
from napari_sparse3d.text import printable

SCHEMA = 2
"""Version of the columns, in the column ``schema``; tables without it are of version 1."""

_COLUMNS: dict[str, str] = {
    "path": "string",  # with ``series``: what ``read_volume`` takes, see cases.identity
    "series": "int32",
    "series_number": "int64",  # of DICOM's tag (0020,0011)
    "content": "string",  # SHA-256 of canonical array, affine and unit
    "status": "string",  # done or failed
    "error": "string",
    "label": "string",
    "patient": "string",  # a salted hash
    "modality": "string",
    "manufacturer": "string",
    "spacing_mm": "list<double>",  # (z, y, x)
    "prediction": "string",
    "probability": "float",
    "probabilities": "list<float>",
    "embedding": "list<float>",
    "n_active": "int64",
    "active_percent": "double",  # of the network's field
    "outside_training": "string",  # in what the input is unlike the training's; empty: in nothing, null: not known
    "recipe": "string",
    "recipe_hash": "string",
    "model": "string",
    "model_hash": "string",
    "engine": "string",
    "seconds": "double",  # from the file to the embedding
    "schema": "int32",
}
NAMES = tuple(_COLUMNS)
"""The columns of a table that ``predict`` writes, in order."""

_MORE: dict[str, str] = {"name": "string", "split": "string", "thumbnail": "binary", "x": "double", "y": "double"}
"""What cohorts and maps add."""

LISTS = ("embedding", "probabilities", "thumbnail", "spacing_mm")
"""The columns that are no scalars."""
_CLASSES = b"napari_sparse3d.classes"
"""Key of a Parquet table's metadata: for columns of classes, their classes in the order of their colours, as JSON."""


def arrow_schema() -> Any:
    """The ``pyarrow.Schema`` of :data:`NAMES`."""
    import pyarrow as pa

    return pa.schema([(name, _type(kind)) for name, kind in _COLUMNS.items()])


def is_record(columns: Iterable[object]) -> bool:
    """Whether these are the columns of a table that we wrote, of whichever version."""
    return {"path", "status", "probabilities", "recipe", "model"} <= {*columns}


def write_rows(
    rows: Sequence[Mapping[str, Any]], path: Path, *, classes: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Write records, with whatever columns they have, as Parquet; the file appears whole or not at all.

    Parameters
    ----------
    rows : sequence of mapping
    path : Path
    classes : mapping, optional
        For columns of classes, their classes in the order of their colours: the table keeps it beside its columns.
    """
    import pyarrow as pa
    from pyarrow import parquet

    names = list(dict.fromkeys(name for row in rows for name in row))
    arrays = [_array(name, [row.get(name) for row in rows]) for name in names]
    table = pa.table(dict(zip(names, arrays, strict=True)))
    if classes:
        orders = json.dumps({column: list(order) for column, order in classes.items()})
        table = table.replace_schema_metadata({_CLASSES: orders.encode()})
    with replacing(path) as temporary:
        parquet.write_table(table, temporary)


def stored_classes(path: Path) -> object:
    """What a Parquet table says of the order of its classes, as JSON gives it; None where it says nothing."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            text = (file.schema_arrow.metadata or {}).get(_CLASSES)
        return None if text is None else json.loads(text)
    except (pa.ArrowException, ValueError, OSError, RecursionError):
        return None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table with embeddings, as this version means its columns.

    Raises
    ------
    InputError
        If it is a folder, no Parquet, or holds no embeddings.
    """
    if path.is_dir():
        # a library would join whatever lies in it, and drop the columns that the first lacks
        tables = tables_in(path)
        listed = ", ".join(map(printable, tables[:10])) + (", ..." if len(tables) > 10 else "")
        raise InputError(
            f"a folder is no table; it holds {f'{len(tables)} tables: {listed}; name one' if tables else 'no .parquet'}"
            " (or several, to take them as one cohort)"
        )
    if not path.exists():
        raise InputError("there is no table at the path that was given; check its spelling")
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            table = file.read()
            if "embedding" not in table.column_names:
                raise InputError(
                    "the table has no column 'embedding'; make one with `predict` or with the Cohort panel"
                )
            doubled = {name for name in table.column_names if table.column_names.count(name) > 1}
            if doubled:
                raise InputError(f"the table has a column twice: {', '.join(sorted(doubled))[:80]}")
            rows: list[dict[str, Any]] = table.to_pylist()
    except InputError:
        raise
    # by whatever else pyarrow fails on what is no Parquet, or was damaged: its own errors, and those of Python
    except (pa.ArrowException, ValueError, OverflowError, MemoryError, RecursionError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system, not of what the file holds
            raise
        raise InputError(f"the file is no Parquet table ({line_of(error, path)[:120]})") from error
    _check_version(rows)
    plain = ({name: value if name in LISTS else _plain(value) for name, value in row.items()} for row in rows)
    return [understood(row) for row in plain]


def model_hashes(path: Path) -> set[str]:
    """By which models the rows of a table were embedded; empty for a table that does not say, and for what is none."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            column = file.read(columns=["model_hash"])
    except (pa.ArrowException, ValueError, OSError):
        return set()
    return {str(value) for name in column.column_names for value in column[name].unique().to_pylist() if value}


def tables_in(folder: Path) -> list[str]:
    """The names of the Parquet tables of a folder; the parts of one that is being written do not count."""
    return sorted(each.name for each in folder.iterdir() if each.suffix == ".parquet" and not each.name.startswith("."))


def understood(row: dict[str, Any]) -> dict[str, Any]:
    """A row as this version means it: the first ``predict`` put its prediction under ``label``."""
    if "prediction" in row or "label" not in row or not is_record(row):
        return row
    return {**row, "prediction": row["label"], "label": None}


def _check_version(rows: Sequence[Mapping[str, Any]]) -> None:
    newest = max((row["schema"] for row in rows if isinstance(row.get("schema"), int)), default=SCHEMA)
    if newest > SCHEMA:
        raise InputError(f"the table is of version {newest}, this program reads up to {SCHEMA}; update it")


def _plain(value: Any) -> Any:
    """A scalar; of nested columns, which no table of ours has, their text."""
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)[:200]


def _array(name: str, values: list[Any]) -> Any:
    """A column: as the schema has it, else as its values are, and as text where they are of several kinds."""
    import pyarrow as pa

    kind = {**_COLUMNS, **_MORE}.get(name)
    if kind == "string":
        values = [None if value is None else str(value) for value in values]
    try:
        column = pa.array(values, type=None if kind is None else _type(kind))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], type=pa.string())
    return column.cast(pa.string()) if pa.types.is_null(column.type) else column


def _type(kind: str) -> Any:
    import pyarrow as pa

    return {
        "string": pa.string(),
        "binary": pa.binary(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "list<float>": pa.list_(pa.float32()),
        "list<double>": pa.list_(pa.float64()),
    }[kind]
