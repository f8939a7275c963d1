"""Attribution, against what can be worked out by hand, and against the network itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.activation_map import class_activation_map
from napari_sparse3d.explain.gradients import gradient_times_input, integrated_gradients
from napari_sparse3d.explain.grids import Grid, recording_grids
from napari_sparse3d.explain.methods import attribute
from napari_sparse3d.sparse import (
    GlobalAvgPool,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseInverseConv3d,
    SparseMaxPool3d,
    SparseSequential,
    SparseTensor,
    SubMConv3d,
    use_engine,
)
from napari_sparse3d.sparse.window import Window


@pytest.fixture(autouse=True)
def _reference_engine():  # type: ignore[no-untyped-def]
    with use_engine("dense"):
        yield


class Linear(nn.Module):
    """Logits that are linear in the features of the sites."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = SparseSequential(SparseConv3d(2, 3, 2, bias=False))
        self.pool = GlobalAvgPool()
        self.classifier = nn.Linear(3, 2, bias=False)

    def forward(self, x: SparseTensor) -> torch.Tensor:
        return self.classifier(self.pool(self.layers(x)))


class Curved(Linear):
    def __init__(self) -> None:
        super().__init__()
        self.layers = SparseSequential(
            SparseConv3d(2, 4, 2), nn.Softplus(), SparseMaxPool3d(2), SparseConv3d(4, 3, 2), nn.Softplus()
        )


@pytest.fixture
def x() -> SparseTensor:
    generator = torch.Generator().manual_seed(3)
    sites = torch.randperm(12**3, generator=generator)[:90].sort().values
    indices = torch.stack([torch.zeros_like(sites), sites // 144, sites // 12 % 12, sites % 12], 1).int()
    return SparseTensor(torch.rand(90, 2, generator=generator), indices, 12, 1, torch.zeros(2))


def logit(network: nn.Module, x: SparseTensor, target: int) -> float:
    with torch.no_grad():
        return float(network(x)[0, target])


@pytest.mark.parametrize("method", [gradient_times_input, integrated_gradients])
def test_a_linear_network_is_attributed_exactly(method, x: SparseTensor) -> None:  # type: ignore[no-untyped-def]
    network = Linear()
    made = method(network, x, 1)
    # take one site away at a time: what the logit loses is what the site gave
    for row in (0, 17, 89):
        without = x.features.clone()
        without[row] = 0
        lost = logit(network, x, 1) - logit(network, x.with_features(without, x.background), 1)
        assert made.values[row].item() == pytest.approx(lost, abs=1e-6)


def test_integrated_gradients_add_up_and_plain_gradients_do_not(x: SparseTensor) -> None:
    network = Curved()
    x = x.with_features(3 * x.features, x.background)
    whole = logit(network, x, 0) - logit(network, x.with_features(torch.zeros_like(x.features), x.background), 0)
    assert integrated_gradients(network, x, 0, steps=64).values.sum().item() == pytest.approx(whole, rel=0.02)
    assert gradient_times_input(network, x, 0).values.sum().item() != pytest.approx(whole, rel=0.02)


def test_a_class_activation_map_before_a_global_mean_adds_up(x: SparseTensor) -> None:
    network = Linear()
    made = class_activation_map(network, x, 1, "0")
    # logit = sum over sites of features . classifier / all sites; the map weights with that same gradient
    assert made.values.sum().item() == pytest.approx(logit(network, x, 1), abs=1e-6)
    assert made.spatial_shape == (11, 11, 11)
    assert made.grid == Grid((1, 1, 1), (0.5, 0.5, 0.5))


def test_what_cannot_be_attributed_is_said(x: SparseTensor) -> None:
    network = Linear()
    with pytest.raises(InputError, match="choose class-activation map"):
        attribute(network, x, 0, "magic")
    with pytest.raises(InputError, match="2 classes"):
        attribute(network, x, 5, "gradient × input")
    empty = SparseTensor(torch.zeros(0, 2), torch.zeros(0, 4, dtype=torch.int32), 12, 1, torch.zeros(2))
    with pytest.raises(InputError, match="nothing is active"):
        attribute(network, empty, 0, "gradient × input")


def test_grids_through_strides_padding_and_back(x: SparseTensor) -> None:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same = SubMConv3d(2, 2, 3)
            self.down = SparseConv3d(2, 3, 3, stride=2, padding=1)
            self.pool = SparseMaxPool3d(2)
            self.up = SparseConvTranspose3d(3, 2, 2, stride=2, bias=False)
            self.back = SparseInverseConv3d(3, 2, 3, stride=2, padding=1, bias=False)

        def forward(self, x: SparseTensor) -> SparseTensor:
            first = self.same(x)
            low = self.down(first)
            self.up(self.pool(low))
            return self.back(low, first)

    sparse = SparseTensor(x.features, x.indices, 12, 1, None)
    network = UNet()
    with torch.no_grad(), recording_grids(network) as grids:
        network(sparse)
    assert grids["same"] == Grid()
    assert grids["down"] == Grid((2, 2, 2), (0, 0, 0))  # 3 wide, padded by 1: centred on every other voxel
    assert grids["pool"] == Grid((4, 4, 4), (1, 1, 1))  # sites 2o and 2o + 1 lie at voxels 4o and 4o + 2
    assert grids["up"] == Grid((2, 2, 2), (0, 0, 0))
    assert grids["back"] == Grid()


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"), [(2, 1, 0, 1), (3, 2, 1, 1), (3, 1, 0, 2), (4, 3, 2, 1)]
)
def test_a_site_is_centred_on_what_it_sees(kernel: int, stride: int, padding: int, dilation: int) -> None:
    window = Window(*[(n,) * 3 for n in (kernel, stride, padding, dilation)])
    grid = Grid().after(window)
    for site in range(5):
        seen = [site * stride + k * dilation - padding for k in range(kernel)]
        assert site * grid.step[0] + grid.centre[0] == np.mean([seen[0], seen[-1]])
