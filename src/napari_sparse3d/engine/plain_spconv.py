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
from napari_sparse3d.sparse.window import Triple


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
            made = spconv.SparseConv3d(
                layer.in_channels, layer.out_channels, stride=w.stride, padding=w.padding, **sizes
            )
        else:
            made = spconv.SubMConv3d(layer.in_channels, layer.out_channels, **sizes)
        with torch.no_grad():
            made.weight.copy_(layer.weight)
        return made  # type: ignore[no-any-return]
    if isinstance(layer, SparseMaxPool3d):
        w = layer.window
        return spconv.SparseMaxPool3d(w.kernel, w.stride, w.padding, w.dilation, algo=algo)  # type: ignore[no-any-return]
    if type(layer).__module__.startswith("torch.nn"):
        return layer
    raise TypeError(f"layer {type(layer).__name__} has no plain spconv layer here")
