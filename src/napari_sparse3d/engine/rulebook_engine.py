"""What every engine by the rulebook shares: sites, background and pools by torch, on any device.

What is left for the engine is the product over active pairs, where the time goes: gather, multiply, scatter.
:class:`RulebookEngine` does it by torch, offset by offset; an engine overrides :meth:`~RulebookEngine.products` and
:meth:`~RulebookEngine.products_backward`, and :meth:`~RulebookEngine.planned` where it wants the rulebook in a form of
its own.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from napari_sparse3d.engine.composed import ComposedEngine
from napari_sparse3d.engine.rulebook import Rulebook, check_sites, output_sites, rulebook
from napari_sparse3d.sparse.arrays import channels_of, check_convolution, check_pool, check_sizes
from napari_sparse3d.sparse.contract import Gradients
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry, Triple


@dataclass(frozen=True)
class RulebookPlan:
    """The rulebook of a geometry. Engines add, in subclasses, the forms in which they want it."""

    rules: Rulebook
    kernel: Triple

    @property
    def inputs(self) -> int:
        """N, the number of rows that are read."""
        return self.rules.inputs

    @property
    def outputs(self) -> int:
        """M, the number of rows that are written."""
        return self.rules.outputs


R = TypeVar("R", bound=RulebookPlan)


class RulebookEngine(ComposedEngine[R]):
    """Torch around the product over active pairs."""

    @abstractmethod
    def planned(self, rules: Rulebook, kernel: Triple) -> R:
        """The plan that stands on these rules."""

    def products(self, features: Tensor, weight: Tensor, plan: R) -> Tensor:
        """(N, C_in), (C_out, kz, ky, kx, C_in) -> (M, C_out): the sum over active inputs. Neither N nor M is 0."""
        return multiply(features, weight, plan.rules)

    def products_backward(self, grad: Tensor, features: Tensor, weight: Tensor, plan: R) -> tuple[Tensor, Tensor]:
        """Gradients of :meth:`products` for the features and the weight, from ``grad`` (M, C_out)."""
        return multiply_backward(grad, features, weight, plan.rules)

    def check_sites(self, sites: Sites) -> None:
        """See :class:`Engine`."""
        sites.check(lambda each: check_sites(each.indices, each.batch_size, each.shape))

    def output_sites(self, sites: Sites, geometry: Geometry) -> Sites:
        """See :class:`Engine`."""
        self.check_sites(sites)
        return Sites.trusted(output_sites(sites.indices, geometry), geometry.out_shape, geometry.batch_size)

    def plan(self, sites: Sites, out: Sites, geometry: Geometry) -> R:
        """See :class:`Engine`."""
        self.check_sites(sites)
        self.check_sites(out)
        return self.planned(rulebook(sites.indices, out.indices, geometry), geometry.window.kernel)

    def convolution(
        self, features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, plan: R
    ) -> Tensor:
        """See :class:`Engine`."""
        check_convolution(features, weight, bias, background, plan.inputs, plan.kernel)
        if plan.outputs == 0 or plan.inputs == 0:
            output = features.new_zeros(plan.outputs, weight.shape[0])
        else:
            output = self.products(features.contiguous(), weight.contiguous(), plan)
        if background is not None:
            # each missing input adds what its offset's weights make of the background
            of_offset = (weight.flatten(1, 3) @ background).T
            output = torch.addmm(output, plan.rules.missing.T.to(output.dtype), of_offset)
        return output if bias is None else output + bias

    def convolution_backward(
        self, grad: Tensor, features: Tensor, weight: Tensor, background: Tensor | None, plan: R, *,
        of_features: bool = True,
    ) -> Gradients:  # fmt: skip
        """See :class:`Engine`."""
        check_convolution(features, weight, None, background, plan.inputs, plan.kernel)
        check_sizes([("grad", grad, (plan.outputs, weight.shape[0]))])
        if plan.outputs == 0 or plan.inputs == 0:
            of_input, of_weight = torch.zeros_like(features), torch.zeros_like(weight)
        else:
            of_input, of_weight = self.products_backward(
                grad.contiguous(), features.contiguous(), weight.contiguous(), plan
            )
        if background is None:
            return Gradients(of_input, of_weight, grad.sum(0), None)
        of_missing = plan.rules.missing.to(grad.dtype) @ grad  # (K, C_out)
        of_weight = of_weight + (of_missing.T[:, :, None] * background).view_as(weight)
        of_background = torch.einsum("ko,oki->i", of_missing, weight.flatten(1, 3))
        return Gradients(of_input, of_weight, grad.sum(0), of_background)

    def max_pool(self, features: Tensor, background: Tensor | None, plan: R) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        check_pool(features, background, plan.inputs)
        lowest = features.new_full((features.shape[1],), -torch.inf) if background is None else background
        stored = torch.cat([features, lowest[None]])
        size = (plan.outputs, features.shape[1])
        largest = features.new_full(size, -torch.inf)
        origin = plan.rules.table.new_full(size, -1)
        for rows in plan.rules.table:
            candidate = stored[rows]  # -1 is the last row: the background
            better = candidate > largest
            largest = torch.where(better, candidate, largest)
            origin = torch.where(better, rows[:, None], origin)
        return largest, origin

    def max_pool_backward(self, grad: Tensor, rows: Tensor, plan: R) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        shape = (plan.outputs, channels_of(grad, "grad"))
        check_sizes([("grad", grad, shape), ("rows", rows, shape)])
        of_features = grad.new_zeros(plan.inputs, grad.shape[1])
        for rows_in, rows_out in plan.rules.pairs:
            chosen = rows[rows_out] == rows_in[:, None]
            of_features.index_add_(0, rows_in, torch.where(chosen, grad[rows_out], 0))
        return of_features, torch.where(rows < 0, grad, 0).sum(0)

    def avg_pool(self, features: Tensor, background: Tensor | None, plan: R) -> Tensor:
        """See :class:`Engine`."""
        check_pool(features, background, plan.inputs)
        absent = features.new_zeros(features.shape[1]) if background is None else background
        stored = torch.cat([features, absent[None]])
        total = features.new_zeros((plan.outputs, features.shape[1]), dtype=wide(features.dtype))
        for rows in plan.rules.table:
            total += stored[rows]
        return (total / self._summands(plan, over_active=background is None)).to(features.dtype)

    def avg_pool_backward(self, grad: Tensor, plan: R, *, over_active: bool) -> tuple[Tensor, Tensor]:
        """See :class:`Engine`."""
        check_sizes([("grad", grad, (plan.outputs, channels_of(grad, "grad")))])
        share = grad.to(wide(grad.dtype)) / self._summands(plan, over_active=over_active)
        of_features = share.new_zeros(plan.inputs, grad.shape[1])
        for rows_in, rows_out in plan.rules.pairs:
            of_features.index_add_(0, rows_in, share[rows_out])
        of_background = (plan.rules.missing.sum(0)[:, None] * share).sum(0)
        return of_features.to(grad.dtype), of_background.to(grad.dtype)

    def _summands(self, plan: R, *, over_active: bool) -> Tensor | int:
        return (plan.rules.table >= 0).sum(0).clamp(min=1)[:, None] if over_active else plan.rules.volume


def multiply(features: Tensor, weight: Tensor, rules: Rulebook) -> Tensor:
    """Sum over active inputs by torch, (N, C_in) -> (M, C_out): any floating-point type, the same bits at each run.

    Half types are summed in float32.
    """
    total = features.new_zeros((rules.outputs, weight.shape[0]), dtype=wide(features.dtype))
    for (rows_in, rows_out), of_offset in zip(rules.pairs, weight.flatten(1, 3).unbind(1), strict=True):
        total.index_add_(0, rows_out, (features[rows_in] @ of_offset.T).to(total.dtype))
    return total.to(features.dtype)


def multiply_backward(grad: Tensor, features: Tensor, weight: Tensor, rules: Rulebook) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`multiply` for the features and the weight."""
    of_features = torch.zeros_like(features, dtype=wide(features.dtype))
    of_weight = []
    for (rows_in, rows_out), of_offset in zip(rules.pairs, weight.flatten(1, 3).unbind(1), strict=True):
        pulled = grad[rows_out]
        of_features.index_add_(0, rows_in, (pulled @ of_offset).to(of_features.dtype))
        of_weight.append(pulled.T @ features[rows_in])
    return of_features.to(features.dtype), torch.stack(of_weight, 1).view_as(weight)


def wide(dtype: torch.dtype) -> torch.dtype:
    """The type in which sums are kept: at least float32."""
    return torch.promote_types(dtype, torch.float32)
