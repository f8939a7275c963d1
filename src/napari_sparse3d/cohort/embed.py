"""Embedding the cases of a cohort, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cohort.cases import Case
from napari_sparse3d.engine.choice import choose
from napari_sparse3d.errors import failure_line
from napari_sparse3d.io import read_volume
from napari_sparse3d.models import Model
from napari_sparse3d.sparse.tensor_voxels import TensorVoxels
from napari_sparse3d.sparse.voxelize import voxelize_for
from napari_sparse3d.voxels import Recipe, VoxelSet, require_voxels

THUMBNAIL = 48
"""Pixels along each side."""


def embed_cases(
    cases: Sequence[Case], model: Model, *, recipe: Recipe | None = None, engine: str = "auto", device: str = "auto"
) -> Iterator[dict[str, Any]]:
    """Embed and classify cases; yields a record for each, in order.

    Parameters
    ----------
    cases : sequence of Case
    model : Model
    recipe : Recipe, optional
        Unless given, the model's own.
    engine, device : str
        As for ``Model.run``.

    Yields
    ------
    dict
        ``path``, ``series``, ``name``, ``status`` (``done`` or ``failed``), ``error``, what the case has of its own
        (``label``, ``patient``, ``split``, ...), ``prediction``, ``probability``, ``probabilities``, ``embedding``,
        ``n_active``, ``active_percent``, ``recipe``, ``model``, ``seconds``, ``thumbnail`` (bytes, 48 x 48).
    """
    how = recipe or model.card.recipe
    place = choose(engine, device).device
    for case in cases:
        started = perf_counter()
        row: dict[str, Any] = {
            "path": str(case.path), "series": case.series, "name": case.name, "status": "done", "error": None,
            **case.about, "recipe": how.name, "model": model.card.name,
        }  # fmt: skip
        try:
            voxels = voxels_of(case, how, device=place)
            result = model.run(voxels, engine=engine, device=device)
            found = {
                "prediction": result.label,
                "probability": float(result.probabilities.max()),
                "probabilities": result.probabilities.tolist(),
                "embedding": result.embedding.tolist(),
                "n_active": voxels.n_active,
                "active_percent": result.input.active_percent,
                "seconds": perf_counter() - started,
                "thumbnail": thumbnail(voxels if isinstance(voxels, VoxelSet) else voxels.numpy()).tobytes(),
            }
        except Exception as error:  # whatever is wrong with one case, the next one may be right, or smaller
            found = {"status": "failed", "error": failure_line(error, case.path)}
        yield row | found


def voxels_of(case: Case, recipe: Recipe, *, device: str = "cpu") -> VoxelSet | TensorVoxels:
    """Read a case and make its voxel set, on the device as far as the recipe can be followed there.

    Raises
    ------
    InputError
        If it cannot be read, or the recipe leaves nothing of it.
    """
    if case.path.suffix == ".npz":
        return VoxelSet.load(case.path)
    volume = read_volume(case.info) if case.info is not None else read_volume(case.path, series=case.series)
    return require_voxels(voxelize_for(device, volume, recipe), volume, recipe)


def thumbnail(voxels: VoxelSet, side: int = THUMBNAIL) -> NDArray[np.uint8]:
    """The voxel set seen along x, superior up and anterior left; brighter where more voxels lie behind each other.

    Returns
    -------
    ndarray
        (side, side) uint8.
    """
    picture = np.zeros((side, side), dtype=np.float64)
    if voxels.n_active == 0:
        return picture.astype(np.uint8)
    spacing_mm = np.linalg.norm(voxels.affine[:3, :3], axis=0)[:2]
    low = voxels.indices[:, :2].min(axis=0)
    n_cells = voxels.indices[:, :2].max(axis=0) - low + 1
    size = np.maximum(1, np.round(side * n_cells * spacing_mm / (n_cells * spacing_mm).max()).astype(int))  # pixels
    # where a voxel is larger than a pixel it fills all the pixels under it
    n_bins = np.minimum(n_cells, size)
    place = (voxels.indices[:, :2] - low) * n_bins // n_cells
    counts = np.bincount(place[:, 0] * n_bins[1] + place[:, 1], minlength=int(n_bins.prod())).reshape(n_bins)
    rows, columns = (np.arange(pixels) * bins // pixels for pixels, bins in zip(size, n_bins, strict=True))
    top, left = (side - size) // 2
    picture[top : top + size[0], left : left + size[1]] = counts[np.ix_(rows[::-1], columns[::-1])]
    return np.asarray(255 * np.sqrt(picture / picture.max()), dtype=np.uint8)
