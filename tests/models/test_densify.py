"""Dense twins give what the sparse layers give, everywhere on the grid; torch.export and ONNX take them."""

import pytest
import torch

from cases import CASES
from napari_sparse3d import sparse as sp
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import build_network
from napari_sparse3d.models.densify import DenseGrid, _twin, densify
from napari_sparse3d.sparse import SparseTensor, use_engine

LAYERS = {
    "conv 2": lambda: sp.SparseConv3d(3, 4, 2),
    "conv 3, stride 2, padded": lambda: sp.SparseConv3d(3, 4, 3, 2, 1),
    "conv, every axis its own": lambda: sp.SparseConv3d(3, 4, (1, 2, 3), (2, 1, 3), (0, 1, 2), (1, 2, 1), bias=False),
    "submanifold 3": lambda: sp.SubMConv3d(3, 4, 3),
    "submanifold 2 (even)": lambda: sp.SubMConv3d(3, 4, 2),
    "submanifold (1, 4, 3), dilated": lambda: sp.SubMConv3d(3, 4, (1, 4, 3), (1, 1, 2)),
    "transposed 2, stride 1": lambda: sp.SparseConvTranspose3d(3, 4, 2),
    "transposed 3, stride 1, padded": lambda: sp.SparseConvTranspose3d(3, 4, 3, padding=1),
    "transposed 3, stride 2": lambda: sp.SparseConvTranspose3d(3, 4, 3, 2, 1, 1),
    "max pool 3, stride 2": lambda: sp.SparseMaxPool3d(3, 2),
    "max pool 3, padded": lambda: sp.SparseMaxPool3d(3, 1, 1),
    "avg pool (2, 1, 3), padded": lambda: sp.SparseAvgPool3d((2, 1, 3), (1, 2, 2), (1, 0, 1)),
    "batch norm": lambda: _trained_norm(),
    "dropout": lambda: sp.SparseDropout(0.5),
    "leaky relu": lambda: torch.nn.LeakyReLU(1 / 3),
    "linear": lambda: torch.nn.Linear(3, 5),
    "prelu of each channel": lambda: _prelu(),
    "softmax over channels": lambda: torch.nn.Softmax(dim=1),
    "gated": lambda: torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GLU(dim=1)),
    "layer norm": lambda: torch.nn.LayerNorm(3),
    "a subclass of a pointwise layer": lambda: Doubled(1 / 3),
    "a module of the user's own": lambda: sp.Pointwise(OfRows()),
    "global mean": sp.GlobalAvgPool,
    "global largest": sp.GlobalMaxPool,
}


class Doubled(torch.nn.LeakyReLU):
    def forward(self, rows):
        return 2 * super().forward(rows)


class OfRows(torch.nn.Module):
    """Counts axes: the channels of a row are axis 1."""

    def forward(self, rows):
        return torch.cat([rows.sum(1, keepdim=True), rows.cumsum(1)], 1)


def _prelu():
    layer = torch.nn.PReLU(3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([-0.5, 0.25, 2.0]))
    return layer


def _trained_norm():
    norm = sp.SparseBatchNorm(3)
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor.uniform_(0.5, 2)
    return norm


def both(case, background):
    """One input in both forms; what is not active in the dense one is filled with what must not be looked at."""
    x = SparseTensor(case.features(3), case.indices, case.shape, case.batch_size, background)
    active = torch.zeros(case.batch_size, *case.shape, dtype=torch.bool)
    active[tuple(case.indices.long().T)] = True
    values = x.dense().movedim(1, -1)
    if background is None:
        values = torch.where(active[..., None], values, 1e6)
    return x, DenseGrid(values, background, lambda: active)


def agree(sparse, dense):
    if isinstance(sparse, torch.Tensor):
        return torch.testing.assert_close(dense, sparse, rtol=0, atol=1e-5)
    torch.testing.assert_close(dense.dense(), sparse.dense(), rtol=0, atol=1e-5)
    assert dense.spatial_shape == sparse.spatial_shape
    assert (dense.background is None) == (sparse.background is None)
    if sparse.background is not None:
        torch.testing.assert_close(dense.background, sparse.background, rtol=0, atol=1e-5)
    active = torch.zeros_like(dense.active)
    active[tuple(sparse.indices.long().T)] = True
    assert torch.equal(dense.active, active)


@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize(
    "case", ["scattered", "one voxel", "an empty volume in the batch", "full grid", "every border"]
)
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_a_dense_twin_gives_what_the_sparse_layer_gives(make, case, background):
    torch.manual_seed(0)
    layers = sp.SparseSequential(make().eval())
    ground = torch.tensor([-1.0, 0.5, 2.0]) if background else None
    if (
        background
        and getattr(layers[0], "window", None)
        and layers[0].window.stride == (2, 2, 2)
        and "Transp" in str(layers)
    ):
        ground = torch.zeros(3)
    x, grid = both(CASES[case], ground)
    with torch.no_grad():
        run = layers[0] if isinstance(layers[0], sp.GlobalAvgPool | sp.GlobalMaxPool) else layers
        agree(run(x), _twin(run)(grid))


