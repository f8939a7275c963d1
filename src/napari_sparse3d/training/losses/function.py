"""A function of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from napari_sparse3d.catalog import load_own
from napari_sparse3d.training.losses.base import Criterion, LossSettings

LossFunction: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(B, D) unit embeddings, (B, classes) logits, (B,) int64 labels -> the loss, a scalar."""


class Function(LossSettings):
    """``module:function``, called with (embedding, logits, label).

    Attributes
    ----------
    name : str
    class_weights : {"none", "balanced"}
        ``balanced``: that the function makes each class count the same; it changes what ``calibrate = "frequencies"``
        makes of the finished model.
    """

    kind: Literal["function"] = "function"
    name: str
    class_weights: Literal["none", "balanced"] = "none"

    @property
    def on_embeddings(self) -> bool:
        """Taken to be: nobody knows what a function of the user's looks at."""
        return True

    @property
    def balances_classes(self) -> bool:
        """As the user says."""
        return self.class_weights == "balanced"

    def criterion(self, classes: int, embedding: int, weights: Tensor) -> Criterion:
        """See :meth:`LossSettings.criterion`; imports the function."""
        own: LossFunction = load_own(self.name, kind="loss", what="function")
        return _Criterion(own)

    def columns(self) -> dict[str, Any]:
        """Its name."""
        return {"loss_name": self.name}


class _Criterion(Criterion):
    def __init__(self, own: LossFunction) -> None:
        super().__init__()
        self.own = own  # where it is a module, its weights are trained too

    def forward(self, embedding: Tensor, logits: Tensor, label: Tensor, random: torch.Generator) -> Tensor:
        return self.own(embedding, logits, label)
