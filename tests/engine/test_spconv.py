"""The spconv engine on CPU tensors, at what the parity suite does not reach.

What only a CUDA card can run (:class:`_ImplicitGemm`) is run here against a stand-in that does with the arrays what
spconv's kernels do with them; spconv's own kernels are run in tests/gpu.
"""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import CASES, scattered
from napari_sparse3d import sparse as sp
from napari_sparse3d.engine import rulebook_engine
from napari_sparse3d.engine import spconv as module
from napari_sparse3d.engine.dense import DenseEngine
from napari_sparse3d.engine.rulebook import raster_places, sites_at
from napari_sparse3d.engine.rulebook_engine import multiply, multiply_backward
from napari_sparse3d.engine.spconv import SpconvEngine
from napari_sparse3d.sparse import SparseTensor, use_engine
from napari_sparse3d.sparse.contract import Filters, Rows
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry, Window

pytestmark = pytest.mark.spconv

TOLERANCE = 2e-5  # of the largest value; both sides sum in float32


@pytest.fixture(scope="module")
def engine():
    return SpconvEngine()


def close(ours, expected, tolerance=TOLERANCE):
    assert ours.shape == expected.shape
    if expected.numel():
        atol = tolerance * max(1.0, expected.abs().max().item())
        torch.testing.assert_close(ours, expected, rtol=0, atol=atol, check_dtype=False)


def drawn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def layer(kernel=(3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1), case="scattered", channels=(5, 7)):
    """Plan, features, weight, gradient of one convolution."""
    case = CASES[case]
    window = Window(kernel, stride, padding)
    geometry = Geometry(window, case.batch_size, case.shape, window.output_shape(case.shape))
    engine = SpconvEngine()
    stand = Sites(case.indices, case.shape, case.batch_size)
    sites = engine.output_sites(stand, geometry)
    plan = engine.plan(stand, sites, geometry)
    weight = drawn(channels[1], *kernel, channels[0], seed=1)
    return plan, case.features(channels[0]), weight, drawn(len(sites), channels[1], seed=2)


@settings(max_examples=60)
@given(st.data())
def test_agrees_with_the_dense_engine_for_any_geometry(engine, data):
    def triples(low, high):
        return st.tuples(*[st.integers(low, high)] * 3)

    window = Window(
        data.draw(triples(1, 4)), data.draw(triples(1, 3)), data.draw(triples(0, 2)), data.draw(triples(1, 2))
    )
    shape, transposed = data.draw(triples(2, 8)), data.draw(st.booleans())
    try:
        out_shape = window.transposed_output_shape(shape) if transposed else window.output_shape(shape)
    except ValueError:
        return
    density = data.draw(st.sampled_from([0.0, 0.05, 0.4, 2.0]))
    case = scattered(shape, data.draw(st.integers(1, 3)), density, data.draw(st.integers(0, 99)))
    order = torch.randperm(len(case.indices))
    indices, geometry = (
        case.indices[order].contiguous(),
        Geometry(window, case.batch_size, shape, out_shape, transposed),
    )
    dense = DenseEngine()
    stand = Sites(indices, shape, case.batch_size)
    sites = engine.output_sites(stand, geometry)
    assert torch.equal(sites.indices, dense.output_sites(stand, geometry).indices)

    ours, theirs = engine.plan(stand, sites, geometry), dense.plan(stand, sites, geometry)
    features, weight, bias = case.features(3), drawn(4, *window.kernel, 3), drawn(4, seed=1)
    background = drawn(3, seed=2) if data.draw(st.booleans()) else None
    arguments = features, weight, bias, background
    close(engine.convolution(*arguments, ours), dense.convolution(*arguments, theirs))
    grad = drawn(len(sites), 4, seed=3)
    arguments = grad, features, weight, background
    pairs = zip(engine.convolution_backward(*arguments, ours), dense.convolution_backward(*arguments, theirs))
    for one, other in pairs:
        assert (one is None) == (other is None)
        if one is not None:
            close(one, other)
    if transposed:
        return
    grad = drawn(len(sites), 3, seed=4)
    values, rows = engine.max_pool(features, background, ours)
    expected, expected_rows = dense.max_pool(features, background, theirs)
    assert torch.equal(values, expected)
    assert torch.equal(rows, expected_rows)
    for one, other in zip(engine.max_pool_backward(grad, rows, ours), dense.max_pool_backward(grad, rows, theirs)):
        close(one, other)
    close(engine.avg_pool(features, background, ours), dense.avg_pool(features, background, theirs))
    over_active = background is None
    one, other = (e.avg_pool_backward(grad, p, over_active=over_active) for e, p in ((engine, ours), (dense, theirs)))
    close(one[0], other[0])
    if not over_active:
        close(one[1], other[1])


