"""Cross entropy of the classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from napari_sparse3d.training.losses.base import Criterion, WeightedCriterion, WithEntropy


class CrossEntropy(WithEntropy):
    """How unlikely the true classes are, by softmax of the logits."""

    kind: Literal["cross-entropy"] = "cross-entropy"

    @property
    def name(self) -> str:
        """As it is asked for: the kind is one loss alone."""
        return self.kind

    def criterion(self, classes: int, embedding: int, weights: Tensor) -> Criterion:
        """See :meth:`LossSettings.criterion`."""
        return _Criterion(self, weights)


class _Criterion(WeightedCriterion):
    def __init__(self, how: CrossEntropy, weights: Tensor) -> None:
        super().__init__(weights)
        self.how = how

    def forward(self, embedding: Tensor, logits: Tensor, label: Tensor, random: torch.Generator) -> Tensor:
        return self.how.entropy(logits, label, self.weights)
