"""Batch normalisation with what may follow it, in one pass: against torch's own, and against the layers one by one."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from cases import CASES
from napari_sparse3d import sparse as sp
from napari_sparse3d.sparse import SparseTensor, operators, use_engine

SLOPES = (1.0, 0.3, 0.0)


def features(rows=300, channels=5, dtype=torch.float64, *, at=0.5):
    torch.manual_seed(1)
    return torch.randn(rows, channels, dtype=dtype) * torch.arange(1, channels + 1) + at


def tensor(channels=5, dtype=torch.float32):
    case = CASES["scattered"]
    return SparseTensor(case.features(channels).to(dtype), case.indices, case.shape, case.batch_size)


def fused(x, weight, bias, other, slope):
    return torch.ops.sparse3d.batch_norm(x, weight, bias, other, 1e-5, slope, "native")[0]


def plain(x, weight, bias, other, slope):
    y = functional.batch_norm(x, None, None, weight, bias, training=True, eps=1e-5)
    return functional.leaky_relu(y if other is None else y + other, slope)


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("with_other", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_values_and_gradients_are_those_of_torch(slope, with_other, affine):
    def leaves():
        made = [features()]
        made += [torch.linspace(-1, 2, 5, dtype=torch.float64), torch.linspace(1, -1, 5, dtype=torch.float64)]
        made += [features(at=-0.2).flip(0)]
        return [each.requires_grad_() for each in made]

    results = []
    for run in (fused, plain):
        x, weight, bias, other = leaves()
        made = run(x, weight if affine else None, bias if affine else None, other if with_other else None, slope)
        (made * torch.sin(torch.arange(made.numel(), dtype=torch.float64)).view_as(made)).sum().backward()
        results.append([made.detach(), *(each.grad for each in (x, weight, bias, other))])
    for ours, theirs in zip(*results, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("slope", [1.0, 0.3])
def test_gradcheck(slope):
    x, other = features(7, 3).requires_grad_(), features(7, 3, at=2.0).flip(0).requires_grad_()
    weight, bias = (torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda *given: fused(*given, slope), (x, weight, bias, other))


def test_a_mean_far_from_zero_takes_nothing_from_the_variance():
    x = features(20_000, 3, at=3e4).float()
    made = operators.batch_norm(x, None, None, None, eps=0.0)
    torch.testing.assert_close(made.variance.double(), x.double().var(0, correction=0), rtol=1e-6, atol=0)


def test_the_same_bits_for_any_number_of_threads():
    x, other, weight = features(20_000, 7, torch.float32), features(20_000, 7, torch.float32, at=3), torch.rand(7)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 8):
            torch.set_num_threads(threads)
            leaves = [each.clone().requires_grad_() for each in (x, weight, other)]
            made = fused(leaves[0], leaves[1], None, leaves[2], 0.1)
            made.backward(other)
            results.append([made.detach(), *(leaf.grad for leaf in leaves)])
    finally:
        torch.set_num_threads(before)
    for others in results[1:]:
        assert all(map(torch.equal, results[0], others))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.2)])
def test_a_hook_keeps_layers_apart_and_the_values_stay_the_same(training, activation):
    seen = []
    results = []
    for hook in (False, True):
        torch.manual_seed(3)
        norm = sp.SparseBatchNorm(5)
        nn.init.uniform_(norm.weight, -1, 2)
        norm(tensor()).features.sum().backward()  # running statistics
        layers = sp.SparseSequential(norm, activation).train(training)
        handle = layers[1].register_forward_hook(lambda *_: seen.append(1)) if hook else None
        with torch.no_grad():
            results.append((layers(tensor()).features, norm.running_mean.clone(), norm.running_var.clone()))
        if handle is not None:
            handle.remove()
    assert seen
    assert all(map(torch.equal, *results))


def test_without_gradients_as_with_them():
    norm = sp.SparseBatchNorm(5)
    norm(tensor())
    norm.eval()
    with torch.no_grad():
        fast = norm.normalize(tensor(), slope=0.0, other=tensor()).features
    slow = norm.normalize(tensor(), slope=0.0, other=tensor()).features
    assert slow.requires_grad
    torch.testing.assert_close(fast, slow.detach())


def test_engines_without_it_and_tensors_with_a_background_take_torchs_way():
    norm = sp.SparseBatchNorm(5)
    x = tensor()
    expected = norm.normalize(x, slope=0.1, other=x).features
    with use_engine("dense"):
        torch.testing.assert_close(norm.normalize(x, slope=0.1, other=x).features, expected)
    grounded = x.with_features(x.features, torch.full((5,), 2.0))
    y = norm.normalize(grounded, slope=0.0, other=grounded)
    assert y.background is not None
    torch.testing.assert_close(y.features, norm.normalize(x, slope=0.0, other=x).features)


def test_another_order_of_sites_is_refused():
    x = tensor()
    other = SparseTensor(x.features, x.indices.flip(0), x.spatial_shape, x.batch_size)
    with pytest.raises(ValueError, match="same sites"):
        sp.SparseBatchNorm(5).normalize(x, other=other)
