"""A training that begins with the weights of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.models.heads import Head
from napari_sparse3d.models.model import Model


@dataclass(frozen=True)
class Taken:
    """Which layers got the model's weights, and which keep their random ones."""

    taken: tuple[str, ...]
    anew: tuple[str, ...]


@torch.no_grad()
def take_weights(network: nn.Module, model: Model, classes: Sequence[str]) -> Taken:
    """Give a network the weights of a model, those of its head only where the classes are the same, in the same order.

    Parameters
    ----------
    network : nn.Module
        Of the model's architecture; changed in place.
    model : Model
    classes : sequence of str
        Of the network.

    Raises
    ------
    InputError
        If a layer that is not of the head does not fit.
    """
    theirs, ours = model.network.state_dict(), network.state_dict()
    head = () if tuple(classes) == model.card.classes else _head_layers(network)
    taken: dict[str, None] = {}
    anew: dict[str, None] = {}
    for key, value in ours.items():
        layer = key.rpartition(".")[0] or key
        if any(key == each or key.startswith(f"{each}.") for each in head):
            anew[layer] = None
            continue
        if key not in theirs or theirs[key].shape != value.shape:
            came = tuple(theirs[key].shape) if key in theirs else "missing"
            raise InputError(
                f"the weights of model {model.card.name!r} do not fit: {key!r} is {came} there, {tuple(value.shape)} "
                "here; train with the model's own arguments and a recipe of the same features"
            )
        value.copy_(theirs[key])
        taken[layer] = None
    if left := [key for key in theirs if key not in ours]:
        raise InputError(
            f"the weights of model {model.card.name!r} do not fit: this network has no {left[0]!r}; train with the "
            "model's own arguments"
        )
    return Taken(tuple(taken), tuple(anew))


def _head_layers(network: nn.Module) -> tuple[str, ...]:
    """The heads that a network has; of one that has none, the last layer with weights."""
    heads = tuple(name for name, module in network.named_modules() if isinstance(module, Head))
    if heads:
        return heads
    *_, last = (key for key, _ in network.named_parameters())
    return (last.rpartition(".")[0] or last,)
