"""Every operator of every engine against the oracle: values, active sites, background and gradients."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import oracle
from cases import CASES, scattered
from napari_sparse3d import sparse as sp
from napari_sparse3d.sparse import SparseTensor, use_engine

FORWARD = (
    1e-5  # of the largest value: float32 sums of up to a few thousand products, in another order than the oracle's
)
BACKWARD = 1e-4  # gradients sum over every site as well

# What multiplies in each engine, on the CPU tensors of this suite. spconv has no backward pass there: the engine's
# gradients are torch's, and spconv's own are tested on a CUDA card (tests/gpu).
ENGINES = {
    "dense": ("torch's dense layers", "torch's dense layers"),
    "native": ("our kernels", "our kernels"),
    "spconv": ("spconv", "torch, offset by offset"),
}


@pytest.fixture(params=ENGINES)
def engine(request):
    with use_engine(request.param):
        yield request.param


@dataclass(frozen=True)
class Layer:
    """A layer of ours and what the oracle should make of the same weights."""

    make: Any
    expect: Any
    zero_background: bool = False  # for what is refused with any other

    def module(self):
        torch.manual_seed(0)
        return self.make()


def conv(kernel, stride=1, padding=0, dilation=1, bias=True, cin=3, cout=4):
    def expect(x, m, _):
        w = m.window
        return oracle.conv(x, m.weight, m.bias, w.stride, w.padding, w.dilation)

    return Layer(lambda: sp.SparseConv3d(cin, cout, kernel, stride, padding, dilation, bias), expect)


def subm(kernel, dilation=1, bias=True, cin=3, cout=4):
    return Layer(
        lambda: sp.SubMConv3d(cin, cout, kernel, dilation, bias),
        lambda x, m, _: oracle.submanifold(x, m.weight, m.bias, m.window.dilation),
    )


def transpose(kernel, stride=1, padding=0, output_padding=0, dilation=1):
    def expect(x, m, y):
        w = m.window
        return oracle.transposed(x, m.weight, m.bias, y.spatial_shape, None, w.stride, w.padding, w.dilation)

    def make():
        return sp.SparseConvTranspose3d(3, 4, kernel, stride, padding, output_padding, dilation)

    return Layer(make, expect, zero_background=stride != 1)


def pool(kind, kernel, stride=None, padding=0, dilation=1):
    module, reference = {
        "max": (sp.SparseMaxPool3d, oracle.max_pool),
        "avg": (sp.SparseAvgPool3d, oracle.avg_pool),
    }[kind]

    def expect(x, m, _):
        w = m.window
        return reference(x, w.kernel, w.stride, w.padding, w.dilation)

    return Layer(lambda: module(kernel, stride, padding, dilation), expect)


LAYERS = {
    "conv 1": conv(1),
    "conv 2, as in deepC2": conv(2),
    "conv 3, padded": conv(3, padding=1),
    "conv 3, stride 2": conv(3, stride=2, padding=1),
    "conv 4, stride 3, no bias": conv(4, stride=3, padding=2, bias=False),
    "conv 5, padded": conv(5, padding=2),
    "conv, every axis its own": conv((1, 2, 3), stride=(2, 1, 3), padding=(0, 1, 2), dilation=(1, 2, 1)),
    "conv 2, dilated": conv(2, dilation=3, padding=1),
    "conv 3, one channel in": conv(3, padding=1, cin=1, cout=5),
    "conv 2, wide": conv(2, cin=33, cout=47),
    "conv 3, 32 to 32": conv(3, padding=1, cin=32, cout=32),
    "submanifold 1": subm(1),
    "submanifold 3": subm(3),
    "submanifold 3, 16 to 32": subm(3, cin=16, cout=32),
    "submanifold 3, odd channels": subm(3, cin=5, cout=7, bias=False),
    "submanifold 2 (even)": subm(2),
    "submanifold 5": subm(5),
    "submanifold (1, 4, 3), dilated": subm((1, 4, 3), dilation=(1, 1, 2)),
    "transposed 2, stride 1": transpose(2),
    "transposed 3, stride 1, padded": transpose(3, padding=1),
    "transposed 2, stride 2": transpose(2, stride=2),
    "transposed 3, stride 2, output padding": transpose(3, stride=2, padding=1, output_padding=1),
    "transposed 4, stride 3, dilated": transpose(2, stride=3, padding=1, dilation=2),
    "max pool 2": pool("max", 2),
    "max pool 3, stride 2, as in deepC2": pool("max", 3, 2),
    "max pool 3, padded": pool("max", 3, 1, padding=1),
    "max pool (1, 2, 3), dilated": pool("max", (1, 2, 3), (1, 2, 1), padding=1, dilation=(1, 2, 1)),
    "avg pool 2": pool("avg", 2),
    "avg pool 3, stride 2": pool("avg", 3, 2),
    "avg pool (2, 1, 3), padded": pool("avg", (2, 1, 3), (1, 2, 2), padding=(1, 0, 1)),
}


def channels_in(layer):
    return getattr(layer, "in_channels", 3)


def compare(layer, case, background, engine):
    """Run ours in float32 and the oracle in float64; compare everything."""
    module = layer.module()
    features = case.features(channels_in(module)).requires_grad_()
    ground = None
    if background:
        ground = torch.linspace(-1, 1.5, features.shape[1])
        ground = torch.zeros_like(ground) if layer.zero_background else ground.requires_grad_()
    x = SparseTensor(features, case.indices, case.shape, case.batch_size, ground)
    y = module(x)

    twin = layer.module().double()
    features64 = features.detach().double().requires_grad_()
    ground64 = None if ground is None else ground.detach().double().requires_grad_(ground.requires_grad)
    expected = layer.expect(oracle.grid(features64, case.indices, case.shape, case.batch_size, ground64), twin, y)

    assert y.spatial_shape == tuple(expected.values.shape[2:])
    sites = expected.active.nonzero().int()
    if isinstance(module, sp.SubMConv3d):
        assert y.indices is x.indices
    else:
        assert torch.equal(y.indices, sites)  # and in raster order
    rows = expected.rows(y.indices)
    close(y.features, rows, FORWARD)
    assert (y.background is None) == (expected.background is None)
    if y.background is not None:
        close(y.background, expected.background, FORWARD)

    generator = torch.Generator().manual_seed(1)
    pull = torch.randn(rows.shape, generator=generator, dtype=torch.double)
    ours, theirs = (y.features * pull.float()).sum(), (rows * pull).sum()
    if y.background is not None:
        ours, theirs = ours + y.background.sum(), theirs + expected.background.sum()
    leaves = [features, *module.parameters()] + ([ground] if ground is not None and ground.requires_grad else [])
    leaves64 = [features64, *twin.parameters()] + (
        [ground64] if ground64 is not None and ground64.requires_grad else []
    )
    grads = torch.autograd.grad(ours, leaves, materialize_grads=True)
    grads64 = torch.autograd.grad(theirs, leaves64, materialize_grads=True)
    for one, other in zip(grads, grads64, strict=True):
        close(one, other, BACKWARD)


def close(ours, expected, tolerance):
    largest = expected.abs().max().item() if expected.numel() else 0.0
    assert ours.shape == expected.shape
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=tolerance * max(largest, 1e-3))


@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_layer_agrees_with_dense(layer, background, engine):
    compare(layer, CASES["scattered"], background, engine)


@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize(
    "name",
    [
        "conv 2, as in deepC2",
        "conv 3, stride 2",
        "submanifold 3, 16 to 32",
        "submanifold 2 (even)",
        "transposed 3, stride 2, output padding",
        "max pool 3, stride 2, as in deepC2",
        "avg pool 3, stride 2",
    ],
)
def test_hard_site_sets(name, case, background, engine):
    compare(LAYERS[name], case, background, engine)


sizes = st.integers(1, 7)


@given(
    kernel=st.tuples(*[st.integers(1, 5)] * 3),
    stride=st.tuples(*[st.integers(1, 3)] * 3),
    padding=st.tuples(*[st.integers(0, 2)] * 3),
    dilation=st.tuples(*[st.integers(1, 2)] * 3),
    shape=st.tuples(sizes, sizes, st.one_of(sizes, st.integers(60, 70))),
    density=st.sampled_from([0.0, 0.02, 0.3, 2.0]),
    kind=st.sampled_from(["conv", "submanifold", "max", "avg"]),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    background=st.booleans(),
    seed=st.integers(0, 9),
)
def test_any_geometry(kernel, stride, padding, dilation, shape, density, kind, channels, background, seed):
    reach = [n + 2 * p - d * (k - 1) for n, p, d, k in zip(shape, padding, dilation, kernel)]
    cin, cout = channels
    if kind == "submanifold":
        layer = subm(kernel, dilation, cin=cin, cout=cout)
    elif min(reach) < 1:
        with pytest.raises(ValueError, match="too small"):
            conv(kernel, stride, padding, dilation).module().window.output_shape(shape)
        return
    elif kind == "conv":
        layer = conv(kernel, stride, padding, dilation, cin=cin, cout=cout)
    else:
        layer = pool(kind, kernel, stride, padding, dilation)
    with use_engine("native"):
        compare(layer, scattered(shape, 2, density, seed), background, "native")


@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("window", [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1), (2, 3, 0, 2)])
@pytest.mark.parametrize("case", ["scattered", "one voxel", "no voxel", "every border", "rows in any order"])
def test_inverse_convolution_returns_to_the_sites(case, window, background, engine):
    case = CASES[case]
    kernel, stride, padding, dilation = window
    torch.manual_seed(0)
    down = sp.SparseConv3d(3, 4, kernel, stride, padding, dilation, bias=stride == 1)
    up = sp.SparseInverseConv3d(4, 5, kernel, stride, padding, dilation)
    features = case.features(3).requires_grad_()
    ground = torch.zeros(3) if background else None
    x = SparseTensor(features, case.indices, case.shape, case.batch_size, ground)
    y = up(down(x), x)
    assert y.indices is x.indices
    assert y.spatial_shape == x.spatial_shape

    down64, up64 = (deepcopy(m).double() for m in (down, up))
    features64 = features.detach().double().requires_grad_()
    ground64 = None if ground is None else ground.double()
    grid = oracle.grid(features64, case.indices, case.shape, case.batch_size, ground64)
    w = down.window
    middle = oracle.conv(grid, down64.weight, down64.bias, w.stride, w.padding, w.dilation)
    if stride != 1 and background:
        middle.background = torch.zeros(4, dtype=torch.double)
    expected = oracle.transposed(
        middle, up64.weight, up64.bias, case.shape, grid.active, w.stride, w.padding, w.dilation
    )
    rows = expected.rows(x.indices)
    close(y.features, rows, FORWARD)
    if background:
        close(y.background, expected.background, FORWARD)
    leaves, leaves64 = (
        [f, *d.parameters(), *u.parameters()] for f, d, u in ((features, down, up), (features64, down64, up64))
    )
    pull = torch.randn(rows.shape, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    grads = torch.autograd.grad((y.features * pull.float()).sum(), leaves, materialize_grads=True)
    grads64 = torch.autograd.grad((rows * pull).sum(), leaves64, materialize_grads=True)
    for one, other in zip(grads, grads64, strict=True):
        close(one, other, BACKWARD)


def test_a_transposed_layer_refuses_a_background_that_would_need_one_vector_a_phase(engine):
    case = CASES["scattered"]
    x = SparseTensor(case.features(3), case.indices, case.shape, case.batch_size, torch.ones(3))
    with pytest.raises(ValueError, match="one background for each output phase"):
        sp.SparseConvTranspose3d(3, 4, 2, stride=2)(x)


@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_global_pools_count_the_whole_grid(kind, case, background, engine):
    features = case.features(4).requires_grad_()
    ground = torch.linspace(-1, 1.5, 4).requires_grad_() if background else None
    x = SparseTensor(features, case.indices, case.shape, case.batch_size, ground)
    y = {"avg": sp.GlobalAvgPool, "max": sp.GlobalMaxPool}[kind]()(x)
    features64 = features.detach().double().requires_grad_()
    ground64 = ground.detach().double().requires_grad_() if background else None
    grid = oracle.grid(features64, case.indices, case.shape, case.batch_size, ground64)
    expected = {"avg": oracle.global_avg, "max": oracle.global_max}[kind](grid)
    close(y, expected, FORWARD)
    if kind == "avg":
        grads = torch.autograd.grad(y.sum(), [features, *([ground] if background else [])])
        grads64 = torch.autograd.grad(expected.sum(), [features64, *([ground64] if background else [])])
        for one, other in zip(grads, grads64, strict=True):
            close(one, other, BACKWARD)


def test_pointwise_layers_act_on_the_background_too(engine):
    case = CASES["scattered"]
    torch.manual_seed(0)
    layers = sp.SparseSequential(
        torch.nn.LeakyReLU(1 / 3), torch.nn.Linear(3, 5), torch.nn.LayerNorm(5), torch.nn.Sigmoid()
    )
    x = SparseTensor(case.features(3), case.indices, case.shape, case.batch_size, torch.tensor([-1.0, 0.0, 2.0]))
    y = layers(x)
    grid = oracle.grid(x.features.double(), case.indices, case.shape, case.batch_size, x.background.double())
    expected = oracle.pointwise(grid, torch.nn.Sequential(*layers).double())
    close(y.dense(), expected.values, FORWARD)


def test_batch_norm_uses_the_active_sites_in_training_and_one_affine_map_in_inference(engine):
    case = CASES["scattered"]
    x = SparseTensor(
        case.features(3) * 2 + 1, case.indices, case.shape, case.batch_size, torch.tensor([-1.0, 0.0, 2.0])
    )
    norm, reference = sp.SparseBatchNorm(3), torch.nn.BatchNorm1d(3)
    close(norm(x).features, reference(x.features).double(), FORWARD)
    close(norm.running_mean, reference.running_mean.double(), FORWARD)
    close(norm.running_var, reference.running_var.double(), FORWARD)
    norm.eval(), reference.eval()
    y = norm(x)
    close(y.features, reference(x.features).double(), FORWARD)
    close(y.background, reference(x.background[None])[0].double(), FORWARD)


@pytest.mark.parametrize("case", ["no voxel", "one voxel"])
def test_batch_norm_in_training_survives_sets_without_statistics(case, engine):
    case = CASES[case]
    x = SparseTensor(case.features(3), case.indices, case.shape, case.batch_size, torch.ones(3))
    norm = sp.SparseBatchNorm(3)
    y = norm(x)
    assert torch.isfinite(y.features).all()
    assert torch.equal(norm.running_mean, torch.zeros(3))
    assert int(norm.num_batches_tracked) == 0


def test_layers_that_mix_rows_are_refused_at_each_site(engine):
    case = CASES["scattered"]
    x = SparseTensor(case.features(3), case.indices, case.shape, case.batch_size)
    with pytest.raises(TypeError, match="SparseBatchNorm"):
        sp.SparseSequential(torch.nn.BatchNorm1d(3))(x)


def test_max_pool_gradient_goes_to_the_first_of_equal_values(engine):
    features = torch.tensor([[1.0], [1.0], [0.5]], requires_grad=True)
    background = torch.tensor([1.0], requires_grad=True)
    indices = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 1]], dtype=torch.int32)
    y = sp.SparseMaxPool3d(2)(SparseTensor(features, indices, 2, 1, background))
    y.features.sum().backward()
    assert features.grad.tolist() == [[1.0], [0.0], [0.0]]
    assert background.grad.tolist() == [0.0]
