"""What the Sparse voxels panel lets a worker do: count values, make a set and its picture. No Qt."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.identity import CASE, CaseIdentity
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.histogram import Histogram, histogram_by_slab
from napari_sparse3d.volume import Volume, labels_in
from napari_sparse3d.voxels import Body, Recipe, require_voxels, voxelize
from napari_sparse3d.voxels.body import Mask, body_of
from napari_sparse3d.voxels.image_data import padding_of
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.child.records import Cost, Request
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.caller import Caller
from napari_sparse3d.widgets.toolbox.failures import failure_of
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.step import Step
from napari_sparse3d.widgets.toolbox.voxel_picture import kind_for, picture_of
from napari_sparse3d.widgets.voxels.recipes import mask_recipe
from napari_sparse3d.widgets.voxels.state import Key, Looked, ReadySet, short_name

if TYPE_CHECKING:
    from napari_sparse3d.io.layers import LayerData


def make_ready(
    key: Key,
    volume: Volume,
    recipe: Recipe,
    frame: int,
    kind: str | None,
    known: ScanVoxels | None,
    case: CaseIdentity,
    body: Mask | None = None,
) -> Generator[Step, None, ReadySet]:
    """Make a voxel set, unless it is known, with its numbers; its picture where a ``kind`` is wanted.

    ``body``: where it is known already; the recipe says whether it counts.
    """
    yield Step(0, 0, "")
    made = known
    if made is None and isinstance(recipe.region, Body):
        yield Step(0, 0, "Looking for the body …")
        body = body_of(volume, recipe.region) if body is None else body
        yield Step(0, 0, "Making voxels of the body …")
        made = ScanVoxels(voxelize(volume, recipe, body=body), recipe, volume, frame, case)
    made = made or ScanVoxels(voxelize(volume, recipe), recipe, volume, frame, case)
    yield Step(0, 0, "")
    numbers, empty = words.voxel_numbers(made.voxels, recipe), None
    try:
        require_voxels(made.voxels, volume, recipe)
    except InputError as error:
        empty = failure_of(error)
    if kind is None or empty is not None:
        return ReadySet(key, made, numbers, empty, "", None, body)
    kind = kind_for(made.voxels, kind)
    return ReadySet(key, made, numbers, empty, kind, picture_of(made.voxels, kind), body)


def reckon_cost(child: Caller, ready: ReadySet, model: str) -> Generator[Any, bool | None, Cost]:
    """What a model would take for a set, and whether the set is like what it was trained on."""
    request = Request(f"{model}|{ready.key}", model, ready.made.voxels, ready.made.facts)
    cost: Cost = yield from child.call("network.cost", request=request)
    return cost


def count_values(volume: Volume) -> Generator[Step, None, Histogram]:
    """The histogram of a volume."""
    counting = histogram_by_slab(volume.data, padding_of(volume))
    try:
        while True:
            done = next(counting)
            yield Step(round(100 * done), 100, "")
    except StopIteration as end:
        histogram: Histogram = end.value
        return histogram


def look_at(volume: Volume, labels: NDArray[Any] | None) -> Generator[Step, None, Looked]:
    """What the values of a volume are; ``labels``: the label map of which it is a shape."""
    histogram = yield from count_values(volume)
    data, padding = volume.data, padding_of(volume)
    if data.dtype.kind == "f":
        all_inside = bool(np.isfinite(data).all())
    else:
        all_inside = padding is None or not bool((data <= padding).any())
    if labels is not None:
        return Looked(histogram, all_inside, tuple(labels_in(labels)))
    return Looked(histogram, all_inside, mask=mask_recipe(volume))


def save_set(made: ScanVoxels, path: Path, source: repeat.Source | None, *, in_patient: bool) -> str:
    """Write a voxel set where and as the path says; the sentence to say.

    Parameters
    ----------
    made : ScanVoxels
    path : Path
        ``.npz`` for the set with its features; ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.dcm`` for its mask.
    source : Source or None
        Where the scan was read from: a DICOM segmentation refers to its images.
    in_patient : bool
        Whether it is known where the scan lies in the patient; else there is no geometry to write into an image.

    Raises
    ------
    InputError
        With the reason, where it cannot be written so.
    """
    voxels = made.voxels
    if path.suffix.lower() == ".npz":
        voxels.save(path)
        return f"Saved {words.count(voxels.n_active, 'voxels')} with their features as {path.name}."
    if not in_patient:
        raise InputError(
            "it is not known where this scan lies in a patient, so an image of its voxels would lie anywhere; "
            "save them as .npz, or open the scan with this plugin"
        )
    from napari_sparse3d.io.dicom.segmentation import write_segmentation
    from napari_sparse3d.io.read import choose_series
    from napari_sparse3d.io.write import write_volume

    mask = Volume(voxels.mask().view("u1"), voxels.affine, meta={"labels": True})
    if path.suffix.lower() == ".dcm":
        if source is None:
            raise InputError("a DICOM segmentation refers to the images of its scan, which was not opened from a file")
        write_segmentation(mask, choose_series(source.path, source.series), path, names={1: short_name(made.recipe)})
    else:
        write_volume(mask, path)
    return f"Saved the mask of {words.count(voxels.n_active, 'voxels')} as {path.name}."


def straighten(
    volume: Volume, name: str, limits: tuple[float, float], case: CaseIdentity
) -> Generator[Step, None, LayerData]:
    """An oblique scan along the patient's axes, as a layer of the same case with this name and the same greys."""
    yield Step(0, 0, "Straightening …")
    from napari_sparse3d.io.layers import layer_of
    from napari_sparse3d.io.straighten import straightened

    working = straightened(volume)
    try:
        while True:
            done, total = next(working)
            yield Step(done, total, "")
    except StopIteration as end:
        data, about, kind = layer_of(end.value, name)
    about["metadata"][CASE] = case
    if kind == "image":
        about["contrast_limits"] = limits
    return data, about, kind
