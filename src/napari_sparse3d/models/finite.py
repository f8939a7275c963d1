"""Finite or failed: not a number is no diagnosis.

A maximum over values passes over NaN, a normalisation turns infinity into 0: a result can be finite although what it
was made from is not. So the features, the weights and what each layer gives are looked at, not the result alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.observers import Observer, observed_by
from napari_sparse3d.sparse.recorder import layers


def all_finite(*tensors: Tensor) -> bool:
    """Whether no value is NaN or infinite; one pass over memory, and on a card one wait."""
    sums = [tensor.detach().sum().float() for tensor in tensors if tensor.is_floating_point()]
    if not sums or isfinite(torch.stack(sums).sum().item()):
        return True
    # finite values may add up to infinity
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def check_features(features: Tensor, whose: str = "the voxel set's features") -> None:
    """Refuse features that are not finite.

    Parameters
    ----------
    features : Tensor
        (N, C).
    whose : str
        Begins the message.

    Raises
    ------
    InputError
        If a value is NaN or infinite.
    """
    if not all_finite(features):
        raise InputError(f"{whose} are not finite ({_counted(features)}); make the voxel set again from the scan")


def check_weights(network: nn.Module) -> None:
    """Refuse a network whose weights or statistics are not all finite.

    Raises
    ------
    InputError
        Names the first layer with a value that is NaN or infinite.
    """
    named = list(_weights(network))
    if not all_finite(*(tensor for _, tensor in named)):
        _blame(named)


def check_layer(name: str, module: nn.Module, features: Tensor, background: Tensor | None = None) -> None:
    """Refuse what a layer gave if it is not finite, and say whether its weights are to blame."""
    if all_finite(features if background is None else torch.cat([features, background[None]])):
        return
    _blame((f"{name}.{own}", tensor) for own, tensor in _weights(module))
    raise InputError(
        f"layer {name!r} gives values that are not finite ({_counted(features)}) from finite features and weights: "
        f"they are too large for {features.dtype}; use a wider type, or other weights"
    )


@contextmanager
def checking_layers(network: nn.Module) -> Iterator[None]:
    """Layers of a network that run inside the ``with`` block, called by this thread, must give what is finite.

    Raises
    ------
    InputError
        While the network runs: names the first layer that does not.
    """
    checks = _Checks(network)
    with observed_by(checks):
        yield


class _Checks(Observer):
    content_with_bounds = True

    def __init__(self, network: nn.Module) -> None:
        self._names = {module: name for name, module in layers(network)}

    def sees(self, module: nn.Module) -> bool:
        return module in self._names

    def around(self, module: nn.Module, inputs: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        output = run()
        if isinstance(output, SparseTensor):
            check_layer(self._names[module], module, output.features, output.background)
        elif isinstance(output, Tensor) and inputs and isinstance(inputs[0], Tensor):  # rows, at each site
            check_layer(self._names[module], module, output)
        return output


def check_result(*results: Tensor) -> None:
    """Refuse probabilities and embeddings that are not finite."""
    if not all_finite(*results):
        raise InputError(
            "the result is not finite, though features and weights are: values grow too large on the way; use a wider "
            "type, or other weights"
        )


def _weights(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _blame(named: Iterable[tuple[str, Tensor]]) -> None:
    for name, tensor in named:
        if not all_finite(tensor):
            layer, _, own = name.rpartition(".")
            raise InputError(
                f"the weights of layer {layer.removeprefix('layers.')!r} are not finite ({own}: {_counted(tensor)}); "
                "the model cannot be used: train it again, or take another file"
            )


def _counted(values: Tensor) -> str:
    bad = values.numel() - int(torch.isfinite(values.detach()).sum())
    return f"{bad} of {values.numel()} values"
