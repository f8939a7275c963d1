"""Save session: everything that is needed to see, to cite and to repeat a result, in one folder. No Qt.

A session is made to be given away: of a file that was opened it has the SHA-256, never the name.
"""

from __future__ import annotations

import csv
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.record import write_rows
from napari_sparse3d.cohort.tables import Cohort, rows_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing
from napari_sparse3d.io.sources import files_behind
from napari_sparse3d.text import cell_text
from napari_sparse3d.voxels import Recipe
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.layer_table import write_chart, write_table
from napari_sparse3d.widgets.records import NetworkResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PACKAGES = (
    "napari-sparse3d",
    "torch",
    "numpy",
    "napari",
    "nibabel",
    "pydicom",
    "SimpleITK",
    "openTSNE",
    "spconv-cu120",
)
RESEARCH_ONLY = "research use only"
_NOT_OF_A_RUN = ("history", "dataset", "folder", "plot", "server")
"""Columns of a run that a session leaves out: the curves have a table, the others name files and machines."""
_NAMES = ("path", "name", "mask")
"""Columns of a cohort that name files."""


@dataclass(frozen=True)
class Lines:
    """What repeats a result: a line for a terminal and a script for Python; both empty where nothing can."""

    command: str = ""
    python: str = ""


def save_network_session(
    folder: Path, result: NetworkResult, recipe: Recipe, source: repeat.Source | None
) -> list[Path]:
    """Write recipe, hashes, versions, the per-layer table, its chart, the embedding and the lines that repeat it.

    Parameters
    ----------
    folder : Path
        Made if it is not there; a session that is there is replaced.
    result : NetworkResult
        What the network said.
    recipe : Recipe
        How the volume became voxels.
    source : Source or None
        Where the volume was read from; without one the session says that it cannot be repeated.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    InputError
        If ``folder`` is a file.
    """
    _make(folder)
    recipe.save(folder / "recipe.toml")
    write_table(result, folder / "layers.csv")
    write_chart(result, folder / "layers.svg")
    write_chart(result, folder / "layers.png")
    request, lines = result.request, Lines()
    model = repeat.model_without_name(request.model)
    if source is not None:
        unnamed = repeat.without_name(source)
        lines = Lines(
            repeat.activations_command(unnamed, recipe, model, request.engine, recipe_file="recipe.toml"),
            repeat.activations_python(unnamed, recipe, model, request.engine),
        )
    record = {
        "input": None if source is None else _input(source.path),
        "model": {
            "name": result.model.name,
            "argument": model,
            "sha256": result.model.sha256 or None,
            "trained": result.model.trained,
        },
        "engine": result.engine,
        "device": result.device,
        "seconds": result.seconds,
        "classes": list(result.model.classes),
        "probabilities": [float(value) for value in result.probabilities],
        "embedding": [float(value) for value in result.embedding],
        "n_voxels": request.voxels.n_active,
        "note": RESEARCH_ONLY + ("" if result.model.trained else "; random weights: the classes mean nothing"),
    }
    return _finish(folder, record, lines)


def save_cohort_session(
    folder: Path,
    cohort: Cohort,
    positions: NDArray[np.float32],
    about: Mapping[str, Any],
    similar: Sequence[Mapping[str, Any]],
    figure: Figure,
    lines: Lines,
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
    """
    _make(folder)
    rows = [
        {"case": number, **_without_names(row), "x": float(x), "y": float(y)}
        for number, (row, (x, y)) in enumerate(zip(rows_of(cohort), positions, strict=True))
    ]
    write_rows(rows, folder / repeat.TABLE)
    _save_figure(figure, folder / "map")
    if similar:
        _save_csv([_without_names(row) for row in similar], folder / "similar.csv")
    record = {**about, "n_cases": len(cohort), "n_failed": cohort.n_failed, "note": RESEARCH_ONLY}
    return _finish(folder, record, lines)


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
    _make(folder)
    if run.get("history"):
        _save_csv(run["history"], folder / "curves.csv")
    if figure is not None:
        _save_figure(figure, folder / "curves")
    record = {
        "run": {name: value for name, value in run.items() if name not in _NOT_OF_A_RUN},
        "input": _input(data),
        "model": None if model is None else _input(model),
        "note": RESEARCH_ONLY,
    }
    return _finish(folder, record, lines)


def _make(folder: Path) -> None:
    if folder.is_file():
        raise InputError(f"{folder} is a file; name a folder for the session")
    folder.mkdir(parents=True, exist_ok=True)


def _finish(folder: Path, record: Mapping[str, Any], lines: Lines) -> list[Path]:
    """Write what every session has, and list the folder."""
    whole = {**record, "command": lines.command or None, "versions": versions()}
    texts = {"session.json": json.dumps(whole, indent=2, default=str)}
    if lines.command:
        texts |= {
            "repeat.txt": repeat.explained(lines.command) + "\n",
            "repeat.py": repeat.explained(lines.python),
        }
    for file, text in texts.items():
        with replacing(folder / file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return sorted(path for path in folder.iterdir() if path.is_file())


def _input(path: Path) -> dict[str, str]:
    return {"sha256": content_hash(path)}


def _without_names(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _NAMES}


def _save_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({name: cell_text(value) for name, value in row.items()} for row in rows)


def _save_figure(figure: Figure, stem: Path) -> None:
    for suffix in (".svg", ".png"):
        with replacing(stem.with_suffix(suffix)) as temporary:
            figure.savefig(temporary, dpi=160)


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of all files that its reading depends on, or below a folder, in the order of their hashes.

    File names do not enter: they may hold an identity, and copying a folder must not change its hash.
    """
    files = files_behind(path)
    if files == (path,):
        return _hash_of(path)
    hashes = sorted(_hash_of(file) for file in files)
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Of Python and the packages that a result depends on; those that are not installed are left out."""
    found = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _hash_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
