"""A network that is built and run with spconv itself, and ours with its weights."""

import warnings
from collections import OrderedDict

import pytest
import torch
from torch import nn

from cases import CASES, scattered
from napari_sparse3d import sparse as sp
from napari_sparse3d.errors import InputError
from napari_sparse3d.models.spconv_weights import from_spconv
from napari_sparse3d.sparse import SparseTensor, use_engine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    spconv = pytest.importorskip("spconv.pytorch", reason="needs the package spconv, which is not installed")
    from spconv.core import ConvAlgo


@pytest.fixture(autouse=True)
def one_thread():
    """With more, spconv races on the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Theirs(nn.Module):
    """A small U: submanifold, down, norm, pool, down, inverse up. No bias: on the CPU spconv cannot add it."""

    def __init__(self):
        super().__init__()
        native = {"algo": ConvAlgo.Native, "bias": False}
        self.stem = spconv.SparseSequential(
            spconv.SubMConv3d(3, 8, 3, indice_key="a", **native), nn.BatchNorm1d(8), nn.ReLU()
        )
        self.pool = spconv.SparseMaxPool3d(2, 2, algo=ConvAlgo.Native)
        self.down = spconv.SparseConv3d(8, 12, 3, stride=2, padding=1, indice_key="d", **native)
        self.deep = spconv.SubMConv3d(12, 12, 3, **native)
        self.up = spconv.SparseInverseConv3d(12, 5, 3, indice_key="d", **native)

    def forward(self, x):
        return self.up(self.deep(self.down(self.pool(self.stem(x)))))


class Ours(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = sp.SparseSequential(
            OrderedDict(first=sp.SubMConv3d(3, 8, 3, bias=False), norm=sp.SparseBatchNorm(8), relu=nn.ReLU())
        )
        self.pool = sp.SparseMaxPool3d(2)
        self.strided = sp.SparseConv3d(8, 12, 3, 2, 1, bias=False)
        self.middle = sp.SubMConv3d(12, 12, 3, bias=False)
        self.back = sp.SparseInverseConv3d(12, 5, 3, 2, 1, bias=False)

    def forward(self, x):
        x = self.pool(self.layers(x))
        return self.back(self.middle(self.strided(x)), x)


def their_network():
    torch.manual_seed(1)
    network = Theirs().eval()
    with torch.no_grad():
        norm = network.stem[1]
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 2)
        for parameter in network.parameters():
            if parameter.ndim == 5:
                parameter.mul_(4)  # outputs near 1, so that a wrong order of weights shows
    return network


def say_the_same(theirs, ours, case, engine):
    x = spconv.SparseConvTensor(case.features(3), case.indices, list(case.shape), case.batch_size)
    expected = theirs(x)
    with use_engine(engine):
        y = ours(SparseTensor(case.features(3), case.indices, case.shape, case.batch_size, None))
    assert y.spatial_shape == tuple(expected.spatial_shape)
    assert expected.features.abs().max() > 0.1
    torch.testing.assert_close(y.dense(), expected.dense(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ["native", "spconv", "dense"])
@pytest.mark.parametrize("case", [scattered((12, 10, 14)), CASES["full grid"]], ids=["scattered", "full grid"])
def test_our_network_with_their_weights_says_what_theirs_says(case, engine):
    theirs, ours = their_network(), Ours().eval()
    ours.load_state_dict(from_spconv(theirs.state_dict(), ours))
    say_the_same(theirs, ours, case, engine)


def test_layers_can_be_paired_by_name():
    theirs, ours = their_network(), Ours().eval()
    names = {"stem.0": "layers.first", "stem.1": "layers.norm", "up": "back", "deep": "middle", "down": "strided"}
    ours.load_state_dict(from_spconv(theirs.state_dict(), ours, layers=names))
    say_the_same(theirs, ours, scattered((8, 8, 8)), "native")


@pytest.mark.parametrize(("layout", "order"), [("RSKC", (1, 2, 3, 0, 4)), ("RSCK", (1, 2, 3, 4, 0))])
def test_layouts_of_older_versions(layout, order):
    theirs, ours = their_network(), Ours()
    state = theirs.state_dict()
    older = {key: tensor.permute(order) if tensor.ndim == 5 else tensor for key, tensor in state.items()}
    for one, other in zip(from_spconv(older, ours, layout=layout).values(), state.values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(InputError, match="try another layout"):
        from_spconv(older, ours)


def test_what_does_not_fit_is_named():
    state, ours = their_network().state_dict(), Ours()
    with pytest.raises(InputError, match=r"has 5 layers with weights \(stem\.0, .*this one 1 \("):
        from_spconv(state, sp.SparseSequential(sp.SubMConv3d(3, 8, 3)))
    with pytest.raises(InputError, match=r"spconv network has no layer 'nose'; has a layer 'stem\.0' that is not in"):
        from_spconv(state, ours, layers={"nose": "layers.first"})
    ours.layers.first = sp.SubMConv3d(3, 8, 3)
    with pytest.raises(InputError, match=r"'stem\.0' holds weight, but layer 'layers\.first' here holds bias, weight"):
        from_spconv(state, ours)
    with pytest.raises(InputError, match="no weight layout 'KCRS'"):
        from_spconv(state, ours, layout="KCRS")
