"""The contract of losses: settings that make a criterion, and the criterion."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.training.settings import Settings, Share

Pairs: TypeAlias = Literal["shuffled", "lazily-shuffled", "random", "hardest"]
"""How triplets are found in a batch, see ``triplet.choose_triplets``."""


class Criterion(nn.Module):
    """A loss at work; a module, since some have weights of their own, which are trained with the network (ArcFace)."""

    triplets: int = 0
    """Triplets that went into the loss so far, where it is of triplets."""

    def forward(self, embedding: Tensor, logits: Tensor, label: Tensor, random: torch.Generator) -> Tensor:
        """(B, D) unit embeddings, (B, classes) logits, (B,) int64 labels -> the loss, a scalar.

        ``random`` is the only chance that it may use: it is the same whenever the step is repeated.
        """
        raise NotImplementedError


class WeightedCriterion(Criterion):
    """One that knows how much a case of each class counts: ``weights`` (classes,)."""

    weights: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights, persistent=False)


class LossSettings(Settings):
    """The settings of one loss. A subclass narrows ``kind`` to its name in the catalogue, with that as the default.

    Attributes
    ----------
    kind : str
        The name in ``catalog.LOSSES``.
    """

    kind: str

    @property
    def on_embeddings(self) -> bool:
        """Whether the embedding is what is trained, not only the classes: then retrieval chooses the best epoch."""
        return False

    @property
    def balances_classes(self) -> bool:
        """Whether each class counts the same, however many cases it has."""
        return False

    def criterion(self, classes: int, embedding: int, weights: Tensor) -> Criterion:
        """The loss at work.

        Parameters
        ----------
        classes, embedding : int
            Number of classes, and length of the embedding.
        weights : Tensor
            (classes,): how much a case of each class counts; ones, unless :attr:`balances_classes`.

        Raises
        ------
        InputError
            If it cannot be made of these settings.
        """
        raise NotImplementedError

    def columns(self) -> dict[str, Any]:
        """What the table of runs says of it, by column."""
        return {"loss_name": self.kind}


class WithEntropy(LossSettings):
    """A loss with a cross entropy in it.

    Attributes
    ----------
    smoothing : float
        Label smoothing of the cross entropy.
    class_weights : {"none", "balanced"}
        ``balanced``: each class counts the same, however many cases it has.
    """

    smoothing: Share = 0.0
    class_weights: Literal["none", "balanced"] = "none"

    @property
    def balances_classes(self) -> bool:
        """As the class weights say."""
        return self.class_weights == "balanced"

    def entropy(self, logits: Tensor, label: Tensor, weights: Tensor) -> Tensor:
        """The cross entropy, a scalar."""
        return functional.cross_entropy(logits, label, weights, label_smoothing=self.smoothing)


class OnEmbeddings(WithEntropy):
    """A loss on embeddings, with a cross entropy beside it.

    Attributes
    ----------
    classify : float
        Weight of the cross entropy, so that the model can also classify; 0: none.
    """

    classify: float = Field(default=1.0, ge=0)

    @property
    def on_embeddings(self) -> bool:
        """Yes."""
        return True

    def joined(self, metric: Tensor, logits: Tensor, label: Tensor, weights: Tensor) -> Tensor:
        """Both losses together."""
        return metric + self.classify * self.entropy(logits, label, weights) if self.classify else metric
