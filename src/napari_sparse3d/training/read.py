"""A case becomes a volume: one reader for each kind of file."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError, ReadError, line_of
from napari_sparse3d.io import read_volume
from napari_sparse3d.training.cases import Case
from napari_sparse3d.volume import Volume, whole_labels
from napari_sparse3d.voxels import Recipe, ToLongestSide, VoxelSet, voxelize
from napari_sparse3d.voxels.mesh import mesh_volume

MESHES = (".off", ".stl", ".ply", ".obj")


def read_voxels(case: Case, recipe: Recipe) -> VoxelSet:
    """The voxel set of a case; may be empty.

    Raises
    ------
    InputError
        If the file cannot be read or the recipe cannot be used on it.
    OSError
        If there is no such file.
    """
    if case.kind == "voxels":
        voxels = VoxelSet.load(case.path)
        if voxels.features.shape[1] != recipe.n_channels:
            raise InputError(
                f"the set holds {voxels.features.shape[1]} feature(s) a voxel, the recipe makes {recipe.n_channels}"
            )
        return voxels
    return voxelize(READERS[case.kind](case, recipe), recipe)


def _medmnist(case: Case, recipe: Recipe) -> Volume:
    part, number = case.item.split(":")
    images = arrays(case.path)[f"{part}_images"]
    return _volume(np.asarray(images[int(number)]), case)


def _sparse(case: Case, recipe: Recipe) -> Volume:
    stored = arrays(case.path)
    start, stop = stored["offsets"][int(case.item) : int(case.item) + 2]
    z, y, x = (int(side) for side in stored["size"])
    dense = np.zeros((z, y, x), dtype=np.uint8)
    dense[tuple(stored["coords"][start:stop].T)] = 1
    spacing_mm = stored["spacing"] if "spacing" in stored else np.ones(3)
    return _volume(dense, case, spacing_mm)


def _packed(case: Case, recipe: Recipe) -> Volume:
    bits = np.unpackbits(arrays(case.path)["X"][int(case.item)])
    side = int(len(bits) ** (1 / 3) + 1e-6)  # the last byte may be padded
    return _volume(bits[: side**3].reshape(side, side, side), case)


def _scan(case: Case, recipe: Recipe) -> Volume:
    return read_volume(case.path)


def _mask(case: Case, recipe: Recipe) -> Volume:
    labels = read_volume(case.mask or case.path)
    values = whole_labels(labels.data)
    inside = values == _label_value(case.item) if case.item else values > 0
    return Volume(inside.astype(np.uint8), labels.affine, name=case.name)


def _label_value(text: str) -> int:
    """The label that a table names; numbers pass through spreadsheets as ``2.0``."""
    try:
        return int(whole_labels(np.array([float(text)]))[0])
    except ValueError as error:
        raise InputError(
            f"the value of a label map must be a whole number, got {text!r}; name the label of the case's voxels"
        ) from error


def _mesh(case: Case, recipe: Recipe) -> Volume:
    side = recipe.resample.voxels if isinstance(recipe.resample, ToLongestSide) else 40
    return mesh_volume(case.path, side, solid=True, name=case.name)


READERS: dict[str, Callable[[Case, Recipe], Volume]] = {
    "medmnist": _medmnist,
    "sparse": _sparse,
    "packed": _packed,
    "scan": _scan,
    "mask": _mask,
    "mesh": _mesh,
}


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an ``.npz``; read once as long as the file does not change.

    Raises
    ------
    ReadError
        If it is no ``.npz``.
    """
    status = path.stat()
    return _arrays(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=4)
def _arrays(path: Path, _size: int, _modified: int, _changed: int) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ReadError(f"the file is no .npz of arrays: {line_of(error, path)}") from error


def _volume(data: NDArray[Any], case: Case, spacing_mm: NDArray[Any] | None = None) -> Volume:
    scale = np.ones(3) if spacing_mm is None else spacing_mm
    return Volume(data, np.diag([*scale.tolist(), 1.0]), name=case.name)
