"""What the Sparse voxels panel knows: the set that is there, the one being made, what is said of them. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.typing import NDArray

from napari_sparse3d.measure.histogram import Histogram
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Preset, Recipe
from napari_sparse3d.widgets.child.records import Cost
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.failures import Failure
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels

Key: TypeAlias = tuple[str, int, str]
"""Which set: the volume's layer, the time point, the recipe as JSON."""


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
    """

    key: Key
    made: ScanVoxels
    numbers: str
    empty: Failure | None
    kind: str
    picture: NDArray[Any] | None


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
    """

    ready: ReadySet | None = None
    asked_for: bool = False
    run_next: bool = False

    def another_volume(self) -> None:
        """Nothing of the last volume is left."""
        self.ready, self.run_next = None, False

    def made(self, key: Key) -> ScanVoxels | None:
        """The set of this key, if it is the last one."""
        return self.ready.made if self.ready is not None and self.ready.key == key else None

    def has_voxels(self) -> bool:
        """Whether there is a set with voxels in it."""
        return self.ready is not None and self.ready.made.voxels.n_active > 0


def volume_words(volume: Volume, frame: int | None, frames: int, *, notes: Sequence[str]) -> str:
    """Grid and spacing of the chosen volume; which time point; a line for each thing to know of it."""
    lines = [f"{words.grid(volume.shape)} · {words.spacing(volume.spacing_mm)} (z, y, x)"]
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
        "before resampling and clean-up; let go for the exact set"
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
