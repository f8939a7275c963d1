"""Writing the cases of a cohort as a table: Parquet with everything, or CSV without embeddings. No Qt."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sparse3d.cases.record import LISTS, write_rows
from napari_sparse3d.files import replacing
from napari_sparse3d.text import guarded_cell

KINDS = "Tables (*.parquet *.csv)"


def holds_embeddings(path: Path) -> bool:
    """Whether a table that is written there is a cohort again as it is; one of text has to be embedded anew."""
    return path.suffix.lower() != ".csv"


def write_table(rows: Sequence[Mapping[str, Any]], path: Path, classes: Mapping[str, Sequence[str]]) -> None:
    """Write records: as CSV where the name ends so, else as Parquet; the file appears whole or not at all.

    Parameters
    ----------
    rows : sequence of mapping
    path : Path
    classes : mapping
        As for :func:`~napari_sparse3d.cases.record.write_rows`; a CSV has no place for it.
    """
    if holds_embeddings(path):
        write_rows(rows, path, classes=classes)
        return
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in LISTS]
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([guarded_cell(row.get(name)) for name in names] for row in rows)
