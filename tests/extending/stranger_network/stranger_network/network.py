"""A network of which each class is a capsule."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.models import DescribingNetwork, Head
from napari_sparse3d.sparse import GlobalAvgPool, SparseConv3d, SparseTensor


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
