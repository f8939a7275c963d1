"""The losses of pytorch-metric-learning, by their class names, with its miners."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from napari_sparse3d.catalog import LOSSES
from napari_sparse3d.errors import InputError
from napari_sparse3d.training.losses.base import Criterion, OnEmbeddings, WeightedCriterion


class MetricLearning(OnEmbeddings):
    """A loss of pytorch-metric-learning.

    Attributes
    ----------
    name : str
        Its class name: ``MultiSimilarityLoss``, ``ArcFaceLoss``, ...
    miner : str
        Class name of a miner, or "" for none.
    arguments : dict
        Handed to the loss.
    """

    kind: Literal["metric-learning"] = "metric-learning"
    name: str
    miner: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)

    def criterion(self, classes: int, embedding: int, weights: Tensor) -> Criterion:
        """See :meth:`LossSettings.criterion`."""
        return _Criterion(self, classes, embedding, weights)

    def columns(self) -> dict[str, Any]:
        """The name of its class, and the miner."""
        return {"loss_name": self.name, "pair_method": self.miner or None}


class _Criterion(WeightedCriterion):
    def __init__(self, how: MetricLearning, classes: int, embedding: int, weights: Tensor) -> None:
        super().__init__(weights)
        self.how = how
        self.metric = _built("losses", how.name, how.arguments, classes, embedding)
        self.miner = _built("miners", how.miner, {}, classes, embedding) if how.miner else None

    def forward(self, embedding: Tensor, logits: Tensor, label: Tensor, random: torch.Generator) -> Tensor:
        mined = self.miner(embedding, label) if self.miner is not None else None
        return self.how.joined(self.metric(embedding, label, mined), logits, label, self.weights)


def _built(part: str, name: str, arguments: dict[str, Any], classes: int, embedding: int) -> Any:
    try:
        module = import_module(f"pytorch_metric_learning.{part}")
    except ImportError as error:
        raise InputError(
            f"loss {name!r} is one of pytorch-metric-learning; {LOSSES['metric-learning'].install}"
        ) from error
    kind = getattr(module, name, None)
    if not isinstance(kind, type):
        raise InputError(f"pytorch-metric-learning has no {name!r} among its {part}; names are as in its documentation")
    # losses with weights of their own (ArcFace, ...) must be told how many
    known = {"num_classes": classes, "embedding_size": embedding}
    asked = inspect.signature(kind).parameters
    try:
        return kind(**{key: value for key, value in known.items() if key in asked}, **arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be made from {arguments}: {error}") from error
