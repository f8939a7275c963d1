"""What the descriptors of ``lengths_package`` name."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.explain.attribution import Attribution, at_input, baseline
from napari_sparse3d.models import DescribingNetwork, Head
from napari_sparse3d.sparse import GlobalAvgPool, SparseConv3d, SparseTensor
from napari_sparse3d.training.losses import Criterion, LossSettings


class LengthHead(Head):
    """One capsule a class; its length, from 0 to 1, is how probable the class is (several may be)."""

    def __init__(self, width: int, classes: int, capsule: int) -> None:
        super().__init__()
        self.poses = nn.Linear(width, classes * capsule)
        self.classes = classes

    def forward(self, described: Tensor) -> Tensor:
        poses = self.poses(described).unflatten(1, (self.classes, -1))
        squared = poses.square().sum(2)
        return squared / (1 + squared)  # the length after squashing

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits


class LengthNet(DescribingNetwork):
    def __init__(self, in_features: int = 1, classes: int = 2, field: int = 16, capsule: int = 4) -> None:
        super().__init__()
        self.conv = SparseConv3d(in_features, 8, 3, stride=2)
        self.pool = GlobalAvgPool()
        self.classifier = LengthHead(8, classes, capsule)
        self.field, self.in_features, self.classes = field, in_features, classes

    def describe(self, x: SparseTensor) -> Tensor:
        return functional.relu(self.pool(self.conv(x)))


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


def one_left_out(network: nn.Module, x: SparseTensor, target: int) -> Attribution:
    with torch.no_grad():
        whole = network(x)[0, target]
        values = []
        for row in range(len(x.features)):
            features = x.features.clone()
            features[row] = baseline(x)
            values.append(whole - network(x.with_features(features, x.background))[0, target])
    return at_input(x, torch.stack(values))
