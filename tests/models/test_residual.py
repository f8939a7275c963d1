"""The residual network against the same sums written with dense torch layers and masks."""

import pytest
import torch
from torch.nn import functional

from napari_sparse3d.errors import InputError
from napari_sparse3d.models import build_network
from napari_sparse3d.sparse import SparseTensor, use_engine

SMALL = {"field": 16, "channels": (4, 6, 8), "blocks": (1, 2, 0), "embedding": 5, "classes": 3}


@pytest.fixture(params=["native", "dense"])
def engine(request):
    with use_engine(request.param):
        yield request.param


def shapes(batch_size=2, field=16, features=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(batch_size, field, field, field, generator=generator) < 0.1
    indices = mask.nonzero().int().contiguous()
    values = torch.rand(len(indices), features, generator=generator)
    return SparseTensor(values, indices, field, batch_size, torch.zeros(features)), mask


def with_lively_norms(network, seed=3):
    """Batch norms far from identity, so that a forgotten one shows."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            for tensor in (module.weight.data, module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    return network.eval()


def dense_description(network, x, mask, stem_stride):
    """Dense convolutions, with everything outside the active sites set to 0 before each of them."""

    def conv(grid, module, **options):
        return functional.conv3d(grid, module.weight.permute(0, 4, 1, 2, 3), **options)

    def norm(grid, module):
        statistics = (module.running_mean, module.running_var, module.weight, module.bias)
        return functional.batch_norm(grid, *statistics, eps=module.eps)

    grid, active = x.dense(), mask[:, None].float()
    for name, module in network.layers.named_children():
        if name == "stem" and stem_stride == 1:
            grid = conv(grid, module, padding=1) * active
        elif name == "stem":
            grid, active = conv(grid, module, stride=2, padding=1), functional.max_pool3d(active, 4, 2, 1)
            grid = grid * active
        elif name.endswith("norm"):
            grid = norm(grid, module) * active
        elif name.endswith("relu"):
            grid = functional.relu(grid)
        elif name.startswith("down"):
            grid, active = conv(grid, module, stride=2), functional.max_pool3d(active, 2, 2)
        else:
            y = functional.relu(norm(conv(grid, module.conv1, padding=1), module.norm1)) * active
            grid = functional.relu(norm(conv(y, module.conv2, padding=1), module.norm2) * active + grid)
    mean = grid.sum((2, 3, 4)) / active.sum((2, 3, 4))
    largest = torch.where(active > 0, grid, -torch.inf).amax((2, 3, 4))
    return functional.relu(network.project(torch.cat([mean, largest], 1)))


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_it_equals_masked_dense_layers(engine, stem_stride):
    network = with_lively_norms(build_network("residual", in_features=2, stem_stride=stem_stride, **SMALL))
    x, mask = shapes(features=2)
    with torch.no_grad():
        ours, theirs = network.describe(x), dense_description(network, x, mask, stem_stride)
        assert ours.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(network(x), network.classifier(theirs), rtol=1e-4, atol=1e-4)


def test_sizes_follow_the_arguments():
    network = build_network("residual", **SMALL)
    x, _ = shapes()
    assert network.describe(x).shape == (2, 5)
    assert network(x).shape == (2, 3)
    assert torch.linalg.vector_norm(network.embed(x), dim=1).allclose(torch.ones(2))


def test_a_batch_gives_what_each_volume_gives_alone():
    network = with_lively_norms(build_network("residual", **SMALL))
    x, _ = shapes(batch_size=3)
    with torch.no_grad():
        together = network(x)
        for number in range(3):
            mine = x.indices[:, 0] == number
            indices = x.indices[mine] - torch.tensor([number, 0, 0, 0], dtype=torch.int32)
            alone = network(SparseTensor(x.features[mine], indices, 16, 1, torch.zeros(1)))
            torch.testing.assert_close(alone[0], together[number], rtol=1e-5, atol=1e-5)


def test_an_empty_volume_gives_finite_numbers_and_gradients():
    network = build_network("residual", **SMALL)
    empty = SparseTensor(torch.zeros(0, 1), torch.zeros(0, 4, dtype=torch.int32), 16, 2, torch.zeros(1))
    logits = network(empty)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"field": 18}, "multiple of 4"),
        ({"field": 20, "stem_stride": 2}, "multiple of 8"),
        ({"stem_stride": 3}, "1 or 2"),
        ({"blocks": (1, 2)}, "each stage"),
        ({"depth": 3}, "depth"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong, hint):
    with pytest.raises(InputError, match=hint):
        build_network("residual", **{**SMALL, **wrong})
