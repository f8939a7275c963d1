"""What acts on each site alone: activations, normalisation, linear maps, dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse import operators
from napari_sparse3d.sparse.arrays import check_sizes
from napari_sparse3d.sparse.engine import scale_and_shift
from napari_sparse3d.sparse.observers import SparseLayer, observed
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
    return x.with_features(observed(module, x.features), background)


class SparseBatchNorm(SparseLayer, nn.BatchNorm1d):
    """Batch normalisation with the statistics of the active sites; the background gets the same affine map.

    In training, statistics are those of the active sites of the batch (not of the dense grid). With fewer than two
    active sites there are none: the running statistics are used and left as they are.
    """

    def forward(self, x: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """(N, C) -> (N, C)."""
        return self.normalize(x)

    def normalize(self, x: SparseTensor, *, slope: float = 1.0, other: SparseTensor | None = None) -> SparseTensor:
        """Then add ``other``, at the same sites, and apply a leaky ReLU of this slope (0: ReLU, 1: none)."""
        for each in (x, other):
            if isinstance(each, SparseTensor):
                each.check()
        if x.features.shape[-1] != self.num_features:
            raise InputError(
                f"{type(self).__name__} expects {self.num_features} channels, got {x.features.shape[-1]}; "
                "give it the channels of the layer before"
            )
        self._check_weights()
        features = self._in_one_pass(x, slope, other)
        if features is not None:
            return x.with_features(features, None)
        scale, shift = scale_and_shift(*self._statistics(x.features), self.weight, self.bias, self.eps)
        background = None if x.background is None else torch.addcmul(shift, x.background, scale)
        y = x.with_features(torch.addcmul(shift, x.features, scale), background)
        if other is not None:
            y = y + other
        if slope == 1:
            return y
        background = None if y.background is None else _leaky(y.background, slope)
        return y.with_features(_leaky(y.features, slope), background)

    def _check_weights(self) -> None:
        weights = [
            (name, value, (self.num_features,))
            for name in ("running_mean", "running_var", "weight", "bias")
            if (value := getattr(self, name)) is not None
        ]
        check_sizes(weights)
        for name, value, _ in weights:
            if not value.is_floating_point():
                raise InputError(f"{name} must be floating point, got {value.dtype}")

    def _in_one_pass(self, x: SparseTensor, slope: float, other: SparseTensor | None) -> Tensor | None:
        """(N, C) by the engine, None where it cannot. A background would take part in the gradient: not here."""
        added = None if other is None else other.features
        if type(x) is not SparseTensor or x.background is not None or not operators.normalizes(x.features):
            return None
        if (other is not None and other.indices is not x.indices) or self.running_mean is None:
            return None
        if self.running_mean.dtype != x.features.dtype:
            return None
        running = self._running(x.features)
        if running is not None:
            scale, shift = scale_and_shift(*running, self.weight, self.bias, self.eps)
            return operators.scale_rows(x.features, scale, shift, added, slope=slope)
        if not len(x.features):
            return None
        made = operators.batch_norm(x.features, self.weight, self.bias, added, eps=self.eps, slope=slope)
        self._follow(made.mean, made.variance, len(x.features))
        return made.values

    def _running(self, features: Tensor) -> tuple[Tensor, Tensor] | None:
        """Mean and variance so far, where they are to be used."""
        rows = features.shape[0]  # len() would make it a constant of an exported program
        if self.running_mean is None or self.running_var is None or (self.training and rows > 1):
            return None
        return self.running_mean, self.running_var

    def _statistics(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel, (C,) and (C,)."""
        running = self._running(features)
        if running is not None:
            return running
        if features.dtype in (torch.float16, torch.bfloat16):  # under autocast; a sum of many sites would overflow
            features = features.float()
        # var_mean sums each channel on its own, so the result does not depend on the number of threads
        variance, mean = torch.var_mean(features, 0, correction=0)
        self._follow(mean, variance, features.shape[0])
        return mean, variance

    def _follow(self, mean: Tensor, variance: Tensor, rows: int) -> None:
        """Take the statistics of a batch into the running ones."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.detach().to(self.running_mean), momentum)
        self.running_var.lerp_(variance.detach().to(self.running_var) * (rows / (rows - 1)), momentum)


def _leaky(values: Tensor, slope: float) -> Tensor:
    return functional.relu(values) if slope == 0 else functional.leaky_relu(values, slope)


class SparseDropout(SparseLayer, nn.Dropout):
    """Dropout of feature values; the background, one vector for millions of sites, keeps its expected value."""

    def forward(self, x: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """(N, C) -> (N, C)."""
        return x.with_features(functional.dropout(x.features, self.p, self.training), x.background)
