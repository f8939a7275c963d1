"""What the Cohort panel lets a worker do: read a case, write tables and sessions. No Qt."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.identity import CaseIdentity, content_of_volume, content_of_voxels, part_of
from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.measure.maps import trustworthiness
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import NoResampling, RangeThreshold, Recipe, VoxelSet
from napari_sparse3d.voxels.mesh import mesh_volume
from napari_sparse3d.widgets.cohort.case_words import case_name
from napari_sparse3d.widgets.cohort.colours import Colouring
from napari_sparse3d.widgets.cohort.save import save_cohort_session
from napari_sparse3d.widgets.cohort.state import LoadedCase
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.session_folder import Lines, content_hash
from napari_sparse3d.widgets.toolbox.sources import LABEL

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo, VolumeSequence

_MESH_SIDE = 64
"""Voxels along the longest side of a mesh that is looked at."""
AS_SAVED = Recipe(name="as saved", resample=NoResampling(), threshold=RangeThreshold(low=1))
"""A saved set is used as it is; by this recipe its mask would give its sites again."""


def read_case(row: Mapping[str, Any], table: Path | None) -> Generator[Any, None, LoadedCase]:
    """A job for a worker: the case of a row; a voxel set is shown by its mask, and networks get the set as it is.

    Parameters
    ----------
    row : mapping
        Of a cohort. Where it knows the content of its case, that is what is looked for: numbers of series are others
        once a folder holds more of them.
    table : Path or None
        Where the row is from; paths may be relative to it.
    """
    yield "reading"
    from napari_sparse3d.cases.folders import kind_of
    from napari_sparse3d.cases.sources import file_of_row
    from napari_sparse3d.io.layers import layer_of

    path = file_of_row(table or Path(), str(row["path"]), as_given=True).absolute()
    kind, number, content = kind_of(path), row.get("series"), row.get("content")
    case = CaseIdentity(path, number, str(row.get("patient") or ""))
    if row.get("mask"):
        return _thing(row, table, case)
    if kind == "mesh":  # drawn as large as the model's recipe says, which no table knows
        return LoadedCase(layer_of(mesh_volume(path, _MESH_SIDE, solid=True, name=path.stem)), case)
    if kind == "voxels":
        voxels = VoxelSet.load(path)
        volume = Volume(voxels.mask().view(np.uint8), voxels.affine, "a.u.", "", path.stem)
        changed = bool(content) and content_of_voxels(voxels) != content
        return LoadedCase(layer_of(volume), case, ScanVoxels(voxels, AS_SAVED, volume, 0, case, saved=True), changed)
    info, scan, changed = _series_of(path, number, row.get("series_number"), content)
    case = replace(case, series=None if number is None else info.index, patient=case.patient or info.patient)
    return LoadedCase(layer_of(scan, info.title), case, changed=changed)


def _thing(row: Mapping[str, Any], table: Path | None, case: CaseIdentity) -> LoadedCase:
    """The one thing of a label map that a row means, on the map's grid: without the others."""
    from napari_sparse3d.cases.case import Case
    from napari_sparse3d.cases.read import read_source
    from napari_sparse3d.cases.sources import file_of_row
    from napari_sparse3d.io.layers import layer_of

    mask, value = file_of_row(table or Path(), str(row["mask"]), as_given=True).absolute(), str(row.get("value") or "")
    name = f"{case_name(dict(row))} · label {value}" if value else case_name(dict(row))
    shape = read_source(Case(name, mask, "mask", value, mask=mask), AS_SAVED)
    assert isinstance(shape, Volume)
    content = row.get("content")
    changed = bool(content) and content_of_volume(shape) != content
    data, about, kind = layer_of(replace(shape, meta={"labels": True}), name)
    if value:
        about["metadata"][LABEL] = value
    return LoadedCase((data, about, kind), replace(case, part=part_of(mask, value)), changed=changed, file=mask)


def _series_of(
    path: Path, number: int | None, series_number: int | None, content: str | None
) -> tuple[SeriesInfo, VolumeSequence, bool]:
    """The series of this content, else the one of this number; and whether its content is another."""
    from napari_sparse3d.io.read import choose_series
    from napari_sparse3d.io.scanning import scan

    found = scan(path)
    # a series that was added or taken away moves the numbers of others, but not what the scanner counted
    others = [
        info for info in found if content and info.index != number and info.series_number == series_number is not None
    ]
    listed = number is None or number < len(found)
    first = choose_series(path, number, found=found) if listed or not others else others.pop(0)
    read = first.load()
    if not content or content_of_volume(read.volume(0)) == content:
        return first, read, False
    for info in others:
        if info.readable and content_of_volume((again := info.load()).volume(0)) == content:
            return info, again, False
    return first, read, True


def save_session(
    folder: Path,
    cohort: Cohort,
    positions: NDArray[np.float32],
    about: Mapping[str, Any],
    similar: list[dict[str, Any]],
    lines: Lines,
    *,
    colour: str,
    coloured: Colouring | None,
    classes: Mapping[str, Sequence[str]],
    table: Path | None,
    recipe: Recipe | None,
) -> Callable[[], str]:
    """Draw the map and write the session.

    Parameters
    ----------
    colour : str
        The column that gives the colour.
    coloured : Colouring or None
        The colours that it gives.
    classes : mapping
        As for :func:`save_cohort_session`.
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
        values, numbers = ((), {}) if coloured is None else (coloured.values, coloured.numbers)
        figure = map_figure(positions, values, title=title, name=colour, here=place, numbers_of=numbers)
        kept = None if table is None else {"sha256": content_hash(table)}
        if recipe is not None:
            folder.mkdir(parents=True, exist_ok=True)
            recipe.save(folder / "recipe.toml")
        record = {**about, "table": kept}
        files = save_cohort_session(folder, cohort, positions, record, similar, figure, lines, classes)
        return f"Saved {words.count(len(files), 'files')} in {folder.name}."

    return write