def test_raster_places_and_back():
    indices = CASES["rows in any order"].indices
    shape = CASES["rows in any order"].shape
    places = raster_places(indices, shape)
    grid = torch.zeros(2, *shape).flatten()
    grid[places] = 1
    assert torch.equal(grid.view(2, *shape).nonzero(), indices[places.argsort()].long())
    assert torch.equal(sites_at(places, shape), indices.long())


def test_no_row_occurs_twice_under_one_offset():
    """On a card each scatter then adds one value to a place: the same bits at each run."""
    plan, *_ = layer((3, 3, 3), (1, 1, 1))
    assert sum(len(rows) for rows, _ in plan.rules.pairs) > 1000
    for rows_in, rows_out in plan.rules.pairs:
        assert len(rows_in.unique()) == len(rows_in)
        assert len(rows_out.unique()) == len(rows_out)


# -- spconv's own kernels, in both of its forms ---------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_spconv_multiplies_on_the_cpu_in_its_own_types(engine, dtype, monkeypatch):
    plan, features, weight, _ = layer()
    expected = multiply(features.double(), weight.double(), plan.rules)
    monkeypatch.setattr(rulebook_engine, "multiply", None)  # torch cannot stand in
    made = engine.convolution(features.to(dtype), weight.to(dtype), None, None, plan)
    assert made.dtype == dtype
    close(made.double(), expected, {torch.float16: 5e-3, torch.float32: 1e-6, torch.float64: 1e-14}[dtype])


def test_repeated_calls_give_the_same_bits_and_leave_the_threads_alone(engine):
    plan, features, weight, _ = layer()
    threads = torch.get_num_threads()
    first = engine.convolution(features, weight, None, None, plan)
    for _ in range(50):
        assert torch.equal(engine.convolution(features, weight, None, None, plan), first)
    assert torch.get_num_threads() == threads


def test_sites_that_meet_nothing_get_the_background_alone(engine):
    """A plan without a single pair: spconv would fail on it."""
    here = Sites(torch.tensor([[0, 0, 0, 0]], dtype=torch.int32), (6, 6, 6), 1)
    elsewhere = Sites(torch.tensor([[0, 4, 4, 4]], dtype=torch.int32), (5, 5, 5), 1)
    plan = engine.plan(here, elsewhere, Geometry(Window((2, 2, 2), padding=(0, 0, 0)), 1, (6, 6, 6), (5, 5, 5)))
    weight = drawn(3, 2, 2, 2, 4)
    made = engine.convolution(torch.ones(1, 4), weight, None, torch.ones(4), plan)
    close(made[0], weight.sum((1, 2, 3, 4)))
    assert not engine.convolution(torch.ones(1, 4), weight, None, None, plan).any()


