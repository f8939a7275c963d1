"""Triplets: cases of a class nearer than those of others, by a margin."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from napari_sparse3d.training.losses.base import Criterion, OnEmbeddings, Pairs, WeightedCriterion


class Triplet(OnEmbeddings):
    """The triplet loss on unit embeddings.

    Attributes
    ----------
    distance : {"cosine", "squared-l2"}
        Between unit vectors.
    margin : float
        By which another class has to be farther.
    pairs : {"shuffled", "lazily-shuffled", "random", "hardest"}
        How triplets are found in a batch: see :func:`choose_triplets`.
    """

    kind: Literal["triplet"] = "triplet"
    distance: Literal["cosine", "squared-l2"] = "cosine"
    margin: float = Field(default=0.5, gt=0)
    pairs: Pairs = "hardest"

    @property
    def name(self) -> str:
        """As it is asked for: the kind is one loss alone."""
        return self.kind

    def criterion(self, classes: int, embedding: int, weights: Tensor) -> Criterion:
        """See :meth:`LossSettings.criterion`."""
        return _Criterion(self, weights)

    def columns(self) -> dict[str, Any]:
        """How triplets are found and measured."""
        return {"loss_name": self.kind, "pair_method": self.pairs, "margin": self.margin, "norm": self.distance}


class _Criterion(WeightedCriterion):
    def __init__(self, how: Triplet, weights: Tensor) -> None:
        super().__init__(weights)
        self.how = how

    def forward(self, embedding: Tensor, logits: Tensor, label: Tensor, random: torch.Generator) -> Tensor:
        chosen = choose_triplets(embedding.detach(), label, self.how.pairs, random)
        self.triplets += len(chosen[0])
        return self.how.joined(triplet(embedding, chosen, self.how), logits, label, self.weights)


Triplets: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Rows of anchors, positives and negatives, (T,) int64 each; T may be 0."""


def triplet(embedding: Tensor, chosen: Triplets, how: Triplet) -> Tensor:
    """Mean of max(0, margin + d(anchor, positive) - d(anchor, negative)) over the chosen triplets.

    d is 1 - cosine, or the squared L2 distance, of unit vectors (twice as much). Without a triplet the loss is 0.
    """
    anchor, positive, negative = chosen
    if not len(anchor):
        return embedding.sum() * 0
    near = (embedding[anchor] * embedding[positive]).sum(1)
    far = (embedding[anchor] * embedding[negative]).sum(1)
    scale = 1.0 if how.distance == "cosine" else 2.0  # |a - b|^2 = 2 - 2 a.b
    return functional.relu(how.margin + scale * (far - near)).mean()


def choose_triplets(embedding: Tensor, label: Tensor, pairs: str, random: torch.Generator) -> Triplets:
    """Rows of anchors, positives and negatives in a batch.

    * ``shuffled``: two permutations of the batch; a row counts where they give another case of its class, and one of
      another class;
    * ``lazily-shuffled``: a third anchors, a third positives, a third negatives, as the sampler ``pairs`` lays them;
    * ``random``: for each case one positive and one negative, drawn evenly;
    * ``hardest``: for each case the farthest of its class and the nearest of the others.

    Parameters
    ----------
    embedding : Tensor
        (B, D), unit length.
    label : Tensor
        (B,) int64.
    """
    count = len(label)
    same = label[:, None] == label[None]
    positive = same & ~torch.eye(count, dtype=torch.bool, device=label.device)
    if pairs == "lazily-shuffled":
        anchor = torch.arange(count // 3, device=label.device)
        return anchor, anchor + count // 3, anchor + 2 * (count // 3)
    if pairs == "shuffled":
        first, second = (torch.randperm(count, generator=random).to(label.device) for _ in range(2))
        rows = torch.arange(count, device=label.device)
        good = positive[rows, first] & ~same[rows, second]
        return rows[good], first[good], second[good]
    if pairs == "random":
        liking = torch.rand(count, count, generator=random).to(label.device)
        near, far = liking, liking
    else:
        cosine = embedding @ embedding.T
        near, far = -cosine, cosine
    both = positive.any(1) & (~same).any(1)
    rows = both.nonzero()[:, 0]
    chosen_positive = near.masked_fill(~positive, -torch.inf).argmax(1)
    chosen_negative = far.masked_fill(same, -torch.inf).argmax(1)
    return rows, chosen_positive[rows], chosen_negative[rows]
