"""Products of bfloat16 on the CPU, asked for by autocast, against dense convolutions in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import napari_sparse3d as ns3
from napari_sparse3d.engine.native import NativeEngine
from napari_sparse3d.sparse import SparseConv3d, SparseTensor, SubMConv3d

FAST = NativeEngine().instruction_set == "avx512_bf16"
needs_instruction = pytest.mark.skipif(not FAST, reason="this processor has no instruction for products of bfloat16")
SHAPE = (7, 8, 9)
TWO_ROUNDINGS = 2 * 2.0**-8 * 1.01
"""Each of the two factors of a product is rounded by at most 2^-8 of it."""

LAYERS = {
    "strided": lambda: SparseConv3d(24, 40, 3, stride=2, padding=1),
    "2^3": lambda: SparseConv3d(32, 48, 2),
    "odd channels": lambda: SparseConv3d(17, 5, (3, 1, 2)),
    "submanifold": lambda: SubMConv3d(32, 32, 3),
    "one channel": lambda: SparseConv3d(1, 16, 2),
}


def sites_of(density: float, channels: int) -> SparseTensor:
    generator = torch.Generator().manual_seed(channels)
    indices = (torch.rand(1, *SHAPE, generator=generator) < density).nonzero().int()
    features = torch.randn(len(indices), channels, generator=generator)
    return SparseTensor(features, indices, SHAPE, 1, torch.randn(channels, generator=generator))


def dense(
    x: SparseTensor,
    layer: SparseConv3d | SubMConv3d,
    indices: Tensor,
    change: Callable[[Tensor], Tensor] = torch.Tensor.double,
) -> Tensor:
    """Sums of products on the whole grid in float64, at ``indices``; ``change`` is done to all factors first."""
    features, ground, weight = (change(t.detach()).double() for t in (x.features, x.background, layer.weight))
    padding = layer.window.padding
    grid = ground[:, None, None, None].repeat(1, *(s + 2 * p for s, p in zip(SHAPE, padding, strict=True)))
    z, y, across = (x.indices[:, axis + 1].long() + padding[axis] for axis in range(3))
    grid[:, z, y, across] = features.T
    out = torch.nn.functional.conv3d(grid[None], weight.permute(0, 4, 1, 2, 3), stride=layer.window.stride)[0]
    return out[:, indices[:, 1].long(), indices[:, 2].long(), indices[:, 3].long()].T


def half(layer: torch.nn.Module, x: SparseTensor) -> SparseTensor:
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        return layer(x)


@pytest.fixture(params=LAYERS)
def case(request: pytest.FixtureRequest) -> tuple[SparseConv3d | SubMConv3d, SparseTensor]:
    torch.manual_seed(0)
    layer = LAYERS[request.param]()
    return layer, sites_of(0.4, layer.in_channels)


def test_error_stays_within_two_roundings_of_each_product(case) -> None:
    layer, x = case
    y = half(layer, x)
    assert y.features.dtype == torch.float32
    exact = dense(x, layer, y.indices) + layer.bias
    size = dense(x, layer, y.indices, torch.abs)
    assert ((y.features - exact).abs() <= TWO_ROUNDINGS * size + 1e-4).all()


@needs_instruction
@pytest.mark.parametrize("name", ["strided", "2^3", "odd channels"])
def test_products_are_those_of_rounded_numbers(name: str) -> None:
    torch.manual_seed(0)
    layer = LAYERS[name]()
    x = sites_of(0.4, layer.in_channels)
    y = half(layer, x)
    rounded = dense(x, layer, y.indices, torch.Tensor.bfloat16) + layer.bias.detach().double()
    exact = dense(x, layer, y.indices) + layer.bias.detach().double()
    assert (rounded - exact).abs().max() > 1e-3  # rounding can be seen at all
    torch.testing.assert_close(y.features.double(), rounded, rtol=0, atol=2e-5)
    weight = layer.weight.detach().bfloat16().double().sum((1, 2, 3))
    empty = weight @ x.background.bfloat16().double() + layer.bias.double()
    torch.testing.assert_close(y.background.double(), empty, rtol=0, atol=2e-5)


def test_without_the_instruction_float32_stays() -> None:
    if FAST:
        pytest.skip("this processor has the instruction")
    layer = SparseConv3d(24, 40, 3, stride=2, padding=1)
    x = sites_of(0.4, 24)
    with torch.no_grad():
        assert torch.equal(half(layer, x).features, layer(x).features)


def test_with_gradients_float32_stays() -> None:
    layer = SparseConv3d(24, 40, 3, stride=2, padding=1)
    x = sites_of(0.4, 24)
    with torch.autocast("cpu", torch.bfloat16):
        trained = layer(x).features
    assert trained.requires_grad
    assert torch.equal(trained, layer(x).features)


def test_a_network_runs_under_autocast() -> None:
    model = ns3.load_model("deepc2")
    rows = np.array([[z, 60, 60] for z in range(50, 70)], np.int32)
    voxels = ns3.VoxelSet(rows, np.ones((20, 1), np.float32), (126, 126, 126), np.eye(4))
    plain = model.run(voxels, device="cpu")
    with torch.autocast("cpu", torch.bfloat16):
        found = model.run(voxels, device="cpu")
    assert abs(found.embedding - plain.embedding).max() < 0.02
    assert abs(found.probabilities - plain.probabilities).max() < 0.02
