"""A case becomes a volume, and a voxel set: one reader for each kind of file, one way for everybody."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.case import Case
from napari_sparse3d.errors import InputError, ReadError, line_of
from napari_sparse3d.io.intensity import guess_words
from napari_sparse3d.volume import Volume, mask_of, whole_labels
from napari_sparse3d.voxels import Recipe, ToLongestSide, VoxelSet, require_voxels, voxelize
from napari_sparse3d.voxels.mesh import mesh_volume

if TYPE_CHECKING:
    from napari_sparse3d.sparse.tensor_voxels import TensorVoxels

MESHES = (".off", ".stl", ".ply", ".obj")

Source: TypeAlias = Volume | VoxelSet
"""What a case holds: a volume, or a voxel set that was saved."""


def read_source(case: Case, recipe: Recipe, *, frame: int | None = None, repair: str | None = None) -> Source:
    """What a case holds, before the recipe is followed; of the recipe counts only how large a mesh is drawn.

    Parameters
    ----------
    case : Case
    recipe : Recipe
    frame, repair
        Of a scan: see :func:`~napari_sparse3d.io.read_volume`.

    Raises
    ------
    InputError
        If the file cannot be read.
    OSError
        If there is no such file.
    """
    if case.kind == "voxels":
        return VoxelSet.load(case.path)
    if case.kind == "scan":
        return _scan(case, frame, repair)
    if case.kind == "mask" and case.mask is None:  # a series of which one label is meant
        return _of_label(_scan(replace(case, kind="scan"), frame, repair), case)
    return READERS[case.kind](case, recipe)


def guessed_unit(source: Source) -> str:
    """What is to be said of a volume whose unit was guessed; "" of every other source."""
    return "" if isinstance(source, VoxelSet) else guess_words(source.meta, source.unit)


def voxels_of(source: Source, recipe: Recipe, *, device: str = "cpu") -> VoxelSet | TensorVoxels:
    """The voxel set of what :func:`read_source` gave, on the device as far as the recipe can be followed there.

    A saved voxel set is used as it is. May be empty.

    Raises
    ------
    InputError
        If the recipe cannot be used on it.
    DeviceMemoryError
        If a card has no memory left.
    """
    if isinstance(source, VoxelSet):
        return source
    if device == "cpu":
        return voxelize(source, recipe)
    from napari_sparse3d.sparse.voxelize import voxelize_for

    return voxelize_for(device, source, recipe)


def some_voxels_of(source: Source, recipe: Recipe, *, device: str = "cpu") -> VoxelSet | TensorVoxels:
    """As :func:`voxels_of`, and an error where the recipe leaves nothing of a volume."""
    voxels = voxels_of(source, recipe, device=device)
    return voxels if isinstance(source, VoxelSet) else require_voxels(voxels, source, recipe)


def located(case: Case) -> Case:
    """The case with its series, as a scan of its path finds it; what is no scan as it is.

    Raises
    ------
    InputError
        If there is no such series, or several that could be meant.
    """
    if case.kind != "scan" or case.info is not None:
        return case
    from napari_sparse3d.io.read import choose_series

    return replace(case, info=choose_series(case.path, case.series))


def _scan(case: Case, frame: int | None, repair: str | None) -> Volume:
    from napari_sparse3d.io import read_volume

    info = located(case).info
    assert info is not None
    return read_volume(info, frame=frame, repair=repair)


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


def _mask(case: Case, recipe: Recipe) -> Volume:
    from napari_sparse3d.io import read_volume

    # a table may name a label that one of its cases lacks: an empty shape, which what uses it answers for
    return _of_label(read_volume(case.mask or case.path), case, must_occur=False)


def _of_label(labels: Volume, case: Case, *, must_occur: bool = True) -> Volume:
    label = _label_value(case.item) if case.item else None
    return replace(mask_of(labels, label, must_occur=must_occur), name=case.name)


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
