"""A residual network of submanifold convolutions: stem, stages, global pool.

References
----------
He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016.
Graham, Engelcke, van der Maaten. 3D Semantic Segmentation with Submanifold Sparse Convolutional Networks. CVPR 2018.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.errors import InputError
from napari_sparse3d.models.heads import ClassHead
from napari_sparse3d.models.network import DescribingNetwork
from napari_sparse3d.sparse import (
    GlobalAvgPool,
    GlobalMaxPool,
    SparseBatchNorm,
    SparseConv3d,
    SparseSequential,
    SparseTensor,
    SubMConv3d,
    normalized,
)


class ResidualNet(DescribingNetwork):
    """Residual blocks at the active sites; each stage but the first halves the grid and so brings far sites together.

    Missing neighbours add nothing (``background=None`` inside, as submanifold networks are defined), so empty space
    costs nothing and says nothing. The pool takes mean and maximum over the active sites of the last stage.

    Parameters
    ----------
    in_features : int
        Features of each voxel (1: occupancy).
    classes : int
        Number of classes.
    field : int
        Side of the grid, a multiple of ``2 ** (len(channels) - 1)``.
    channels : sequence of int
        Channels of each stage; its length is the number of stages.
    blocks : int or sequence of int
        Residual blocks in each stage.
    stem_stride : int
        1: the first stage works at full resolution. 2: at half of it, which costs about a quarter.
    embedding : int
        Length D of the vector before the classifier.
    dropout : float
        Probability with which a value of that vector is dropped in training.

    Raises
    ------
    InputError
        If the sizes do not fit together.
    """

    def __init__(
        self,
        in_features: int = 1,
        classes: int = 2,
        field: int = 64,
        channels: Sequence[int] = (16, 32, 64, 128),
        blocks: int | Sequence[int] = 1,
        stem_stride: int = 1,
        embedding: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        per_stage = (blocks,) * len(channels) if isinstance(blocks, int) else tuple(blocks)
        if not channels or len(per_stage) != len(channels) or min(per_stage) < 0 or min(channels) < 1:
            raise InputError(f"each stage needs channels and a number of blocks, got {channels} and {per_stage}")
        if embedding < 1:
            raise InputError(f"embedding must be 1 or more, got {embedding}")
        if stem_stride not in (1, 2):
            raise InputError(f"stem_stride must be 1 or 2, got {stem_stride}")
        step = stem_stride * 2 ** (len(channels) - 1)
        if field % step or field < step:
            raise InputError(
                f"{len(channels)} stages with stem stride {stem_stride} need a field that is a multiple of {step}, "
                f"got {field}"
            )
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["stem"] = _stem(in_features, channels[0], stem_stride)
        layers["stem_norm"] = SparseBatchNorm(channels[0])
        layers["stem_relu"] = nn.ReLU()
        for stage, (width, depth) in enumerate(zip(channels, per_stage, strict=True), start=1):
            if stage > 1:
                layers[f"down{stage}"] = SparseConv3d(channels[stage - 2], width, 2, stride=2, bias=False)
                layers[f"down{stage}_norm"] = SparseBatchNorm(width)
                layers[f"down{stage}_relu"] = nn.ReLU()
            for block in range(1, depth + 1):
                layers[f"stage{stage}_block{block}"] = ResidualBlock(width)
        self.layers = SparseSequential(layers)
        self.mean, self.largest = GlobalAvgPool(), GlobalMaxPool()
        self.project = nn.Linear(2 * channels[-1], embedding)
        self.dropout = nn.Dropout(dropout)
        self.classifier = ClassHead(embedding, classes)
        self.field, self.in_features, self.classes = field, in_features, classes
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He's initialisation for the convolutions; the last scale of each block starts at 0, so it starts as identity.

        References
        ----------
        Goyal et al. Accurate, Large Minibatch SGD. 2017, section 5.1 (zero gamma).
        """
        for module in self.modules():
            if isinstance(module, (SparseConv3d, SubMConv3d)):
                fan_in = module.in_channels * module.window.volume
                nn.init.normal_(module.weight, std=(2 / fan_in) ** 0.5)
            elif isinstance(module, ResidualBlock):
                nn.init.zeros_(module.norm2.weight)

    def describe(self, x: SparseTensor) -> Tensor:
        """(B, D): what the classifier sees."""
        y: SparseTensor = self.layers(x.with_features(x.features, None))
        pooled = torch.cat([self.mean(y), self.largest(y)], 1)
        return self.dropout(functional.relu(self.project(pooled)))  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Two 3^3 submanifold convolutions, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = SubMConv3d(channels, channels, 3, bias=False)
        self.norm1 = SparseBatchNorm(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = SubMConv3d(channels, channels, 3, bias=False)
        self.norm2 = SparseBatchNorm(channels)
        self.relu2 = nn.ReLU()

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) -> (N, C) at the same sites."""
        y = normalized(self.norm1, self.relu1, self.conv1(x))
        return normalized(self.norm2, self.relu2, self.conv2(y), x)


def _stem(in_features: int, channels: int, stride: int) -> nn.Module:
    if stride == 1:
        return SubMConv3d(in_features, channels, 3, bias=False)
    return SparseConv3d(in_features, channels, 4, stride=2, padding=1, bias=False)
