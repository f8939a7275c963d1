"""A chain of our layers as plain spconv layers, the way its users write them: what the engines are measured against.

spconv knows no background, so this equals ours where the background is None and there are no biases.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from napari_sparse3d.sparse import SparseConv3d, SparseMaxPool3d, SubMConv3d
from napari_sparse3d.sparse.modules.convolution import Convolution
from napari_sparse3d.sparse.window import Triple


def is_product(layer: nn.Module) -> bool:
    """Whether spconv computes a convolution as one product of matrices: kernel 1 and stride 1, whatever else it is.

    Its weight is (C_out, 1, 1, 1, C_in) as everywhere in spconv, but it multiplies by ``weight.view(C_in, C_out)``, not
    by the transpose of (C_out, C_in): the same numbers in memory stand for another matrix.
    """
    return isinstance(layer, Convolution) and layer.window.volume == 1 and layer.window.stride == (1, 1, 1)


def product_to_spconv(weight: Tensor) -> Tensor:
    """Our weight (C_out, 1, 1, 1, C_in) as spconv wants it where :func:`is_product`; of the same shape."""
    return weight.flatten(1).T.contiguous().view(weight.shape)


def product_from_spconv(weight: Tensor, shape: torch.Size) -> Tensor:
    """What spconv multiplies by where :func:`is_product`, as our weight of ``shape`` (C_out, 1, 1, 1, C_in)."""
    return weight.reshape(shape[-1], shape[0]).T.contiguous().view(shape)


class PlainSpconv(nn.Module):
    """Convolutions (biases left out), submanifold convolutions, max pools and activations.

    Parameters
    ----------
    layers : iterable of Module
        Layers of this package and torch's pointwise layers; weights are copied.
    on_cpu : bool
        Whether it will run on the CPU, where spconv has its native algorithm only.

    Raises
    ------
    ImportError
        If spconv is not installed.
    TypeError
        If there is another kind of layer among them.
    """

    def __init__(self, layers: Iterable[nn.Module], *, on_cpu: bool) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from spconv import pytorch as spconv
            from spconv.core import ConvAlgo
        self._tensor = spconv.SparseConvTensor
        algo = ConvAlgo.Native if on_cpu else None  # None: as spconv chooses
        self.layers = spconv.SparseSequential(*(_plain(layer, spconv, algo) for layer in layers))

    def forward(self, features: Tensor, indices: Tensor, shape: Triple, batch_size: int) -> Any:
        """(N, C) and (N, 4) int32 [b, z, y, x] -> spconv's own sparse tensor."""
        return self.layers(self._tensor(features, indices, list(shape), batch_size))


def _plain(layer: nn.Module, spconv: Any, algo: Any) -> nn.Module:
    if isinstance(layer, SparseConv3d | SubMConv3d):
        w = layer.window
        sizes = {"kernel_size": w.kernel, "dilation": w.dilation, "bias": False, "algo": algo}
        if isinstance(layer, SparseConv3d):
            plain = spconv.SparseConv3d(
                layer.in_channels, layer.out_channels, stride=w.stride, padding=w.padding, **sizes
            )
        else:
            plain = spconv.SubMConv3d(layer.in_channels, layer.out_channels, **sizes)
        with torch.no_grad():
            plain.weight.copy_(product_to_spconv(layer.weight) if is_product(layer) else layer.weight)
        return plain  # type: ignore[no-any-return]
    if isinstance(layer, SparseMaxPool3d):
        w = layer.window
        return spconv.SparseMaxPool3d(w.kernel, w.stride, w.padding, w.dilation, algo=algo)  # type: ignore[no-any-return]
    if type(layer).__module__.startswith("torch.nn"):
        return layer
    raise TypeError(f"layer {type(layer).__name__} has no plain spconv layer here")
