"""Weights of every geometry of convolution, against spconv itself on CPU tensors, with other channels out than in."""

import warnings

import pytest
import torch
from torch import nn

from cases import scattered
from napari_sparse3d import sparse as sp
from napari_sparse3d.engine.plain_spconv import PlainSpconv
from napari_sparse3d.errors import InputError
from napari_sparse3d.models.spconv_weights import from_spconv
from napari_sparse3d.sparse import SparseTensor, use_engine

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    spconv = pytest.importorskip("spconv.pytorch", reason="needs the package spconv, which is not installed")
    from spconv.core import ConvAlgo

NATIVE = {"algo": ConvAlgo.Native, "bias": False}
CHANNELS = [(3, 5), (5, 3), (4, 4)]
CASE = scattered((9, 10, 11))


@pytest.fixture(autouse=True)
def one_thread():
    """With more, spconv races on the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def their_output(theirs, channels):
    x = spconv.SparseConvTensor(CASE.features(channels), CASE.indices, list(CASE.shape), CASE.batch_size)
    return theirs(x).dense()


def our_output(ours, channels, engine):
    with use_engine(engine):
        x = SparseTensor(CASE.features(channels), CASE.indices, CASE.shape, CASE.batch_size, None)
        return ours(x).dense()


def agree(theirs, ours, channels):
    ours.load_state_dict(from_spconv(theirs.state_dict(), ours))
    expected = their_output(theirs, channels)
    assert expected.abs().max() > 0.1
    for engine in ("native", "dense", "spconv"):
        torch.testing.assert_close(our_output(ours, channels, engine), expected, rtol=0, atol=1e-5)


def same_sizes(kernel, stride, padding, dilation):
    return {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}


FORWARD = [
    (1, 1, 0, 1), (1, 2, 0, 1), ((1, 1, 1), (1, 2, 1), 0, 1), (2, 1, 0, 1), (2, 2, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1),
    (4, 2, 1, 1), ((1, 3, 3), 1, (0, 1, 1), 1), ((1, 3, 3), (1, 2, 2), 0, 1), ((3, 1, 2), (2, 1, 2), (1, 0, 0), 1),
    (3, 1, 2, 2), (3, 2, 2, 2), (2, 1, 0, (1, 2, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
@pytest.mark.parametrize("sizes", FORWARD, ids=str)
def test_convolution(sizes, c_in, c_out):
    torch.manual_seed(0)
    sizes = same_sizes(*sizes)
    agree(spconv.SparseConv3d(c_in, c_out, **sizes, **NATIVE), sp.SparseConv3d(c_in, c_out, **sizes, bias=False), c_in)


@pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
@pytest.mark.parametrize("dilation", [1, 2], ids=["close", "dilated"])
# an even kernel fails in spconv on the CPU
@pytest.mark.parametrize("kernel", [1, 3, 5, (1, 3, 3), (3, 1, 1), (1, 1, 5)], ids=str)
def test_submanifold_convolution(kernel, dilation, c_in, c_out):
    torch.manual_seed(0)
    theirs = spconv.SubMConv3d(c_in, c_out, kernel, dilation=dilation, **NATIVE)
    agree(theirs, sp.SubMConv3d(c_in, c_out, kernel, dilation, bias=False), c_in)


BACK = [(1, 1, 0), (1, 2, 0), (2, 1, 0), (2, 2, 0), (3, 1, 1), (3, 2, 1), ((1, 3, 3), (1, 2, 2), (0, 1, 1)), (4, 2, 1)]


@pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
@pytest.mark.parametrize("sizes", BACK, ids=str)
def test_transposed_convolution(sizes, c_in, c_out):
    torch.manual_seed(0)
    sizes = dict(zip(("kernel_size", "stride", "padding"), sizes, strict=True))
    theirs = spconv.SparseConvTranspose3d(c_in, c_out, **sizes, **NATIVE)
    agree(theirs, sp.SparseConvTranspose3d(c_in, c_out, **sizes, bias=False), c_in)


class DownAndUp(nn.Module):
    def __init__(self, c_in, c_mid, c_out, sizes):
        super().__init__()
        self.down = sp.SparseConv3d(c_in, c_mid, *sizes, bias=False)
        self.up = sp.SparseInverseConv3d(c_mid, c_out, *sizes, bias=False)

    def forward(self, x):
        return self.up(self.down(x), x)


@pytest.mark.parametrize(("c_in", "c_out"), CHANNELS)
@pytest.mark.parametrize("sizes", [sizes for sizes in BACK if sizes[0] != 1 or sizes[1] == 1], ids=str)
def test_inverse_convolution(sizes, c_in, c_out):
    torch.manual_seed(0)
    theirs = spconv.SparseSequential(
        spconv.SparseConv3d(c_in, 7, *sizes, indice_key="k", **NATIVE),
        spconv.SparseInverseConv3d(7, c_out, sizes[0], indice_key="k", **NATIVE),
    )
    agree(theirs, DownAndUp(c_in, 7, c_out, sizes), c_in)


def test_an_inverse_convolution_of_kernel_1_that_spconv_does_not_invert_is_refused():
    """spconv multiplies it in place: its output stays on the coarse grid, which no layer here means."""
    theirs = spconv.SparseSequential(
        spconv.SparseConv3d(3, 7, 1, 2, indice_key="k", **NATIVE),
        spconv.SparseInverseConv3d(7, 5, 1, indice_key="k", **NATIVE),
    )
    assert tuple(their_output(theirs, 3).shape[2:]) == (5, 5, 6)  # not (9, 10, 11)
    with pytest.raises(InputError, match=r"'up' .*kernel 1.*SubMConv3d"):
        from_spconv(theirs.state_dict(), DownAndUp(3, 7, 5, (1, 2, 0)))


def test_a_bias_of_a_1x1x1_convolution():
    torch.manual_seed(0)
    theirs = spconv.SubMConv3d(3, 5, 1, algo=ConvAlgo.Native, bias=True)
    with torch.no_grad():
        theirs.bias.uniform_(1, 2)
        ours = sp.SubMConv3d(3, 5, 1)
        ours.load_state_dict(from_spconv(theirs.state_dict(), ours))
        x = spconv.SparseConvTensor(CASE.features(3), CASE.indices, list(CASE.shape), CASE.batch_size)
        y = ours(SparseTensor(CASE.features(3), CASE.indices, CASE.shape, CASE.batch_size, None))
        torch.testing.assert_close(y.features, theirs(x).features, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", ["KRSC", "RSKC", "RSCK"])
def test_1x1x1_in_every_layout_is_what_lies_in_memory(layout):
    """Every version of spconv has taken the memory of the weight for (C_in, C_out); in 1.x that was its shape too."""
    product = torch.arange(15.0).reshape(3, 5)
    stored = product.reshape({"KRSC": (5, 1, 1, 1, 3), "RSKC": (1, 1, 1, 5, 3), "RSCK": (1, 1, 1, 3, 5)}[layout])
    made = from_spconv({"weight": stored}, sp.SubMConv3d(3, 5, 1, bias=False), layout=layout)["weight"]
    features = torch.randn(4, 3)
    torch.testing.assert_close(features @ made.flatten(1).T, features @ product)


@pytest.mark.parametrize("layer", [sp.SubMConv3d(3, 5, 1, bias=False), sp.SparseConv3d(3, 5, 1, bias=False)])
def test_plain_spconv_layers_are_given_such_weights_too(layer):
    plain = PlainSpconv([layer], on_cpu=True)
    made = plain(CASE.features(3), CASE.indices, CASE.shape, CASE.batch_size)
    torch.testing.assert_close(made.dense(), our_output(layer, 3, "native"), rtol=0, atol=1e-5)


def wrapped(state):
    optimizer = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    return [
        {"model_state": state, "epoch": 3, "optimizer_state": optimizer},
        {"state_dict": state},
        {"checkpoint": {"net": state, "it": 4}, "optimizer": optimizer, "version": "1.0"},
    ]


@pytest.mark.parametrize("which", range(3))
def test_a_state_dict_is_taken_out_of_a_checkpoint(which):
    theirs, ours = spconv.SubMConv3d(3, 5, 3, **NATIVE), sp.SubMConv3d(3, 5, 3, bias=False)
    made = from_spconv(wrapped(theirs.state_dict())[which], ours)
    assert torch.equal(made["weight"], theirs.weight)


def test_a_checkpoint_that_leaves_it_open_is_refused():
    theirs, ours = spconv.SubMConv3d(3, 5, 3, **NATIVE), sp.SubMConv3d(3, 5, 3, bias=False)
    state = theirs.state_dict()
    with pytest.raises(InputError, match=r"several state dicts \('model_state', 'ema\.model'\); give one"):
        from_spconv({"model_state": state, "ema": {"model": state, "decay": 0.9}}, ours)
    with pytest.raises(InputError, match=r"no state dict: it holds 'epoch' \(int\), 'model' \(SubMConv3d\)"):
        from_spconv({"epoch": 3, "model": theirs}, ours)
    with pytest.raises(InputError, match="no state dict but a SubMConv3d"):
        from_spconv(theirs, ours)


def test_spconvs_counters_are_no_weights():
    theirs = spconv.SparseConv3d(3, 5, 3, record_voxel_count=True, **NATIVE)
    assert len(theirs.state_dict()) == 2
    assert list(from_spconv(theirs.state_dict(), sp.SparseConv3d(3, 5, 3, bias=False))) == ["weight"]
