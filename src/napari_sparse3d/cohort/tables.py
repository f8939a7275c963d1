"""A cohort: its columns and its embeddings; read from tables of records, and given back as such."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.record import LISTS, read_rows, stored_classes
from napari_sparse3d.cohort.classes import checked_orders
from napari_sparse3d.cohort.comparable import check_one_origin
from napari_sparse3d.errors import InputError


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
    classes : mapping
        For columns of classes, the order of their colours as the table has kept it.
    """

    columns: Mapping[str, Sequence[Any]]
    embeddings: NDArray[np.float32]
    thumbnails: NDArray[np.uint8] | None = None
    n_failed: int = 0
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.embeddings)

    def column(self, name: str) -> Sequence[Any]:
        """One column; None for every case where there is no such column."""
        return self.columns.get(name, [None] * len(self))

    def keys(self) -> list[str]:
        """What tells equals apart whatever the order of the table: each case's path, series and content, as text."""

        def key(path: object, series: object, content: object) -> str:
            # a series number is padded, so that 10 comes after 9
            return "\0".join([str(path or ""), "" if series is None else str(series).rjust(9), str(content or "")])

        return list(map(key, self.column("path"), self.column("series"), self.column("content")))

    def with_column(self, name: str, values: Sequence[Any]) -> Cohort:
        """The same cases with another column."""
        return replace(self, columns={**self.columns, name: list(values)})

    def row(self, index: int) -> dict[str, Any]:
        """One case as a record."""
        return {name: values[index] for name, values in self.columns.items()}


def cohort_of(rows: Sequence[Mapping[str, Any]]) -> Cohort:
    """A cohort from records with an ``embedding``; those without one are counted as failed.

    Raises
    ------
    InputError
        If there is no embedding at all, one that is no list of finite numbers, or embeddings of different models are
        mixed.
    """
    done = [row for row in rows if row.get("embedding") is not None]
    if not done:
        first = next((str(row["error"]) for row in rows if row.get("error")), "")
        raise InputError(f"none of {len(rows)} cases has an embedding{f': {first}' if first else ''}")
    check_one_origin(done)
    names = dict.fromkeys(name for row in done for name in row if name not in LISTS)
    return Cohort(
        {name: [row.get(name) for row in done] for name in names},
        _embeddings([row["embedding"] for row in done]),
        _thumbnails([row.get("thumbnail") for row in done]),
        len(rows) - len(done),
    )


def _embeddings(stored: Sequence[Any]) -> NDArray[np.float32]:
    """(N, D) of N lists."""
    if not all(isinstance(each, (list, tuple, np.ndarray)) and len(each) for each in stored):
        raise InputError("the column 'embedding' must hold a list of numbers for each case; make one with `predict`")
    lengths = {len(each) for each in stored}
    if len(lengths) > 1:
        raise InputError(f"embeddings of lengths {sorted(lengths)[:10]} are mixed; embed all cases with one model")
    try:
        stacked = np.array(stored, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("the column 'embedding' holds what is no number; make one with `predict`") from error
    if stacked.ndim != 2 or not np.isfinite(stacked).all():
        raise InputError("the column 'embedding' holds lists in lists or numbers that are not finite; embed again")
    return stacked


def _thumbnails(stored: Sequence[Any]) -> NDArray[np.uint8] | None:
    """(N, S, S), where every case has one of the same size."""
    if not all(isinstance(each, bytes) for each in stored):
        return None
    side = round(len(stored[0]) ** 0.5)
    if side == 0 or any(len(each) != side * side for each in stored):
        return None
    return np.stack([np.frombuffer(each, dtype=np.uint8) for each in stored]).reshape(-1, side, side)


def read_cohort(path: Path | Sequence[Path]) -> Cohort:
    """Read a table that ``predict``, ``map`` or the Cohort panel wrote, or several as one cohort.

    Raises
    ------
    InputError
        If it is a folder, no table, or holds no embeddings.
    """
    paths = [path] if isinstance(path, Path) else list(path)
    cohort = cohort_of([row for each in paths for row in read_rows(each)])
    orders = [checked_orders(stored_classes(each)) for each in paths]
    return replace(cohort, classes={column: order for each in reversed(orders) for column, order in each.items()})


def rows_of(cohort: Cohort) -> list[dict[str, Any]]:
    """The cohort as records, for :func:`~napari_sparse3d.cases.record.write_rows`."""
    rows = []
    for index in range(len(cohort)):
        row = {**cohort.row(index), "embedding": cohort.embeddings[index].tolist()}
        if cohort.thumbnails is not None:
            row["thumbnail"] = cohort.thumbnails[index].tobytes()
        rows.append(row)
    return rows