@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0)])
def test_the_twin_of_an_inverse_convolution(window, background):
    torch.manual_seed(0)
    down, up = sp.SparseConv3d(3, 4, *window, bias=window[1] == 1), sp.SparseInverseConv3d(4, 5, *window)
    x, grid = both(CASES["scattered"], torch.zeros(3) if background else None)
    with torch.no_grad():
        expected = up(down(x), x)
        agree(expected, _twin(up)(_twin(down)(grid), grid))


def test_layers_in_a_row_keep_the_meaning_of_the_background():
    """Submanifold after strided, pools between, a residual sum: backgrounds that are not 0, and masks that move."""
    torch.manual_seed(0)
    layers = sp.SparseSequential(
        sp.SparseConv3d(3, 8, 2),
        torch.nn.LeakyReLU(1 / 3),
        sp.SubMConv3d(8, 8, 3),
        sp.SparseMaxPool3d(3, 2, 1),
        torch.nn.Sigmoid(),
        sp.SubMConv3d(8, 8, 3),
        sp.SparseAvgPool3d(2),
    )
    for background in (torch.tensor([-1.0, 0.0, 2.0]), None):
        x, grid = both(CASES["scattered"], background)
        with torch.no_grad():
            expected = layers(x)
            assert not torch.allclose(expected.dense(), torch.zeros(()))
            twins = densify(layers).network
            agree(expected, twins(grid))
            agree(x + x, grid + grid)


def small_networks():
    return {
        "residual": build_network("residual", field=16, channels=(4, 8), embedding=6, classes=3),
        "residual, strided stem": build_network("residual", field=16, channels=(4, 8), stem_stride=2, embedding=6),
    }


@pytest.mark.parametrize("name", small_networks())
def test_a_whole_submanifold_network(name):
    network = small_networks()[name].eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, sp.SparseBatchNorm):
                module.weight.uniform_(0.5, 1.5), module.bias.uniform_(-1, 1), module.running_mean.uniform_(-1, 1)
    active = torch.rand(2, 16, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.05
    indices = active.nonzero().int().contiguous()
    x = SparseTensor(torch.ones(len(indices), 1), indices, 16, 2, torch.zeros(1))
    dense = densify(network)
    with torch.no_grad():
        torch.testing.assert_close(dense(x.dense()), network(x), rtol=0, atol=1e-5)
        torch.testing.assert_close(dense.embed(x.dense()), network.embed(x), rtol=0, atol=1e-5)


def ball_in_the_field(radius=40):
    axis = torch.arange(126) - 62.5
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    distance = (z**2 + y**2 + x**2).sqrt()
    indices = ((distance < radius) & (distance > radius - 4)).nonzero().int()
    indices = torch.cat([torch.zeros_like(indices[:, :1]), indices], 1).contiguous()
    return SparseTensor(torch.ones(len(indices), 1), indices, 126, 1, torch.zeros(1))


def test_deepc2_on_the_full_field():
    network = build_network("deepc2", classes=3)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.uniform_(-0.2, 0.2)
        x = ball_in_the_field()
        with use_engine("native"):
            expected = network(x).softmax(1), network.embed(x)
        dense = densify(network)
        values = x.dense()
        torch.testing.assert_close(dense(values).softmax(1), expected[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(dense.embed(values), expected[1], rtol=0, atol=1e-5)


def test_the_copy_is_independent_and_ready_for_inference():
    network = build_network("residual", field=16, channels=(4, 8)).train()
    dense = densify(network)
    assert network.training
    assert not dense.training
    assert not {p.data_ptr() for p in network.parameters()} & {p.data_ptr() for p in dense.parameters()}
    assert sum(p.numel() for p in dense.parameters()) == sum(p.numel() for p in network.parameters())


def test_a_layer_without_a_twin_is_named():
    class Unknown(sp.SparseMaxPool3d):
        pass

    with pytest.raises(InputError, match=r"layer Unknown has no dense twin; .*SparseConv3d"):
        densify(sp.SparseSequential(sp.SubMConv3d(3, 4, 3), Unknown(2)))


def test_rows_instead_of_a_grid_are_refused():
    with pytest.raises(ValueError, match=r"takes \(B, C, D, H, W\), got \(5, 3\)"):
        densify(build_network("deepc2"))(torch.ones(5, 3))


@pytest.mark.parametrize("layer", [sp.SparseGroupNorm(3, 3), sp.SparseInstanceNorm(3)])
def test_norms_of_each_volume_have_no_dense_twin(layer):
    with pytest.raises(InputError, match="statistics are those of the active sites of each volume"):
        densify(sp.SparseSequential(sp.SubMConv3d(3, 3, 3), layer, sp.GlobalAvgPool()))
