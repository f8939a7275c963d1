"""The gradients of the operators, and the one decision which way an operator is called.

Where torch must see the operator itself (it compiles or exports), the call goes through its dispatcher, which
costs more than a small layer does; else straight to the engine, in a ``torch.autograd.Function`` where a gradient is
wanted. Both ways share the formulas here. There are first derivatives only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple

import torch
from torch import Tensor

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.autograd.execution import EXECUTED
from napari_sparse3d.sparse.contract import C, FusedChain, Layer, Rows, RunsChains
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry

_PLAIN_TYPES = frozenset((Tensor, torch.nn.Parameter, type(None)))


def is_traced(*tensors: Tensor | None) -> bool:
    """Whether torch must see the operator that is called with these: it traces, or a tensor is no ordinary one."""
    if (
        torch.compiler.is_compiling()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._are_functorch_transforms_active()
    ):
        return True
    return not _PLAIN_TYPES.issuperset(map(type, tensors))


def is_differentiated(*tensors: Tensor | None) -> bool:
    """Whether a gradient may be asked for with respect to one of these."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def call(name: str, *arguments: Any) -> Any:
    """The operator ``torch.ops.sparse3d.<name>`` by the shortest way that inputs allow.

    Sites and geometries come as themselves; the dispatcher gets them in tensors and numbers.
    """
    tensors = [each for each in arguments if isinstance(each, Tensor)]
    if is_traced(*tensors):
        operator = getattr(torch.ops.sparse3d, name)
        return operator(*map(_carried, arguments))
    if name in _FUNCTIONS and is_differentiated(*tensors):
        return _FUNCTIONS[name].apply(*map(_savable, arguments))
    return EXECUTED[name](*arguments)


def _savable(argument: Any) -> Any:
    """What comes from inference is copied: torch refuses to save it for a backward pass."""
    return argument.clone() if isinstance(argument, Tensor) and argument.is_inference() else argument


def _carried(argument: Any) -> Any:
    if isinstance(argument, Geometry):
        return argument.pack()
    return argument.indices if isinstance(argument, Sites) else argument


# -- formulas: what the backward pass needs, and what it does ---------------------------------------


def _keep(ctx: Any, tensors: Sequence[Tensor | None], sites: Sequence[Sites | Tensor | None]) -> None:
    """Save tensors as torch does it, and sites as they are, or as tensors where the dispatcher brought these."""
    ctx.sites = sites if isinstance(sites[0], Sites) else None
    ctx.states = None if ctx.sites is None else [each.seen for each in ctx.sites if each is not None]
    ctx.save_for_backward(*tensors, *(() if ctx.sites is not None else sites))


def _sites_of(ctx: Any, saved: Sequence[Any]) -> Sequence[Any]:
    """The sites that were kept, of which torch has ``saved`` if they were tensors."""
    if ctx.sites is None:
        return saved
    if ctx.states != [each.state() for each in ctx.sites if each is not None]:
        raise InputError(
            "the indices of a sparse tensor were written to between the forward and the backward pass; write the new "
            "sites to a tensor of their own"
        )
    sites: Sequence[Any] = ctx.sites
    return sites