class StandIn:
    """Does with spconv's arrays what its implicit-GEMM kernels do, in plain loops.

    Rows are taken in the order of ``argsort``, a tile of rows at a time. A tile visits the offsets whose bit is set in
    the OR of its rows' masks; under each, a row of ``pair`` that is -1 adds nothing. The forward pass leaves the ORs to
    the gradient of the weight.
    """

    WIDTH = 4

    def __init__(self, ops):
        self.constants, self.CONV_CPP = ops.constants, ops.CONV_CPP
        self._signatures = {
            name: inspect.signature(getattr(ops, name)) for name in ("implicit_gemm", "implicit_gemm_backward")
        }

    def implicit_gemm(self, *args, **kwargs):
        a = self._signatures["implicit_gemm"].bind(*args, **kwargs).arguments
        assert not a["is_subm"]
        masks = self._masks(a["pair_mask_fwd_splits"], a["masks"])
        order = a["mask_argsort_fwd_splits"][0]
        made = a["features"].new_zeros(a["num_activate_out"], a["filters"].shape[0])
        reduced = self._visit(a["pair_fwd"], masks, order, a["features"], a["filters"].flatten(1, 3), made)
        return made, torch.tensor([reduced]), self.WIDTH

    def implicit_gemm_backward(self, *args, **kwargs):
        a = self._signatures["implicit_gemm_backward"].bind(*args, **kwargs).arguments
        assert not a["is_subm"]
        weight, grad = a["filters"].flatten(1, 3), a["out_bp"]
        of_features, of_weight = torch.zeros_like(a["features"]), torch.zeros_like(weight)
        back_masks = self._masks(a["pair_mask_bwd_splits"], a["masks"])
        turned = weight.permute(2, 1, 0)
        self._visit(a["pair_bwd"], back_masks, a["mask_argsort_bwd_splits"][0], grad, turned, of_features)
        order = a["mask_argsort_fwd_splits"][0]
        assert a["mask_width"] == self.WIDTH
        for tile, reduced in enumerate(a["mask_output_fwd"][0].tolist()):
            for offset in self._bits(reduced):
                rows = order[tile * self.WIDTH : (tile + 1) * self.WIDTH]
                sources = a["pair_fwd"][offset, rows]
                of_weight[:, offset] += grad[rows[sources >= 0]].T @ a["features"][sources[sources >= 0]]
        return of_features, of_weight.view_as(a["filters"])

    def _visit(self, pair, masks, order, features, weight, made):
        assert sorted(order.tolist()) == list(range(len(made)))
        ored = []
        for start in range(0, len(made), self.WIDTH):
            rows = order[start : start + self.WIDTH]
            ored.append(0)
            for row in rows.tolist():
                ored[-1] |= masks[row]
            for offset in self._bits(ored[-1]):
                sources = pair[offset, rows]
                made[rows[sources >= 0]] += features[sources[sources >= 0]] @ weight[:, offset].T
        return ored

    def _masks(self, splits, filters):
        (masks,), (every,) = splits, filters
        assert masks.dtype == torch.int32  # spconv reads the same bits unsigned
        assert masks.shape[1] == 1
        assert every.item() == 2**32 - 1
        return [int(mask) % 2**32 for mask in masks[:, 0]]

    def _bits(self, mask):
        return [offset for offset in range(32) if mask >> offset & 1]


class NoCard:
    def __init__(self, device):
        pass

    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(
    "window",
    [((3, 3, 3), (2, 2, 2), (1, 1, 1)), ((2, 2, 2), (1, 1, 1), (0, 0, 0)), ((2, 4, 4), (3, 2, 1), (1, 1, 1))],
    ids=["3, stride 2", "2", "32 offsets"],
)
@pytest.mark.parametrize("case", ["scattered", "one voxel", "rows in any order"])
def test_the_arrays_for_implicit_gemm_say_what_its_kernels_expect(engine, window, case, monkeypatch):
    plan, features, weight, grad = layer(*window, case=case)
    monkeypatch.setattr(torch.cuda, "device", NoCard)
    gemm = module._ImplicitGemm(StandIn(engine._ops), plan)
    close(gemm.forward(features, weight), multiply(features, weight, plan.rules))
    for one, other in zip(gemm.backward(grad, features, weight), multiply_backward(grad, features, weight, plan.rules)):
        close(one, other)
    plan.reduced_masks.clear()  # a plan that was made anew since the forward pass
    close(gemm.backward(grad, features, weight)[1], multiply_backward(grad, features, weight, plan.rules)[1])


