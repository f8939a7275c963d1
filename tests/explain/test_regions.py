"""Regions left out: against emptying each by hand."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.regions import regions_left_out
from napari_sparse3d.sparse import SparseTensor


class Sum(torch.nn.Module):
    """Logits that are sums of the features, weighted by where they are."""

    def forward(self, x: SparseTensor) -> torch.Tensor:
        z = x.indices[:, 1].to(x.features)
        return torch.stack([(x.features[:, 0] * z).sum(), x.features.sum()])[None]


def two_corners() -> SparseTensor:
    indices = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 7, 7, 7]], dtype=torch.int32)
    return SparseTensor(torch.tensor([[1.0], [2.0], [3.0]]), indices, (8, 8, 8), 1, torch.tensor([0.5]))


def test_a_region_counts_by_what_the_logit_loses() -> None:
    pytest.importorskip("captum")
    x = two_corners()
    # the first two share a region: emptied, they hold the background 0.5
    assert regions_left_out(Sum(), x, 1).values.tolist() == pytest.approx([2.0, 2.0, 2.5])
    assert regions_left_out(Sum(), x, 0).values.tolist() == pytest.approx([0.0, 0.0, 17.5])


def test_our_integrated_gradients_are_those_of_captum() -> None:
    """So they need no further library: on a convolution, an activation and a pool of the project's own."""
    attr = pytest.importorskip("captum.attr")
    from napari_sparse3d.explain.gradients import integrated_gradients
    from napari_sparse3d.models import load_model

    network = load_model("deepc2").network
    rows = torch.stack(torch.meshgrid(*[torch.arange(60, 66)] * 3, indexing="ij"), -1).reshape(-1, 3).int()
    indices = torch.cat([torch.zeros(len(rows), 1, dtype=torch.int32), rows], 1)
    x = SparseTensor(torch.rand(len(rows), 1), indices, (126,) * 3, 1, torch.zeros(1))

    def logits(batch: torch.Tensor) -> torch.Tensor:  # (steps, N, 1): captum takes the first axis for the batch
        return torch.cat([network(x.with_features(features, x.background)) for features in batch])

    theirs = attr.IntegratedGradients(logits).attribute(
        x.features[None], torch.zeros_like(x.features)[None], target=1, n_steps=16, method="riemann_middle"
    )
    ours = integrated_gradients(network, x, 1, steps=16).values
    torch.testing.assert_close(ours, theirs[0, :, 0].float(), rtol=1e-3, atol=1e-6)


def test_without_captum_it_says_what_to_do(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InputError, match="pip install captum"):
        regions_left_out(Sum(), two_corners(), 0)
