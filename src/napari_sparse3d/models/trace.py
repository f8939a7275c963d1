"""What each layer of a network did with one input: the per-layer table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from napari_sparse3d.activity import LayerActivity
from napari_sparse3d.models.finite import check_layer
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.modules.convolution import _Convolution
from napari_sparse3d.sparse.observers import Observer, observed_by


@contextmanager
def recording(
    network: nn.Module, *, keep: str | None = None
) -> Iterator[tuple[list[LayerActivity], list[SparseTensor]]]:
    """Record each layer while the network runs inside the ``with`` block, called by this thread.

    Parameters
    ----------
    network : nn.Module
        Any network of sparse layers: those of this package, wherever they are called, and all that a
        ``SparseSequential`` or ``pointwise`` calls.
    keep : str, optional
        Name of the layer whose output is kept.

    Yields
    ------
    (rows, kept)
        Lists that fill while the network runs: a row for each layer, and the output of the layer named by ``keep``.

    Raises
    ------
    InputError
        While the network runs: if a layer gives values that are not finite.
    """
    recorder = _Recorder(network, keep)
    with observed_by(recorder):
        yield recorder.rows, recorder.kept


class _Recorder(Observer):
    """The per-layer table of what one thread calls."""

    def __init__(self, network: nn.Module, keep: str | None) -> None:
        self.rows: list[LayerActivity] = []
        self.kept: list[SparseTensor] = []
        self._keep = keep
        self._names = {module: name.removeprefix("layers.") for name, module in leaves(network)}

    def sees(self, module: nn.Module) -> bool:
        return module in self._names

    def around(self, module: nn.Module, inputs: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        started = _now(inputs)
        output = run()
        ms = (_now(inputs) - started) * 1000
        if isinstance(output, SparseTensor):
            self._layer(module, output, ms)
        elif self.rows and inputs and isinstance(inputs[0], Tensor):  # rows of features: called at each site
            self._at_each_site(module, output, ms)
        return output

    def _layer(self, module: nn.Module, output: SparseTensor, ms: float) -> None:
        name = self._names[module]
        check_layer(name, module, output.features, output.background)
        self.rows.append(_row(name, module, output, ms))
        if name == self._keep:
            self.kept[:] = [output]

    def _at_each_site(self, module: nn.Module, output: Tensor, ms: float) -> None:
        last = self.rows[-1]
        check_layer(self._names[module], module, output)
        self.rows[-1] = replace(last, nonzero_percent=_nonzero_percent(output), ms=last.ms + ms)
        if self.kept and last.name == self._keep:
            self.kept[:] = [self.kept[0].with_features(output, self.kept[0].background)]


def leaves(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules that have none inside them."""
    for name, module in network.named_modules():
        if next(module.children(), None) is None:
            yield name, module


def _row(name: str, module: nn.Module, output: SparseTensor, ms: float) -> LayerActivity:
    return LayerActivity(
        name=name,
        kind=kind_of(module),
        channels=output.features.shape[1],
        side=max(output.spatial_shape),
        active_sites=len(output.indices),
        active_percent=output.active_percent,
        nonzero_percent=_nonzero_percent(output.features),
        macs=macs_of(module, output),
        ms=ms,
    )


def kind_of(module: nn.Module) -> str:
    """A short name for a layer: ``SparseMaxPool3d(3)`` is ``max pool 3``."""
    names = {
        "SparseConv3d": "conv",
        "SubMConv3d": "submanifold conv",
        "SparseInverseConv3d": "inverse conv",
        "SparseConvTranspose3d": "transposed conv",
        "SparseMaxPool3d": "max pool",
        "SparseAvgPool3d": "avg pool",
        "SparseBatchNorm": "batch norm",
        "SparseDropout": "dropout",
        "SparseGroupNorm": "group norm",
        "SparseInstanceNorm": "instance norm",
    }
    kind = names.get(type(module).__name__, type(module).__name__)
    window = getattr(module, "window", None)
    if window is None:
        return kind
    size = window.kernel[0] if len(set(window.kernel)) == 1 else "x".join(map(str, window.kernel))
    stride = "" if window.stride == (1, 1, 1) else f" / {max(window.stride)}"
    return f"{kind} {size}{stride}"


def macs_of(module: nn.Module, output: SparseTensor) -> int:
    """Multiply-accumulates of one layer, 0 for what multiplies nothing."""
    if not isinstance(module, _Convolution):
        return 0
    return len(output.indices) * module.window.volume * module.in_channels * module.out_channels


def _nonzero_percent(features: Tensor) -> float:
    return 100.0 * int(torch.count_nonzero(features)) / features.numel() if features.numel() else 0.0


def _now(inputs: tuple[Any, ...]) -> float:
    first = inputs[0] if inputs else None
    tensor = first.features if isinstance(first, SparseTensor) else first
    if isinstance(tensor, Tensor) and tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return perf_counter()
