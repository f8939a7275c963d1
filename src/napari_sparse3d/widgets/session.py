"""Save session: everything that is needed to see, to cite and to repeat a result, in one folder. No Qt."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing
from napari_sparse3d.voxels import Recipe
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.layer_table import write_chart, write_table
from napari_sparse3d.widgets.records import NetworkResult

_PACKAGES = ("napari-sparse3d", "torch", "numpy", "napari", "nibabel", "pydicom", "SimpleITK", "spconv-cu120")


def save_session(
    folder: Path, result: NetworkResult, recipe: Recipe, source: repeat.Source | None, name: str
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
    name : str
        The volume's name (no patient identity).

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    InputError
        If ``folder`` is a file.
    """
    if folder.is_file():
        raise InputError(f"{folder} is a file; name a folder for the session")
    folder.mkdir(parents=True, exist_ok=True)
    recipe.save(folder / "recipe.toml")
    write_table(result, folder / "layers.csv")
    write_chart(result, folder / "layers.svg")
    write_chart(result, folder / "layers.png")
    request = result.request
    command = python = ""
    if source is not None:
        command = repeat.activations_command(source, recipe, request.model, request.engine)
        python = repeat.activations_python(source, recipe, request.model, request.engine)
    record: dict[str, Any] = {
        "volume": name,
        "input": None if source is None else {"path": str(source.path), "sha256": content_hash(source.path)},
        "model": {
            "name": result.model.name,
            "argument": request.model,
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
        "command": command or None,
        "versions": versions(),
        "note": "research use only" + ("" if result.model.trained else "; random weights: the classes mean nothing"),
    }
    texts = {"session.json": json.dumps(record, indent=2)}
    if command:
        texts |= {"repeat.txt": command + "\n", "repeat.py": python}
    for file, text in texts.items():
        with replacing(folder / file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return sorted(path for path in folder.iterdir() if path.is_file())


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the contents of all files below a folder, in the order of their own hashes.

    File names do not enter: they may hold an identity, and copying a folder must not change its hash.
    """
    if path.is_file():
        return _hash_of(path)
    hashes = sorted(_hash_of(file) for file in _files(path))
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Of Python and the packages that a result depends on; those that are not installed are left out."""
    found = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file())


def _hash_of(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
