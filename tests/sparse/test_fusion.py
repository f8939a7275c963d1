"""Convolution and max pool in one pass give what they give one after the other."""

import weakref

import pytest
import torch

from cases import CASES
from napari_sparse3d import sparse as sp
from napari_sparse3d.sparse import SparseTensor, operators, use_engine

CHAINS = {
    "as in deepC2, one channel in": lambda: [
        sp.SparseConv3d(1, 32, 2),
        torch.nn.LeakyReLU(1 / 3),
        sp.SparseMaxPool3d(3, 2),
    ],
    "as in deepC2, wide": lambda: [sp.SparseConv3d(32, 64, 2), torch.nn.LeakyReLU(1 / 3), sp.SparseMaxPool3d(3, 2)],
    "submanifold, ReLU, pool without overlap": lambda: [
        sp.SubMConv3d(3, 7, 3),
        torch.nn.ReLU(),
        sp.SparseMaxPool3d(2),
    ],
    "no activation, padded": lambda: [sp.SparseConv3d(2, 5, 3, padding=1), sp.SparseMaxPool3d(3, 1, padding=1)],
    "few channels, strided": lambda: [sp.SparseConv3d(2, 16, 3, stride=2, padding=1), sp.SparseMaxPool3d(2, 1)],
}


def everything(layers, case, background, *, watched):
    """Output, background and all gradients of the chain; ``watched`` by a hook, it is not fused."""
    torch.manual_seed(0)
    chain = sp.SparseSequential(*layers())
    if watched:
        chain[0].register_forward_hook(lambda *_: None)
    channels = chain[0].in_channels
    features = case.features(channels).requires_grad_()
    ground = torch.linspace(-1, 1.5, channels).requires_grad_() if background else None
    y = chain(SparseTensor(features, case.indices.clone(), case.shape, case.batch_size, ground))
    pull = torch.randn(y.features.shape, generator=torch.Generator().manual_seed(1))
    loss = (y.features * pull).sum() + (0 if y.background is None else y.background.sum())
    leaves = [features, *chain.parameters(), *([ground] if background else [])]
    return y, torch.autograd.grad(loss, leaves, materialize_grads=True)


@pytest.mark.parametrize("engine_name", ["native", "dense"])
@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("layers", CHAINS.values(), ids=CHAINS)
def test_fused_is_the_same_as_one_after_the_other(layers, case, background, engine_name, monkeypatch):
    pools = []
    chain = operators.chain

    def noted(*given):
        pools.extend(layer.place.pool for layer in given[-1])
        return chain(*given)

    monkeypatch.setattr(operators, "chain", noted)
    with use_engine(engine_name):
        one, gradients = everything(layers, case, background, watched=False)
        other, expected = everything(layers, case, background, watched=True)
    assert [pool is not None for pool in pools] == [True, False]
    assert torch.equal(one.indices, other.indices)
    torch.testing.assert_close(one.features, other.features, rtol=0, atol=1e-5)
    if background:
        torch.testing.assert_close(one.background, other.background)
    for a, b in zip(gradients, expected):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * max(1.0, b.abs().max().item() if b.numel() else 1.0))


def test_an_activation_that_falls_is_not_moved_behind_the_pool():
    case = CASES["scattered"]
    torch.manual_seed(0)
    conv, pool = sp.SparseConv3d(3, 4, 2), sp.SparseMaxPool3d(2)
    x = SparseTensor(case.features(3), case.indices, case.shape, case.batch_size, torch.ones(3))
    with use_engine("native"), torch.no_grad():
        for activation in (torch.nn.LeakyReLU(-0.5), torch.nn.SiLU()):
            chain = sp.SparseSequential(conv, activation, pool)
            torch.testing.assert_close(chain(x).features, pool(sp.pointwise(activation, conv(x))).features)


