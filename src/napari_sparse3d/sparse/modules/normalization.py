"""Normalisation of each volume by itself: statistics over its active sites, in groups of channels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.arrays import check_eps
from napari_sparse3d.sparse.observers import SparseLayer
from napari_sparse3d.sparse.tensor import SparseTensor


class SparseGroupNorm(SparseLayer):
    """Group normalisation of each volume, with the statistics of its active sites.

    Mean and variance of a group are taken over its channels at all active sites of one volume, in training and
    evaluation alike; where every site is active that is ``torch.nn.GroupNorm`` of the dense grid. Values that are all
    the same (one site and one channel a group) become the shift.

    The background of a single volume gets the same affine map and takes no part in the statistics. Several volumes
    with a background are refused: each would need another one, and a sparse tensor has one for all.

    Neither :func:`~napari_sparse3d.models.densify.densify` nor the ONNX export takes this layer: a dense program cannot
    leave the other sites out of the statistics.

    Parameters
    ----------
    num_groups, num_channels : int
        As in ``torch.nn.GroupNorm``: the channels are divided into so many groups, in their order.
    eps : float
        Added to the variance.
    affine : bool
        Whether there is a weight and a shift (C,) after it.

    Raises
    ------
    InputError
        If the groups do not divide the channels; when called, if the input has other channels or there is a background
        and more than one volume.

    References
    ----------
    Wu, He. Group Normalization. ECCV 2018.
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        if num_groups < 1 or num_channels < 1 or num_channels % num_groups:
            raise InputError(
                f"{num_channels} channels cannot be divided into {num_groups} groups; choose a divisor of the channels"
            )
        check_eps(eps)
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = nn.Parameter(torch.ones(num_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_channels)) if affine else None

    def extra_repr(self) -> str:
        """Groups and channels, as torch prints them."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.weight is not None}"

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) -> (N, C)."""
        if x.features.shape[1] != self.num_channels:
            raise InputError(
                f"{type(self).__name__} expects {self.num_channels} channels, got {x.features.shape[1]}; "
                "give it the channels of the layer before"
            )
        if x.background is not None and x.batch_size > 1:
            raise InputError(
                f"{type(self).__name__} would need another background for each of {x.batch_size} volumes; give the "
                "network's input background=None, or one volume at a time"
            )
        volume = x.indices[:, 0].long()
        mean, scale = self._statistics(x.features, volume, x.batch_size)
        features = self._mapped(x.features, mean[volume], scale[volume])
        background = None if x.background is None else self._mapped(x.background[None], mean, scale)[0]
        return x.with_features(features, background)

    def _statistics(self, features: Tensor, volume: Tensor, volumes: int) -> tuple[Tensor, Tensor]:
        """Mean and 1 / standard deviation of each volume and channel, (B, C) and (B, C).

        Sums are in float64: one after the other over many sites, float32 would lose digits.
        """
        size = self.num_channels // self.num_groups
        grouped = features.view(-1, self.num_groups, size)
        empty = torch.zeros(volumes, self.num_groups, dtype=torch.float64, device=features.device)
        ones = torch.ones_like(volume, dtype=torch.float64)
        count = torch.zeros(volumes, dtype=torch.float64, device=features.device).index_add(0, volume, ones)
        count = (count * size).clamp(min=1)[:, None]  # a volume without sites has nothing to be divided
        mean = empty.index_add(0, volume, grouped.sum(2, dtype=torch.float64)) / count
        centred = grouped - mean[volume][..., None]
        variance = empty.index_add(0, volume, centred.square().sum(2)) / count
        return mean.repeat_interleave(size, 1), (variance + self.eps).rsqrt().repeat_interleave(size, 1)

    def _mapped(self, rows: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        made = (rows - mean) * scale
        if self.weight is not None and self.bias is not None:
            made = made * self.weight + self.bias
        return made.to(rows.dtype)


class SparseInstanceNorm(SparseGroupNorm):
    """Instance normalisation: each channel of each volume by the statistics of its active sites.

    A :class:`SparseGroupNorm` with a group for each channel, and all that is said there; where every site is active it
    is ``torch.nn.InstanceNorm3d`` without running statistics.

    Parameters
    ----------
    num_features : int
        C.
    eps : float
        Added to the variance.
    affine : bool
        Whether there is a weight and a shift (C,) after it; not unless told, as in torch.

    References
    ----------
    Ulyanov, Vedaldi, Lempitsky. Instance Normalization: The Missing Ingredient for Fast Stylization. 2016.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__(num_features, num_features, eps, affine)
