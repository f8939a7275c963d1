"""What passes between the panels and the child process: plain numbers, no torch, no Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.activity import LayerActivity
from napari_sparse3d.voxels import Recipe, VoxelSet
from napari_sparse3d.widgets.toolbox.fields import Field

if TYPE_CHECKING:
    from napari_sparse3d.cases.facts import Facts

Point = tuple[float, float, float]


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be chosen, as its card says. ``argument`` is what ``load_model`` and ``--model`` take."""

    argument: str
    name: str
    architecture: str
    classes: tuple[str, ...]
    trained: bool
    description: str
    recipe: Recipe
    field: int
    n_features: int
    metrics: dict[str, Any]
    intended_use: str
    limits: str
    data: str
    sha256: str = ""
    takes: str = ""
    """What it was trained on, in a line."""
    spacing_seen: tuple[float, float] | None = None
    """Smallest and largest side of a voxel in its training, mm; None: not known."""
    values_seen: tuple[str, ...] = ()
    """Whether it was trained on masks or scans."""


@dataclass(frozen=True)
class LayerRow(LayerActivity):
    """A row of the per-layer table, and where its sites lie: site ``o`` on field voxel ``o * step + centre``."""

    step: Point = (1.0, 1.0, 1.0)
    centre: Point = (0.0, 0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Request:
    """A voxel set for a model on an engine, and what is known of the volume that it is of.

    ``key`` tells one request from another.
    """

    key: str
    model: str
    voxels: VoxelSet = field(repr=False)
    facts: Facts = field(repr=False)
    engine: str = "auto"
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class NetworkResult:
    """What a network said; ``rows`` begins with the input.

    ``model_hash`` is that of weights and card, which embeddings are compared by; ``outside_training`` says in what the
    input is unlike the training's: "" in nothing, None where that is not known.
    """

    request: Request
    model: ModelInfo
    probabilities: NDArray[np.float32]
    embedding: NDArray[np.float32]
    rows: tuple[LayerRow, ...]
    engine: str
    device: str
    reason: str
    seconds: float
    model_hash: str
    outside_training: str | None

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.model.classes[int(self.probabilities.argmax())]


@dataclass(frozen=True, eq=False)
class Sites:
    """Values at the active sites of one layer.

    Attributes
    ----------
    indices : ndarray
        (N, 3) int32 [z, y, x].
    values : ndarray
        (N, C) float32.
    shape : tuple of int
        (D, H, W) of the layer's grid.
    step, centre : tuple of float
        Site ``o`` is centred on field voxel ``o * step + centre``.
    background : ndarray or None
        (C,) what every other site holds.
    layer : str
        Which layer.
    """

    indices: NDArray[np.int32]
    values: NDArray[np.float32]
    shape: tuple[int, int, int]
    step: Point
    centre: Point
    background: NDArray[np.float32] | None
    layer: str


@dataclass(frozen=True, eq=False)
class Attributed:
    """What drove a class: a value for each voxel of the set that was run.

    Attributes
    ----------
    values : ndarray
        (N,) float32, in the order of the set's voxels; above 0 for the class, below 0 against it.
    record : dict
        Of what, by what and how much: as ``explain --json`` has it.
    remark : str
        What has to be said of it.
    """

    values: NDArray[np.float32]
    record: dict[str, Any]
    remark: str = ""

    @property
    def target(self) -> int:
        """The class, from 0."""
        return int(self.record["class_number"])

    @property
    def class_name(self) -> str:
        """Its name."""
        return str(self.record["class"])

    @property
    def method(self) -> str:
        """Its name in the catalogue."""
        return str(self.record["method"])


@dataclass(frozen=True)
class Cost:
    """What a model would need for a voxel set, measured by running it."""

    model: str
    macs: int
    seconds: float
    outside_training: str | None


@dataclass(frozen=True)
class Shown:
    """The cases of a cohort that others come to.

    Attributes
    ----------
    places : list of (str, int or None, str, str)
        Path and series of each, and of a thing in a label map that map's path and its label.
    by : (str, str)
        The hashes of the model and of the recipe that embedded them.
    added : list of str
        The folders of the others.
    """

    places: list[tuple[str, int | None, str, str]]
    by: tuple[str, str]
    added: list[str]


@dataclass(frozen=True)
class TrainingFields:
    """What can be set in a training; each begins with its default.

    Attributes
    ----------
    training, augment : tuple of Field
        Of the whole, and of its augmentation.
    losses, architectures : dict
        By name.
    """

    training: tuple[Field, ...]
    augment: tuple[Field, ...]
    losses: dict[str, tuple[Field, ...]]
    architectures: dict[str, tuple[Field, ...]]