def test_tf32_follows_torch_and_each_setting_has_its_own_tuned_kernels(engine):
    before = torch.backends.cuda.matmul.allow_tf32
    ops = engine._ops
    try:
        tuners = []
        for allowed in (False, True, False):
            torch.backends.cuda.matmul.allow_tf32 = allowed
            assert module.torch_allows_tf32() is allowed
            module.use_tf32(ops, module.torch_allows_tf32())
            assert ops.constants.SPCONV_ALLOW_TF32 is allowed
            tuners.append(ops.CONV_CPP)
        assert tuners[0] is tuners[2] is not tuners[1]
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
        module.use_tf32(ops, before)


# -- types and modes ------------------------------------------------------------------------------------


def network(seed=0):
    torch.manual_seed(seed)
    return sp.SparseSequential(
        sp.SubMConv3d(3, 16, 3),
        torch.nn.LeakyReLU(1 / 3),
        sp.SparseMaxPool3d(2),
        sp.SparseConv3d(16, 8, 2),
        sp.SparseAvgPool3d(2, 1),
    )


def run(dtype=None):
    case = CASES["scattered"]
    layers = network()
    features = case.features(3).requires_grad_()
    x = SparseTensor(features, case.indices, case.shape, case.batch_size, torch.linspace(-1, 1, 3))
    with use_engine("spconv"), torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        y = layers(x)
        loss = y.features.float().square().mean() + y.background.float().square().mean()
    return y, torch.autograd.grad(loss, [features, *layers.parameters()])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_multiplies_in_half_and_gives_float32_gradients(dtype):
    full, full_grads = run()
    half, half_grads = run(dtype)
    assert full.features.dtype == torch.float32
    assert half.features.dtype == half.background.dtype == dtype
    assert not torch.equal(half.features.float(), full.features)
    close(half.features.float(), full.features, 3e-2)
    for one, other in zip(half_grads, full_grads):
        assert one.dtype == torch.float32
        close(one, other, 5e-2)


def test_deterministic_mode_leaves_the_products_to_torch(engine, monkeypatch):
    plan, features, weight, _ = layer()
    expected = engine.convolution(features, weight, None, None, plan)
    monkeypatch.setattr(engine._ops, "indice_conv", None)
    with pytest.raises(TypeError):
        engine.convolution(features, weight, None, None, plan)
    torch.use_deterministic_algorithms(True)
    try:
        close(engine.convolution(features, weight, None, None, plan), expected)
    finally:
        torch.use_deterministic_algorithms(False)


def test_gradients_in_double_precision():
    case = scattered((4, 4, 4), 1, 0.3)
    window = Window((2, 2, 2), (2, 2, 2), (1, 1, 1))
    geometry = Geometry(window, 1, (4, 4, 4), (3, 3, 3))
    inputs = [
        drawn(*s, dtype=torch.float64).requires_grad_() for s in ((len(case.indices), 2), (3, 2, 2, 2, 2), (3,), (2,))
    ]
    with use_engine("spconv"):
        stand = Sites(case.indices, case.shape, 1)
        out = sp.operators.output_sites(stand, geometry)
        assert torch.autograd.gradcheck(
            lambda features, weight, bias, background: sp.operators.convolution(
                Rows(features, background), Filters(weight, bias), stand, out, geometry
            ),
            inputs,
            fast_mode=True,
        )


def test_plans_hold_no_indices():
    """They live as long as the indices; holding them would be forever."""
    case = CASES["scattered"]
    plan, *_ = layer(case="scattered")
    plan.pair_lists, plan.forward_masks, plan.backward_masks  # noqa: B018 - make every form
    held = [t for t in vars(plan).values() if isinstance(t, torch.Tensor)]
    held += [t for t in vars(plan.rules).values() if isinstance(t, torch.Tensor)]
    assert held
    assert all(t.untyped_storage().data_ptr() != case.indices.untyped_storage().data_ptr() for t in held)