NETWORKS = {
    "as deepC2": lambda: [
        *(sp.SparseConv3d(1, 8, 2), torch.nn.LeakyReLU(1 / 3), sp.SparseMaxPool3d(2, 1)),
        *(sp.SparseConv3d(8, 20, 2, padding=1), torch.nn.LeakyReLU(1 / 3), sp.SparseMaxPool3d(3, 2, padding=1)),
        *(sp.SparseConv3d(20, 5, 1), torch.nn.LeakyReLU(1 / 3)),
    ],
    "submanifold only": lambda: [sp.SubMConv3d(2, 16, 3), torch.nn.ReLU(), sp.SubMConv3d(16, 3, 3, bias=False)],
    "of both kinds, no activation": lambda: [
        sp.SubMConv3d(3, 6, 3),
        sp.SparseConv3d(6, 7, 3, stride=2, padding=1),
        sp.SubMConv3d(7, 4, 2),
    ],
    "other layers between": lambda: [
        *(sp.SparseConv3d(2, 6, 2, padding=1), torch.nn.SiLU(), sp.SparseMaxPool3d(2, 1)),
        *(sp.SparseConv3d(6, 4, 1), sp.SparseBatchNorm(4), torch.nn.ReLU(), sp.SubMConv3d(4, 4, 3)),
    ],
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("layers", NETWORKS.values(), ids=NETWORKS)
def test_inference_in_one_call_is_the_same_as_layer_by_layer(layers, case, background, dtype):
    torch.manual_seed(0)
    network = sp.SparseSequential(*layers()).to(dtype).eval()
    channels = network[0].in_channels
    ground = torch.linspace(-1, 1.5, channels, dtype=dtype) if background else None
    x = SparseTensor(case.features(channels).to(dtype), case.indices, case.shape, case.batch_size, ground)
    with use_engine("native"):
        trained = network(x)
        with torch.no_grad():
            at_once = network(x)
            assert torch.equal(network(x).features, at_once.features)  # the plan is found again
    assert torch.equal(at_once.features, trained.features)
    assert torch.equal(at_once.indices, trained.indices)
    assert at_once.spatial_shape == trained.spatial_shape
    assert (at_once.background is None) == (trained.background is None) == (not background)
    if background:
        assert torch.equal(at_once.background, trained.background)


def test_submanifold_layers_leave_the_sites_the_same_tensor():
    case = CASES["scattered"]
    network = sp.SparseSequential(sp.SubMConv3d(2, 4, 3), torch.nn.ReLU(), sp.SubMConv3d(4, 2, 3))
    x = SparseTensor(case.features(2), case.indices.clone(), case.shape, case.batch_size)
    held = weakref.ref(x.indices)
    with use_engine("native"), torch.no_grad():
        y = network(x)
        assert y.indices is x.indices
    del x, y
    assert held() is None


def test_the_layer_with_the_wrong_channels_is_named():
    case = CASES["scattered"]
    network = sp.SparseSequential(sp.SparseConv3d(2, 4, 1), sp.SubMConv3d(3, 2, 3))
    x = SparseTensor(case.features(2), case.indices, case.shape, case.batch_size)
    with torch.no_grad(), pytest.raises(ValueError, match="SubMConv3d expects 3 channels, got 4"):
        network(x)


def test_the_fused_operator_is_registered_as_torch_demands():
    case = CASES["scattered"]
    torch.manual_seed(0)
    conv, pool = sp.SparseConv3d(3, 4, 2), sp.SparseMaxPool3d(2)
    with use_engine("native"):
        features, background = case.features(3).requires_grad_(), torch.ones(3, requires_grad=True)
        x = SparseTensor(features, case.indices, case.shape, case.batch_size, background)
        geometry, _, pool_geometry = conv.layer(x.spatial_shape, x.batch_size, pool=pool.window).place
        out = operators.output_sites(x.sites, geometry)
        sites, pool_sites = out.indices, operators.output_sites(out, pool_geometry).indices
        weights = (conv.weight.detach().requires_grad_(), conv.bias.detach().requires_grad_())
        place = (x.indices, sites, geometry.pack(), 0.3, pool_sites, pool_geometry.pack(), "native")
        torch.library.opcheck(torch.ops.sparse3d.convolution.default, (features, *weights, background, *place))
