"""The session of a cohort. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.record import write_rows
from napari_sparse3d.cohort.tables import Cohort, rows_of
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.toolbox.session_folder import (
    Lines,
    finish,
    make_folder,
    save_csv,
    save_figure,
    without_names,
)
from napari_sparse3d.widgets.toolbox.words import RESEARCH_ONLY

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_cohort_session(
    folder: Path,
    cohort: Cohort,
    positions: NDArray[np.float32],
    about: Mapping[str, Any],
    similar: Sequence[Mapping[str, Any]],
    figure: Figure,
    lines: Lines,
    classes: Mapping[str, Sequence[str]] | None = None,
) -> list[Path]:
    """Write the table with its map, the picture of it, the similar cases that were asked for, and the lines.

    Parameters
    ----------
    folder : Path
        As in :func:`save_network_session`.
    cohort : Cohort
    positions : ndarray
        (N, 2) of the map.
    about : mapping
        What else the record says: how the map was made, by which model, where the cases come from.
    similar : sequence of mapping
        ``case`` (its row of the table), distance and columns, the nearest first; may be empty.
    figure : Figure
        Of the map.
    lines : Lines
    classes : mapping, optional
        As for :func:`~napari_sparse3d.cases.record.write_rows`.
    """
    make_folder(folder)
    rows = [
        {"case": number, **without_names(row), "x": float(x), "y": float(y)}
        for number, (row, (x, y)) in enumerate(zip(rows_of(cohort), positions, strict=True))
    ]
    write_rows(rows, folder / repeat.TABLE, classes=classes)
    save_figure(figure, folder / "map")
    if similar:
        save_csv([without_names(row) for row in similar], folder / "similar.csv")
    record = {**about, "n_cases": len(cohort), "n_failed": cohort.n_failed, "note": RESEARCH_ONLY}
    return finish(folder, record, lines)
