"""What the Sparse voxels panel knows: the set that is there, the one being made, what is said of them. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from napari_sparse3d.measure.histogram import Histogram
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Preset, Recipe
from napari_sparse3d.voxels.body import Mask
from napari_sparse3d.widgets.child.records import Cost
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.failures import Failure
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels

Key: TypeAlias = tuple[str, int, str]
"""Which set: the volume's layer, the time point, the recipe as JSON."""


@dataclass(frozen=True, eq=False)
class Looked:
    """What the values of the chosen volume are: told by a worker.

    Attributes
    ----------
    histogram : Histogram
    all_inside : bool
        Whether every voxel is image data, see ``voxels.image_data``.
    labels : tuple of int
        The labels of a label map; none of what is no label map.
    mask : (Recipe, str) or None
        The recipe of a mask, and why it is one.
    """

    histogram: Histogram
    all_inside: bool = True
    labels: tuple[int, ...] = ()
    mask: tuple[Recipe, str] | None = None


@dataclass(frozen=True, eq=False)
class ReadySet:
    """A voxel set, and all that showing it needs: reckoned in a worker, so that the window never waits.

    Attributes
    ----------
    key : tuple
    made : ScanVoxels
    numbers : str
        What is said of it.
    empty : Failure or None
        Why it is no set to work on: nothing is in it.
    kind : str
        How it is drawn, see ``toolbox.voxel_layer``.
    picture : ndarray or None
        For the layer; None where only the numbers were asked for.
    body : ndarray or None
        The body of the scan, (Z, Y, X) bool, where the recipe keeps to it and it was looked for.
    """

    key: Key
    made: ScanVoxels
    numbers: str
    empty: Failure | None
    kind: str
    picture: NDArray[Any] | None
    body: Mask | None = None


@dataclass
class VoxelsState:
    """What stands in the panel.

    Attributes
    ----------
    ready : ReadySet or None
        The last set that was made of the chosen volume.
    asked_for : bool
        The set that is being made was asked for, and is not there for its numbers alone.
    run_next : bool
        A network is to be run as soon as the set is there.
    looked : Looked or None
        What the values of the chosen volume are.
    volume : (layer's id, time point, label) and Volume, or None
        The shape that is made of the chosen labels.
    body : (layer's id, time point, region) and ndarray, or None
        The body of the chosen volume, found once.
    """

    ready: ReadySet | None = None
    looked: Looked | None = None
    volume: tuple[tuple[str, int, int | None], Volume] | None = None
    body: tuple[tuple[str, int, str], Mask] | None = None
    asked_for: bool = False
    run_next: bool = False

    def another_volume(self) -> None:
        """Nothing of the last volume is left."""
        self.ready, self.run_next = None, False
        self.looked = self.volume = self.body = None

    def edited(self) -> None:
        """The volume's voxels are others now: nothing that was made of them counts."""
        self.ready = self.volume = self.body = None

    def made(self, key: Key) -> ScanVoxels | None:
        """The set of this key, if it is the last one."""
        return self.ready.made if self.ready is not None and self.ready.key == key else None

    def has_voxels(self) -> bool:
        """Whether there is a set with voxels in it."""
        return self.ready is not None and self.ready.made.voxels.n_active > 0


def volume_words(volume: Volume, frame: int | None, frames: int, *, notes: Sequence[str]) -> str:
    """Grid and spacing of the chosen volume; which time point; a line for each thing to know of it."""
    lines = [f"{words.grid(volume.shape)} · voxels of {words.voxel_size(volume.spacing_mm)}"]
    if frame is not None:
        lines.append(f"time {frame} of {frames}: the one the viewer shows")
    return "\n".join([*lines, *(f"⚠ {note}" for note in notes)])


def range_words(histogram: Histogram, low: float, high: float) -> str:
    """How much of the scan is in a range, while its end moves."""
    inside = histogram.count_between(low, high)
    total = max(1, histogram.count_between(histogram.low, histogram.high))
    about = "" if histogram.integer else "about "  # values with a fraction are counted in bins, and sampled
    return (
        f"{about}{words.count(inside, 'voxels')} of the scan in the range · {words.percent(100 * inside / total)}\n"
        "on the scan's own grid, all parts; release for the numbers of the set"
    )


def cost_words(cost: Cost) -> str:
    """What a model would take, and whether the set is like what it was trained on."""
    text = f"{cost.model} would take {words.work(cost.macs)} · {words.seconds(cost.seconds)} here"
    return "\n".join(filter(None, (text, words.unlike_training(cost.model, cost.outside_training))))


def short_name(recipe: Recipe) -> str:
    """After the scan's name, in that of its layer."""
    if isinstance(recipe.threshold, Preset):
        return recipe.threshold.name
    return recipe.name if recipe.name != "custom" else "voxels"
