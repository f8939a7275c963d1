"""Save session: everything that is needed to see, to cite and to repeat a result, in one folder. No Qt.

A session is made to be given away: of a file that was opened it has the SHA-256, never the name. What is special to the
session of a panel stands in its ``save``.
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

from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing
from napari_sparse3d.io.sources import files_behind
from napari_sparse3d.text import cell_text
from napari_sparse3d.widgets import repeat

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
_NAMES = ("path", "name", "mask")
"""Columns of a cohort that name files."""


@dataclass(frozen=True)
class Lines:
    """What repeats a result: a line for a terminal and a script for Python; both empty where nothing can."""

    command: str = ""
    python: str = ""


def make_folder(folder: Path) -> None:
    """Make the folder of a session, unless it is there.

    Raises
    ------
    InputError
        If ``folder`` is a file.
    """
    if folder.is_file():
        raise InputError(f"{folder} is a file; name a folder for the session")
    folder.mkdir(parents=True, exist_ok=True)


def finish(folder: Path, record: Mapping[str, Any], lines: Lines) -> list[Path]:
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


def input_record(path: Path) -> dict[str, str]:
    """What a session says of a file or folder."""
    return {"sha256": content_hash(path)}


def without_names(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a cohort without the columns that name files."""
    return {name: value for name, value in row.items() if name not in _NAMES}


def save_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as CSV, with the columns of all of them; no cell is a formula (:func:`~.text.cell_text`)."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(cell_text, names))
        writer.writerows([cell_text(row.get(name)) for name in names] for row in rows)


def save_figure(figure: Figure, stem: Path) -> None:
    """Write a figure as SVG and as PNG."""
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
