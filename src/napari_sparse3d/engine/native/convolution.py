"""Convolution with what follows it in one pass: an activation and a max pool."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from napari_sparse3d import _kernels
from napari_sparse3d.engine.composed import before_activation
from napari_sparse3d.engine.native.arrays import KERNELS, NO_ACTIVATION, address, ready
from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.arrays import channels_of_weight, check_slope
from napari_sparse3d.sparse.contract import NOTHING, Engine, Epilogue, Filters, Fused, Gradients, Rows


class Convolutions(Engine[_kernels.Plan]):
    """The part of the engine that convolves."""

    follows_autocast = False  # the kernels have no half types, and round the factors of products themselves

    def convolution(  # noqa: D102
        self, features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, plan: _kernels.Plan
    ) -> Tensor:
        return self.fused_convolution(Rows(features, background), Filters(weight, bias), plan).values

    def convolution_backward(  # noqa: D102
        self, grad: Tensor, features: Tensor, weight: Tensor, background: Tensor | None, plan: _kernels.Plan, *,
        of_features: bool = True,
    ) -> Gradients:  # fmt: skip
        forward = Fused(grad, None, None)  # without an activation nothing looks at the values
        return self.fused_convolution_backward(
            Rows(grad, None), forward, Rows(features, background), weight, plan, of_features=of_features
        )

    def fused_convolution(  # noqa: D102
        self, inputs: Rows, filters: Filters, plan: _kernels.Plan, then: Epilogue[_kernels.Plan] = NOTHING, *,
        for_backward: bool = True,
    ) -> Fused:  # fmt: skip
        check_slope(then.slope)
        c_out, c_in = channels_of_weight(filters.weight)
        if then.pool is not None:
            _check_pool(plan, then.pool)
        features, weight, bias, background = ready(
            [("features", inputs.features, (plan.inputs, c_in)),
             ("weight", filters.weight, (c_out, *plan.kernel, c_in))],
            [("bias", filters.bias, (c_out,)), ("background", inputs.background, (c_in,))],
        )  # fmt: skip
        rows = None
        result_background = None if background is None else features.new_empty(c_out)
        values = features.new_empty(((plan if then.pool is None else then.pool).outputs, c_out))
        arguments = {
            "plan": plan,
            "layer": layer_of(weight, bias, then.slope),
            "features": features.data_ptr(),
            "background": address(background),
            "bfloat16": not for_backward and rounds_to_bfloat16(),
            "result": values.data_ptr(),
            "result_background": address(result_background),
            "threads": torch.get_num_threads(),
        }
        kernels = KERNELS[features.dtype]
        if then.pool is None:
            kernels.convolution(**arguments)
        else:
            rows = features.new_empty((then.pool.outputs, c_out), dtype=torch.int32) if for_backward else None
            kernels.pooled_convolution(pool_plan=then.pool, rows=address(rows), **arguments)
        return Fused(values, rows, result_background)

    def fused_convolution_backward(  # noqa: D102
        self, grad: Rows, forward: Fused, inputs: Rows, weight: Tensor, plan: _kernels.Plan,
        then: Epilogue[_kernels.Plan] = NOTHING, *, of_features: bool = True,
    ) -> Gradients:  # fmt: skip
        check_slope(then.slope)
        c_out, c_in = channels_of_weight(weight)
        if (then.pool is None) != (forward.rows is None):
            raise InputError("the rows of a max pool and its plan go together; give both or neither")
        if then.pool is not None:
            _check_pool(plan, then.pool)
        shape = ((plan if then.pool is None else then.pool).outputs, c_out)
        features, weight, of_values, background, of_background = ready(
            [("features", inputs.features, (plan.inputs, c_in)), ("weight", weight, (c_out, *plan.kernel, c_in)),
             ("grad", grad.features, shape)],
            [("background", inputs.background, (c_in,)), ("grad_background", grad.background, (c_out,))],
        )  # fmt: skip
        of_values, of_background = before_activation(leaky_relu_backward, Rows(of_values, of_background), forward, then)
        gradients = Gradients(
            torch.empty_like(features) if of_features else features.new_empty(0),
            torch.empty_like(weight),
            weight.new_empty(c_out),
            None if background is None else torch.zeros_like(background),
        )
        arguments = {
            "plan": plan,
            "layer": layer_of(weight, None, NO_ACTIVATION),
            "features": features.data_ptr(),
            "background": address(background),
            "grad": of_values.data_ptr(),
            "grad_background": address(of_background),
            "g_features": gradients.features.data_ptr() if of_features else 0,
            "g_weight": gradients.weight.data_ptr(),
            "g_bias": gradients.bias.data_ptr(),
            "g_background": address(gradients.background) if of_features else 0,
            "threads": torch.get_num_threads(),
        }
        kernels = KERNELS[features.dtype]
        if then.pool is None:
            kernels.convolution_backward(**arguments)
        else:
            (rows,) = ready([("rows", forward.rows, shape)], dtype=torch.int32)
            kernels.pooled_convolution_backward(pool_plan=then.pool, rows=rows.data_ptr(), **arguments)
        return gradients

    def leaky_relu_backward(self, grad: Tensor, values: Tensor, slope: float) -> Tensor:
        """See :func:`leaky_relu_backward`."""
        return leaky_relu_backward(grad, values, slope)


def leaky_relu_backward(grad: Tensor, values: Tensor, slope: float) -> Tensor:
    """As torch's; but the threads of that would wait, spinning, beside ours."""
    check_slope(slope)
    shape = tuple(grad.shape)
    grad, values = ready([("grad", grad, shape), ("values", values, shape)])
    result = torch.empty_like(grad)
    KERNELS[grad.dtype].leaky_relu_backward(
        grad=grad.data_ptr(),
        values=values.data_ptr(),
        slope=slope,
        count=grad.numel(),
        result=result.data_ptr(),
        threads=torch.get_num_threads(),
    )
    return result


def layer_of(weight: Tensor, bias: Tensor | None, slope: float) -> _kernels.Layer:
    """A convolution as the kernels take it."""
    shape = weight.shape
    return _kernels.Layer(weight=weight.data_ptr(), bias=address(bias), c_in=shape[4], c_out=shape[0], slope=slope)


def rounds_to_bfloat16() -> bool:
    """Whether products may be those of bfloat16."""
    return (
        torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and _multiplies_bfloat16()
    )


@cache
def _multiplies_bfloat16() -> bool:
    return _kernels.multiplies_bfloat16()


def _check_pool(plan: _kernels.Plan, pool: _kernels.Plan) -> None:
    if not pool.reads(plan):
        raise InputError(
            f"the max pool reads {pool.inputs} other sites than the {plan.outputs} that the convolution writes; "
            "plan it from the convolution's own"
        )
