"""The margin loss of capsules."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from napari_sparse3d.training.losses import Criterion, LossSettings


class LengthMargin(LossSettings):
    """Sabour, Frosst, Hinton. Dynamic Routing Between Capsules. NeurIPS 2017, equation 4."""

    kind: Literal["length-margin"] = "length-margin"
    long: float = 0.9
    short: float = 0.1

    def criterion(self, classes: int, embedding: int, weights: Tensor) -> Criterion:
        return _Margin(self)


class _Margin(Criterion):
    def __init__(self, how: LengthMargin) -> None:
        super().__init__()
        self.how = how

    def forward(self, embedding: Tensor, logits: Tensor, label: Tensor, random: torch.Generator) -> Tensor:
        true = functional.one_hot(label, logits.shape[1])
        missing = functional.relu(self.how.long - logits).square()
        wrong = functional.relu(logits - self.how.short).square()
        return (true * missing + 0.5 * (1 - true) * wrong).sum(1).mean()
