"""The chain of layers."""

from __future__ import annotations

from torch import nn

from napari_sparse3d.sparse import operators
from napari_sparse3d.sparse.modules.convolution import SparseConv3d, SubMConv3d
from napari_sparse3d.sparse.modules.pointwise import pointwise
from napari_sparse3d.sparse.modules.pooling import SparseMaxPool3d
from napari_sparse3d.sparse.tensor import SparseTensor


class SparseSequential(nn.Sequential):
    """Layers one after the other: sparse layers as they are, any other module at each site (see :func:`pointwise`).

    A convolution, an activation that never falls, and a max pool after it run as convolution and pool in one pass, and
    then the activation on what is left: the same values and gradients, without the large tensor between. A hook on one
    of the three keeps them apart, so that it sees what it was put there to see.
    """

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Run all layers."""
        modules = list(self)
        at = 0
        while at < len(modules):
            pool_at = _pool_to_fuse(modules, at)
            if pool_at and operators.fuses_pools(x.features.device.type):
                x = _pooled_convolution(modules[at], modules[pool_at], x)  # type: ignore[arg-type]
                for activation in modules[at + 1 : pool_at]:
                    x = pointwise(activation, x)
                at = pool_at + 1
            else:
                module = modules[at]
                x = module(x) if takes_sparse(module) else pointwise(module, x)
                at += 1
        return x


def takes_sparse(module: nn.Module) -> bool:
    """Whether a module works on a ``SparseTensor`` itself; torch's own work on rows of features."""
    return not type(module).__module__.startswith("torch.nn")


def _pool_to_fuse(modules: list[nn.Module], at: int) -> int:
    """Position of the max pool that the convolution at ``at`` can be fused with, or 0."""
    if type(modules[at]) not in (SparseConv3d, SubMConv3d):
        return 0
    pool_at = at + 2 if at + 1 < len(modules) and _never_falls(modules[at + 1]) else at + 1
    if pool_at >= len(modules) or type(modules[pool_at]) is not SparseMaxPool3d:
        return 0
    return 0 if any(_is_watched(module) for module in modules[at : pool_at + 1]) else pool_at


def _never_falls(activation: nn.Module) -> bool:
    """Whether an activation is monotone, so that it may as well follow the max pool."""
    return type(activation) is nn.ReLU or (type(activation) is nn.LeakyReLU and activation.negative_slope >= 0)


def _is_watched(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _pooled_convolution(conv: SparseConv3d | SubMConv3d, pool: SparseMaxPool3d, x: SparseTensor) -> SparseTensor:
    conv.check_channels(x)
    sites, geometry = conv.output_sites(x)
    pool_sites, pool_geometry = pool.output_sites(sites, geometry.out_shape, x.batch_size)
    background = conv.background_of(x.background)
    features = operators.pooled_convolution(
        x.features, conv.weight, conv.bias, x.background, background,
        x.indices, sites, geometry, pool_sites, pool_geometry,
    )  # fmt: skip
    return SparseTensor._at(features, pool_sites, pool_geometry.out_shape, x.batch_size, background)
