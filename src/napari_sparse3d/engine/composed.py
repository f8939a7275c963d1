"""What follows from convolution and pools: a convolution with what may come after it, where no kernel does both.

An engine that computes convolution, its gradient and the pools is a :class:`ComposedEngine`, and complete.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from napari_sparse3d.sparse.arrays import channels_of, channels_of_weight, check_sizes
from napari_sparse3d.sparse.contract import NOTHING, Engine, Epilogue, Filters, Fused, Gradients, P, Rows


class ComposedEngine(Engine[P]):
    """Convolution, activation and max pool one after the other."""

    def fused_convolution(
        self, inputs: Rows, filters: Filters, plan: P, then: Epilogue[P] = NOTHING, *, for_backward: bool = True
    ) -> Fused:
        """See :class:`Engine`."""
        values = self.convolution(inputs.features, *filters, inputs.background, plan)
        background = None if inputs.background is None else _of_background(filters, inputs.background)
        rows = None
        if then.pool is not None:
            values, rows = self.max_pool(values, background, then.pool)
        if then.slope != 1:
            values = functional.leaky_relu(values, then.slope)
            background = None if background is None else functional.leaky_relu(background, then.slope)
        return Fused(values, rows, background)

    def fused_convolution_backward(
        self, grad: Rows, forward: Fused, inputs: Rows, weight: Tensor, plan: P, then: Epilogue[P] = NOTHING, *,
        of_features: bool = True,
    ) -> Gradients:  # fmt: skip
        """See :class:`Engine`."""
        c_out, _ = channels_of_weight(weight)
        channels_of(grad.features, "grad")
        shape = (grad.features.shape[0], c_out)
        values = [] if then.slope == 1 else [("values", forward.values, shape)]
        check_sizes(
            [("grad", grad.features, shape), *values],
            [("grad_background", grad.background, (c_out,)), ("forward_background", forward.background, (c_out,))],
        )
        of_values, of_background = before_activation(_leaky_relu_backward, grad, forward, then)
        if forward.rows is not None and then.pool is not None:
            of_values, of_pool = self.max_pool_backward(of_values, forward.rows, then.pool)
            if inputs.background is not None:
                of_background = of_pool if of_background is None else of_background + of_pool
        known = self.convolution_backward(
            of_values, inputs.features, weight, inputs.background, plan, of_features=of_features
        )
        if of_background is None or inputs.background is None:
            return known
        share = of_background.to(weight.dtype)
        of_input = known.background
        if of_input is not None:
            of_input = of_input + (weight.sum((1, 2, 3)) * share[:, None]).sum(0)
        of_weight = known.weight + share[:, None, None, None, None] * inputs.background
        return Gradients(known.features, of_weight, known.bias + of_background, of_input)


def before_activation(
    leaky_relu_backward: Callable[[Tensor, Tensor, float], Tensor], grad: Rows, forward: Fused, then: Epilogue[P]
) -> Rows:
    """The gradients before the leaky ReLU, from those after it and what it gave."""
    if then.slope == 1:
        return grad
    of_background = grad.background
    if of_background is not None and forward.background is not None:
        of_background = leaky_relu_backward(of_background, forward.background, then.slope)
    return Rows(leaky_relu_backward(grad.features, forward.values, then.slope), of_background)


def _leaky_relu_backward(grad: Tensor, values: Tensor, slope: float) -> Tensor:
    """From what the activation gave: its sign is that of its input."""
    result: Tensor = torch.ops.aten.leaky_relu_backward(grad, values, slope, True)
    return result


def _of_background(filters: Filters, background: Tensor) -> Tensor:
    """A site whose whole window is background: (sum of W) background + bias."""
    # not a matrix product, which autocast would round
    summed = (filters.weight.sum((1, 2, 3)) * background).sum(1)
    return summed if filters.bias is None else summed + filters.bias
