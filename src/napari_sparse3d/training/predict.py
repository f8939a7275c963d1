"""Predictions for many cases, averaged over symmetric views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.models.finite import check_features, check_result, check_weights
from napari_sparse3d.models.heads import meaning_of
from napari_sparse3d.models.network import Network
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.training.augment import Rows, turn, turns


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a network says about n cases.

    Attributes
    ----------
    probabilities : ndarray
        (n, classes) float32: those of the logits' mean over the views. So a correction of the logits gives the same
        whether it is made before the mean or after it.
    embeddings : ndarray
        (n, D) float32, unit length: the mean over the views, normalised.
    """

    probabilities: NDArray[np.float32]
    embeddings: NDArray[np.float32]


def predict(
    network: nn.Module,
    cases: Sequence[Case],
    store: VoxelStore,
    *,
    batch_size: int = 32,
    views: int = 1,
    view_kind: str = "none",
    device: str = "cpu",
) -> Predictions:
    """Run a network on cases, in evaluation mode.

    Parameters
    ----------
    network : nn.Module
    cases : sequence of Case
    store : VoxelStore
    batch_size : int
    views : int
        Number of views to average over, spread evenly over the symmetries; 1: the case as it is.
    view_kind : str
        Which symmetries: see :func:`augment.turns`.
    device : str

    Raises
    ------
    InputError
        If the features of a case, the weights or the result are not all finite.
    """
    described, meaning = cast(Network, network), meaning_of(network)
    check_weights(network)
    chosen = spread(len(turns(view_kind)), views)
    was_training = network.training
    network.eval()
    probabilities, embeddings = [], []
    with torch.no_grad():
        for start in range(0, len(cases), batch_size):
            sets = [store.get(case) for case in cases[start : start + batch_size]]
            x = SparseTensor.from_voxels(sets, described.field, device=device)
            check_features(x.features, f"the features of one of cases {start + 1} to {start + len(sets)}")
            logits: list[Tensor] = []
            vectors: list[Tensor] = []
            for number in chosen:
                vector = described.describe(_view(x, number, view_kind))
                logits.append(described.logits(vector))
                vectors.append(nn.functional.normalize(vector))
            probabilities.append(meaning.probabilities(torch.stack(logits).mean(0)).cpu())
            embeddings.append(nn.functional.normalize(torch.stack(vectors).mean(0)).cpu())
    network.train(was_training)
    check_result(*probabilities, *embeddings)
    return Predictions(torch.cat(probabilities).numpy(), torch.cat(embeddings).numpy())


def spread(count: int, views: int) -> list[int]:
    """``views`` numbers below ``count``, evenly spread, 0 first."""
    taken = min(count, max(views, 1))
    return [number * count // taken for number in range(taken)]


def _view(x: SparseTensor, number: int, kind: str) -> SparseTensor:
    if number == 0:
        return x
    indices = x.indices.cpu().long()
    rows = Rows(indices[:, 0], tuple(indices[:, 1:].float().unbind(1)), x.features)  # type: ignore[arg-type]
    turned = turn(rows, x.spatial_shape[0], torch.full((x.batch_size,), number), kind)
    moved = torch.stack([turned.volume.float(), *turned.zyx], 1).int().to(x.indices.device)
    return SparseTensor(x.features, moved, x.spatial_shape, x.batch_size, x.background)
