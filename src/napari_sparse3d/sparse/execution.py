"""What each operator does with real tensors: find the plan, call the engine.

Arguments are those of the schemas (see :mod:`registration`). A geometry comes as itself, or as the integers that a
schema can carry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse import plans
from napari_sparse3d.sparse.arrays import check_slope
from napari_sparse3d.sparse.engine import Engine, Fused, Normalized, engine
from napari_sparse3d.sparse.window import Geometry

Packed = Geometry | Sequence[int]


def _geometry(packed: Packed) -> Geometry:
    return packed if isinstance(packed, Geometry) else Geometry.unpack(packed)


def _planned(name: str, in_indices: Tensor, out_indices: Tensor, geometry: Packed) -> tuple[Engine, Any]:
    chosen = engine(name)
    return chosen, plans.plan(chosen, in_indices, out_indices, _geometry(geometry))


def _pool_plan(chosen: Engine, indices: Tensor, pool_indices: Tensor | None, pool_geometry: Packed) -> Any:
    if pool_indices is None:
        return None
    return plans.plan(chosen, indices, pool_indices, _geometry(pool_geometry))


def _output_sites(indices: Tensor, geometry: Packed, name: str) -> Tensor:
    return plans.output_sites(engine(name), indices, _geometry(geometry))


def _convolution(
    features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None,
    in_indices: Tensor, out_indices: Tensor, geometry: Packed,
    slope: float, pool_indices: Tensor | None, pool_geometry: Packed, name: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    check_slope(slope)
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    made = chosen.fused_convolution(
        features, weight, bias, background, plan,
        slope=slope, pool_plan=_pool_plan(chosen, out_indices, pool_indices, pool_geometry),
    )  # fmt: skip
    rows = in_indices.new_empty(0) if made.rows is None else made.rows
    return made.values, rows, features.new_empty(0) if made.background is None else made.background


def _convolution_backward(
    grad: Tensor, grad_background: Tensor | None, values: Tensor | None, rows: Tensor | None,
    made_background: Tensor | None, features: Tensor, weight: Tensor, background: Tensor | None, of_features: bool,
    in_indices: Tensor, out_indices: Tensor, geometry: Packed,
    slope: float, pool_indices: Tensor | None, pool_geometry: Packed, name: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    check_slope(slope)
    if values is None and slope != 1:
        raise InputError("the gradient through an activation needs the values that it gave, got None")
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    *known, of_background = chosen.fused_convolution_backward(
        grad, grad_background, Fused(grad if values is None else values, rows, made_background),
        features, weight, background, plan,
        slope=slope, pool_plan=_pool_plan(chosen, out_indices, pool_indices, pool_geometry), of_features=of_features,
    )  # fmt: skip
    return known[0], known[1], known[2], grad.new_empty(0) if of_background is None else of_background


def _max_pool(
    features: Tensor, background: Tensor | None,
    in_indices: Tensor, out_indices: Tensor, geometry: Packed, name: str,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    return chosen.max_pool(features, background, plan)


def _max_pool_backward(
    grad: Tensor, rows: Tensor, in_indices: Tensor, out_indices: Tensor, geometry: Packed, name: str
) -> tuple[Tensor, Tensor]:
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    return chosen.max_pool_backward(grad, rows, plan)


def _avg_pool(
    features: Tensor, background: Tensor | None,
    in_indices: Tensor, out_indices: Tensor, geometry: Packed, name: str,
) -> Tensor:  # fmt: skip
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    return chosen.avg_pool(features, background, plan)


def _avg_pool_backward(
    grad: Tensor, over_active: bool, in_indices: Tensor, out_indices: Tensor, geometry: Packed, name: str
) -> tuple[Tensor, Tensor]:
    chosen, plan = _planned(name, in_indices, out_indices, geometry)
    return chosen.avg_pool_backward(grad, plan, over_active=over_active)


def _batch_norm(
    features: Tensor, weight: Tensor | None, bias: Tensor | None, other: Tensor | None,
    eps: float, slope: float, name: str,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return engine(name).batch_norm(features, weight, bias, other, eps=eps, slope=slope)


def _batch_norm_backward(
    grad: Tensor, values: Tensor, mean: Tensor, variance: Tensor, features: Tensor, weight: Tensor | None,
    of_other: bool, eps: float, slope: float, name: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    *known, other = engine(name).batch_norm_backward(
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
