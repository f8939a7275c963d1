"""What each layer of a network did with one input: the per-layer table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from napari_sparse3d.activity import LayerActivity
from napari_sparse3d.models.finite import check_layer
from napari_sparse3d.sparse import SparseModule, SparseTensor
from napari_sparse3d.sparse.recorder import LayerCall, recording_layers


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
    (rows, outputs)
        Lists that fill while the network runs: a row for each layer, and the output of the layer named by ``keep``.

    Raises
    ------
    InputError
        While the network runs: if a layer gives values that are not finite.
    """
    table = _Table(keep)
    with recording_layers(network, table.take):
        yield table.rows, table.outputs


class _Table:
    """The per-layer table of what one thread calls."""

    def __init__(self, keep: str | None) -> None:
        self.rows: list[LayerActivity] = []
        self.outputs: list[SparseTensor] = []
        self._keep = keep

    def take(self, call: LayerCall) -> None:
        if isinstance(call.output, SparseTensor):
            self._layer(call, call.output)
        elif self.rows and call.inputs and isinstance(call.inputs[0], Tensor):  # rows of features, at each site
            self._at_each_site(call)

    def _layer(self, call: LayerCall, output: SparseTensor) -> None:
        check_layer(call.name, call.module, output.features, output.background)
        self.rows.append(_row(call, output))
        if call.name == self._keep:
            self.outputs[:] = [output]

    def _at_each_site(self, call: LayerCall) -> None:
        last = self.rows[-1]
        check_layer(call.name, call.module, call.output)
        ms = last.ms + call.seconds * 1000
        self.rows[-1] = replace(last, nonzero_percent=_nonzero_percent(call.output), ms=ms)
        if self.outputs and last.name == self._keep:
            self.outputs[:] = [self.outputs[0].with_features(call.output, self.outputs[0].background)]


def _row(call: LayerCall, output: SparseTensor) -> LayerActivity:
    layer = call.module if isinstance(call.module, SparseModule) else None
    return LayerActivity(
        name=call.name,
        kind=type(call.module).__name__ if layer is None else layer.caption(),
        channels=output.features.shape[1],
        side=max(output.spatial_shape),
        active_sites=len(output.indices),
        active_percent=output.active_percent,
        nonzero_percent=_nonzero_percent(output.features),
        macs=0 if layer is None else layer.work(output),
        ms=call.seconds * 1000,
    )


def _nonzero_percent(features: Tensor) -> float:
    return 100.0 * int(torch.count_nonzero(features)) / features.numel() if features.numel() else 0.0
