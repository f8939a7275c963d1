"""The one recorder of what the layers of a network do: tables, grids and maps stand on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from napari_sparse3d.sparse.observers import Observer, observed_by
from napari_sparse3d.sparse.tensor import SparseTensor

_PARAMETRIZATIONS = "parametrizations"  # under which torch keeps what makes a weight from others


class LayerCall(NamedTuple):
    """What one layer did."""

    name: str
    """Inside the network, as tables print it."""
    module: nn.Module
    inputs: tuple[Any, ...]
    output: Any
    seconds: float
    """Wall time; of a layer on a card until it was done."""


@contextmanager
def recording_layers(
    network: nn.Module, take: Callable[[LayerCall], Any], *, only: str | None = None
) -> Iterator[None]:
    """Hand each layer that runs inside the ``with`` block, called by this thread, to ``take``.

    Parameters
    ----------
    network : nn.Module
        Its :func:`layers` are seen: those of this package wherever they are called, and all that a
        ``SparseSequential`` or ``pointwise`` calls.
    take : callable
        Is called after each layer; what it returns goes on in place of the output, unless it is None.
    only : str, optional
        Name of the one layer that is wanted; the others run as they would unseen.
    """
    recorder = _Recorder(network, take, only)
    with observed_by(recorder):
        yield


def layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules that have none inside them; what makes their weights does not count."""
    for name, module in network.named_modules():
        if _PARAMETRIZATIONS in name.split("."):
            continue
        if all(child == _PARAMETRIZATIONS for child, _ in module.named_children()):
            yield name.removeprefix("layers."), module


class _Recorder(Observer):
    def __init__(self, network: nn.Module, take: Callable[[LayerCall], Any], only: str | None) -> None:
        self._names = {module: name for name, module in layers(network) if only in (None, name)}
        self._take = take

    def sees(self, module: nn.Module) -> bool:
        return module in self._names

    def around(self, module: nn.Module, inputs: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        started = _now(inputs)
        output = run()
        taken = self._take(LayerCall(self._names[module], module, inputs, output, _now(inputs) - started))
        return output if taken is None else taken


def _now(inputs: tuple[Any, ...]) -> float:
    first = inputs[0] if inputs else None
    tensor = first.features if isinstance(first, SparseTensor) else first
    if isinstance(tensor, Tensor) and tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return perf_counter()
