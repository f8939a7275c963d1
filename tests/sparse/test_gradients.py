"""Which way an operator is called, and that both ways give the same."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cases import scattered
from napari_sparse3d import sparse as sp
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.autograd import execution, gradients


class Seen(TorchDispatchMode):
    """Notes the operators of this package that torch sees."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "sparse3d":
            self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def network():
    torch.manual_seed(0)
    return sp.SparseSequential(
        sp.SubMConv3d(2, 8, 3),
        torch.nn.LeakyReLU(0.2),
        sp.SparseMaxPool3d(2, 1),
        sp.SparseConv3d(8, 8, 2),
        sp.SparseMaxPool3d(2),
        torch.nn.Sigmoid(),
        sp.SparseMaxPool3d(2, 1),
        sp.SparseAvgPool3d(2, 1),
    )


def tensor(background=True):
    case = scattered((12, 11, 13), 2, 0.1)
    ground = torch.tensor([0.5, -0.25]) if background else None
    return SparseTensor(case.features(2).requires_grad_(), case.indices, case.shape, case.batch_size, ground)


def step(layers, x):
    y = layers(x)
    y.features.square().sum().backward()
    return [y.features.detach(), x.features.grad, *(parameter.grad for parameter in layers.parameters())]


@pytest.mark.parametrize("background", [True, False], ids=["background", "none"])
def test_both_ways_give_the_same(background):
    straight = step(network(), tensor(background))
    with Seen() as seen:
        dispatched = step(network(), tensor(background))
    assert {"convolution", "convolution_backward", "max_pool_backward", "avg_pool_backward"} <= set(seen.names)
    for one, other in zip(straight, dispatched, strict=True):
        assert torch.equal(one, other)


def test_torch_is_passed_by_unless_it_must_see_the_operator(monkeypatch):
    executed = []

    def noted(name):
        def run(*given):
            executed.append((name, any(isinstance(each, list) and each for each in given)))  # a packed geometry
            return inner[name](*given)

        return run

    inner = dict(execution.EXECUTED)
    for name in inner:
        monkeypatch.setitem(gradients.EXECUTED, name, noted(name))
    layers = sp.SparseSequential(sp.SparseConvTranspose3d(2, 3, 2), sp.SparseMaxPool3d(2))
    step(layers, tensor())
    names = {name for name, _ in executed}
    assert {"convolution", "convolution_backward", "max_pool", "max_pool_backward"} <= names
    assert not any(packed for _, packed in executed)
    executed.clear()
    with Seen():
        step(layers, tensor())
    assert not executed


def test_layers_in_one_call_are_one_node():
    y = network()[:5](tensor())
    reached = {following for following, _ in y.features.grad_fn.next_functions if following is not None}
    assert y.background.grad_fn is y.features.grad_fn
    assert {type(each).__name__ for each in reached} == {"AccumulateGrad"}


@pytest.mark.parametrize("frozen", [("0.",), ("3.",), ("0.", "3."), ("0.weight", "3.bias")], ids=str)
def test_what_is_frozen_gets_no_gradient_and_changes_no_other(frozen):
    layers = network()
    everything = dict(zip(["y", "x", *dict(layers.named_parameters())], step(layers, tensor()), strict=True))
    layers = network()
    for name, parameter in layers.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    some = dict(zip(["y", "x", *dict(layers.named_parameters())], step(layers, tensor()), strict=True))
    for name, found in some.items():
        assert found is None if name.startswith(frozen) else torch.equal(found, everything[name])


def test_only_the_background_may_be_asked_for():
    layers = network()[:3]
    y = layers(tensor())
    y.background.sum().backward()
    of_bias = layers[0].bias.grad
    assert torch.equal(of_bias, torch.where(y.background > 0, 1.0, 0.2))


def test_what_was_kept_for_the_backward_pass_must_not_change():
    layers, x = network(), tensor()
    loss = layers(x).features.sum()
    with torch.no_grad():
        layers[3].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("dispatched", [False, True], ids=["straight", "dispatched"])
@pytest.mark.parametrize("layer", [sp.SubMConv3d(2, 3, 3), sp.SparseMaxPool3d(2), sp.SparseAvgPool3d(2)], ids=str)
def test_second_derivatives_are_refused(layer, dispatched):
    x = tensor()
    place = Seen() if dispatched else torch.enable_grad()
    with place:
        loss = layer(x).features.square().sum()
        (first,) = torch.autograd.grad(loss, x.features, create_graph=True)
    assert first.isfinite().all()
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        first.square().sum().backward()


def test_first_derivatives_with_a_graph_are_those_without():
    layer, x = sp.SubMConv3d(2, 3, 3), tensor()
    loss = layer(x).features.square().sum()
    (kept,) = torch.autograd.grad(loss, x.features, create_graph=True)
    (plain,) = torch.autograd.grad(loss, x.features)
    assert torch.equal(kept, plain)
