"""A chain in one call against the same chain layer by layer: the same bits, and never of weights that were."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from napari_sparse3d.models import load_model
from napari_sparse3d.models.networks.residual import ResidualBlock
from napari_sparse3d.sparse import (
    SparseAvgPool3d,
    SparseBatchNorm,
    SparseConv3d,
    SparseDropout,
    SparseMaxPool3d,
    SparseSequential,
    SparseTensor,
    SubMConv3d,
    use_engine,
)
from napari_sparse3d.sparse.modules import planned, sequential

BUNDLED = ["deepc2", "residual", "nodule", "vessel", "adrenal"]


def sites(side, density, seed, batch=1):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand((batch, side, side, side), generator=generator) < density).nonzero().int()


def tensor(side=12, channels=1, density=0.2, seed=0, *, grounded=False, batch=1, dtype=torch.float32):
    where = sites(side, density, seed, batch)
    generator = torch.Generator().manual_seed(seed + 1)
    features = torch.randn((len(where), channels), generator=generator, dtype=dtype)
    background = torch.randn(channels, generator=generator, dtype=dtype) if grounded else None
    return SparseTensor(features, where, side, batch, background)


def afresh(x):
    """The same, at sites of which nothing has been made."""
    return SparseTensor(x.features, x.indices.clone(), x.spatial_shape, x.batch_size, x.background)


def by_layer(chain, x):
    """Without plans."""
    before, sequential.run_planned = sequential.run_planned, lambda *_: None
    try:
        with torch.no_grad():
            return chain(afresh(x))
    finally:
        sequential.run_planned = before


def in_one_call(chain, x):
    assert planned.why_not_planned(chain, x) == ""
    with torch.no_grad():
        return chain(afresh(x))


def assert_same_bits(one, other):
    assert torch.equal(one.indices, other.indices)
    assert one.spatial_shape == other.spatial_shape
    for a, b in ((one.features, other.features), (one.background, other.background)):
        assert (a is None) == (b is None)
        assert a is None or a.numpy().tobytes() == b.numpy().tobytes()


def settled(chain, seed=0):
    """In evaluation, with statistics that are not those it began with."""
    torch.manual_seed(seed)
    for module in chain.modules():
        if isinstance(module, SparseBatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return chain.eval()


def small(seed=0):
    torch.manual_seed(seed)
    return settled(
        SparseSequential(
            SubMConv3d(1, 16, 3), SparseBatchNorm(16), nn.ReLU(), ResidualBlock(16),
            SparseConv3d(16, 20, 2, stride=2, bias=False), SparseBatchNorm(20), nn.LeakyReLU(0.1), ResidualBlock(20),
        ),
        seed,
    )  # fmt: skip


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", BUNDLED)
def test_the_networks_of_this_package_give_the_same_bits(name, threads):
    network = load_model(name, seed=4).network
    layers = settled(network.layers) if name == "residual" else network.layers
    side, grounded = network.field, name == "deepc2"
    inner = sites(24, 0.3, 1)
    inner[:, 1:] += side // 2 - 12
    features = torch.rand((len(inner), network.in_features), generator=torch.Generator().manual_seed(2))
    x = SparseTensor(features, inner, side, 1, torch.zeros(network.in_features) if grounded else None)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same_bits(in_one_call(layers, x), by_layer(layers, x))
    finally:
        torch.set_num_threads(before)


@st.composite
def chains(draw):
    """A random chain, whether its input has a background, and the channels that it takes."""
    grounded = draw(st.booleans())
    channels = first = draw(st.sampled_from([1, 3, 16, 17]))
    layers = []
    for _ in range(draw(st.integers(1, 5))):
        kinds = ["conv", "subm", "max", "avg", *(() if grounded else ("norm", "block")), "dropout", "identity"]
        kind = draw(st.sampled_from(kinds))
        if kind in ("conv", "subm"):
            wider = draw(st.sampled_from([1, 16, 24]))
            bias = draw(st.booleans())
            size = draw(st.integers(1, 3))
            layers.append(
                SubMConv3d(channels, wider, size, bias=bias) if kind == "subm"
                else SparseConv3d(channels, wider, size, draw(st.integers(1, 2)), draw(st.integers(0, 1)), bias=bias)
            )  # fmt: skip
            channels = wider
        elif kind == "norm":
            layers.append(SparseBatchNorm(channels, affine=draw(st.booleans())))
        elif kind == "block":
            layers.append(ResidualBlock(channels))
        else:
            pools = {"max": SparseMaxPool3d(2, 1), "avg": SparseAvgPool3d(3, 2, 1)}
            layers.append(pools.get(kind) or (SparseDropout(0.5) if kind == "dropout" else nn.Identity()))
        if kind in ("conv", "subm", "norm") and draw(st.booleans()):
            layers.append(draw(st.sampled_from([nn.ReLU(), nn.LeakyReLU(0.3), nn.LeakyReLU(1.5)])))
            if kind != "norm" and draw(st.booleans()):
                layers.append(SparseMaxPool3d(2, 1))
    return SparseSequential(*layers), first, grounded


@settings(max_examples=40, deadline=None)
@given(drawn=chains(), seed=st.integers(0, 9), density=st.sampled_from([0, 0.02, 0.3, 1]), double=st.booleans())
def test_random_chains_give_the_same_bits(drawn, seed, density, double):
    chain, channels, grounded = drawn
    dtype = torch.float64 if double else torch.float32
    for module in chain.modules():
        if isinstance(module, SparseBatchNorm) and not module.affine:
            module.running_var.fill_(2.0)
            chain = chain.eval()
    chain = chain.to(dtype).eval()
    x = tensor(9, channels, density, seed, grounded=grounded, batch=2, dtype=dtype)
    why = planned.why_not_planned(chain, x)
    only = all(isinstance(module, (nn.Identity, SparseDropout)) for module in chain)
    too_small = why.startswith("ValueError")
    if only or too_small:
        return
    assert why == ""
    assert_same_bits(in_one_call(chain, x), by_layer(chain, x))


def in_place(chain):
    with torch.no_grad():
        chain[0].weight.mul_(2)


def past_torch(chain):
    chain[0].weight.data.numpy()[0] = 3


def statistics(chain):
    chain[1].running_var.data.numpy()[:] *= 2


def another_state(chain):
    chain.load_state_dict(small(7).state_dict())


def assigned_state(chain):
    chain.load_state_dict(small(7).state_dict(), assign=True)


def optimizer_step(chain):
    chain.train()
    chain(tensor()).features.sum().backward()
    torch.optim.SGD(chain.parameters(), 0.1).step()
    chain.eval()


def other_memory(chain):
    chain[0].weight.data = chain[0].weight.data * 2


def other_parameter(chain):
    chain[0].bias = nn.Parameter(torch.ones(16))


def no_bias(chain):
    chain[0].bias = None


def other_slope(chain):
    chain[6].negative_slope = 0.7


def other_eps(chain):
    chain[5].eps = 1.0


def other_layer(chain):
    chain[0] = SubMConv3d(1, 16, 3)


def inside_a_block(chain):
    chain[3].conv2 = SubMConv3d(16, 16, 3)


def there_and_back(chain):
    chain.to(torch.float64).to(torch.float32)
    in_place(chain)


def other_window(chain):
    chain[4].window = SparseConv3d(16, 20, 2).window


CHANGES = [
    in_place, past_torch, statistics, another_state, assigned_state, optimizer_step, other_memory, other_parameter,
    no_bias, other_slope, other_eps, other_layer, inside_a_block, there_and_back, other_window,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_no_weight_that_was_is_ever_used(change):
    chain, x = small(), tensor()
    before = in_one_call(chain, x)
    change(chain)
    after = in_one_call(chain, x)
    assert not torch.equal(before.features, after.features) or before.spatial_shape != after.spatial_shape
    assert_same_bits(after, by_layer(chain, x))
    assert_same_bits(after, by_layer(deepcopy(chain), x))


def test_a_hook_is_called_as_soon_as_it_is_there():
    chain, x, seen = small(), tensor(), []
    expected = in_one_call(chain, x)
    for module in (chain[2], chain[3].conv1):
        handle = module.register_forward_hook(lambda *_: seen.append(1))
        with torch.no_grad():
            made = chain(afresh(x))
        assert len(seen) == 1
        torch.testing.assert_close(made.features, expected.features)
        handle.remove()
        seen.clear()
    assert_same_bits(in_one_call(chain, x), expected)


class Silent(SubMConv3d):
    def forward(self, x):
        y = super().forward(x)
        return y.with_features(0 * y.features, y.background)


def test_a_layer_that_becomes_another_class_runs_as_that():
    chain, x = small(), tensor()
    in_one_call(chain, x)
    chain[0].__class__ = Silent
    with torch.no_grad():
        assert_same_bits(chain(x), by_layer(chain, x))


@pytest.mark.parametrize("run", [in_one_call, by_layer])
def test_results_lie_in_this_machines_memory_whatever_torchs_default_device(run):
    chain, x = small(), tensor()
    expected = run(chain, x)
    with torch.device("meta"):
        assert_same_bits(run(chain, x), expected)


def test_training_autocast_and_other_engines_run_as_ever():
    chain, x = small(), tensor()
    assert in_one_call(chain, x).features.grad_fn is None
    assert chain(x).features.requires_grad  # outside no_grad
    with torch.no_grad(), use_engine("dense"):
        torch.testing.assert_close(chain(x).features, by_layer(chain, x).features, rtol=1e-4, atol=1e-4)
    assert "statistics of its input" in planned.why_not_planned(chain.train(), x)
    before = chain[1].running_mean.clone()
    with torch.no_grad():
        chain(x)
    assert not torch.equal(chain[1].running_mean, before)


class Fickle(nn.Module):
    """A stranger's module, which does something else at each call."""

    def __init__(self):
        super().__init__()
        self.conv, self.calls = SubMConv3d(1, 1, 1, bias=False), 0
        nn.init.ones_(self.conv.weight)

    def forward(self, x):
        self.calls += 1
        return self.conv(x) if self.calls % 2 else x