def _keep_convolution(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    features, weight, bias, background, sites, out, ctx.geometry, ctx.slope, pooled, ctx.pool_geometry, ctx.engine = (
        inputs
    )
    ctx.has_bias, ctx.has_background = bias is not None, background is not None
    values, rows, forward_background = output
    activated = ctx.slope != 1  # else the backward pass needs no values
    tensors = (
        values if activated else None,
        rows if pooled is not None else None,
        forward_background if activated and ctx.has_background else None,
        *(features, weight, background),
    )
    _keep(ctx, tensors, (sites, out, pooled))
    ctx.shape = values.shape
    ctx.mark_non_differentiable(rows)
    ctx.set_materialize_grads(False)


def _convolution_gradient(
    ctx: Any, grad: Tensor | None, _: None, grad_background: Tensor | None
) -> tuple[Tensor | None, ...]:
    if grad is None and grad_background is None:
        return (None,) * 11
    values, rows, forward_background, features, weight, background, *saved = ctx.saved_tensors
    sites, out, pooled = _sites_of(ctx, saved)
    if not ctx.has_background:
        grad_background = None
    # the input of the first layer, features or background, needs no gradient
    of_input = bool(ctx.needs_input_grad[0] or ctx.needs_input_grad[3])
    features_grad, weight_grad, bias_grad, background_grad = call(
        "convolution_backward", features.new_zeros(ctx.shape) if grad is None else grad.contiguous(), grad_background,
        values, rows, forward_background, features, weight, background, of_input,
        sites, out, ctx.geometry, ctx.slope, pooled, ctx.pool_geometry, ctx.engine,
    )  # fmt: skip
    return (
        features_grad if ctx.needs_input_grad[0] else None,
        weight_grad if ctx.needs_input_grad[1] else None,
        bias_grad if ctx.has_bias else None,
        background_grad if ctx.has_background else None,
        *[None] * 7,
    )


def _keep_max_pool(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, background, sites, out, ctx.geometry, ctx.engine = inputs
    ctx.has_background = background is not None
    _keep(ctx, (output[1],), (sites, out))
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _max_pool_gradient(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 6
    rows, *saved = ctx.saved_tensors
    features_grad, background_grad = call(
        "max_pool_backward", grad.contiguous(), rows, *_sites_of(ctx, saved), ctx.geometry, ctx.engine
    )
    return features_grad, background_grad if ctx.has_background else None, *[None] * 4


def _keep_avg_pool(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, background, sites, out, ctx.geometry, ctx.engine = inputs
    ctx.has_background = background is not None
    _keep(ctx, (), (sites, out))


def _avg_pool_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    where = (*_sites_of(ctx, ctx.saved_tensors), ctx.geometry, ctx.engine)
    features_grad, background_grad = call("avg_pool_backward", grad.contiguous(), not ctx.has_background, *where)
    return features_grad, background_grad if ctx.has_background else None, *[None] * 4


def _keep_batch_norm(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    features, weight, bias, other, ctx.eps, ctx.slope, ctx.engine = inputs
    ctx.has_weight, ctx.has_bias, ctx.has_other = (each is not None for each in (weight, bias, other))
    values, mean, variance = output
    ctx.save_for_backward(values, mean, variance, features, weight)
    ctx.mark_non_differentiable(mean, variance)
    ctx.set_materialize_grads(False)


def _batch_norm_gradient(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 7
    values, mean, variance, features, weight = ctx.saved_tensors
    of_features, of_weight, of_bias, of_other = call(
        "batch_norm_backward",
        grad.contiguous(), values, mean, variance, features, weight, ctx.has_other, ctx.eps, ctx.slope, ctx.engine,
    )  # fmt: skip
    return (
        of_features,
        of_weight if ctx.has_weight else None,
        of_bias if ctx.has_bias else None,
        of_other if ctx.has_other else None,
        *[None] * 3,
    )


class Gradient(NamedTuple):
    """What torch asks for of an operator."""

    keep: Callable[..., None]
    """(ctx, inputs, output): what the backward pass needs."""
    backward: Callable[..., tuple[Tensor | None, ...]]
    """(ctx, *gradients of the outputs): those of the inputs."""


def _once(gradient: Callable[..., tuple[Tensor | None, ...]]) -> Callable[..., tuple[Tensor | None, ...]]:
    @wraps(gradient)
    def checked(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            gradients = gradient(ctx, *grads)
        if not torch.is_grad_enabled():
            return gradients
        # create_graph: torch would take what is made here for constants, and be silently wrong
        sources = [each for each in (*ctx.saved_tensors, *grads) if each is not None and each.requires_grad]
        mark: Callable[..., Tensor] = _Undifferentiable.apply
        return tuple(None if each is None else mark(each, *sources) for each in gradients)

    return checked


class _Undifferentiable(torch.autograd.Function):
    """A gradient made from ``sources`` that must not be differentiated again."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, *sources: Tensor) -> Tensor:
        return grad.view_as(grad)

    @staticmethod
    def backward(ctx: Any, *_: Any) -> None:
        raise NotImplementedError(
            "sparse operators have first derivatives only, and a second was asked for; leave out create_graph=True"
        )


GRADIENTS = {
    "convolution": Gradient(_keep_convolution, _once(_convolution_gradient)),
    "max_pool": Gradient(_keep_max_pool, _once(_max_pool_gradient)),
    "avg_pool": Gradient(_keep_avg_pool, _once(_avg_pool_gradient)),
    "batch_norm": Gradient(_keep_batch_norm, _once(_batch_norm_gradient)),
}


def _function(name: str, gradient: Gradient) -> Any:
    def forward(ctx: Any, *inputs: Any) -> Any:  # without setup_context, which binds a signature at each call
        output = EXECUTED[name](*inputs)
        gradient.keep(ctx, inputs, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(gradient.backward)}
    return type(name, (torch.autograd.Function,), members)


_FUNCTIONS = {name: _function(name, gradient) for name, gradient in GRADIENTS.items()}


# -- layers one after the other, for engines that run them in one call ------------------------------


def differentiable_chain(engine: RunsChains[C], plan: C, layers: Sequence[Layer], inputs: Rows) -> Rows:
    """:meth:`RunsChains.run_chain` with a gradient: one node of torch's graph for all layers."""
    weights = (tensor for layer in layers for tensor in (layer.weight, layer.bias))
    tensors = map(_savable, (*inputs, *weights))
    rows: tuple[Tensor, Tensor | None] = _Chain.apply(engine, plan, layers, *tensors)  # type: ignore[no-untyped-call]
    return Rows(*rows)


def _chain_gradient(ctx: Any, grad: Tensor | None, grad_background: Tensor | None) -> tuple[Tensor | None, ...]:
    not_tensors = (None,) * 3
    needed = ctx.needs_input_grad[len(not_tensors) :]
    if grad is None and grad_background is None:
        return (*not_tensors, *[None] * len(needed))
    values, forward_background, between, features, background, *weights = ctx.saved_tensors
    forward = FusedChain(values, forward_background, between)
    layers = [
        Layer(place, weight, bias, slope)
        for (place, slope), weight, bias in zip(ctx.layers, weights[::2], weights[1::2], strict=True)
    ]
    if grad is None:
        grad = torch.zeros_like(values)
    gradients = ctx.engine.run_chain_backward(
        Rows(grad, grad_background), forward, Rows(features, background), layers, ctx.plan, needed
    )
    return (*not_tensors, *gradients)


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, engine: RunsChains[C], plan: C, layers: Sequence[Layer], features: Tensor, background: Tensor | None,
        *weights: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        forward = engine.run_chain_for_backward(Rows(features, background), layers, plan)
        # the tensors of the layers are saved by torch, which sees when one is written to before the backward pass
        ctx.engine, ctx.plan, ctx.layers = engine, plan, [(layer.place, layer.slope) for layer in layers]
        ctx.save_for_backward(*forward, features, background, *weights)
        ctx.set_materialize_grads(False)
        return forward.values, forward.background

    backward = staticmethod(_once(_chain_gradient))
