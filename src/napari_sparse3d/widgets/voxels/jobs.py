"""What the Sparse voxels panel lets a worker do: count values, make a set and its picture. No Qt."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_sparse3d.cases.identity import CaseIdentity
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.histogram import Histogram, histogram_by_slab
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Recipe, require_voxels, voxelize
from napari_sparse3d.voxels.image_data import padding_of
from napari_sparse3d.widgets.child.records import Cost, Request
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.caller import Caller
from napari_sparse3d.widgets.toolbox.failures import failure_of
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.step import Step
from napari_sparse3d.widgets.toolbox.voxel_picture import kind_for, picture_of
from napari_sparse3d.widgets.voxels.state import Key, ReadySet


def make_ready(
    key: Key,
    volume: Volume,
    recipe: Recipe,
    frame: int,
    kind: str | None,
    known: ScanVoxels | None,
    case: CaseIdentity,
) -> Generator[Step, None, ReadySet]:
    """Make a voxel set, unless it is known, with its numbers; its picture where a ``kind`` is wanted."""
    yield Step(0, 0, "")
    made = known or ScanVoxels(voxelize(volume, recipe), recipe, volume, frame, case)
    yield Step(0, 0, "")
    numbers, empty = words.voxel_numbers(made.voxels, recipe), None
    try:
        require_voxels(made.voxels, volume, recipe)
    except InputError as error:
        empty = failure_of(error)
    if kind is None or empty is not None:
        return ReadySet(key, made, numbers, empty, "", None)
    kind = kind_for(made.voxels, kind)
    return ReadySet(key, made, numbers, empty, kind, picture_of(made.voxels, kind))


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