def test_what_is_not_known_runs_layer_by_layer():
    chain, x = SparseSequential(Fickle(), SubMConv3d(1, 1, 1)).eval(), tensor()
    assert "Fickle is not of this package" in planned.why_not_planned(chain, x)
    with torch.no_grad():
        for _ in range(3):
            chain(x)
    assert chain[0].calls == 3


def test_a_written_output_is_made_again():
    chain, x = small(), tensor()
    with torch.no_grad():
        first = chain(x)
        expected = first.indices.clone()
        first.indices.zero_()
        assert torch.equal(chain(x).indices, expected)


def test_several_threads_and_weights_that_change_between_their_calls():
    chains = [small(seed) for seed in range(3)]
    inputs = [tensor(seed=seed) for seed in range(4)]
    expected = {(c, i): by_layer(chains[c], inputs[i]) for c in range(3) for i in range(4)}

    def run(number):
        chain, x = number % 3, number % 4
        return chain, x, in_one_call(chains[chain], inputs[x])

    with ThreadPoolExecutor(6) as pool:
        for chain, x, made in pool.map(run, range(48)):
            assert_same_bits(made, expected[chain, x])


def test_a_weight_whose_memory_is_gone_is_refused():
    chain, x = small(), tensor()
    in_one_call(chain, x)
    chain[0].weight.untyped_storage().resize_(0)
    with torch.no_grad(), pytest.raises(Exception, match="memory of a tensor was given back"):
        chain(x)


def test_nothing_is_kept_of_a_chain_that_is_gone():
    chain = small()
    in_one_call(chain, tensor())
    count = len(planned._PLANS)
    del chain
    assert len(planned._PLANS) == count - 1
