"""A cohort: its columns and its embeddings; read from and written to Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing

_LISTS = ("embedding", "probabilities", "thumbnail")


@dataclass(frozen=True, eq=False)
class Cohort:
    """Embedded cases.

    Attributes
    ----------
    columns : mapping
        Column name to its N values; scalars and None only.
    embeddings : ndarray
        (N, D) float32.
    thumbnails : ndarray or None
        (N, S, S) uint8: the voxel set seen along x (from the side), 255 at most.
    n_failed : int
        Cases that could not be embedded, and are not among the N.
    """

    columns: Mapping[str, Sequence[Any]]
    embeddings: NDArray[np.float32]
    thumbnails: NDArray[np.uint8] | None = None
    n_failed: int = 0

    def __len__(self) -> int:
        return len(self.embeddings)

    def column(self, name: str) -> Sequence[Any]:
        """One column; None for every case where there is no such column."""
        return self.columns.get(name, [None] * len(self))

    def row(self, index: int) -> dict[str, Any]:
        """One case as a record."""
        return {name: values[index] for name, values in self.columns.items()}


def cohort_of(rows: Sequence[Mapping[str, Any]]) -> Cohort:
    """A cohort from records with an ``embedding``; those without one are counted as failed.

    Raises
    ------
    InputError
        If there is no embedding at all, or embeddings of different models are mixed.
    """
    done = [row for row in rows if row.get("embedding") is not None]
    if not done:
        first = next((str(row["error"]) for row in rows if row.get("error")), "")
        raise InputError(f"none of {len(rows)} cases has an embedding{f': {first}' if first else ''}")
    lengths = {len(row["embedding"]) for row in done}
    if len(lengths) > 1:
        raise InputError(f"embeddings of lengths {sorted(lengths)} are mixed; embed all cases with one model")
    names = dict.fromkeys(name for row in done for name in row if name not in _LISTS)
    thumbnails = [row.get("thumbnail") for row in done]
    pictures = None
    if all(isinstance(picture, bytes) for picture in thumbnails):
        side = round(len(thumbnails[0] or b"") ** 0.5)
        pictures = np.stack([np.frombuffer(picture or b"", dtype=np.uint8) for picture in thumbnails])
        pictures = pictures.reshape(-1, side, side)
    return Cohort(
        {name: [row.get(name) for row in done] for name in names},
        np.array([row["embedding"] for row in done], dtype=np.float32),
        pictures,
        len(rows) - len(done),
    )


def read_cohort(path: Path) -> Cohort:
    """Read a table that ``predict``, ``map`` or the Cohort panel wrote.

    Raises
    ------
    InputError
        If it holds no embeddings.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path.name} is no Parquet table ({' '.join(str(error).split())[:120]})") from error
    if "embedding" not in table.column_names:
        raise InputError(f"{path.name} has no column 'embedding'; make one with `predict` or with the Cohort panel")
    return cohort_of(table.to_pylist())


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write records as Parquet; the file appears whole or not at all."""
    import pyarrow as pa
    from pyarrow import parquet

    known = {
        "embedding": pa.list_(pa.float32()),
        "probabilities": pa.list_(pa.float32()),
        "thumbnail": pa.binary(),
        "series": pa.int32(),
    }
    names = list(dict.fromkeys(name for row in rows for name in row))
    arrays = [pa.array([row.get(name) for row in rows], type=known.get(name)) for name in names]
    with replacing(path) as temporary:
        parquet.write_table(pa.table(dict(zip(names, arrays, strict=True))), temporary)


def rows_of(cohort: Cohort) -> list[dict[str, Any]]:
    """The cohort as records, for :func:`write_rows`."""
    rows = []
    for index in range(len(cohort)):
        row = {**cohort.row(index), "embedding": cohort.embeddings[index].tolist()}
        if cohort.thumbnails is not None:
            row["thumbnail"] = cohort.thumbnails[index].tobytes()
        rows.append(row)
    return rows
