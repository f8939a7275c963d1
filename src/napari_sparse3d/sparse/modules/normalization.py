"""Normalisation by other statistics than the batch's: of each volume by itself, and of all processes together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.arrays import check_eps
from napari_sparse3d.sparse.modules.module import SparseModule
from napari_sparse3d.sparse.modules.pointwise import SparseBatchNorm
from napari_sparse3d.sparse.tensor import SparseTensor


class SparseGroupNorm(SparseModule):
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

    kind = "group norm"
    no_dense_twin = (
        "its statistics are those of the active sites of each volume, which a dense program cannot tell from the "
        "others; use SparseBatchNorm to make one of a network"
    )

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
        normalized = (rows - mean) * scale
        if self.weight is not None and self.bias is not None:
            normalized = normalized * self.weight + self.bias
        return normalized.to(rows.dtype)


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

    kind = "instance norm"

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False) -> None:
        super().__init__(num_features, num_features, eps, affine)


class SparseSyncBatchNorm(SparseBatchNorm):
    """Batch normalisation with the statistics of the active sites of all processes.

    In training under ``torch.distributed``, mean and variance are those of the active sites of the batches of all
    processes of the group together, as if one process had them all, however differently many each has: a process
    without sites takes part. Gradients are those of the sum of the losses of all processes, as with
    ``torch.nn.SyncBatchNorm``, and what ``DistributedDataParallel`` takes the mean of. Elsewhere it is a
    :class:`SparseBatchNorm`. Every process of the group must run the layer as often as the others.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats
        As in ``torch.nn.SyncBatchNorm``.
    process_group : ProcessGroup, optional
        Whose processes are asked; None: all.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: distributed.ProcessGroup | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.process_group = process_group

    @classmethod
    def convert(cls, module: nn.Module, process_group: distributed.ProcessGroup | None = None) -> nn.Module:
        """The network with a layer of this kind, of the same weights, in place of each :class:`SparseBatchNorm`."""
        if type(module) is SparseBatchNorm:
            converted = cls(module.num_features, module.eps, module.momentum, process_group=process_group)
            converted.affine, converted.track_running_stats = module.affine, module.track_running_stats
            converted.weight, converted.bias = module.weight, module.bias
            converted.running_mean, converted.running_var = module.running_mean, module.running_var
            converted.num_batches_tracked = module.num_batches_tracked
            converted.training = module.training
            return converted
        for name, child in module.named_children():
            setattr(module, name, cls.convert(child, process_group))
        return module

    def _in_one_pass(self, x: SparseTensor, slope: float, other: SparseTensor | None) -> Tensor | None:
        return None if self._processes() > 1 else super()._in_one_pass(x, slope, other)

    def _statistics(self, features: Tensor) -> tuple[Tensor, Tensor]:
        if self._processes() < 2:
            return super()._statistics(features)
        if features.dtype in (torch.float16, torch.bfloat16):
            features = features.float()
        # sums in float64: of counts exactly, of many sites without losing digits
        count = self._over_all(torch.tensor([float(len(features))], dtype=torch.float64, device=features.device))
        if count < 2:
            if self.running_mean is not None and self.running_var is not None:
                return self.running_mean, self.running_var
            count = count.clamp(min=1)
        mean = (self._over_all(features.sum(0, dtype=torch.float64)) / count).to(features.dtype)
        squares = (features - mean).square().sum(0, dtype=torch.float64)
        variance = (self._over_all(squares) / count).to(features.dtype)
        self._follow(mean, variance, int(count))
        return mean, variance

    def _processes(self) -> int:
        """How many share their statistics in this pass."""
        if not (self.training or self.running_mean is None):
            return 1
        if not (distributed.is_available() and distributed.is_initialized()):
            return 1
        return distributed.get_world_size(self.process_group)

    def _over_all(self, own: Tensor) -> Tensor:
        total: Tensor = _SumOverProcesses.apply(own, self.process_group)  # type: ignore[no-untyped-call]
        return total


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of what each process asks of it."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, group: distributed.ProcessGroup | None) -> Tensor:
        ctx.group = group
        total = own.clone()
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.contiguous().clone()
        distributed.all_reduce(total, group=ctx.group)
        return total, None
