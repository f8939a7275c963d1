"""What the Cohort panel lets a worker do: read a case, write tables and sessions. No Qt."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.measure.maps import trustworthiness
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import NoResampling, RangeThreshold, Recipe, VoxelSet
from napari_sparse3d.widgets.cohort.save import save_cohort_session
from napari_sparse3d.widgets.cohort.state import LoadedCase
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.session_folder import Lines, content_hash

AS_SAVED = Recipe(name="as saved", resample=NoResampling(), threshold=RangeThreshold(low=1))
"""A saved set is used as it is; by this recipe its mask would give its sites again."""


def read_case(path: str, series: int | None) -> Generator[Any, None, LoadedCase]:
    """A job for a worker: one case; a voxel set is shown by its mask, and networks get the set as it is."""
    yield "reading"
    from napari_sparse3d.io.layers import layer_of
    from napari_sparse3d.io.read import choose_series

    if not path.endswith(".npz"):
        info = choose_series(path, series)
        return LoadedCase(layer_of(info.load(), info.title), Path(path), series)
    voxels = VoxelSet.load(path)
    volume = Volume(voxels.mask().view(np.uint8), voxels.affine, "a.u.", "", Path(path).stem)
    return LoadedCase(layer_of(volume), Path(path), series, ScanVoxels(voxels, AS_SAVED, volume, 0, saved=True))


def save_session(
    folder: Path,
    cohort: Cohort,
    positions: NDArray[np.float32],
    about: Mapping[str, Any],
    similar: list[dict[str, Any]],
    lines: Lines,
    *,
    colour: str,
    table: Path | None,
    recipe: Recipe | None,
) -> Callable[[], str]:
    """Draw the map and write the session.

    Parameters
    ----------
    colour : str
        The column that gives the colour.
    table : Path or None
        Where the embeddings are; it is hashed.
    recipe : Recipe or None
        Of the open case, for the lines that find its like.

    The others are as for :func:`save_cohort_session`.
    """

    def write() -> str:
        from napari_sparse3d.pictures.maps import map_figure

        trust = trustworthiness(cohort.embeddings, positions)
        faithful = f", trustworthiness {trust:.2f}" if math.isfinite(trust) else ""
        title = f"{len(cohort)} cases by {about['map']}{faithful}"
        place = about["open_case_xy"]
        figure = map_figure(positions, cohort.column(colour), title=title, name=colour, here=place)
        kept = None if table is None else {"sha256": content_hash(table)}
        if recipe is not None:
            folder.mkdir(parents=True, exist_ok=True)
            recipe.save(folder / "recipe.toml")
        files = save_cohort_session(folder, cohort, positions, {**about, "table": kept}, similar, figure, lines)
        return f"Saved {words.count(len(files), 'files')} in {folder.name}."

    return write
