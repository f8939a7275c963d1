"""The whole of deepC2, layer by layer, against torch's dense layers on the same weights."""

from copy import deepcopy

import pytest
import torch

import oracle
from napari_sparse3d.models import build_network
from napari_sparse3d.models.networks.deepc2 import FIELD
from napari_sparse3d.sparse import SparseConv3d, SparseMaxPool3d, SparseTensor, use_engine

SIDES = [126, 125, 62, 61, 30, 29, 14, 13, 6, 5, 2, 1]


@pytest.fixture(params=["native", "dense", "spconv"])
def engine(request):
    with use_engine(request.param):
        yield request.param


def network_with_bias(seed=0):
    network = build_network("deepc2", seed=seed, classes=3)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for module in network.layers:
            if isinstance(module, SparseConv3d):
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) * 0.2)
    return network


def blob(side, seed=0, batch_size=1):
    """A lumpy closed surface around the middle of the field, a few voxels thick: like the voxel set of a scan."""
    generator = torch.Generator().manual_seed(seed)
    lumps = torch.rand(1, 1, 5, 5, 5, generator=generator)
    radius = torch.nn.functional.interpolate(lumps, side, mode="trilinear", align_corners=True)[0, 0]
    axis = torch.linspace(-1, 1, side)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    distance = (z**2 + y**2 + x**2).sqrt()
    shell = (distance < 0.3 + 0.5 * radius) & (distance > 0.25 + 0.5 * radius)
    indices = shell.nonzero().int()
    column = [torch.cat([torch.full_like(indices[:, :1], b), indices], 1) for b in range(batch_size)]
    return torch.cat(column).contiguous()


def test_it_is_the_seed_network():
    network = build_network("deepc2")
    features = [p.numel() for name, p in network.named_parameters() if not name.startswith("classifier")]
    assert sum(features) == 574_368
    x = SparseTensor(torch.ones(0, 1), torch.zeros(0, 4, dtype=torch.int32), FIELD, 1, torch.zeros(1))
    sides = [FIELD]
    for module in network.layers:
        if isinstance(module, (SparseConv3d, SparseMaxPool3d)):
            x = module(x)
            sides.append(x.spatial_shape[0])
    assert sides == SIDES
    one = SparseTensor(torch.ones(1, 1), torch.tensor([[0, 9, 9, 9]], dtype=torch.int32), FIELD)
    assert network.embed(one).shape == (1, 192)


def oracle_step(module, grid):
    if isinstance(module, SparseConv3d):
        return oracle.conv(grid, module.weight, module.bias)
    if isinstance(module, SparseMaxPool3d):
        return oracle.max_pool(grid, (3, 3, 3), (2, 2, 2))
    return oracle.pointwise(grid, module)


def test_every_layer_of_the_full_field_agrees_with_dense(engine):
    """Float32 on both sides: active sites exactly, features and background within 1e-5 of the largest value."""
    network = network_with_bias()
    indices = blob(FIELD)
    features = torch.ones(len(indices), 1)
    grid = torch.zeros(1, 1, FIELD, FIELD, FIELD)
    z, y, x = indices[:, 1:].long().T
    grid[0, 0, z, y, x] = 1
    active = grid[:, 0] > 0
    x = SparseTensor(features, indices, FIELD, 1, torch.zeros(1))
    with torch.no_grad():
        for name, module in network.layers.named_children():
            if isinstance(module, SparseConv3d):
                grid = torch.nn.functional.conv3d(grid, module.weight.permute(0, 4, 1, 2, 3), module.bias)
                active = torch.nn.functional.max_pool3d(active.float()[:, None], 2, 1)[:, 0] > 0
                x = module(x)
            elif isinstance(module, SparseMaxPool3d):
                grid = torch.nn.functional.max_pool3d(grid, 3, 2)
                active = torch.nn.functional.max_pool3d(active.float()[:, None], 3, 2)[:, 0] > 0
                x = module(x)
            else:
                grid = module(grid)
                x = x.with_features(module(x.features), module(x.background))
                continue
            assert torch.equal(x.indices, active.nonzero().int()), name
            largest = grid.abs().max()
            b, z, y, w = x.indices.long().T
            assert (x.features - grid[b, :, z, y, w]).abs().max() <= 1e-5 * largest, name
            elsewhere = grid.permute(0, 2, 3, 4, 1)[~active]
            if len(elsewhere):
                assert (elsewhere - x.background).abs().max() <= 1e-5 * largest, name


