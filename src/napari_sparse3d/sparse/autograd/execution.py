"""What each operator does with real tensors: find the plan, call the engine.

Arguments are those of the schemas (see :mod:`registration`), in their order; the last say where (see :mod:`calls`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from napari_sparse3d.errors import EngineError, InputError
from napari_sparse3d.sparse.autograd.calls import Packed, Standing, Where, WhereFused, geometry_of, sites_read
from napari_sparse3d.sparse.contract import Filters, Fused, Normalized, Normalizes, Rows
from napari_sparse3d.sparse.engine import engine
from napari_sparse3d.sparse.sites import Sites


def _output_sites(standing: Standing, packed: Packed, name: str) -> Standing:
    geometry = geometry_of(packed)
    output = sites_read(standing, geometry).output(engine(name), geometry)
    return output if isinstance(standing, Sites) else output.indices


def _convolution(
    features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, *where: Any
) -> tuple[Tensor, Tensor, Tensor]:
    chosen, plan, then = WhereFused(*where).planned()
    result = chosen.fused_convolution(Rows(features, background), Filters(weight, bias), plan, then)
    rows = weight.new_empty(0, dtype=torch.int32) if result.rows is None else result.rows
    return result.values, rows, features.new_empty(0) if result.background is None else result.background


def _convolution_backward(
    grad: Tensor, grad_background: Tensor | None, values: Tensor | None, rows: Tensor | None,
    forward_background: Tensor | None, features: Tensor, weight: Tensor, background: Tensor | None, of_features: bool,
    *where: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    chosen, plan, then = WhereFused(*where).planned()
    if values is None and then.slope != 1:
        raise InputError("the gradient through an activation needs the values that it gave, got None")
    forward = Fused(grad if values is None else values, rows, forward_background)
    gradients = chosen.fused_convolution_backward(
        Rows(grad, grad_background), forward, Rows(features, background), weight, plan, then, of_features=of_features
    )
    of_background = grad.new_empty(0) if gradients.background is None else gradients.background
    return gradients.features, gradients.weight, gradients.bias, of_background


def _max_pool(features: Tensor, background: Tensor | None, *where: Any) -> tuple[Tensor, Tensor]:
    chosen, plan = Where(*where).planned()
    return chosen.max_pool(features, background, plan)


def _max_pool_backward(grad: Tensor, rows: Tensor, *where: Any) -> tuple[Tensor, Tensor]:
    chosen, plan = Where(*where).planned()
    return chosen.max_pool_backward(grad, rows, plan)


def _avg_pool(features: Tensor, background: Tensor | None, *where: Any) -> Tensor:
    chosen, plan = Where(*where).planned()
    return chosen.avg_pool(features, background, plan)


def _avg_pool_backward(grad: Tensor, over_active: bool, *where: Any) -> tuple[Tensor, Tensor]:
    chosen, plan = Where(*where).planned()
    return chosen.avg_pool_backward(grad, plan, over_active=over_active)


def _normalizing(name: str) -> Normalizes:
    chosen = engine(name)
    if not isinstance(chosen, Normalizes):
        raise EngineError(
            f"engine {name!r} has no batch normalisation of its own; use SparseBatchNorm, which needs none"
        )
    return chosen


def _batch_norm(
    features: Tensor, weight: Tensor | None, bias: Tensor | None, other: Tensor | None,
    eps: float, slope: float, name: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return _normalizing(name).batch_norm(features, weight, bias, other, eps=eps, slope=slope)


def _batch_norm_backward(
    grad: Tensor, values: Tensor, mean: Tensor, variance: Tensor, features: Tensor, weight: Tensor | None,
    of_other: bool, eps: float, slope: float, name: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    *known, other = _normalizing(name).batch_norm_backward(
        grad, Normalized(values, mean, variance), features, weight, eps=eps, slope=slope, of_other=of_other
    )
    return known[0], known[1], known[2], grad.new_empty(0) if other is None else other


EXECUTED: dict[str, Callable[..., Any]] = {
    "output_sites": _output_sites,
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "max_pool": _max_pool,
    "max_pool_backward": _max_pool_backward,
    "avg_pool": _avg_pool,
    "avg_pool_backward": _avg_pool_backward,
    "batch_norm": _batch_norm,
    "batch_norm_backward": _batch_norm_backward,
}
