"""The reference: every operator on the dense grid, with torch's own layers. Slow and plain."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from napari_sparse3d.engine.composed import ComposedEngine
from napari_sparse3d.engine.rulebook import check_sites, raster_places
from napari_sparse3d.sparse.arrays import channels_of, check_convolution, check_pool, check_sizes
from napari_sparse3d.sparse.contract import Gradients
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry, Triple, Window


@dataclass(frozen=True)
class DensePlan:
    """Where rows lie in a grid that is already padded, so that windows never leave it.

    ``taken`` (N,) and ``wanted`` (M,) are flat positions over (batch, grid) of the inputs in the padded grid and of the
    outputs in the grid that the dense layer makes.
    """

    geometry: Geometry
    padded_shape: Triple
    made_shape: Triple
    taken: Tensor
    wanted: Tensor

    @property
    def inputs(self) -> int:
        """N, the number of rows that are read."""
        return len(self.taken)

    @property
    def outputs(self) -> int:
        """M, the number of rows that are written."""
        return len(self.wanted)


class DenseEngine(ComposedEngine[DensePlan]):
    """Builds the dense tensor that a sparse tensor stands for and runs torch on it."""

    name = "dense"

    def check_sites(self, sites: Sites) -> None:
        """See :class:`Engine`."""
        sites.check(lambda each: check_sites(each.indices, each.batch_size, each.shape))

    def output_sites(self, sites: Sites, geometry: Geometry) -> Sites:
        """See :class:`Engine`."""
        nowhere = Sites.trusted(sites.indices[:0], geometry.out_shape, geometry.batch_size)
        plan = self.plan(sites, nowhere, geometry)
        ones = torch.ones(plan.inputs, 1, device=sites.indices.device)
        grid = _scatter(ones, None, plan)
        kernel = torch.ones(1, 1, *geometry.window.kernel, device=sites.indices.device)
        reached = _crop(_slide(grid, kernel, geometry), plan)[:, 0] > 0.5
        return Sites.trusted(reached.nonzero().int().contiguous(), geometry.out_shape, geometry.batch_size)

    def plan(self, sites: Sites, out: Sites, geometry: Geometry) -> DensePlan:
        """See :class:`Engine`."""
        self.check_sites(sites)
        self.check_sites(out)
        in_indices, out_indices = sites.indices, out.indices
        w = geometry.window
        if geometry.transposed:
            before = after = _reach(w)
            # output o is made at o + padding, and stride further on for each site of padding before
            shift = [p + b * s for p, b, s in zip(w.padding, before, w.stride, strict=True)]
        else:
            before, after, shift = w.padding, w.padding, [0, 0, 0]
        padded = _add3(geometry.in_shape, before, after)
        if geometry.transposed:
            ends = [
                (n - 1) * s + d * (k - 1) + 1 for n, k, s, d in zip(padded, w.kernel, w.stride, w.dilation, strict=True)
            ]
            reached = (ends[0], ends[1], ends[2])
        else:
            reached = type(w)(w.kernel, w.stride, (0, 0, 0), w.dilation).output_shape(padded)
        offset_in = torch.tensor([0, *before], device=in_indices.device)
        offset_out = torch.tensor([0, *shift], device=in_indices.device)
        return DensePlan(
            geometry,
            padded,
            reached,
            raster_places(in_indices + offset_in, padded),
            raster_places(out_indices + offset_out, reached),
        )

    def convolution(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, plan: DensePlan
    ) -> Tensor:
        """See :class:`Engine`."""
        check_convolution(features, weight, bias, background, plan.inputs, plan.geometry.window.kernel)
        grid = _scatter(features, background, plan)
        # torch wants (C_out, C_in, ...), or (C_in, C_out, ...) transposed
        order = (4, 0, 1, 2, 3) if plan.geometry.transposed else (0, 4, 1, 2, 3)
        rows = _gather(_slide(grid, weight.permute(order), plan.geometry), plan)
        return rows if bias is None else rows + bias

    def convolution_backward(
        self, grad: Tensor, features: Tensor, weight: Tensor, background: Tensor | None, plan: DensePlan, *,
        of_features: bool = True,
    ) -> Gradients:  # fmt: skip
        """See :class:`Engine`."""
        check_convolution(features, weight, None, background, plan.inputs, plan.geometry.window.kernel)
        check_sizes([("grad", grad, (plan.outputs, weight.shape[0]))])
        inputs = [t.detach().requires_grad_() for t in (features, weight, background) if t is not None]
        with torch.enable_grad():
            output = self.convolution(inputs[0], inputs[1], None, inputs[2] if background is not None else None, plan)
            grads = torch.autograd.grad(output, inputs, grad, materialize_grads=True)
        return Gradients(grads[0], grads[1], grad.sum(0), grads[2] if background is not None else None)

    def max_pool(self, features: Tensor, background: Tensor | None, plan: DensePlan) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        check_pool(features, background, plan.inputs)
        w = plan.geometry.window
        channels = features.shape[1]
        lowest = features.new_full((channels,), -torch.inf) if background is None else background
        grid = _scatter(features, lowest, plan)
        pooled, positions = functional.max_pool3d(grid, w.kernel, w.stride, dilation=w.dilation, return_indices=True)
        # torch gives the flat position in one padded volume: look up which row stood there
        per_volume = prod(plan.padded_shape)
        rows = torch.full((plan.geometry.batch_size * per_volume,), -1, dtype=torch.int32, device=features.device)
        rows[plan.taken] = torch.arange(plan.inputs, dtype=torch.int32, device=features.device)
        volume = (plan.wanted // prod(plan.made_shape))[:, None]
        return _gather(pooled, plan), rows[_gather(positions, plan) + volume * per_volume]

    def max_pool_backward(self, grad: Tensor, rows: Tensor, plan: DensePlan) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        shape = (plan.outputs, channels_of(grad, "grad"))
        check_sizes([("grad", grad, shape), ("rows", rows, shape)])
        from_input = rows >= 0
        taken = grad.new_zeros(plan.inputs + 1, grad.shape[1])
        taken.scatter_add_(0, torch.where(from_input, rows, plan.inputs).long(), grad)
        return taken[:-1], taken[-1]

    def avg_pool(self, features: Tensor, background: Tensor | None, plan: DensePlan) -> Tensor:
        """See :class:`Engine`."""
        check_pool(features, background, plan.inputs)
        total = _gather(_sum_windows(_scatter(features, background, plan), plan.geometry), plan)
        if background is not None:
            return total / plan.geometry.window.volume
        return total / self._active_inputs(features, plan)

    def avg_pool_backward(self, grad: Tensor, plan: DensePlan, *, over_active: bool) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        channels = channels_of(grad, "grad")
        check_sizes([("grad", grad, (plan.outputs, channels))])
        features = grad.new_zeros(plan.inputs, channels).requires_grad_()
        background = grad.new_zeros(channels).requires_grad_()
        with torch.enable_grad():
            output = self.avg_pool(features, None if over_active else background, plan)
            grads = torch.autograd.grad(output, (features, background), grad, materialize_grads=True)
        return grads[0], grads[1]

    def _active_inputs(self, features: Tensor, plan: DensePlan) -> Tensor:
        ones = features.new_ones(plan.inputs, 1)
        return _gather(_sum_windows(_scatter(ones, None, plan), plan.geometry), plan).clamp(min=1)


def _scatter(features: Tensor, background: Tensor | None, plan: DensePlan) -> Tensor:
    """(N, C) -> (B, C, *padded_shape), the background (or 0) everywhere else."""
    channels = features.shape[1]
    base = features.new_zeros(channels) if background is None else background
    rows = base.expand(plan.geometry.batch_size * prod(plan.padded_shape), channels)
    grid = rows.index_put((plan.taken,), features)
    return grid.view(plan.geometry.batch_size, *plan.padded_shape, channels).permute(0, 4, 1, 2, 3)


def _gather(grid: Tensor, plan: DensePlan) -> Tensor:
    """(B, C, *made_shape) -> (M, C)."""
    return grid.permute(0, 2, 3, 4, 1).reshape(-1, grid.shape[1])[plan.wanted]


def _slide(grid: Tensor, kernel: Tensor, geometry: Geometry) -> Tensor:
    w = geometry.window
    # With the strides of a permuted single channel, torch 2.13's conv3d leaves parts of the result unwritten.
    grid = grid.clone(memory_format=torch.contiguous_format)
    if geometry.transposed:
        return functional.conv_transpose3d(grid, kernel, stride=w.stride, dilation=w.dilation)
    return functional.conv3d(grid, kernel, stride=w.stride, dilation=w.dilation)


def _sum_windows(grid: Tensor, geometry: Geometry) -> Tensor:
    channels = grid.shape[1]
    ones = grid.new_ones(1, 1, *geometry.window.kernel)
    summed = _slide(grid.reshape(-1, 1, *grid.shape[2:]), ones, geometry)
    return summed.view(-1, channels, *summed.shape[2:])


def _crop(grid: Tensor, plan: DensePlan) -> Tensor:
    """The part of what the layer makes that is the output grid."""
    w, shape = plan.geometry.window, plan.geometry.out_shape
    start = [0, 0, 0]
    if plan.geometry.transposed:
        start = [p + r * s for p, r, s in zip(w.padding, _reach(w), w.stride, strict=True)]
    z, y, x = (slice(a, a + n) for a, n in zip(start, shape, strict=True))
    return grid[:, :, z, y, x]


def _reach(window: Window) -> Triple:
    """How many input sites a transposed window reaches beyond the grid, at most."""
    z, y, x = (d * (k - 1) // s + 1 for k, s, d in zip(window.kernel, window.stride, window.dilation, strict=True))
    return z, y, x


def _add3(a: Triple, b: Triple, c: Triple) -> Triple:
    z, y, x = (i + j + k for i, j, k in zip(a, b, c, strict=True))
    return z, y, x
