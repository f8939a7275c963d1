"""The operators on sparse features: what the modules call.

Each takes plain tensors and the :class:`~napari_sparse3d.sparse.sites.Sites` that they stand at, which know the plans
of the engine in use (see :mod:`engine`). It is executed at once for inference, else as torch needs to see it (see
:mod:`autograd.gradients`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor

from napari_sparse3d.sparse.autograd import registration as registration  # makes torch.ops.sparse3d
from napari_sparse3d.sparse.autograd.gradients import call, differentiable_chain, is_differentiated, is_traced
from napari_sparse3d.sparse.contract import Epilogue, Filters, Layer, Normalized, Normalizes, Rows, RunsChains
from napari_sparse3d.sparse.engine import engine, engine_name, follows_autocast
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry

_OptionalTensor = TypeVar("_OptionalTensor", Tensor, Tensor | None)


def output_sites(sites: Sites, geometry: Geometry) -> Sites:
    """Every output site with an active input in its window, in raster order.

    Parameters
    ----------
    sites : Sites
        N of them, on the input grid of the geometry.
    geometry : Geometry
        The window and the grids.

    Returns
    -------
    Sites
        M of them, on the output grid; the same object each time it is asked for.
    """
    output = call("output_sites", sites, geometry, engine_name(sites.indices.device.type))
    return output if isinstance(output, Sites) else Sites(output, geometry.out_shape, geometry.batch_size)


def convolution(
    inputs: Rows,
    filters: Filters,
    sites: Sites,
    out: Sites,
    geometry: Geometry,
    *,
    slope: float = 1.0,
    pool: tuple[Sites, Geometry] | None = None,
) -> Rows:
    """Sum over the window, plus bias; a missing input is the background. Then activation and max pool, in one pass.

    Parameters
    ----------
    inputs : Rows
        Features (N, C_in), and background (C_in,) or None.
    filters : Filters
        Weight (C_out, kz, ky, kx, C_in), and bias (C_out,) or None.
    sites, out : Sites
        N and M of them.
    geometry : Geometry
        The window and the grids; transposed for inverse and transposed convolutions.
    slope : float
        Of a leaky ReLU, at least 0; 0 is ReLU, 1 none.
    pool : (Sites, Geometry), optional
        Sites, P of them, and geometry of a max pool of the result.

    Returns
    -------
    Rows
        Features (M, C_out), or (P, C_out) pooled, and the background that they stand on: (C_out,), None where the input
        has none. For a transposed geometry with a stride the background is right only where the input's is 0 (elsewhere
        there is no single one).
    """
    name = engine_name(inputs.features.device.type)
    if torch.is_autocast_enabled(inputs.features.device.type) and follows_autocast(name):
        inputs = Rows(_autocast(inputs.features), _autocast(inputs.background))
        filters = Filters(_autocast(filters.weight), _autocast(filters.bias))
    if _plain(*inputs, *filters):
        chosen = engine(name)
        then = Epilogue(slope, None if pool is None else out.plan(chosen, *pool))
        fused = chosen.fused_convolution(inputs, filters, sites.plan(chosen, out, geometry), then, for_backward=False)
        return Rows(fused.values, fused.background)
    values, _, background = call(
        "convolution", inputs.features, *filters, inputs.background, sites, out, geometry, slope,
        *((None, []) if pool is None else pool), name,
    )  # fmt: skip
    return Rows(values, None if inputs.background is None else background)


def chain(inputs: Rows, sites: Sites, layers: Sequence[Layer]) -> tuple[Rows, Sites]:
    """Layers one after the other: :func:`convolution` of each, its sites found on the way.

    Unless torch must see each of them, an engine may run them all in one call: nobody else sees what lies between.

    Parameters
    ----------
    inputs : Rows
        Features (N, C_in of the first layer), and background (C_in,) or None.
    sites : Sites
        N of them.
    layers : sequence of Layer
        At least one.

    Returns
    -------
    (Rows, Sites)
        Features (M, C_out of the last layer) with their background, and where they stand.
    """
    tensors = (*inputs, *(tensor for layer in layers for tensor in (layer.weight, layer.bias)))
    if not is_traced(*tensors):
        chosen = engine(engine_name(inputs.features.device.type))
        if isinstance(chosen, RunsChains):
            sites, plan = sites.chain(chosen, [layer.place for layer in layers])
            if is_differentiated(*tensors):
                return differentiable_chain(chosen, plan, layers, inputs), sites
            return chosen.run_chain(inputs, layers, plan), sites
    for (geometry, submanifold, pool_geometry), weight, bias, slope in layers:
        out = sites if submanifold else output_sites(sites, geometry)
        pool = None if pool_geometry is None else (output_sites(out, pool_geometry), pool_geometry)
        inputs = convolution(inputs, Filters(weight, bias), sites, out, geometry, slope=slope, pool=pool)
        sites = out if pool is None else pool[0]
    return inputs, sites


def max_pool(inputs: Rows, sites: Sites, out: Sites, geometry: Geometry) -> Tensor:
    """Largest value in the window, (N, C) -> (M, C); a missing input is the background."""
    values, _ = call("max_pool", *inputs, sites, out, geometry, engine_name(inputs.features.device.type))
    return cast(Tensor, values)


def avg_pool(inputs: Rows, sites: Sites, out: Sites, geometry: Geometry) -> Tensor:
    """Mean over the window, (N, C) -> (M, C); a missing input is the background, or is left out where that is None."""
    result: Tensor = call("avg_pool", *inputs, sites, out, geometry, engine_name(inputs.features.device.type))
    return result


def normalizes(features: Tensor) -> bool:
    """Whether the engine for these features has :func:`batch_norm` and :func:`scale_rows`; not while torch compiles."""
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(features.device.type):
        return False
    return isinstance(engine(engine_name(features.device.type)), Normalizes)


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
    """(N, C) * (C,) + (C,) + (N, C), and a leaky ReLU, in one pass; None where it cannot be."""
    if not _plain(features, scale, shift, other):
        return None
    chosen = engine(engine_name(features.device.type))
    return chosen.scale_rows(features, scale, shift, other, slope=slope) if isinstance(chosen, Normalizes) else None


def _autocast(tensor: _OptionalTensor) -> _OptionalTensor:
    """In autocast's type, as torch's own convolutions take their inputs."""
    if tensor is None or tensor.dtype == torch.float64:
        return tensor
    return tensor.to(torch.get_autocast_dtype(tensor.device.type))


def _plain(*tensors: Tensor | None) -> bool:
    """Whether nothing watches: no gradient, no tracing."""
    return not is_traced(*tensors) and not is_differentiated(*tensors)