def test_gradients_of_the_later_layers_agree_with_dense(engine):
    """conv3 to the classifier on a batch with biases: every gradient, against dense layers in float64."""
    network = network_with_bias()
    start = [name for name, _ in network.layers.named_children()].index("conv3")
    tail = list(network.layers)[start:]
    indices = blob(30, batch_size=2)
    keep = torch.rand(len(indices), generator=torch.Generator().manual_seed(2)) < 0.5
    indices = indices[keep].contiguous()
    features = torch.randn(len(indices), 64, generator=torch.Generator().manual_seed(3)).requires_grad_()
    background = torch.linspace(-0.5, 0.5, 64).requires_grad_()
    x = SparseTensor(features, indices, 30, 2, background)
    for module in tail:
        sparse = isinstance(module, (SparseConv3d, SparseMaxPool3d))
        x = module(x) if sparse else x.with_features(module(x.features), module(x.background))
    ours = network.classifier(x.dense()[:, :, 0, 0, 0])

    twin = deepcopy(network).double()
    features64, background64 = (t.detach().double().requires_grad_() for t in (features, background))
    grid = oracle.grid(features64, indices, (30, 30, 30), 2, background64)
    for module in list(twin.layers)[start:]:
        grid = oracle_step(module, grid)
    theirs = twin.classifier(grid.values[:, :, 0, 0, 0])
    torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())

    pull = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(4), dtype=torch.double)
    leaves = [features, background, *[p for m in tail for p in m.parameters()]]
    leaves64 = [features64, background64, *[p for m in list(twin.layers)[start:] for p in m.parameters()]]
    grads = torch.autograd.grad((ours * pull.float()).sum(), leaves)
    grads64 = torch.autograd.grad((theirs * pull).sum(), leaves64)
    for one, other in zip(grads, grads64):
        assert (one.double() - other).abs().max() <= 1e-4 * other.abs().max()


def test_gradients_of_the_full_field_agree_with_dense():
    """From the first voxel to the logits, float32 dense torch with gradients (about 1.5 GB)."""
    network = network_with_bias()
    indices = blob(FIELD, seed=1)
    features = torch.ones(len(indices), 1, requires_grad=True)
    with use_engine("native"):
        ours = network(SparseTensor(features, indices, FIELD, 1, torch.zeros(1)))
        pull = torch.tensor([[1.0, -0.5, 0.25]])
        parameters = list(network.parameters())
        grads = torch.autograd.grad((ours * pull).sum(), [features, *parameters])

    z, y, x = indices[:, 1:].long().T
    grid = torch.zeros(FIELD, FIELD, FIELD).index_put((z, y, x), features[:, 0])[None, None]
    for module in network.layers:
        if isinstance(module, SparseConv3d):
            grid = torch.nn.functional.conv3d(grid, module.weight.permute(0, 4, 1, 2, 3), module.bias)
        elif isinstance(module, SparseMaxPool3d):
            grid = torch.nn.functional.max_pool3d(grid, 3, 2)
        else:
            grid = module(grid)
    theirs = network.classifier(grid[:, :, 0, 0, 0])
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    expected = torch.autograd.grad((theirs * pull).sum(), [features, *parameters])
    for one, other in zip(grads, expected):
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()


def test_a_batch_gives_what_each_volume_gives_alone(engine):
    network = network_with_bias()
    first, second = blob(40, seed=1), blob(40, seed=2)
    with torch.no_grad():
        alone = [
            network.embed(SparseTensor(torch.ones(len(one), 1), one, FIELD, 1, torch.zeros(1)))
            for one in (first, second)
        ]
        moved = second.clone()
        moved[:, 0] = 2  # volume 1 stays empty
        both = torch.cat([first, moved])
        together = network.embed(SparseTensor(torch.ones(len(both), 1), both, FIELD, 3, torch.zeros(1)))
        empty = network.embed(
            SparseTensor(torch.ones(0, 1), torch.zeros(0, 4, dtype=torch.int32), FIELD, 1, torch.zeros(1))
        )
    torch.testing.assert_close(together, torch.cat([alone[0], empty, alone[1]]), rtol=0, atol=1e-6)
