"""The chain of layers."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from napari_sparse3d.errors import LayerError
from napari_sparse3d.sparse.contract import Layer
from napari_sparse3d.sparse.modules.convolution import SparseConv3d, SubMConv3d, chained
from napari_sparse3d.sparse.modules.module import SparseModule
from napari_sparse3d.sparse.modules.planned import run_planned
from napari_sparse3d.sparse.modules.pointwise import (
    AT_EACH_SITE,
    SparseBatchNorm,
    acts_at_each_site,
    is_plain_chain,
    pointwise,
    refuse,
)
from napari_sparse3d.sparse.modules.pooling import SparseMaxPool3d
from napari_sparse3d.sparse.observers import Observer, observed, observers_here
from napari_sparse3d.sparse.tensor import SparseTensor


class SparseSequential(SparseModule, nn.Sequential):
    """Layers one after the other: sparse layers as they are, torch's pointwise modules at each site.

    Which of torch's modules act on each site alone is a list (``pointwise.AT_EACH_SITE``); subclasses of these are
    taken to do so too. Torch's others are refused, with what to take instead. A module of your own is called with the
    sparse tensor, unless it stands in a :class:`Pointwise`, which applies it to rows of features.

    A convolution, the ReLU or leaky ReLU after it and the max pool after that run in one pass, the activation last: it
    never falls, so values and gradients are the same, without the large tensors between. So do a batch normalisation
    and the activation after it. Convolutions that follow each other run in one call, forward and backward. A hook on
    one of them, or an observer of it, keeps it apart, so that it sees what it was put there to see.
    """

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Run all layers."""
        planned = run_planned(self, x)
        if planned is not None:
            return planned
        modules = list(self)
        unwatched = _unwatched(modules)
        at = 0
        while at < len(modules):
            layers, after = _convolutions(unwatched, at, x)
            if layers:
                x = chained(x, layers)
                at = after
                continue
            module, norm, slope = modules[at], unwatched[at], _slope(unwatched[at + 1])
            if type(norm) is SparseBatchNorm and slope is not None:
                x = norm.normalize(x, slope=slope)
                at += 2
            else:
                x = _called(module, x) if takes_sparse(module) else _at_each_site(module, x)
                at += 1
        return x


def _at_each_site(module: nn.Module, x: SparseTensor) -> SparseTensor:
    if not acts_at_each_site(module):
        refuse(module)
    return pointwise(module, x)


def _called(module: nn.Module, x: SparseTensor) -> SparseTensor:
    """A layer, which may be one that knows nothing of observers."""
    if is_plain_chain(module) and not all(takes_sparse(child) for child in module.children()):
        raise LayerError("a torch.nn.Sequential holds sparse layers and layers of rows; make it a SparseSequential")
    if isinstance(module, SparseModule) and module.needs_paired:
        raise LayerError(
            f"{type(module).__name__} returns to the sites of an earlier tensor, which a chain does not keep; call it "
            "as up(x, earlier) in a module of your own, or use SparseConvTranspose3d"
        )
    output: SparseTensor = module(x) if isinstance(module, SparseModule) else observed(module, x)
    return output


def normalized(
    norm: SparseBatchNorm, activation: nn.Module, x: SparseTensor, other: SparseTensor | None = None
) -> SparseTensor:
    """A batch normalisation, the sum with a tensor at the same sites, an activation: in one pass where it can be."""
    if _follows(norm, activation):
        return norm.normalize(x, slope=_slope(activation) or 0.0, other=other)
    y = norm(x)
    return pointwise(activation, y if other is None else y + other)


def _follows(norm: SparseBatchNorm, activation: nn.Module) -> bool:
    """Whether the activation may run in one pass with the batch normalisation before it."""
    observers = observers_here()
    return not (_is_watched(norm, observers) or _is_watched(activation, observers)) and _slope(activation) is not None


def takes_sparse(module: nn.Module) -> bool:
    """Whether a module works on a ``SparseTensor`` itself.

    Torch's own work on rows of features, and so do subclasses of what acts on each site alone, and of any of torch's
    whose ``forward`` is still torch's. A chain takes what its members take.
    """
    if isinstance(module, SparseModule):
        return True
    if isinstance(module, AT_EACH_SITE):
        return False
    if is_plain_chain(module):
        return any(takes_sparse(child) for child in module.children())
    return not getattr(type(module).forward, "__module__", "").startswith("torch.nn")


def _convolutions(unwatched: Sequence[nn.Module | None], first: int, x: SparseTensor) -> tuple[list[Layer], int]:
    """The convolutions that follow each other from ``first`` on, each with what joins its pass; and what comes next."""
    layers: list[Layer] = []
    shape, channels = x.spatial_shape, x.features.shape[1]
    at = first
    # not a subclass: its forward may be another
    while type(conv := unwatched[at]) is SparseConv3d or type(conv) is SubMConv3d:
        conv.check_channels(channels)
        at += 1
        slope = _slope(unwatched[at])
        if slope is not None:
            at += 1
        window = None
        if type(pool := unwatched[at]) is SparseMaxPool3d:
            window = pool.window
            at += 1
        layers.append(conv.layer(shape, x.batch_size, slope=1.0 if slope is None else slope, pool=window))
        shape, channels = layers[-1].place.out_shape, conv.out_channels
    return layers, at


def _unwatched(modules: Sequence[nn.Module]) -> list[nn.Module | None]:
    """The modules that may join others in one pass, None in the place of each other one and behind the last."""
    observers = observers_here()
    return [*(None if _is_watched(module, observers) else module for module in modules), None]


def _slope(activation: nn.Module | None) -> float | None:
    """The slope of a leaky ReLU that never falls, so that it may as well follow the max pool; None for all else."""
    if type(activation) is nn.ReLU:
        return 0.0
    if type(activation) is nn.LeakyReLU and activation.negative_slope >= 0:
        return float(activation.negative_slope)
    return None


def _is_watched(module: nn.Module, observers: Sequence[Observer]) -> bool:
    own = vars(module)  # an attribute of a module takes several times as long to look up
    return bool(
        own["_forward_hooks"]
        or own["_forward_pre_hooks"]
        or own["_backward_hooks"]
        or own["_backward_pre_hooks"]
        or (observers and any(observer.sees(module) for observer in observers))
    )
