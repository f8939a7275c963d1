"""The operators on sparse features, registered with ``torch.library`` under ``torch.ops.sparse3d``.

Each takes plain tensors (features, and the indices they stand at), so that autograd, ``torch.compile`` and
``torch.export`` see ordinary operators; the plan behind them is found by the indices (see :mod:`plans`) and executed by
the engine in use (see :mod:`engine`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from napari_sparse3d.sparse import plans
from napari_sparse3d.sparse.engine import Engine, _constant_in_compiled, engine, engine_name
from napari_sparse3d.sparse.window import Geometry

_OptionalTensor = TypeVar("_OptionalTensor", Tensor, Tensor | None)

# -- public: what the modules call -----------------------------------------------------------------


def output_sites(indices: Tensor, geometry: Geometry) -> Tensor:
    """Every output site with an active input in its window.

    Parameters
    ----------
    indices : Tensor
        (N, 4) int32 [b, z, y, x].
    geometry : Geometry
        The window and the grids.

    Returns
    -------
    Tensor
        (M, 4) int32 [b, z, y, x], raster order.
    """
    name = engine_name(indices.device.type)
    if _plain(indices):
        return plans.output_sites(engine(name), indices, geometry)
    made: Tensor = torch.ops.sparse3d.output_sites(indices, geometry.pack(), name)
    return made


def convolution(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    background: Tensor | None,
    in_indices: Tensor,
    out_indices: Tensor,
    geometry: Geometry,
) -> Tensor:
    """Sum over the window, plus bias; a missing input is the background.

    Parameters
    ----------
    features : Tensor
        (N, C_in).
    weight : Tensor
        (C_out, kz, ky, kx, C_in).
    bias : Tensor, optional
        (C_out,).
    background : Tensor, optional
        (C_in,).
    in_indices, out_indices : Tensor
        (N, 4) and (M, 4) int32 [b, z, y, x].
    geometry : Geometry
        The window and the grids; transposed for inverse and transposed convolutions.

    Returns
    -------
    Tensor
        (M, C_out).
    """
    name = engine_name(features.device.type)
    if name != "native" and torch.is_autocast_enabled(features.device.type):  # the kernels have no half types
        features, weight, bias, background = (
            _autocast(features), _autocast(weight), _autocast(bias), _autocast(background)
        )  # fmt: skip
    if _plain(features, weight, bias, background):
        chosen = engine(name)
        made = plans.plan(chosen, in_indices, out_indices, geometry)
        return chosen.convolution(features, weight, bias, background, made)
    result: Tensor = torch.ops.sparse3d.convolution(
        features, weight, bias, background, in_indices, out_indices, geometry.pack(), name
    )
    return result


def max_pool(
    features: Tensor, background: Tensor | None, in_indices: Tensor, out_indices: Tensor, geometry: Geometry
) -> Tensor:
    """Largest value in the window, (N, C) -> (M, C); a missing input is the background."""
    name = engine_name(features.device.type)
    if _plain(features, background):
        chosen = engine(name)
        return chosen.max_pool(features, background, plans.plan(chosen, in_indices, out_indices, geometry))[0]
    values, _ = torch.ops.sparse3d.max_pool(features, background, in_indices, out_indices, geometry.pack(), name)
    return cast(Tensor, values)


def pooled_convolution(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    background: Tensor | None,
    pool_background: Tensor | None,
    in_indices: Tensor,
    out_indices: Tensor,
    geometry: Geometry,
    pool_indices: Tensor,
    pool_geometry: Geometry,
) -> Tensor:
    """:func:`max_pool` of :func:`convolution` in one pass, (N, C_in) -> (P, C_out).

    ``pool_background`` (C_out,) is the background after the convolution; ``pool_indices`` (P, 4) are the pool's sites.
    """
    name = engine_name(features.device.type)
    if _plain(features, weight, bias, background, pool_background):
        chosen = engine(name)
        plan = plans.plan(chosen, in_indices, out_indices, geometry)
        pool_plan = plans.plan(chosen, out_indices, pool_indices, pool_geometry)
        return chosen.pooled_convolution(features, weight, bias, background, plan, pool_background, pool_plan)[0]
    place = (in_indices, out_indices, geometry.pack(), pool_indices, pool_geometry.pack(), name)
    values, _ = torch.ops.sparse3d.pooled_convolution(features, weight, bias, background, pool_background, *place)
    return cast(Tensor, values)


@_constant_in_compiled
def fuses_pools(device_type: str) -> bool:
    """Whether :func:`pooled_convolution` is better than one operator after the other, on the engine in use."""
    return engine(engine_name(device_type)).fuses_pools


def avg_pool(
    features: Tensor, background: Tensor | None, in_indices: Tensor, out_indices: Tensor, geometry: Geometry
) -> Tensor:
    """Mean over the window, (N, C) -> (M, C); a missing input is the background, or is left out where that is None."""
    name = engine_name(features.device.type)
    if _plain(features, background):
        chosen = engine(name)
        return chosen.avg_pool(features, background, plans.plan(chosen, in_indices, out_indices, geometry))
    result: Tensor = torch.ops.sparse3d.avg_pool(features, background, in_indices, out_indices, geometry.pack(), name)
    return result


def _autocast(tensor: _OptionalTensor) -> _OptionalTensor:
    """In autocast's type, as torch's own convolutions take their inputs."""
    if tensor is None or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(tensor.device.type))


def _plain(*tensors: Tensor | None) -> bool:
    """Whether nothing watches: no gradient, no tracing. Then the engine is called at once, past the dispatcher."""
    if torch.compiler.is_compiling():
        return False
    watched = torch.is_grad_enabled()
    for tensor in tensors:
        if tensor is None:
            continue
        if watched and tensor.requires_grad:
            return False
        if type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter:
            return False
    return True


# -- schemas ---------------------------------------------------------------------------------------

_PLACE = "Tensor in_indices, Tensor out_indices, int[] geometry, str engine"
_library: Any = torch.library.Library("sparse3d", "DEF")  # type: ignore[no-untyped-call]
_library.define("output_sites(Tensor indices, int[] geometry, str engine) -> Tensor")
_library.define(f"convolution(Tensor features, Tensor weight, Tensor? bias, Tensor? background, {_PLACE}) -> Tensor")
_library.define(
    "convolution_backward(Tensor grad, Tensor features, Tensor weight, Tensor? background, bool of_features, "
    f"{_PLACE})"
    " -> (Tensor, Tensor, Tensor, Tensor)"
)
_library.define(f"max_pool(Tensor features, Tensor? background, {_PLACE}) -> (Tensor, Tensor)")
_library.define(f"max_pool_backward(Tensor grad, Tensor rows, {_PLACE}) -> (Tensor, Tensor)")
_TWO_PLACES = (
    "Tensor in_indices, Tensor out_indices, int[] geometry, Tensor pool_indices, int[] pool_geometry, str engine"
)
_library.define(
    "pooled_convolution(Tensor features, Tensor weight, Tensor? bias, Tensor? background, Tensor? pool_background, "
    f"{_TWO_PLACES}) -> (Tensor, Tensor)"
)
_library.define(
    "pooled_convolution_backward(Tensor grad, Tensor rows, Tensor features, Tensor weight, Tensor? background, "
    f"bool of_features, {_TWO_PLACES}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)"
)
_library.define(f"avg_pool(Tensor features, Tensor? background, {_PLACE}) -> Tensor")
_library.define(f"avg_pool_backward(Tensor grad, bool over_active, {_PLACE}) -> (Tensor, Tensor)")


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


@_operator("output_sites")
def _(indices: Tensor, geometry: list[int], name: str) -> Tensor:
    return plans.output_sites(engine(name), indices, Geometry.unpack(geometry))


@_operator("convolution")
def _(
    features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None,
    in_indices: Tensor, out_indices: Tensor, geometry: list[int], name: str,
) -> Tensor:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    return chosen.convolution(features, weight, bias, background, plan)


@_operator("convolution_backward")
def _(
    grad: Tensor, features: Tensor, weight: Tensor, background: Tensor | None, of_features: bool,
    in_indices: Tensor, out_indices: Tensor, geometry: list[int], name: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    *known, of_background = chosen.convolution_backward(
        grad, features, weight, background, plan, of_features=of_features
    )
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


@_operator("pooled_convolution")
def _(
    features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, pool_background: Tensor | None,
    in_indices: Tensor, out_indices: Tensor, geometry: list[int],
    pool_indices: Tensor, pool_geometry: list[int], name: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    _, pool_plan = _planned(name, out_indices, pool_indices, pool_geometry)
    return chosen.pooled_convolution(features, weight, bias, background, plan, pool_background, pool_plan)


@_operator("pooled_convolution_backward")
def _(
    grad: Tensor, rows: Tensor, features: Tensor, weight: Tensor, background: Tensor | None, of_features: bool,
    in_indices: Tensor, out_indices: Tensor, geometry: list[int],
    pool_indices: Tensor, pool_geometry: list[int], name: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    _, pool_plan = _planned(name, out_indices, pool_indices, pool_geometry)
    made = chosen.pooled_convolution_backward(
        grad, rows, features, weight, background, plan, pool_plan, of_features=of_features
    )
    *known, of_background, of_pool_background = made
    if of_background is None:
        of_background = grad.new_empty(0)
    return known[0], known[1], known[2], of_background, of_pool_background


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


# -- shapes, for tracing ---------------------------------------------------------------------------


@_shape_rule("output_sites")
def _(indices: Tensor, geometry: list[int], name: str) -> Tensor:
    return indices.new_empty((torch.library.get_ctx().new_dynamic_size(), 4))


@_shape_rule("convolution")
def _(
    features: Tensor, weight: Tensor, bias: Any, background: Any, in_indices: Any, out_indices: Tensor, *_: Any
) -> Tensor:
    return features.new_empty((out_indices.shape[0], weight.shape[0]))


@_shape_rule("convolution_backward")
def _(
    grad: Tensor, features: Tensor, weight: Tensor, background: Tensor | None, of_features: bool, *_: Any
) -> tuple[Tensor, ...]:
    background_grad = grad.new_empty(0) if background is None else torch.empty_like(background)
    features_grad = torch.empty_like(features) if of_features else grad.new_empty(0)
    return features_grad, torch.empty_like(weight), grad.new_empty(weight.shape[0]), background_grad


@_shape_rule("max_pool")
def _(features: Tensor, background: Any, in_indices: Any, out_indices: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    shape = (out_indices.shape[0], features.shape[1])
    return features.new_empty(shape), features.new_empty(shape, dtype=torch.int32)


@_shape_rule("pooled_convolution")
def _(features: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    shape = (rest[-3].shape[0], weight.shape[0])
    return features.new_empty(shape), features.new_empty(shape, dtype=torch.int32)


@_shape_rule("pooled_convolution_backward")
def _(
    grad: Tensor, rows: Tensor, features: Tensor, weight: Tensor, background: Tensor | None, of_features: bool, *_: Any
) -> tuple[Tensor, ...]:
    background_grad = grad.new_empty(0) if background is None else torch.empty_like(background)
    bias_grad = grad.new_empty(weight.shape[0])
    features_grad = torch.empty_like(features) if of_features else grad.new_empty(0)
    return features_grad, torch.empty_like(weight), bias_grad, background_grad, torch.empty_like(bias_grad)


@_shape_rule("avg_pool")
def _(features: Tensor, background: Any, in_indices: Any, out_indices: Tensor, *_: Any) -> Tensor:
    return features.new_empty((out_indices.shape[0], features.shape[1]))


@_shape_rule("max_pool_backward")
def _(grad: Tensor, rows: Tensor, in_indices: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return grad.new_empty((in_indices.shape[0], grad.shape[1])), grad.new_empty(grad.shape[1])


@_shape_rule("avg_pool_backward")
def _(grad: Tensor, over_active: bool, in_indices: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return grad.new_empty((in_indices.shape[0], grad.shape[1])), grad.new_empty(grad.shape[1])


# -- gradients -------------------------------------------------------------------------------------


def _keep_convolution(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, weight, bias, background, in_indices, out_indices, ctx.geometry, ctx.engine = inputs
    ctx.has_bias, ctx.has_background = bias is not None, background is not None
    ctx.save_for_backward(features, weight, background, in_indices, out_indices)


def _of_input(ctx: Any) -> bool:
    """Whether a convolution's input, features or background, needs a gradient: the first layer's does not."""
    return bool(ctx.needs_input_grad[0] or ctx.needs_input_grad[3])


def _convolution_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    features, weight, background, in_indices, out_indices = ctx.saved_tensors
    features_grad, weight_grad, bias_grad, background_grad = torch.ops.sparse3d.convolution_backward(
        grad.contiguous(),
        features,
        weight,
        background,
        _of_input(ctx),
        in_indices,
        out_indices,
        ctx.geometry,
        ctx.engine,
    )
    return (
        features_grad if ctx.needs_input_grad[0] else None,
        weight_grad if ctx.needs_input_grad[1] else None,
        bias_grad if ctx.has_bias else None,
        background_grad if ctx.has_background else None,
        *[None] * 4,
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


def _keep_pooled_convolution(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    features, weight, bias, background, pool_background, in_indices, out_indices, ctx.geometry, *rest = inputs
    pool_indices, ctx.pool_geometry, ctx.engine = rest
    ctx.has_bias, ctx.has_background, ctx.has_pool_background = (
        given is not None for given in (bias, background, pool_background)
    )
    ctx.save_for_backward(output[1], features, weight, background, in_indices, out_indices, pool_indices)
    ctx.mark_non_differentiable(output[1])
    ctx.set_materialize_grads(False)


def _pooled_convolution_gradient(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 11
    rows, features, weight, background, in_indices, out_indices, pool_indices = ctx.saved_tensors
    place = (in_indices, out_indices, ctx.geometry, pool_indices, ctx.pool_geometry, ctx.engine)
    given = (grad.contiguous(), rows, features, weight, background, _of_input(ctx))
    features_grad, weight_grad, bias_grad, background_grad, pool_background_grad = (
        torch.ops.sparse3d.pooled_convolution_backward(*given, *place)
    )
    return (
        features_grad if ctx.needs_input_grad[0] else None,
        weight_grad if ctx.needs_input_grad[1] else None,
        bias_grad if ctx.has_bias else None,
        background_grad if ctx.has_background else None,
        pool_background_grad if ctx.has_pool_background else None,
        *[None] * 6,
    )


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


for _name, _gradient, _keep in (
    ("convolution", _convolution_gradient, _keep_convolution),
    ("max_pool", _max_pool_gradient, _keep_max_pool),
    ("pooled_convolution", _pooled_convolution_gradient, _keep_pooled_convolution),
    ("avg_pool", _avg_pool_gradient, _keep_avg_pool),
):
    torch.library.register_autograd(f"sparse3d::{_name}", _gradient, setup_context=_keep, lib=_library)
