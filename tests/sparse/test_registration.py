"""The operators as torch sees them: autograd, tracing, compiling, exporting; and the plans behind them."""

import copy
import gc
import pickle
import weakref

import pytest
import torch

from cases import CASES, scattered
from napari_sparse3d import sparse as sp
from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse import SparseTensor, operators, use_engine
from napari_sparse3d.sparse.contract import Engine
from napari_sparse3d.sparse.engine import engine
from napari_sparse3d.sparse.engine import engine_name as chosen_engine
from napari_sparse3d.sparse.memo import memo_of
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry, Window

OPERATORS = torch.ops.sparse3d


class Small(torch.nn.Module):
    """One of each kind of layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = sp.SparseSequential(
            sp.SparseConv3d(2, 8, 3, stride=2, padding=1),
            torch.nn.LeakyReLU(0.2),
            sp.SubMConv3d(8, 8, 3),
            sp.SparseMaxPool3d(2),
            sp.SubMConv3d(8, 4, 3),
            sp.SparseAvgPool3d(2, 1, padding=1),
        )
        self.pool = sp.GlobalAvgPool()

    def forward(self, x):
        return self.pool(self.layers(x))


def tensor(case=None, background=True, dtype=torch.float32):
    case = case or scattered((12, 11, 13), 2, 0.1)
    ground = torch.tensor([0.5, -0.25], dtype=dtype) if background else None
    return SparseTensor(case.features(2, dtype=dtype), case.indices, case.shape, case.batch_size, ground)


def arguments(name, x, out, geometry, engine_name="native"):
    torch.manual_seed(0)
    weight, bias = torch.randn(3, 2, 2, 2, 2, requires_grad=True), torch.randn(3, requires_grad=True)
    place = (x.indices, out, geometry.pack(), engine_name)
    features, background = x.features.requires_grad_(), x.background.requires_grad_()
    return {
        "output_sites": (x.indices, geometry.pack(), engine_name),
        "convolution": (features, weight, bias, background, *place[:3], 0.2, None, [], engine_name),
        "max_pool": (features, background, *place),
        "avg_pool": (features, background, *place),
    }[name]


@pytest.mark.parametrize("name", ["output_sites", "convolution", "max_pool", "avg_pool"])
def test_operators_are_registered_as_torch_demands(name):
    x = tensor()
    geometry = Geometry(Window((2, 2, 2), (2, 2, 2)), 2, x.spatial_shape, (6, 5, 6))
    out = operators.output_sites(x.sites, geometry).indices
    torch.library.opcheck(getattr(OPERATORS, name).default, arguments(name, x, out, geometry))


@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("engine_name", ["native", "dense", "spconv"])
def test_gradcheck_in_float64(engine_name, background):
    case = scattered((3, 3, 4), 2, 0.15)
    with use_engine(engine_name):
        x = tensor(case, background, torch.double)
        layers = [
            sp.SparseConv3d(2, 3, 2, padding=1),
            sp.SubMConv3d(2, 3, 3),
            sp.SparseAvgPool3d(2),
            sp.SparseMaxPool3d(3, 2, padding=1),
            sp.SparseConvTranspose3d(2, 3, 2),
        ]
        for layer in (module.double() for module in layers):
            leaves = [x.features.requires_grad_(), *layer.parameters()]
            if background:
                leaves.append(x.background.requires_grad_())

            def run(features, *rest, layer=layer):
                ground = rest[-1] if background else None
                names = [name for name, _ in layer.named_parameters()]
                fresh = SparseTensor(features, x.indices, x.spatial_shape, 2, ground)
                y = torch.func.functional_call(layer, dict(zip(names, rest)), (fresh,))
                return y.features if y.background is None else (y.features, y.background)

            assert torch.autograd.gradcheck(run, leaves, atol=1e-7, fast_mode=True), type(layer).__name__


def test_compiled_gives_the_same():
    network, x = Small(), tensor()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), network(x))
    one, two = network(x).sum(), compiled(x).sum()
    parameters = list(network.parameters())
    for a, b in zip(torch.autograd.grad(one, parameters), torch.autograd.grad(two, parameters)):
        torch.testing.assert_close(a, b)


def test_compiled_keeps_the_engine_that_it_was_compiled_for():
    engines = []

    def record(graph, _):
        engines.append({node.args[-1] for node in graph.graph.nodes if "sparse3d" in str(node.target)})
        return graph

    network, x = Small().eval(), tensor()
    compiled = torch.compile(network, backend=record, fullgraph=True)
    with torch.no_grad():
        with use_engine("dense"):
            compiled(x)
        compiled(x)
    assert engines == [{"dense"}]


def test_the_mark_of_a_constant_is_the_one_that_torch_sets():
    def plain():
        return 1

    # ours is set without loading torch's compiler
    mark = vars(torch.compiler.assume_constant_result(plain))
    assert mark
    assert mark.items() <= vars(chosen_engine).items()


def test_exported_gives_the_same_at_other_sites():
    network = Small().eval()
    x = tensor()
    program = torch.export.export(network, (x,), dynamic_shapes=(_dynamic(x),))
    other = tensor(scattered((12, 11, 13), 2, 0.3, seed=7))
    torch.testing.assert_close(program.module()(other), network(other))


def _dynamic(x):
    sites = torch.export.Dim("sites", min=2)
    return [{0: sites}, {0: sites}, None]


@pytest.mark.parametrize("engine_name", ["native", "dense", "spconv"])
def test_permuting_the_rows_permutes_the_result(engine_name):
    case = scattered(seed=4)
    order = torch.randperm(len(case.indices), generator=torch.Generator().manual_seed(1))
    layer = sp.SubMConv3d(3, 5, 3)
    with use_engine(engine_name), torch.no_grad():
        x = SparseTensor(case.features(3), case.indices, case.shape, case.batch_size, torch.ones(3))
        y = SparseTensor(x.features[order], x.indices[order], case.shape, case.batch_size, x.background)
        torch.testing.assert_close(layer(x).features[order], layer(y).features)
        pooled = sp.SparseConv3d(3, 5, 3, 2)
        torch.testing.assert_close(pooled(x).features, pooled(y).features)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([[0, 1, 1, 1], [0, 1, 1, 1]], "occurs twice"),
        ([[0, 1, 1, 6]], "outside"),
        ([[0, -1, 1, 1]], "outside"),
        ([[2, 1, 1, 1]], "outside"),
    ],
)
@pytest.mark.parametrize("engine_name", ["native", "dense", "spconv"])
def test_sites_that_cannot_be_are_refused(engine_name, indices, message):
    with use_engine(engine_name), pytest.raises(ValueError, match=message):
        SparseTensor(torch.ones(len(indices), 1), torch.tensor(indices, dtype=torch.int32), 6, 2)


@pytest.mark.parametrize(
    ("features", "indices", "background", "message"),
    [
        (torch.ones(2, 1), torch.ones(2, 3, dtype=torch.int32), None, "prepend a column of zeros"),
        (torch.ones(2, 1), torch.ones(2, 4, dtype=torch.int64), None, "must be int32"),
        (torch.ones(3, 1), torch.ones(2, 4, dtype=torch.int32), None, "one row a site"),
        (torch.ones(2, 1, dtype=torch.int32), torch.ones(2, 4, dtype=torch.int32), None, "floating point"),
        (torch.ones(2, 1), torch.ones(2, 4, dtype=torch.int32), torch.ones(2), "background must be"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(features, indices, background, message):
    with pytest.raises(ValueError, match=message):
        SparseTensor(features, indices, 6, 1, background)


def test_wrong_channels_are_refused():
    with pytest.raises(ValueError, match="expects 3 channels, got 2"):
        sp.SparseConv3d(3, 4, 2)(tensor())


class Counting(Engine):
    """Counts what it is asked to make."""

    name = "counting"

    def __init__(self, inner):
        self.inner, self.made = inner, []

    def __getattribute__(self, name):
        if name in ("name", "inner", "made", "plan", "output_sites", "__class__"):
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "inner"), name)

    def plan(self, *args):
        self.made.append("plan")
        return self.inner.plan(*args)

    def output_sites(self, *args):
        self.made.append("sites")
        return self.inner.output_sites(*args)


Counting.__abstractmethods__ = frozenset()


def test_plans_are_made_once_and_go_with_the_sites():
    counting = Counting(engine("dense"))
    case = CASES["scattered"]
    sites = Sites(case.indices.clone(), case.shape, case.batch_size)
    geometry = Geometry(Window.submanifold((3, 3, 3)), case.batch_size, case.shape, case.shape)
    first = sites.plan(counting, sites, geometry)
    assert sites.plan(counting, sites, geometry) is first
    assert counting.made == ["plan"]
    strided = Geometry(Window((2, 2, 2)), case.batch_size, case.shape, (6, 5, 8))
    out = sites.output(counting, strided)
    assert sites.output(counting, strided) is out
    one = sites.plan(counting, out, strided)
    assert sites.plan(counting, out, strided) is one
    assert sites.plan(counting, Sites(out.indices.clone(), out.shape, out.batch_size), strided) is not one
    out.indices[0, 3] += 0  # written to in place: what was made may no longer be true
    assert sites.plan(counting, out, strided) is not one
    sites.indices[0, 3] += 0
    assert sites.plan(counting, sites, geometry) is not first
    assert sites.output(counting, strided) is not out
    gone = [weakref.ref(each) for each in (first, sites.output(counting, strided).indices)]
    del first, one, sites
    assert [each() for each in gone] == [None, None]  # at once: nothing holds its own sites in a circle


@pytest.mark.parametrize("engine_name", ["native", "dense", "spconv"])
def test_sites_go_at_once_with_the_last_tensor_on_them(engine_name):
    gc.collect()
    gc.disable()
    try:
        with use_engine(engine_name):
            x = tensor()
            layers = sp.SparseSequential(sp.SubMConv3d(2, 4, 3), sp.SparseConv3d(4, 2, 2, 2), sp.SparseMaxPool3d(2))
            y = layers(x)
            y.features.sum().backward()
            up = sp.SparseInverseConv3d(2, 2, 2, 2)(SparseTensor(*layers[:2](x).rows[:1], *at(layers[:2](x))), x)
            gone = [weakref.ref(x.indices), weakref.ref(y.indices)]
            del x, y, up
            assert [each() for each in gone] == [None, None]
    finally:
        gc.enable()


def at(x):
    return x.indices, x.spatial_shape, x.batch_size


def test_layers_share_plans_and_backward_shares_them_with_forward():
    counting = Counting(engine("dense"))
    x = tensor()
    layers = sp.SparseSequential(sp.SubMConv3d(2, 4, 3), sp.SubMConv3d(4, 4, 3), sp.SubMConv3d(4, 2, 3))
    assert layers(x).sites is x.sites
    geometry = layers[0].window.within(x.spatial_shape, x.batch_size)
    with use_engine("dense"):
        layers(x).features.sum().backward()
    x.sites.plan(counting, x.sites, Geometry(Window((1, 1, 1)), 2, x.spatial_shape, x.spatial_shape))
    assert counting.made == ["plan"]
    made = x.sites.plan(engine("dense"), x.sites, geometry)
    assert x.sites.plan(engine("dense"), x.sites, geometry) is made


def test_a_bare_tensor_of_indices_finds_what_was_made_from_it():
    indices = tensor().indices.clone()
    one, other = (SparseTensor(torch.ones(len(indices), 2), indices, (12, 11, 13), 2) for _ in range(2))
    geometry = Window((2, 2, 2)).over((12, 11, 13), 2)
    assert operators.output_sites(one.sites, geometry) is operators.output_sites(other.sites, geometry)
    packed = geometry.pack()
    first = OPERATORS.output_sites(indices, packed, "native")
    assert first.data_ptr() == OPERATORS.output_sites(indices, packed, "native").data_ptr()
    elsewhere = SparseTensor(torch.ones(len(indices), 2), indices, 20, 2)  # another grid, another index
    assert operators.output_sites(elsewhere.sites, Window((2, 2, 2)).over((20,) * 3, 2)).shape == (19,) * 3


def test_what_was_made_from_sites_does_not_travel_with_them():
    x = tensor()
    sp.SparseSequential(sp.SubMConv3d(2, 4, 3), sp.SparseConv3d(4, 2, 2))(x)
    assert x.sites._store.memo
    for copied in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert torch.equal(copied.indices, x.indices)
        assert copied.spatial_shape == x.spatial_shape
        assert copied.sites._store is None
    assert not memo_of(copy.deepcopy(x.indices))


def test_the_parts_of_a_tensor_can_be_replaced():
    x = tensor()
    before = x.sites
    x.indices = x.indices.clone()
    assert x.sites is not before
    x.spatial_shape, x.batch_size = (20, 20, 20), 3
    assert x.sites.shape == (20, 20, 20)
    assert x.dense().shape == (3, 2, 20, 20, 20)


def test_indices_written_to_before_the_backward_pass_are_refused():
    x = tensor()
    y = sp.SparseConvTranspose3d(2, 3, 2)(x)
    x.indices[0, 3] += 0
    with pytest.raises(InputError, match="between the forward and the backward pass"):
        y.features.sum().backward()


def test_what_was_made_goes_with_the_tensor():
    indices = tensor().indices.clone()
    memo = memo_of(indices)
    memo["own"] = torch.zeros(1)
    assert memo_of(indices) is memo
    gone = weakref.ref(memo["own"])
    del memo, indices
    gc.collect()
    assert gone() is None
