"""Everything that decides what a training gives: one frozen object, stored with the run and with its model."""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from copy import deepcopy
from typing import Any, Literal

from pydantic import Field, model_validator

from napari_sparse3d.catalog import ARCHITECTURES, DEFAULT_ARCHITECTURE, DEFAULT_LOSS, is_own
from napari_sparse3d.errors import InputError
from napari_sparse3d.training.losses.base import LossSettings
from napari_sparse3d.training.losses.choice import AnyLoss, FlatLoss, switched
from napari_sparse3d.training.losses.cross_entropy import CrossEntropy
from napari_sparse3d.training.settings import Positive, Settings
from napari_sparse3d.voxels import Recipe


class Augmentation(Settings):
    """How training shapes are varied, on their sparse coordinates (see :mod:`augment`). The default varies nothing.

    Attributes
    ----------
    turns : {"none", "mirror", "upright", "rotate", "all"}
        Exact symmetries of the grid: mirrored along axes (8), those that leave axis 0 (up) alone (8), quarter turns
        (24), or all (48).
    rotate_degrees : float
        Largest further rotation about each axis, up to 45.
    scale : float
        Largest relative change of size along each axis: factors from 1 / (1 + scale) to 1 + scale.
    shear : float
        Largest shear coefficient.
    shift : float
        Largest shift along each axis, as a share of the field.
    drop : float
        Largest share of voxels left out.
    jitter : float
        Share of voxels moved to a neighbouring site.
    """

    turns: Literal["none", "mirror", "upright", "rotate", "all"] = "none"
    rotate_degrees: float = Field(default=0.0, ge=0, le=45)
    scale: float = Field(default=0.0, ge=0, le=1)
    shear: float = Field(default=0.0, ge=0, le=1)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    drop: float = Field(default=0.0, ge=0, lt=1)
    jitter: float = Field(default=0.0, ge=0, le=1)


class Start(Settings):
    """The trained model that a training began from.

    Attributes
    ----------
    name : str
        What its card calls it.
    digest : str
        See :meth:`napari_sparse3d.models.Model.digest`.
    """

    name: str
    digest: str


