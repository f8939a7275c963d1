"""The operators as torch knows them, ``torch.ops.sparse3d``: schemas and shapes, bound to deeds and gradients.

So autograd, ``torch.compile`` and ``torch.export`` see ordinary operators of plain tensors. Each says where it works by
indices and packed geometries, and on which engine by name; an optional result that is not there is an empty tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.autograd.execution import EXECUTED
from napari_sparse3d.sparse.autograd.gradients import GRADIENTS

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
    "convolution_backward(Tensor grad, Tensor? grad_background, Tensor? values, Tensor? rows, "
    f"Tensor? forward_background, Tensor features, Tensor weight, Tensor? background, bool of_features, {_FUSED_PLACE})"
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

for _name, _execute in EXECUTED.items():
    torch.library.impl(f"sparse3d::{_name}", "CompositeExplicitAutograd", lib=_library)(_execute)

for _name, _gradient in GRADIENTS.items():
    torch.library.register_autograd(
        f"sparse3d::{_name}", _gradient.backward, setup_context=_gradient.keep, lib=_library
    )


# -- shapes, for tracing ---------------------------------------------------------------------------

_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Decorator(Protocol):
    def __call__(self, function: _Function) -> _Function: ...


def _shape_rule(name: str) -> _Decorator:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def checked(*arguments: Any) -> Any:
            # one array on the meta device brings a call here, and what the others hold would be left out of the result
            devices = {str(each.device) for each in arguments if isinstance(each, Tensor)}
            if len(devices) > 1:
                raise InputError(f"{name} takes tensors on one device, got {' and '.join(sorted(devices))}")
            return function(*arguments)

        return cast(Callable[..., Any], torch.library.register_fake(f"sparse3d::{name}", checked, lib=_library))

    return cast(_Decorator, register)


@_shape_rule("output_sites")
def _(indices: Tensor, geometry: list[int], name: str) -> Tensor:
    return indices.new_empty((torch.library.get_ctx().new_dynamic_size(), 4))


@_shape_rule("convolution")
def _(
    features: Tensor, weight: Tensor, bias: Any, background: Any, in_indices: Tensor, out_indices: Tensor,
    geometry: Any, slope: float, pool_indices: Tensor | None, *_: Any,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    channels = weight.shape[0]
    result_background = features.new_empty(0 if background is None else channels)
    if pool_indices is None:
        return features.new_empty((out_indices.shape[0], channels)), in_indices.new_empty(0), result_background
    shape = (pool_indices.shape[0], channels)
    return features.new_empty(shape), in_indices.new_empty(shape), result_background


@_shape_rule("convolution_backward")
def _(
    grad: Tensor, grad_background: Any, values: Any, rows: Any, forward_background: Any,
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
