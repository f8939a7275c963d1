"""The contract of networks, and the base of those that describe a volume by one vector."""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.errors import InputError
from napari_sparse3d.models.heads.head import Head
from napari_sparse3d.sparse import SparseTensor

_NUMBERS, _CALLS = ("field", "in_features", "classes"), ("describe", "logits")


class Network(Protocol):
    """What every network offers, besides being a ``torch.nn.Module``.

    One that also has the methods of :class:`napari_sparse3d.models.heads.Meaning` says itself what its logits mean;
    of others they are those of classes.

    Attributes
    ----------
    field : int
        Side, in voxels, of the cubic grid that it sees.
    in_features : int
        Features of each voxel.
    classes : int
    """

    field: int
    in_features: int
    classes: int

    def __call__(self, x: SparseTensor) -> Tensor:
        """Logits (B, classes)."""

    def describe(self, x: SparseTensor) -> Tensor:
        """(B, D): what the classifier sees; of unit length it is the embedding."""

    def logits(self, described: Tensor) -> Tensor:
        """(B, D) -> (B, classes)."""


def as_network(module: Any, name: str) -> nn.Module:
    """The module itself, if it keeps the contract of :class:`Network`.

    Raises
    ------
    InputError
        Names what is missing.
    """
    if not isinstance(module, nn.Module):
        raise InputError(f"architecture {name!r} gives a {type(module).__name__}, a torch.nn.Module was expected")
    missing = [each for each in _NUMBERS if not isinstance(getattr(module, each, None), int)]
    missing += [f"{each}()" for each in _CALLS if not callable(getattr(module, each, None))]
    if missing:
        raise InputError(
            f"the network of architecture {name!r} lacks {', '.join(missing)}; give it what every network offers "
            "(docs/extending.md), for example by deriving it from napari_sparse3d.models.DescribingNetwork"
        )
    return module


class DescribingNetwork(nn.Module):
    """Describes each volume by one vector, of which its head ``classifier`` makes the answer.

    A subclass sets ``field``, ``in_features``, ``classes`` and ``classifier``, and says ``describe``.
    """

    field: int
    in_features: int
    classes: int
    classifier: Head

    def describe(self, x: SparseTensor) -> Tensor:
        """A batch of B volumes in the field -> (B, D): what the head sees."""
        raise NotImplementedError

    def forward(self, x: SparseTensor) -> Tensor:
        """A batch of B volumes in the field -> logits (B, classes)."""
        return self.logits(self.describe(x))

    def embed(self, x: SparseTensor) -> Tensor:
        """(B, D), unit length."""
        return functional.normalize(self.describe(x))

    def logits(self, described: Tensor) -> Tensor:
        """(B, D) -> (B, classes)."""
        return cast(Tensor, self.classifier(described))

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, classes) -> (B, classes)."""
        return self.classifier.probabilities(logits)

    def calibrate(self, probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> dict[str, Any]:
        """Make probabilities fit cases; what was done, see :class:`napari_sparse3d.models.heads.Meaning`."""
        return self.classifier.calibrate(probabilities, labels)

    def calibrate_to_frequencies(self, counts: NDArray[np.int64]) -> dict[str, Any]:
        """Make probabilities fit how often classes come."""
        return self.classifier.calibrate_to_frequencies(counts)
