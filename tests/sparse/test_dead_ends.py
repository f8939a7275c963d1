"""What ended in a traceback of torch's, or in nothing: it works, or is one line that names the cure."""

import pytest
import torch
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from cases import scattered
from napari_sparse3d.errors import InputError, LayerError
from napari_sparse3d.models import recording
from napari_sparse3d.sparse import (
    SparseAvgPool3d,
    SparseBatchNorm,
    SparseConv3d,
    SparseConvTranspose3d,
    SparseInverseConv3d,
    SparseMaxPool3d,
    SparseModule,
    SparseSequential,
    SparseTensor,
    SubMConv3d,
    use_engine,
)

ENGINES = ["native", "dense", "spconv"]


def tensor(background=True):
    case = scattered((8, 7, 9), 2, 0.2)
    return SparseTensor(case.features(3), case.indices, case.shape, 2, torch.ones(3) if background else None)


def network():
    torch.manual_seed(0)
    return SparseSequential(
        SparseConv3d(3, 4, 2), torch.nn.ReLU(), SubMConv3d(4, 4, 3), SparseMaxPool3d(2), SparseBatchNorm(4),
        SparseAvgPool3d(2, 1), SubMConv3d(4, 2, 3),
    )  # fmt: skip


def gradients(layers, x):
    y = layers(x)
    loss = y.features.square().sum() + (0 if y.background is None else y.background.sum())
    return torch.autograd.grad(loss, list(layers.parameters()))


