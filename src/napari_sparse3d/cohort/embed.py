"""Embedding the cases of a cohort, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.ahead import Ahead
from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.run import Runner, run_case
from napari_sparse3d.models import Model
from napari_sparse3d.voxels import Recipe, VoxelSet

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
        The columns of :mod:`napari_sparse3d.cases.record`, ``name``, ``split`` and whatever else the case's table says
        of it, ``mask`` and ``value`` of a thing in a label map, and ``thumbnail`` (bytes, 48 x 48). A case that fails
        has ``status`` ``failed`` and its ``error``.
    """
    with Ahead(cases, Runner(model, recipe, engine, device, look=_picture)) as ahead:
        for case in cases:
            more = {"name": case.title, **({"split": case.split} if case.split else {})}
            which = {"mask": str(case.mask), "value": case.item} if case.mask is not None else {}
            yield {**case.about, **run_case(case, ahead.runner), **more, **which}


def _picture(voxels: VoxelSet) -> dict[str, bytes]:
    return {"thumbnail": thumbnail(voxels).tobytes()}


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
    # voxels along each line of x, of which there are far fewer than voxels; whole columns, as rows of three are slow
    z, y = voxels.indices[:, 0], voxels.indices[:, 1]
    first, side_y = int(z[0]), voxels.shape[1]
    lines = np.bincount((z - first) * np.int64(side_y) + y).astype(np.int64)
    lines = np.pad(lines, (0, -len(lines) % side_y)).reshape(-1, side_y)
    filled = np.flatnonzero(lines.any(axis=0))
    lines = lines[:, filled[0] : filled[-1] + 1]
    n_cells = np.array(lines.shape)
    size = np.maximum(1, np.round(side * n_cells * spacing_mm / (n_cells * spacing_mm).max()).astype(int))  # pixels
    # where a voxel is larger than a pixel it fills all the pixels under it
    n_bins = np.minimum(n_cells, size)
    counts = lines
    for axis in range(2):
        bins = np.arange(n_cells[axis]) * n_bins[axis] // n_cells[axis]
        counts = np.add.reduceat(counts, np.searchsorted(bins, np.arange(n_bins[axis])), axis=axis)
    rows, columns = (np.arange(pixels) * bins // pixels for pixels, bins in zip(size, n_bins, strict=True))
    top, left = (side - size) // 2
    picture[top : top + size[0], left : left + size[1]] = counts[np.ix_(rows[::-1], columns[::-1])]
    return np.asarray(255 * np.sqrt(picture / picture.max()), dtype=np.uint8)
