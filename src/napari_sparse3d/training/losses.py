"""Losses: functions of (embedding, logits, label)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from napari_sparse3d.errors import InputError
from napari_sparse3d.training.config import Loss

LossFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(B, D) unit embeddings, (B, classes) logits, (B,) int64 labels -> the loss, a scalar."""


class Criterion(torch.nn.Module):
    """The loss that a configuration asks for; a module, since some losses have weights of their own (ArcFace).

    Parameters
    ----------
    how : Loss
    classes, embedding : int
        Number of classes, and length of the embedding.
    weights : Tensor
        (classes,): of the cross entropy.

    Raises
    ------
    InputError
        If there is no such loss or miner, or it does not take these arguments.
    """

    weights: Tensor

    def __init__(self, how: Loss, classes: int, embedding: int, weights: Tensor) -> None:
        super().__init__()
        self.how = how
        self.register_buffer("weights", weights, persistent=False)
        self.metric: Any = None
        self.miner: Any = None
        self.own: LossFunction | None = None
        self.triplets = 0
        """Triplets that went into the loss so far."""
        if ":" in how.name:
            self.own = _users(how.name)
        elif how.name not in ("cross-entropy", "triplet"):
            self.metric = _metric_learning("losses", how.name, how.arguments, classes, embedding)
            self.miner = _metric_learning("miners", how.miner, {}, classes, embedding) if how.miner else None

    @property
    def on_embeddings(self) -> bool:
        """Whether the embedding is what is trained, not only the classes."""
        return self.how.name != "cross-entropy"

    def forward(self, embedding: Tensor, logits: Tensor, label: Tensor, random: torch.Generator) -> Tensor:
        """(B, D), (B, classes), (B,) -> scalar. ``random`` is what triplets are drawn with."""
        if self.own is not None:
            return self.own(embedding, logits, label)
        entropy = functional.cross_entropy(logits, label, self.weights, label_smoothing=self.how.smoothing)
        if self.how.name == "cross-entropy":
            return entropy
        if self.metric is None:
            chosen = choose_triplets(embedding.detach(), label, self.how.pairs, random)
            self.triplets += len(chosen[0])
            metric = triplet(embedding, chosen, self.how)
        else:
            found = self.miner(embedding, label) if self.miner is not None else None
            metric = self.metric(embedding, label, found)
        return metric + self.how.classify * entropy if self.how.classify else metric


Triplets: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Rows of anchors, positives and negatives, (T,) int64 each; T may be 0."""


def triplet(embedding: Tensor, chosen: Triplets, how: Loss) -> Tensor:
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


def _metric_learning(part: str, name: str, arguments: dict[str, Any], classes: int, embedding: int) -> Any:
    try:
        module = import_module(f"pytorch_metric_learning.{part}")
    except ImportError as error:
        raise InputError(
            f"loss {name!r} is one of pytorch-metric-learning; pip install 'napari-sparse3d[train]'"
        ) from error
    kind = getattr(module, name, None)
    if not isinstance(kind, type):
        raise InputError(f"pytorch-metric-learning has no {name!r} among its {part}; names are as in its documentation")
    # losses with weights of their own (ArcFace, ...) must be told how many
    known = {"num_classes": classes, "embedding_size": embedding}
    asked = inspect.signature(kind).parameters
    try:
        return kind(**{key: value for key, value in known.items() if key in asked}, **arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} cannot be made from {arguments}: {error}") from error


def _users(name: str) -> LossFunction:
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise InputError(f"loss {name!r}: {error}; give module:function, importable from here") from error
    if not callable(found):
        raise InputError(f"loss {name!r} is no function of (embedding, logits, label)")
    own: LossFunction = found
    return own
