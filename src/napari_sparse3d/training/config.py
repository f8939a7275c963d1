"""Everything that decides what a training gives: one frozen object, stored with the run and with its model."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_sparse3d.errors import InputError
from napari_sparse3d.voxels import Recipe

Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    """Frozen; unknown keys are refused; what is wrong is said in one line, as an :class:`InputError`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, fault['loc'])) or 'training'}: {fault['msg']}" for fault in error.errors())
            raise InputError("; ".join(faults)) from error


class Augmentation(_Part):
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


class Loss(_Part):
    """What is made small.

    Attributes
    ----------
    name : str
        ``cross-entropy``, ``triplet``, or a loss of pytorch-metric-learning by its class name (``MultiSimilarityLoss``,
        ``ArcFaceLoss``, ...); or ``module:function``, the user's own: (embedding, logits, label) -> loss.
    smoothing : float
        Label smoothing of the cross entropy.
    class_weights : {"none", "balanced"}
        ``balanced``: each class counts the same, however many cases it has.
    distance : {"cosine", "squared-l2"}
        Of the triplet loss, between unit vectors.
    margin : float
        Of the triplet loss.
    pairs : {"shuffled", "random", "hardest"}
        How triplets are found in a batch: see :func:`losses.choose_triplets`.
    miner : str
        For a loss of pytorch-metric-learning: class name of a miner, or "" for none.
    arguments : dict
        Handed to the loss of pytorch-metric-learning.
    classify : float
        Weight of a cross entropy added to a loss on embeddings, so that the model can also classify.
    """

    name: str = "cross-entropy"
    smoothing: Share = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    distance: Literal["cosine", "squared-l2"] = "cosine"
    margin: float = Field(default=0.5, gt=0)
    pairs: Literal["shuffled", "random", "hardest"] = "hardest"
    miner: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)
    classify: float = Field(default=1.0, ge=0)


class Training(_Part):
    """One training.

    Attributes
    ----------
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

    architecture: str = "residual"
    arguments: dict[str, Any] = Field(default_factory=dict)
    recipe: Recipe
    epochs: int = Field(default=60, ge=1)
    batch_size: int = Field(default=32, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    sampler: Literal["shuffled", "balanced", "pk"] = "shuffled"
    classes_per_batch: int = Field(default=8, ge=2)
    cases_per_class: int = Field(default=4, ge=1)
    loss: Loss = Loss()
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

    @model_validator(mode="after")
    def _gradient_channels(self) -> Training:
        moved = self.augment.turns != "none" or self.augment.rotate_degrees > 0
        if moved and "gradient" in self.recipe.features:
            raise ValueError("the gradient feature has a direction, so shapes with it cannot be rotated; leave one out")
        return self

    def digest(self) -> str:
        """A short hash of everything that decides the outcome."""
        outcome = self.model_dump_json(exclude={"checkpoint_seconds"})
        return hashlib.sha256(outcome.encode()).hexdigest()[:16]


SMALL_SHAPES: dict[str, Any] = {
    "arguments": {"field": 64, "stem_stride": 2, "channels": [16, 32, 64, 96], "blocks": [0, 1, 1, 1], "dropout": 0.3},
    "epochs": 30,
    "learning_rate": 0.002,
    "schedule": "one-cycle",
    "weight_decay": 0.05,
    "sampler": "balanced",
    "loss": {"smoothing": 0.1},
    "augment": {"rotate_degrees": 20, "scale": 0.1, "shift": 0.05},
}
"""Where the command line starts from: what was good for vessels and glands in a grid of 64, with few of one class."""