class Training(Settings):
    """One training.

    Attributes
    ----------
    architecture : str
        A name in ``catalog.ARCHITECTURES``, or ``module:factory``, the user's own callable.
    arguments : dict
        Handed to it.
    loss : LossSettings
        What is made small: a union by ``kind`` of the losses in ``catalog.LOSSES``.
    start : Start or None
        The model whose weights the training begins with; None: random ones.
    epochs, batch_size, seed : int
    sampler : {"shuffled", "balanced", "pk"}
        ``balanced``: every class as often as the others. ``pk``: batches of P classes with K cases each.
    classes_per_batch, cases_per_class : int
        P and K.
    optimizer : {"adamw", "nesterov"}
    learning_rate, weight_decay, momentum : float
    schedule : {"cosine", "one-cycle", "step", "constant"}
        ``one-cycle`` rises for the first quarter; ``step`` divides by ten at 60 % and 85 %.
    warmup_epochs : float
        Linear rise at the start.
    clip : float or None
        Largest norm of the gradient.
    average : float or None
        Decay of the exponential average of the weights, which is what is validated and kept.
    patience : int or None
        Stop after so many epochs without a better validation.
    select_by : str
        The validation measure to be large: ``auto`` (auc for two classes, else accuracy; map for embeddings).
    keep : {"best", "last"}
        Which epoch's weights become the model.
    test_views : int
        Predictions are averaged over so many symmetric views (of ``augment.turns``).
    calibrate : {"validation", "frequencies", "none"}
        What the finished classifier's probabilities are made to fit, see :mod:`calibrate`: the validation cases, by one
        scale and a bias for each class; or, where classes were made to count the same, how frequent they are in
        training. With two classes the ranking (AUC) does not change.
    mixed_precision : bool
        Products in half precision, weights in float32: see :func:`optimize.half_type`.
    checkpoint_seconds : float
        A checkpoint is written at least so often, and after each epoch.
    """

    architecture: str = DEFAULT_ARCHITECTURE
    arguments: dict[str, Any] = Field(default_factory=dict)
    recipe: Recipe
    epochs: int = Field(default=60, ge=1)
    batch_size: int = Field(default=32, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    sampler: Literal["shuffled", "balanced", "pk"] = "shuffled"
    classes_per_batch: int = Field(default=8, ge=2)
    cases_per_class: int = Field(default=4, ge=1)
    loss: AnyLoss = CrossEntropy()
    augment: Augmentation = Augmentation()
    optimizer: Literal["adamw", "nesterov"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: float = Field(default=0.01, ge=0)
    momentum: float = Field(default=0.99, ge=0, lt=1)
    schedule: Literal["cosine", "one-cycle", "step", "constant"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0)
    clip: Positive | None = 5.0
    average: float | None = Field(default=0.99, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    select_by: str = "auto"
    keep: Literal["best", "last"] = "best"
    test_views: int = Field(default=1, ge=1, le=48)
    calibrate: Literal["validation", "frequencies", "none"] = "validation"
    mixed_precision: bool = False
    checkpoint_seconds: Positive = 60.0
    start: Start | None = None

    @model_validator(mode="after")
    def _gradient_channels(self) -> Training:
        moved = self.augment.turns != "none" or self.augment.rotate_degrees > 0
        if moved and "gradient" in self.recipe.features:
            raise ValueError("the gradient feature has a direction, so shapes with it cannot be rotated; leave one out")
        return self

    def digest(self) -> str:
        """A short hash of everything that decides the outcome."""
        outcome = self.model_dump_json(exclude={"checkpoint_seconds", *(() if self.start else ("start",))})
        if flat := FlatLoss.of(self.loss):
            # as settings were written before each loss had its own: runs that were begun then go on
            outcome = outcome.replace(f'"loss":{_text(self.loss)}', f'"loss":{_text(flat)}', 1)
        return hashlib.sha256(outcome.encode()).hexdigest()[:16]


def _text(part: LossSettings | FlatLoss) -> str:
    return part.model_dump_json()


SMALL_SHAPES: dict[str, Any] = {
    "arguments": dict(ARCHITECTURES[DEFAULT_ARCHITECTURE].arguments),
    "epochs": 30,
    "learning_rate": 0.002,
    "schedule": "one-cycle",
    "weight_decay": 0.05,
    "sampler": "balanced",
    "loss": {"smoothing": 0.1},
    "augment": {"rotate_degrees": 20, "scale": 0.1, "shift": 0.05},
}
"""Where the command line starts from: what was good for vessels and glands in a grid of 64, with few of one class."""


def starting_settings(architecture: str = DEFAULT_ARCHITECTURE, loss: str | None = None) -> dict[str, Any]:
    """``SMALL_SHAPES``, for another architecture with its own arguments, and for another loss as far as it takes them.

    Parameters
    ----------
    architecture : str
    loss : str, optional
        As on the command line; None: the architecture's own.

    Raises
    ------
    InputError
        If there is no such architecture or loss.
    """
    values = deepcopy(SMALL_SHAPES)
    info = None if is_own(architecture) else ARCHITECTURES[architecture]
    values["architecture"] = architecture
    values["arguments"] = deepcopy(dict(info.arguments)) if info else {}
    asked = loss or (info.loss if info else DEFAULT_LOSS)
    values["loss"] = switched(values["loss"], asked)
    return values


def put_setting(values: MutableMapping[str, Any], name: str, value: Any) -> None:
    """Set one setting by its dotted name, in settings that are still a mapping.

    ``loss.name`` and ``loss.kind`` choose another loss, which keeps of the settings before what it takes.

    Raises
    ------
    InputError
        If a part of the name holds no settings of its own, or there is no such loss.
    """
    if name in ("loss.name", "loss.kind", "loss") and isinstance(value, str):
        before = values.get("loss")
        values["loss"] = switched(before if isinstance(before, dict) else {}, value)
        return
    *path, last = name.split(".")
    for part in path:
        inner = values.setdefault(part, {})
        if not isinstance(inner, MutableMapping):
            raise InputError(f"setting {name!r}: {part!r} holds no settings of its own")
        values = inner
    values[last] = value
