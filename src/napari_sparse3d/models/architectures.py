"""The networks that can be made by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.models.deepc2 import DeepC2
from napari_sparse3d.models.residual import ResidualNet
from napari_sparse3d.sparse import SparseTensor


class Network(Protocol):
    """What every network of this package offers, besides being a ``torch.nn.Module``."""

    field: int
    in_features: int
    classes: int

    def __call__(self, x: SparseTensor) -> Tensor:
        """Logits (B, classes)."""

    def describe(self, x: SparseTensor) -> Tensor:
        """(B, D): what the classifier sees."""

    def embed(self, x: SparseTensor) -> Tensor:
        """(B, D), unit length: the embedding."""

    def logits(self, described: Tensor) -> Tensor:
        """(B, D) -> (B, classes)."""


@dataclass(frozen=True)
class Architecture:
    """A network that can be made by name."""

    name: str
    build: Callable[..., nn.Module]
    description: str
    recipe: str
    """The built-in recipe that goes with it where no other is given."""


ARCHITECTURES = {
    made.name: made
    for made in (
        Architecture("deepc2", DeepC2, "six 2^3 convolutions with max pools, field 126, embedding of 192", "mri-110"),
        Architecture("residual", ResidualNet, "submanifold residual network, field 64, sized by arguments", "shape-40"),
    )
}


def build_network(architecture: str, *, seed: int = 0, **arguments: Any) -> nn.Module:
    """Make a network with random weights that depend on ``seed`` alone.

    Raises
    ------
    InputError
        If there is no such architecture, or it does not take these arguments.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(f"there is no architecture {architecture!r}; choose {', '.join(ARCHITECTURES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return ARCHITECTURES[architecture].build(**arguments)
        except TypeError as error:
            raise InputError(f"architecture {architecture!r} cannot be made from {arguments}: {error}") from error
