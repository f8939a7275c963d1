"""The operators as torch knows them, ``torch.ops.sparse3d``: schemas, what they do, shapes, gradients.

So autograd, ``torch.compile`` and ``torch.export`` see ordinary operators of plain tensors. Each says where it works by
indices and packed geometries, and on which engine by name; an optional result that is not there is an empty tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from napari_sparse3d.sparse import plans
from napari_sparse3d.sparse.engine import Engine, Fused, Normalized, engine
from napari_sparse3d.sparse.window import Geometry

_library: Any = torch.library.Library("sparse3d", "DEF")  # type: ignore[no-untyped-call]
_PLACE = "Tensor in_indices, Tensor out_indices, int[] geometry, str engine"
_FUSED_PLACE = (
    "Tensor in_indices, Tensor out_indices, int[] geometry, float slope, Tensor? pool_indices, int[] pool_geometry, "
    "str engine"
)
for _schema in (
    "output_sites(Tensor indices, int[] geometry, str engine) -> Tensor",
    f"convolution(Tensor features, Tensor weight, Tensor? bias, Tensor? background, {_FUSED_PLACE})"
    " -> (Tensor values, Tensor rows, Tensor background)",
    "convolution_backward(Tensor grad, Tensor? grad_background, Tensor? values, Tensor? rows, Tensor? made_background, "
    f"Tensor features, Tensor weight, Tensor? background, bool of_features, {_FUSED_PLACE})"
    " -> (Tensor features, Tensor weight, Tensor bias, Tensor background)",
    f"max_pool(Tensor features, Tensor? background, {_PLACE}) -> (Tensor values, Tensor rows)",
    f"max_pool_backward(Tensor grad, Tensor rows, {_PLACE}) -> (Tensor features, Tensor background)",
    f"avg_pool(Tensor features, Tensor? background, {_PLACE}) -> Tensor",
    f"avg_pool_backward(Tensor grad, bool over_active, {_PLACE}) -> (Tensor features, Tensor background)",
    "batch_norm(Tensor features, Tensor? weight, Tensor? bias, Tensor? other, float eps, float slope, str engine)"
    " -> (Tensor values, Tensor mean, Tensor variance)",
    "batch_norm_backward(Tensor grad, Tensor values, Tensor mean, Tensor variance, Tensor features, Tensor? weight, "
    "bool of_other, float eps, float slope, str engine)"
    " -> (Tensor features, Tensor weight, Tensor bias, Tensor other)",
):
    _library.define(_schema)

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Decorator(Protocol):
    def __call__(self, function: _Function) -> _Function: ...


def _operator(name: str) -> _Decorator:
    return cast(_Decorator, torch.library.impl(f"sparse3d::{name}", "CompositeExplicitAutograd", lib=_library))


def _shape_rule(name: str) -> _Decorator:
    return cast(_Decorator, torch.library.register_fake(f"sparse3d::{name}", lib=_library))


# -- what they do: find the plan, call the engine --------------------------------------------------


def _planned(name: str, in_indices: Tensor, out_indices: Tensor, geometry: list[int]) -> tuple[Engine, Any]:
    chosen = engine(name)
    return chosen, plans.plan(chosen, in_indices, out_indices, Geometry.unpack(geometry))


def _pool_plan(chosen: Engine, indices: Tensor, pool_indices: Tensor | None, pool_geometry: list[int]) -> Any:
    if pool_indices is None:
        return None
    return plans.plan(chosen, indices, pool_indices, Geometry.unpack(pool_geometry))


@_operator("output_sites")
def _(indices: Tensor, geometry: list[int], name: str) -> Tensor:
    return plans.output_sites(engine(name), indices, Geometry.unpack(geometry))


@_operator("convolution")
def _(
    features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None,
    in_indices: Tensor, out_indices: Tensor, geometry: list[int],
    slope: float, pool_indices: Tensor | None, pool_geometry: list[int], name: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    made = chosen.fused_convolution(
        features, weight, bias, background, plan,
        slope=slope, pool_plan=_pool_plan(chosen, out_indices, pool_indices, pool_geometry),
    )  # fmt: skip
    rows = in_indices.new_empty(0) if made.rows is None else made.rows
    return made.values, rows, features.new_empty(0) if made.background is None else made.background


@_operator("convolution_backward")
def _(
    grad: Tensor, grad_background: Tensor | None, values: Tensor | None, rows: Tensor | None,
    made_background: Tensor | None, features: Tensor, weight: Tensor, background: Tensor | None, of_features: bool,
    in_indices: Tensor, out_indices: Tensor, geometry: list[int],
    slope: float, pool_indices: Tensor | None, pool_geometry: list[int], name: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    *known, of_background = chosen.fused_convolution_backward(
        grad, grad_background, Fused(grad if values is None else values, rows, made_background),
        features, weight, background, plan,
        slope=slope, pool_plan=_pool_plan(chosen, out_indices, pool_indices, pool_geometry), of_features=of_features,
    )  # fmt: skip
    return known[0], known[1], known[2], grad.new_empty(0) if of_background is None else of_background


@_operator("max_pool")
def _(
    features: Tensor, background: Tensor | None,
    in_indices: Tensor, out_indices: Tensor, geometry: list[int], name: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    return chosen.max_pool(features, background, plan)


@_operator("max_pool_backward")
def _(
    grad: Tensor, rows: Tensor, in_indices: Tensor, out_indices: Tensor, geometry: list[int], name: str
) -> tuple[Tensor, Tensor]:
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    return chosen.max_pool_backward(grad, rows, plan)


@_operator("avg_pool")
def _(
    features: Tensor, background: Tensor | None,
    in_indices: Tensor, out_indices: Tensor, geometry: list[int], name: str,
) -> Tensor:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    return chosen.avg_pool(features, background, plan)


@_operator("avg_pool_backward")
def _(
    grad: Tensor, over_active: bool, in_indices: Tensor, out_indices: Tensor, geometry: list[int], name: str
) -> tuple[Tensor, Tensor]:
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    return chosen.avg_pool_backward(grad, plan, over_active=over_active)


@_operator("batch_norm")
def _(
    features: Tensor, weight: Tensor | None, bias: Tensor | None, other: Tensor | None,
    eps: float, slope: float, name: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return engine(name).batch_norm(features, weight, bias, other, eps=eps, slope=slope)


@_operator("batch_norm_backward")
def _(
    grad: Tensor, values: Tensor, mean: Tensor, variance: Tensor, features: Tensor, weight: Tensor | None,
    of_other: bool, eps: float, slope: float, name: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    *known, other = engine(name).batch_norm_backward(
        grad, Normalized(values, mean, variance), features, weight, eps=eps, slope=slope, of_other=of_other
    )
    return known[0], known[1], known[2], grad.new_empty(0) if other is None else other


# -- shapes, for tracing ---------------------------------------------------------------------------


@_shape_rule("output_sites")
def _(indices: Tensor, geometry: list[int], name: str) -> Tensor:
    return indices.new_empty((torch.library.get_ctx().new_dynamic_size(), 4))


@_shape_rule("convolution")
def _(
    features: Tensor, weight: Tensor, bias: Any, background: Any, in_indices: Tensor, out_indices: Tensor,
    geometry: Any, slope: float, pool_indices: Tensor | None, *_: Any,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    channels = weight.shape[0]
    made_background = features.new_empty(0 if background is None else channels)
    if pool_indices is None:
        return features.new_empty((out_indices.shape[0], channels)), in_indices.new_empty(0), made_background
    shape = (pool_indices.shape[0], channels)
    return features.new_empty(shape), in_indices.new_empty(shape), made_background


@_shape_rule("convolution_backward")
def _(
    grad: Tensor, grad_background: Any, values: Any, rows: Any, made_background: Any,
    features: Tensor, weight: Tensor, background: Tensor | None, of_features: bool, *_: Any,
) -> tuple[Tensor, ...]:  # fmt: skip
    background_grad = grad.new_empty(0) if background is None else torch.empty_like(background)
    features_grad = torch.empty_like(features) if of_features else grad.new_empty(0)
    return features_grad, torch.empty_like(weight), grad.new_empty(weight.shape[0]), background_grad


@_shape_rule("max_pool")
def _(features: Tensor, background: Any, in_indices: Any, out_indices: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    shape = (out_indices.shape[0], features.shape[1])
    return features.new_empty(shape), features.new_empty(shape, dtype=torch.int32)


@_shape_rule("max_pool_backward")
def _(grad: Tensor, rows: Tensor, in_indices: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return grad.new_empty((in_indices.shape[0], grad.shape[1])), grad.new_empty(grad.shape[1])


@_shape_rule("avg_pool")
def _(features: Tensor, background: Any, in_indices: Any, out_indices: Tensor, *_: Any) -> Tensor:
    return features.new_empty((out_indices.shape[0], features.shape[1]))


@_shape_rule("avg_pool_backward")
def _(grad: Tensor, over_active: bool, in_indices: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return grad.new_empty((in_indices.shape[0], grad.shape[1])), grad.new_empty(grad.shape[1])


@_shape_rule("batch_norm")
def _(features: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    channels = features.shape[1]
    return torch.empty_like(features), features.new_empty(channels), features.new_empty(channels)


@_shape_rule("batch_norm_backward")
def _(
    grad: Tensor, values: Any, mean: Tensor, variance: Any, features: Tensor, weight: Any, of_other: bool, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    other = torch.empty_like(grad) if of_other else grad.new_empty(0)
    return torch.empty_like(features), torch.empty_like(mean), torch.empty_like(mean), other


# -- gradients -------------------------------------------------------------------------------------


def _keep_convolution(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    features, weight, bias, background, in_indices, out_indices, ctx.geometry, ctx.slope, pool_indices, *rest = inputs
    ctx.pool_geometry, ctx.engine = rest
    ctx.has_bias, ctx.has_background = bias is not None, background is not None
    values, rows, made_background = output
    activated = ctx.slope != 1  # else the backward pass needs no values
    ctx.save_for_backward(
        values if activated else None,
        rows if pool_indices is not None else None,
        made_background if activated and ctx.has_background else None,
        features, weight, background, in_indices, out_indices, pool_indices,
    )  # fmt: skip
    ctx.shape = values.shape
    ctx.mark_non_differentiable(rows)
    ctx.set_materialize_grads(False)


def _convolution_gradient(
    ctx: Any, grad: Tensor | None, _: None, grad_background: Tensor | None
) -> tuple[Tensor | None, ...]:
    if grad is None and grad_background is None:
        return (None,) * 11
    values, rows, made_background, features, weight, background, in_indices, out_indices, pool_indices = (
        ctx.saved_tensors
    )
    if not ctx.has_background:
        grad_background = None
    # the input of the first layer, features or background, needs no gradient
    of_input = bool(ctx.needs_input_grad[0] or ctx.needs_input_grad[3])
    features_grad, weight_grad, bias_grad, background_grad = torch.ops.sparse3d.convolution_backward(
        features.new_zeros(ctx.shape) if grad is None else grad.contiguous(), grad_background,
        values, rows, made_background, features, weight, background, of_input,
        in_indices, out_indices, ctx.geometry, ctx.slope, pool_indices, ctx.pool_geometry, ctx.engine,
    )  # fmt: skip
    return (
        features_grad if ctx.needs_input_grad[0] else None,
        weight_grad if ctx.needs_input_grad[1] else None,
        bias_grad if ctx.has_bias else None,
        background_grad if ctx.has_background else None,
        *[None] * 7,
    )


def _keep_max_pool(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, background, in_indices, out_indices, ctx.geometry, ctx.engine = inputs
    ctx.has_background = background is not None
    ctx.save_for_backward(output[1], in_indices, out_indices)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _max_pool_gradient(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 6
    rows, in_indices, out_indices = ctx.saved_tensors
    features_grad, background_grad = torch.ops.sparse3d.max_pool_backward(
        grad.contiguous(), rows, in_indices, out_indices, ctx.geometry, ctx.engine
    )
    return features_grad, background_grad if ctx.has_background else None, *[None] * 4


def _keep_avg_pool(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, background, in_indices, out_indices, ctx.geometry, ctx.engine = inputs
    ctx.has_background = background is not None
    ctx.save_for_backward(in_indices, out_indices)


def _avg_pool_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    in_indices, out_indices = ctx.saved_tensors
    features_grad, background_grad = torch.ops.sparse3d.avg_pool_backward(
        grad.contiguous(), not ctx.has_background, in_indices, out_indices, ctx.geometry, ctx.engine
    )
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
    of_features, of_weight, of_bias, of_other = torch.ops.sparse3d.batch_norm_backward(
        grad.contiguous(), values, mean, variance, features, weight, ctx.has_other, ctx.eps, ctx.slope, ctx.engine
    )
    return (
        of_features,
        of_weight if ctx.has_weight else None,
        of_bias if ctx.has_bias else None,
        of_other if ctx.has_other else None,
        *[None] * 3,
    )


for _name, _gradient, _keep in (
    ("convolution", _convolution_gradient, _keep_convolution),
    ("max_pool", _max_pool_gradient, _keep_max_pool),
    ("avg_pool", _avg_pool_gradient, _keep_avg_pool),
    ("batch_norm", _batch_norm_gradient, _keep_batch_norm),
):
    torch.library.register_autograd(f"sparse3d::{_name}", _gradient, setup_context=_keep, lib=_library)
