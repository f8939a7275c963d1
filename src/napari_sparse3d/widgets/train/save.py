"""The session of a training. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sparse3d.widgets.toolbox.session_folder import (
    Lines,
    finish,
    input_record,
    make_folder,
    save_csv,
    save_figure,
)
from napari_sparse3d.widgets.toolbox.words import RESEARCH_ONLY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NOT_OF_A_RUN = ("history", "title", "dataset", "folder", "plot", "server")
"""Columns of a run that a session leaves out: the curves have a table, the others are names, of files and machines."""


def save_training_session(
    folder: Path, run: Mapping[str, Any], data: Path, model: Path | None, figure: Figure | None, lines: Lines
) -> list[Path]:
    """Write the run with all its settings, its curves as table and picture, hashes of data and model, and the lines.

    Parameters
    ----------
    folder : Path
        As in :func:`save_network_session`.
    run : mapping
        The row of the run, see ``training.runs``.
    data : Path
        What was trained on; it is hashed and not copied.
    model : Path or None
        The trained model, if there is one yet; it is hashed and not copied.
    figure : Figure or None
        The curves.
    lines : Lines
    """
    make_folder(folder)
    if run.get("history"):
        save_csv(run["history"], folder / "curves.csv")
    if figure is not None:
        save_figure(figure, folder / "curves")
    record = {
        "run": {name: value for name, value in run.items() if name not in _NOT_OF_A_RUN},
        "input": input_record(data),
        "model": None if model is None else input_record(model),
        "note": RESEARCH_ONLY,
    }
    return finish(folder, record, lines)
