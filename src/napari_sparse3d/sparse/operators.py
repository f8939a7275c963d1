"""The operators on sparse features: what the modules call.

Each takes plain tensors (features, and the indices they stand at); the plan behind them is found by the indices (see
:mod:`plans`) and executed by the engine in use (see :mod:`engine`): at once for inference, else as torch needs to see
it (see :mod:`gradients`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from napari_sparse3d.sparse import plans
from napari_sparse3d.sparse import registration as registration  # makes torch.ops.sparse3d
from napari_sparse3d.sparse.engine import Layer, Normalized, engine, engine_name
from napari_sparse3d.sparse.gradients import call, differentiable_chain, is_differentiated, is_traced
from napari_sparse3d.sparse.window import Geometry

_OptionalTensor = TypeVar("_OptionalTensor", Tensor, Tensor | None)


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
    made: Tensor = call("output_sites", indices, geometry, name)
    return made


class Convolved(NamedTuple):
    """What :func:`convolution` gives: features (P, C_out) and background (C_out,), None where the input has none."""

    features: Tensor
    background: Tensor | None


def convolution(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    background: Tensor | None,
    in_indices: Tensor,
    out_indices: Tensor,
    geometry: Geometry,
    *,
    slope: float = 1.0,
    pool: tuple[Tensor, Geometry] | None = None,
) -> Convolved:
    """Sum over the window, plus bias; a missing input is the background. Then activation and max pool, in one pass.

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
    slope : float
        Of a leaky ReLU, at least 0; 0 is ReLU, 1 none.
    pool : (Tensor, Geometry), optional
        Sites (P, 4) and geometry of a max pool of the result.

    Returns
    -------
    Convolved
        Features (M, C_out), or (P, C_out) pooled, and the background that they stand on. For a transposed geometry
        with a stride the background is right only where the input's is 0 (elsewhere there is no single one).
    """
    name = engine_name(features.device.type)
    if name != "native" and torch.is_autocast_enabled(features.device.type):  # the kernels have no half types
        features, weight, bias, background = (
            _autocast(features), _autocast(weight), _autocast(bias), _autocast(background)
        )  # fmt: skip
    if _plain(features, weight, bias, background):
        chosen = engine(name)
        made = chosen.fused_convolution(
            features,
            weight,
            bias,
            background,
            plans.plan(chosen, in_indices, out_indices, geometry),
            slope=slope,
            pool_plan=None if pool is None else plans.plan(chosen, out_indices, *pool),
            for_backward=False,
        )
        return Convolved(made.values, made.background)
    values, _, made_background = call(
        "convolution", features, weight, bias, background, in_indices, out_indices, geometry, slope,
        *((None, []) if pool is None else pool), name,
    )  # fmt: skip
    return Convolved(values, None if background is None else made_background)


class Chained(NamedTuple):
    """What :func:`chain` gives: features (M, C_out), where they stand (M, 4), background (C_out,) or None."""

    features: Tensor
    indices: Tensor
    background: Tensor | None


def chain(features: Tensor, background: Tensor | None, indices: Tensor, layers: Sequence[Layer]) -> Chained:
    """Layers one after the other: :func:`convolution` of each, its sites found on the way.

    Unless torch must see each of them, an engine may run them all in one call: nobody else sees what lies between.

    Parameters
    ----------
    features : Tensor
        (N, C_in of the first layer).
    background : Tensor, optional
        (C_in,).
    indices : Tensor
        (N, 4) int32 [b, z, y, x].
    layers : sequence of Layer
        At least one.
    """
    tensors = (features, background, *(tensor for layer in layers for tensor in (layer.weight, layer.bias)))
    if not is_traced(*tensors) and (chosen := engine(engine_name(features.device.type))).chains:
        indices, plan = plans.chain(chosen, indices, [layer.place for layer in layers])
        if is_differentiated(*tensors):
            values, made_background = differentiable_chain(chosen, plan, layers, features, background)
        else:
            values, made_background = chosen.run_chain(features, background, layers, plan)
        return Chained(values, indices, made_background)
    for (geometry, submanifold, pool_geometry), weight, bias, slope in layers:
        sites = indices if submanifold else output_sites(indices, geometry)
        pool = None if pool_geometry is None else (output_sites(sites, pool_geometry), pool_geometry)
        features, background = convolution(
            features, weight, bias, background, indices, sites, geometry, slope=slope, pool=pool
        )
        indices = sites if pool is None else pool[0]
    return Chained(features, indices, background)


def max_pool(
    features: Tensor, background: Tensor | None, in_indices: Tensor, out_indices: Tensor, geometry: Geometry
) -> Tensor:
    """Largest value in the window, (N, C) -> (M, C); a missing input is the background."""
    name = engine_name(features.device.type)
    values, _ = call("max_pool", features, background, in_indices, out_indices, geometry, name)
    return cast(Tensor, values)


def avg_pool(
    features: Tensor, background: Tensor | None, in_indices: Tensor, out_indices: Tensor, geometry: Geometry
) -> Tensor:
    """Mean over the window, (N, C) -> (M, C); a missing input is the background, or is left out where that is None."""
    name = engine_name(features.device.type)
    result: Tensor = call("avg_pool", features, background, in_indices, out_indices, geometry, name)
    return result


def normalizes(features: Tensor) -> bool:
    """Whether the engine for these features has :func:`batch_norm` and :func:`scale_rows`; not while torch compiles."""
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(features.device.type):
        return False
    return engine(engine_name(features.device.type)).normalizes


def batch_norm(
    features: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    other: Tensor | None,
    *,
    eps: float,
    slope: float = 1.0,
) -> Normalized:
    """Batch normalisation by the statistics of the rows, a residual connection and an activation, in one pass.

    Parameters
    ----------
    features : Tensor
        (N, C), N > 0.
    weight, bias : Tensor, optional
        (C,): what the normalised values are multiplied with, and what is added.
    other : Tensor, optional
        (N, C), added after that.
    eps : float
        Added to the variance.
    slope : float
        Of a leaky ReLU at the end, at least 0; 0 is ReLU, 1 none.

    Returns
    -------
    Normalized
        Values (N, C), and the mean and variance (C,) of the features, through which no gradient goes.
    """
    name = engine_name(features.device.type)
    return Normalized(*call("batch_norm", features, weight, bias, other, eps, slope, name))


def scale_rows(
    features: Tensor, scale: Tensor, shift: Tensor, other: Tensor | None, *, slope: float = 1.0
) -> Tensor | None:
    """(N, C) * (C,) + (C,) + (N, C), and a leaky ReLU, in one pass; None where a gradient is asked for."""
    if not _plain(features, scale, shift, other):
        return None
    return engine(engine_name(features.device.type)).scale_rows(features, scale, shift, other, slope=slope)


def _autocast(tensor: _OptionalTensor) -> _OptionalTensor:
    """In autocast's type, as torch's own convolutions take their inputs."""
    if tensor is None or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(tensor.device.type))


def _plain(*tensors: Tensor | None) -> bool:
    """Whether nothing watches: no gradient, no tracing."""
    return not is_traced(*tensors) and not is_differentiated(*tensors)
