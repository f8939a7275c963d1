"""The contract of heads: what is known about logits by nobody else."""

from __future__ import annotations

from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Meaning(Protocol):
    """What logits mean, and how their probabilities are made to fit cases. A head has it, and so has its network."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """(B, classes) -> (B, classes), each from 0 to 1.

        What cases have in common (logits averaged over views) is averaged before.
        """

    def calibrate(self, probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> dict[str, Any]:
        """Change the weights so that probabilities fit these cases.

        Parameters
        ----------
        probabilities : ndarray
            (n, classes), as the network gives them now.
        labels : ndarray
            (n,) class numbers.

        Returns
        -------
        dict
            What was done, for the model card; empty where nothing can be.
        """

    def calibrate_to_frequencies(self, counts: NDArray[np.int64]) -> dict[str, Any]:
        """The same for a network that saw every class equally often, where cases come as ``counts`` (classes,) do."""


class Head(nn.Module):
    """Turns (B, D) descriptions into logits (B, classes), and says what they mean.

    Subclasses say ``forward`` and ``probabilities``, and where there is a way, how to calibrate. They are what a
    fine-tuning makes anew where the classes differ.
    """

    answers = "classes"
    """What it gives, as in ``catalog.ArchitectureInfo.answers``."""

    def probabilities(self, logits: Tensor) -> Tensor:
        """See :class:`Meaning`."""
        raise NotImplementedError

    def calibrate(self, probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> dict[str, Any]:
        """See :class:`Meaning`; nothing, unless a subclass knows how."""
        return {}

    def calibrate_to_frequencies(self, counts: NDArray[np.int64]) -> dict[str, Any]:
        """See :class:`Meaning`; nothing, unless a subclass knows how."""
        return {}


class _Softmax(Head):
    """What the logits of a network mean that says nothing of them."""

    def probabilities(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits, 1)


def meaning_of(network: nn.Module) -> Meaning:
    """The network, where it knows what its logits mean; else classes by softmax, which are not calibrated."""
    return cast(Meaning, network) if callable(getattr(network, "probabilities", None)) else _Softmax()