# -- inference, then training -----------------------------------------------------------------------


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("apart", [True, False], ids=["layer by layer", "in one call"])
def test_a_tensor_that_was_inferred_on_can_be_trained_on(engine_name, background, apart):
    layers = network()
    if apart:
        layers[0].register_forward_hook(lambda *_: None)
        layers[2].register_forward_hook(lambda *_: None)
    with use_engine(engine_name):
        expected = gradients(layers, tensor(background))
        x = tensor(background)
        with torch.inference_mode():
            layers(x)
        for one, other in zip(gradients(layers, x), expected, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("engine_name", ENGINES)
def test_a_tensor_that_was_made_in_inference_can_be_trained_on(engine_name):
    layers = network()
    with use_engine(engine_name):
        expected = gradients(layers, tensor())
        with torch.inference_mode():
            made = tensor()
            x = SparseTensor(made.features + 0, made.indices + 0, made.spatial_shape, 2, made.background + 0)
        assert x.features.is_inference()
        for one, other in zip(gradients(layers, x), expected, strict=True):
            torch.testing.assert_close(one, other)


# -- an inverse convolution in a chain --------------------------------------------------------------


def test_an_inverse_convolution_in_a_chain_names_what_to_do():
    layers = SparseSequential(SparseConv3d(3, 4, 2, 2, bias=False), SparseInverseConv3d(4, 3, 2, 2))
    with pytest.raises(LayerError, match=r"SparseInverseConv3d returns to the sites of .*SparseConvTr"):
        layers(tensor(background=False))


# -- sums -------------------------------------------------------------------------------------------


def test_the_sum_at_permuted_sites_says_so():
    x = tensor()
    order = torch.randperm(len(x.indices))
    y = SparseTensor(x.features[order], x.indices[order], x.spatial_shape, 2, x.background)
    with pytest.raises(InputError, match=f"got the same {len(x.indices)} sites in two orders"):
        x + y


def test_the_sum_at_other_sites_says_how_many_they_share():
    one, other = ([[0, 0, 0, 0], [0, 1, 1, 1]], [[0, 0, 0, 0], [0, 2, 2, 2]])
    x, y = (SparseTensor(torch.ones(2, 1), torch.tensor(sites, dtype=torch.int32), 4) for sites in (one, other))
    with pytest.raises(InputError, match="got 2 and 2, of which 1 are the same"):
        x + y


# -- parametrised layers ----------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [weight_norm, spectral_norm], ids=["weight norm", "spectral norm"])
def test_a_layer_whose_weight_is_made_of_others_is_a_layer(wrap):
    torch.manual_seed(0)
    plain = SparseSequential(SparseConv3d(3, 4, 2), torch.nn.ReLU(), SubMConv3d(4, 4, 3), torch.nn.Linear(4, 2)).eval()
    made = SparseSequential(*(wrap(each) if hasattr(each, "weight") else each for each in plain)).eval()
    x = tensor()
    with torch.no_grad(), recording(made) as (rows, _):
        seen = made(x)
    assert [row.kind for row in rows] == ["conv 2", "submanifold conv 3"]
    assert rows[0].macs > 0
    with torch.no_grad():
        torch.testing.assert_close(made(x).features, seen.features)
        weights = [each.weight.detach().clone() for each in made if hasattr(each, "weight")]
    fixed = SparseSequential(SparseConv3d(3, 4, 2), torch.nn.ReLU(), SubMConv3d(4, 4, 3), torch.nn.Linear(4, 2))
    with torch.no_grad():
        for layer, weight, source in zip((fixed[0], fixed[2], fixed[3]), weights, (made[0], made[2], made[3])):
            layer.weight.copy_(weight)
            layer.bias.copy_(source.bias)
    torch.testing.assert_close(fixed(x).features, seen.features)
    assert all(grad.isfinite().all() for grad in gradients(made, x))


def test_a_parametrised_network_has_a_dense_twin():
    from napari_sparse3d.models.densify import densify

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layers = SparseSequential(weight_norm(SparseConv3d(1, 4, 2)), torch.nn.ReLU(), SparseMaxPool3d(2, 2))
            self.classifier = torch.nn.Linear(4, 2)

        def describe(self, x):
            return self.layers(x).dense().mean((2, 3, 4))

        def logits(self, described):
            return self.classifier(described)

    case = scattered((9, 9, 9), 1, 0.2)
    x = SparseTensor(torch.ones(len(case.indices), 1), case.indices, case.shape, 1, torch.zeros(1))
    network = Net().eval()
    with torch.no_grad():
        torch.testing.assert_close(densify(network)(x.dense()), network.logits(network.describe(x)))


# -- a layer of one's own ---------------------------------------------------------------------------


class Doubled(SubMConv3d):
    """A subclass is what its base is, unless it says otherwise."""


class Thrice(SparseModule):
    kind = "thrice"

    def forward(self, x):
        return x.with_features(x.features * 3, None if x.background is None else x.background * 3)

    def work(self, output):
        return output.features.numel()


def test_a_layer_says_itself_what_it_is():
    x = tensor()
    layers = SparseSequential(Doubled(3, 4, 3), Thrice())
    with torch.no_grad(), recording(layers) as (rows, _):
        layers(x)
    assert [(row.kind, row.macs) for row in rows] == [
        ("submanifold conv 3", len(x.indices) * 27 * 3 * 4),
        ("thrice", len(x.indices) * 4),
    ]
    assert SparseConvTranspose3d.transposed
    assert SparseMaxPool3d((1, 2, 3), stride=2).caption() == "max pool 1x2x3 / 2"


# -- sites that cannot be ---------------------------------------------------------------------------


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize("site", [[-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, -3], [1, 0, 0, 0], [0, 0, 4, 0]])
def test_sites_outside_are_refused_however_they_come(engine_name, site):
    good, bad = (torch.tensor([[0, 0, 0, 0], each], dtype=torch.int32) for each in ([0, 1, 1, 1], site))
    ones = torch.ones(2, 1)
    packed = SubMConv3d(1, 1, 3).window.within((4, 4, 4), 1).pack()
    with use_engine(engine_name):
        with pytest.raises(InputError):
            SparseTensor(ones, bad, 4)
        with pytest.raises(InputError):
            torch.ops.sparse3d.output_sites(bad, packed, engine_name)
        with pytest.raises(InputError):
            torch.ops.sparse3d.max_pool(ones, None, bad, bad, packed, engine_name)
        x = SparseTensor(ones, good, 4)
        x.indices = bad
        with pytest.raises(InputError):
            SubMConv3d(1, 1, 3)(x)
        y = SparseTensor(ones, good.clone(), 4)
        y.indices.copy_(bad)
        with pytest.raises(InputError):
            SparseConv3d(1, 1, 3, padding=1)(y)
