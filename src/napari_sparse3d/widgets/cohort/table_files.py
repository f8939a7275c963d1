"""Writing the cases of a cohort as a table: Parquet with everything, or CSV without embeddings. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_sparse3d.cases.record import LISTS, write_rows
from napari_sparse3d.widgets.toolbox.session_folder import save_csv

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
    save_csv([{name: row.get(name) for name in names} for row in rows], path)
