"""What acts on each site alone: activations, normalisation, linear maps, dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.sparse.tensor import SparseTensor

_NEEDS_ALL_SITES = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm, nn.Dropout)


def pointwise(module: nn.Module, x: SparseTensor) -> SparseTensor:
    """Apply a module of (rows, C) -> (rows, C') to the features and to the background; sites stay unchanged.

    Raises
    ------
    TypeError
        If the module is not the same function of every row (use :class:`SparseBatchNorm`, :class:`SparseDropout`).
    """
    if isinstance(module, _NEEDS_ALL_SITES):
        raise TypeError(f"{type(module).__name__} does not act on each site alone; use SparseBatchNorm, SparseDropout")
    background = None if x.background is None else module(x.background[None])[0]
    return x.with_features(module(x.features), background)


class SparseBatchNorm(nn.BatchNorm1d):
    """Batch normalisation with the statistics of the active sites; the background gets the same affine map.

    In training, statistics are those of the active sites of the batch (not of the dense grid). With fewer than two
    active sites there are none: the running statistics are used and left as they are.
    """

    def forward(self, x: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """(N, C) -> (N, C)."""
        mean, variance = self._statistics(x.features)
        scale = torch.rsqrt(variance + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        background = None if x.background is None else torch.addcmul(shift, x.background, scale)
        return x.with_features(torch.addcmul(shift, x.features, scale), background)

    def _statistics(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel, (C,) and (C,)."""
        rows = features.shape[0]  # len() would make it a constant of an exported program
        if self.running_mean is not None and self.running_var is not None and not (self.training and rows > 1):
            return self.running_mean, self.running_var
        if features.dtype in (torch.float16, torch.bfloat16):  # under autocast; a sum of many sites would overflow
            features = features.float()
        # var_mean sums each channel on its own, so the result does not depend on the number of threads
        variance, mean = torch.var_mean(features, 0, correction=0)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_(variance.detach() * (rows / (rows - 1)), momentum)
        return mean, variance


class SparseDropout(nn.Dropout):
    """Dropout of feature values; the background, one vector for millions of sites, keeps its expected value."""

    def forward(self, x: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """(N, C) -> (N, C)."""
        return x.with_features(functional.dropout(x.features, self.p, self.training), x.background)
