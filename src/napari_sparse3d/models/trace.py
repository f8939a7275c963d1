"""What each layer of a network did with one input: the per-layer table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from napari_sparse3d.activity import LayerActivity
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.modules import takes_sparse
from napari_sparse3d.sparse.modules.convolution import _Convolution


@contextmanager
def recording(
    network: nn.Module, *, keep: str | None = None
) -> Iterator[tuple[list[LayerActivity], list[SparseTensor]]]:
    """Record each layer while the network runs inside the ``with`` block.

    Parameters
    ----------
    network : nn.Module
        Any network of sparse layers.
    keep : str, optional
        Name of the layer whose output is kept.

    Yields
    ------
    (rows, kept)
        Lists that fill while the network runs: a row for each layer, and the output of the layer named by ``keep``.
    """
    rows: list[LayerActivity] = []
    kept: list[SparseTensor] = []
    started: dict[nn.Module, float] = {}
    hooks = []

    def start(module: nn.Module, inputs: Any) -> None:
        started[module] = _now(inputs)

    def sparse_layer(name: str) -> Any:
        def record(module: nn.Module, inputs: tuple[Any, ...], output: SparseTensor) -> None:
            ms = (_now(inputs) - started[module]) * 1000
            if not isinstance(output, SparseTensor):
                return
            rows.append(_row(name.removeprefix("layers."), module, output, ms))
            if name.removeprefix("layers.") == keep:
                kept[:] = [output]

        return record

    def at_each_site(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        # called for the background (one row) as well: only the call on the features of the last layer counts
        if rows and isinstance(output, Tensor) and len(output) == rows[-1].active_sites:
            ms = rows[-1].ms + (_now(inputs) - started[module]) * 1000
            rows[-1] = replace(rows[-1], nonzero_percent=_nonzero_percent(output), ms=ms)
            if kept and rows[-1].name == keep:
                kept[:] = [kept[0].with_features(output, kept[0].background)]

    for name, module in network.named_modules():
        if next(module.children(), None) is not None:
            continue
        hooks.append(module.register_forward_pre_hook(start))
        hooks.append(module.register_forward_hook(sparse_layer(name) if takes_sparse(module) else at_each_site))
    try:
        yield rows, kept
    finally:
        for hook in hooks:
            hook.remove()


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
