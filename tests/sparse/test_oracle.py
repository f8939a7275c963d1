"""The oracle itself, against loops over the index formula."""

from itertools import product

import pytest
import torch

import oracle


def one_grid(*, background=True, seed=0):
    torch.manual_seed(seed)
    shape = (4, 3, 5)
    active = torch.rand(2, *shape) < 0.4
    indices = active.nonzero().int()
    features = torch.randn(len(indices), 2, dtype=torch.double)
    return oracle.grid(features, indices, shape, 2, torch.randn(2, dtype=torch.double) if background else None)


def inputs_of(x, b, o, kernel, stride, padding, dilation, *, transposed=False):
    """(offset, active, value) of each input that the formula gives for output o."""
    for k in product(*map(range, kernel)):
        if transposed:
            whole = [(n + p - j * d) % s == 0 for n, p, j, d, s in zip(o, padding, k, dilation, stride)]
            if not all(whole):
                continue
            i = [(n + p - j * d) // s for n, p, j, d, s in zip(o, padding, k, dilation, stride)]
        else:
            i = [n * s + j * d - p for n, s, j, d, p in zip(o, stride, k, dilation, padding)]
        inside = all(0 <= a < n for a, n in zip(i, x.values.shape[2:]))
        active = inside and bool(x.active[(b, *i)])
        if active:
            yield k, True, x.values[(b, slice(None), *i)]
        else:
            yield k, False, torch.zeros(2, dtype=torch.double) if x.background is None else x.background


@pytest.mark.parametrize("background", [True, False])
def test_convolution_is_the_formula(background):
    x = one_grid(background=background)
    kernel, stride, padding, dilation = (2, 3, 1), (2, 1, 3), (1, 0, 2), (1, 1, 2)
    weight, bias = torch.randn(3, *kernel, 2, dtype=torch.double), torch.randn(3, dtype=torch.double)
    y = oracle.conv(x, weight, bias, stride, padding, dilation)
    for b, *o in product(*map(range, (2, *y.values.shape[2:]))):
        met = list(inputs_of(x, b, o, kernel, stride, padding, dilation))
        assert bool(y.active[(b, *o)]) == any(active for _, active, _ in met)
        if y.active[(b, *o)] or background:
            expected = bias + sum(weight[(slice(None), *k)] @ value for k, _, value in met)
            torch.testing.assert_close(y.values[(b, slice(None), *o)], expected)


@pytest.mark.parametrize(("stride", "shape"), [((1, 1, 1), (4, 5, 4)), ((2, 1, 3), (7, 5, 12))])
def test_transposed_convolution_is_the_formula(stride, shape):
    x = one_grid(background=stride == (1, 1, 1))
    kernel, padding, dilation = (3, 2, 2), (1, 0, 1), (1, 2, 1)
    weight = torch.randn(3, *kernel, 2, dtype=torch.double)
    y = oracle.transposed(x, weight, None, shape, None, stride, padding, dilation)
    for b, *o in product(*map(range, (2, *shape))):
        met = list(inputs_of(x, b, o, kernel, stride, padding, dilation, transposed=True))
        assert bool(y.active[(b, *o)]) == any(active for _, active, _ in met)
        expected = sum((weight[(slice(None), *k)] @ v for k, _, v in met), torch.zeros(3, dtype=torch.double))
        if y.active[(b, *o)] or x.background is not None:
            torch.testing.assert_close(y.values[(b, slice(None), *o)], expected)


@pytest.mark.parametrize("background", [True, False])
def test_pools_are_the_formula(background):
    x = one_grid(background=background, seed=1)
    kernel, stride, padding, dilation = (2, 1, 3), (1, 2, 2), (1, 1, 0), (1, 1, 1)
    largest, mean = oracle.max_pool(x, kernel, stride, padding), oracle.avg_pool(x, kernel, stride, padding)
    for b, *o in product(*map(range, (2, *largest.values.shape[2:]))):
        met = list(inputs_of(x, b, o, kernel, stride, padding, dilation))
        if not any(active for _, active, _ in met):
            continue
        values = torch.stack([value for _, active, value in met if active or background])
        torch.testing.assert_close(largest.values[(b, slice(None), *o)], values.amax(0))
        torch.testing.assert_close(mean.values[(b, slice(None), *o)], values.mean(0))


@pytest.mark.parametrize("kernel", [(3, 3, 3), (2, 2, 2), (1, 4, 5)])
def test_submanifold_is_centred(kernel):
    x = one_grid()
    weight = torch.randn(3, *kernel, 2, dtype=torch.double)
    y = oracle.submanifold(x, weight, None)
    padding = [k // 2 for k in kernel]
    for b, *o in x.active.nonzero().tolist():
        met = inputs_of(x, b, o, kernel, (1, 1, 1), padding, (1, 1, 1))
        expected = sum(weight[(slice(None), *k)] @ value for k, _, value in met)
        torch.testing.assert_close(y.values[(b, slice(None), *o)], expected)
    assert torch.equal(y.active, x.active)
