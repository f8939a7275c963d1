"""Train on sparse data, infer with a dense network: the same weights as a plain torch module.

Each sparse layer is replaced by its dense twin, and the network's own ``forward`` runs on whole grids instead of rows.
The result knows no engine, so ``torch.export`` and ONNX take it.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrize import is_parametrized

from napari_sparse3d.errors import InputError
from napari_sparse3d.models.dense_layers import (
    DenseAvgPool3d,
    DenseConv3d,
    DenseConvTranspose3d,
    DenseGlobalAvgPool,
    DenseGlobalMaxPool,
    DenseGrid,
    DenseInverseConv3d,
    DenseMaxPool3d,
    DenseSubMConv3d,
)
from napari_sparse3d.models.heads import meaning_of
from napari_sparse3d.models.model import Model
from napari_sparse3d.models.network import Network
from napari_sparse3d.sparse import (
    GlobalAvgPool,
    GlobalMaxPool,
    Pointwise,
    SparseAvgPool3d,
    SparseBatchNorm,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseDropout,
    SparseInverseConv3d,
    SparseMaxPool3d,
    SparseModule,
    SparseTensor,
    SubMConv3d,
)
from napari_sparse3d.sparse.modules import takes_sparse


def densify(model: Model | nn.Module) -> DenseNetwork:
    """The same network as a plain torch module on dense grids, with a copy of the weights, for inference.

    Parameters
    ----------
    model : Model or nn.Module
        A model, or any network of this package's sparse layers and of torch's pointwise layers.

    Returns
    -------
    DenseNetwork
        (B, C, D, H, W) in, logits (B, classes) out.

    Raises
    ------
    InputError
        If a layer has no dense twin.
    """
    network = model.network if isinstance(model, Model) else model
    return DenseNetwork(_twin(deepcopy(network))).eval()


class DenseNetwork(nn.Module):
    """What :func:`densify` makes: call it with ``x.dense()`` of the sparse tensor that the network would see.

    The background of the input is 0. A voxel counts as active where any of its features is not 0; that matters only to
    layers that look at active sites alone (submanifold convolutions, and everything where the background is None).
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, values: Tensor) -> Tensor:
        """(B, C, D, H, W) -> logits (B, classes)."""
        return self._typed.logits(self.describe(values))

    def describe(self, values: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, D): what the classifier sees."""
        if values.ndim != 5:
            raise ValueError(f"a dense network takes (B, C, D, H, W), got {tuple(values.shape)}; use x.dense()")
        grid = DenseGrid(values.movedim(1, -1), values.new_zeros(values.shape[1]), lambda: (values != 0).any(1))
        return self._typed.describe(cast(SparseTensor, grid))

    def embed(self, values: Tensor) -> Tensor:
        """(B, C, D, H, W) -> (B, D), unit length."""
        return functional.normalize(self.describe(values))

    def logits(self, described: Tensor) -> Tensor:
        """(B, D) -> (B, classes)."""
        return self._typed.logits(described)

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, classes) -> (B, classes)."""
        return meaning_of(self.network).probabilities(logits)

    @property
    def _typed(self) -> Network:
        return cast(Network, self.network)


_TWINS: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    SparseConv3d: DenseConv3d,
    SubMConv3d: DenseSubMConv3d,
    SparseConvTranspose3d: DenseConvTranspose3d,
    SparseInverseConv3d: DenseInverseConv3d,
    SparseMaxPool3d: DenseMaxPool3d,
    SparseAvgPool3d: DenseAvgPool3d,
    GlobalAvgPool: lambda _: DenseGlobalAvgPool(),
    GlobalMaxPool: lambda _: DenseGlobalMaxPool(),
}
_ALIKE = (SparseBatchNorm, SparseDropout)  # of the layers that touch features and background alone


def _twin(module: nn.Module) -> nn.Module:
    if isinstance(module, Pointwise):
        return module
    made_weights = is_parametrized(module)  # by a subclass that torch makes of the layer's own class
    kind = type(module).__mro__[1] if made_weights else type(module)
    if kind in _TWINS:
        return _TWINS[kind](module)
    layer = module if isinstance(module, SparseModule) else None
    if layer is not None and layer.no_dense_twin:
        raise InputError(f"layer {kind.__name__} has no dense twin: {layer.no_dense_twin}")
    if (layer is not None and layer.at_each_site) or made_weights:
        return module
    if next(module.children(), None) is None and takes_sparse(module):
        known = ", ".join(sorted(each.__name__ for each in (*_TWINS, *_ALIKE)))
        raise InputError(f"layer {kind.__name__} has no dense twin; a network can be densified of {known}")
    for name, child in module.named_children():
        setattr(module, name, _twin(child))
    return module
