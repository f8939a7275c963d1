"""What acts on each site alone (activations, linear maps, your own), batch normalisation and dropout."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.errors import InputError, LayerError
from napari_sparse3d.sparse import operators
from napari_sparse3d.sparse.arrays import check_sizes
from napari_sparse3d.sparse.contract import scale_and_shift
from napari_sparse3d.sparse.modules.module import SparseModule
from napari_sparse3d.sparse.observers import observed
from napari_sparse3d.sparse.tensor import SparseTensor
from napari_sparse3d.sparse.traced import Traced

_ELEMENTWISE = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Identity, nn.LeakyReLU,
    nn.LogSigmoid, nn.Mish, nn.ReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh,
    nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
_ON_LAST_AXIS = (nn.Linear, nn.LayerNorm, nn.RMSNorm)
_ON_AN_AXIS = (nn.Softmax, nn.Softmin, nn.LogSoftmax, nn.GLU)
"""They act on the channels if ``dim`` says so."""
AT_EACH_SITE = (*_ELEMENTWISE, *_ON_LAST_AXIS, *_ON_AN_AXIS, nn.PReLU)
"""The modules of torch that are known to be one function of every row (C,); subclasses are believed to be as well."""

_CURES: tuple[tuple[type[nn.Module] | tuple[type[nn.Module], ...], str], ...] = (
    (nn.modules.batchnorm._BatchNorm, "use SparseBatchNorm"),
    (nn.modules.instancenorm._InstanceNorm, "use SparseInstanceNorm"),
    (nn.GroupNorm, "use SparseGroupNorm"),
    (nn.modules.dropout._DropoutNd, "use SparseDropout"),
    (_ON_AN_AXIS, "give it dim=1, the channels of a row"),
    ((nn.LayerNorm, nn.RMSNorm), "give it the number of channels alone, or use SparseGroupNorm(1, channels)"),
    (nn.RReLU, "use LeakyReLU: a random slope would be one for all sites of the background"),
)
"""What torch has that is no function of a row, and what to take for it."""


def pointwise(module: nn.Module, x: SparseTensor) -> SparseTensor:
    """Apply a module of (rows, C) -> (rows, C') to the features and to the background; sites stay unchanged.

    Of a module that is not torch's own, whoever calls this vouches that it is one function of every row, in training
    and evaluation.

    Raises
    ------
    LayerError
        If the module is known not to be the same function of every row (see :class:`SparseBatchNorm`,
        :class:`SparseGroupNorm`, :class:`SparseInstanceNorm`, :class:`SparseDropout`).
    """
    for each in module.modules():
        _refuse_known(each)
    if isinstance(x, Traced):
        return x.at_each_site(module)
    background = None if x.background is None else module(x.background[None])[0]
    features = x.features
    if features.ndim == 2 or _takes_any_axes(module):
        return x.with_features(observed(module, features), background)
    # a grid written out, channels last: to a module that counts axes it is rows as well
    mapped = observed(module, features.flatten(0, -2))
    return x.with_features(mapped.reshape(*features.shape[:-1], mapped.shape[-1]), background)


class Pointwise(SparseModule):
    """A module of your own, (rows, C) -> (rows, C'), as a layer: see :func:`pointwise`.

    ``SparseSequential`` cannot tell whether a module that it does not know acts on each site alone, or takes sparse
    tensors; with this around it the module is applied to the features of the sites, and to the background.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(N, C) -> (N, C')."""
        return pointwise(self.module, x)


def acts_at_each_site(module: nn.Module) -> bool:
    """Whether a module is known to be one function of every row: an allow-list of torch's, and chains of these."""
    if isinstance(module, AT_EACH_SITE):
        return not any(isinstance(module, kind) and _counts_sites(module) for kind, _ in _CURES)
    return is_plain_chain(module) and all(acts_at_each_site(child) for child in module.children())


def is_plain_chain(module: nn.Module) -> bool:
    """Whether it calls its children one after the other and does nothing else."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def refuse(module: nn.Module) -> None:
    """Say why a module is no layer at each site, and what to do.

    Raises
    ------
    LayerError
        Always.
    """
    for each in module.modules():
        _refuse_known(each)
    raise LayerError(
        f"it is not known whether {type(module).__name__} acts on each site alone; if it is one function of every row "
        "of features, put it in as Pointwise(module)"
    )


def _refuse_known(module: nn.Module) -> None:
    if isinstance(module, SparseModule):
        raise LayerError(
            f"{type(module).__name__} takes sparse tensors, but stands inside a module of rows; put both into a "
            "SparseSequential"
        )
    for kind, cure in _CURES:
        if isinstance(module, kind) and _counts_sites(module):
            raise LayerError(f"{type(module).__name__} does not act on each site alone; {cure}")


def _counts_sites(module: nn.Module) -> bool:
    """Whether a module of ``_CURES`` is one that looks beyond the row, or draws for each."""
    if isinstance(module, _ON_AN_AXIS):
        return module.dim not in (1, -1)
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        return len(module.normalized_shape) != 1
    return True


def _takes_any_axes(module: nn.Module) -> bool:
    """Whether axes before the channels may be any; of a subclass with a ``forward`` of its own nobody knows."""
    if is_plain_chain(module):
        return all(_takes_any_axes(child) for child in module.children())
    return type(module) in (*_ELEMENTWISE, *_ON_LAST_AXIS)


class SparseBatchNorm(SparseModule, nn.BatchNorm1d):
    """Batch normalisation with the statistics of the active sites; the background gets the same affine map.

    In training, statistics are those of the active sites of the batch (not of the dense grid). With fewer than two
    active sites there are none: the running statistics are used and left as they are.
    """

    kind = "batch norm"
    at_each_site = True

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
        if isinstance(x, Traced):
            return x.normalized(self, slope, other)
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
        normalized = operators.batch_norm(x.features, self.weight, self.bias, added, eps=self.eps, slope=slope)
        self._follow(normalized.mean, normalized.variance, len(x.features))
        return normalized.values

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


class SparseDropout(SparseModule, nn.Dropout):
    """Dropout of feature values; the background, one vector for millions of sites, keeps its expected value."""

    kind = "dropout"
    at_each_site = True

    def forward(self, x: SparseTensor) -> SparseTensor:  # type: ignore[override]
        """(N, C) -> (N, C)."""
        if isinstance(x, Traced) and not self.training:
            return x
        return x.with_features(functional.dropout(x.features, self.p, self.training), x.background)
