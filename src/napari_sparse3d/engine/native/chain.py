"""Layers one after the other in one call, forward and backward."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from napari_sparse3d import _kernels
from napari_sparse3d.engine.native.arrays import KERNELS, address, asked, ready
from napari_sparse3d.engine.native.convolution import layer_of, rounds_to_bfloat16
from napari_sparse3d.engine.native.sites import bound, index_of, sites_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.arrays import Sized, channels_of, channels_of_weight, check_slope
from napari_sparse3d.sparse.contract import FusedChain, Layer, Place, Rows, RunsChains
from napari_sparse3d.sparse.sites import Sites


class Chains(RunsChains[_kernels.Chain]):
    """The part of the engine that runs chains."""

    def plan_chain(  # noqa: D102
        self, sites: Sites, places: Sequence[Place]
    ) -> tuple[Sites | None, _kernels.Chain]:
        layers = [
            _kernels.LayerGeometry(
                convolution=bound(each), submanifold=stays, pool=None if pool is None else bound(pool)
            )
            for each, stays, pool in places
        ]
        plan = asked(_kernels.plan_chain, inputs=index_of(sites), layers=layers, threads=torch.get_num_threads())
        if all(place.submanifold and place.pool is None for place in places):
            return None, plan
        return sites_of(plan.sites, places[-1].out_shape, sites.batch_size), plan

    def run_chain(self, inputs: Rows, layers: Sequence[Layer], plan: _kernels.Chain) -> Rows:  # noqa: D102
        inputs, native_layers, _held = _ready_chain(inputs, layers, plan)
        result = _result_of(inputs, layers, plan)
        KERNELS[inputs.features.dtype].convolution_chain(
            chain=plan,
            layers=native_layers,
            features=inputs.features.data_ptr(),
            background=address(inputs.background),
            bfloat16=rounds_to_bfloat16(),
            result=result.features.data_ptr(),
            result_background=address(result.background),
            threads=torch.get_num_threads(),
        )
        return result

    def run_chain_for_backward(  # noqa: D102
        self, inputs: Rows, layers: Sequence[Layer], plan: _kernels.Chain
    ) -> FusedChain:
        inputs, native_layers, _held = _ready_chain(inputs, layers, plan)
        kernels = KERNELS[inputs.features.dtype]
        result = _result_of(inputs, layers, plan)
        between = torch.from_numpy(
            _kernels.new_bytes(kernels.convolution_chain_kept_bytes(chain=plan, layers=native_layers))
        )
        kernels.convolution_chain_kept(
            chain=plan,
            layers=native_layers,
            features=inputs.features.data_ptr(),
            background=address(inputs.background),
            kept=between.data_ptr(),
            result=result.features.data_ptr(),
            result_background=address(result.background),
            threads=torch.get_num_threads(),
        )
        return FusedChain(*result, between)

    def run_chain_backward(  # noqa: D102
        self, grad: Rows, forward: FusedChain, inputs: Rows, layers: Sequence[Layer], plan: _kernels.Chain,
        needed: Sequence[bool],
    ) -> list[Tensor | None]:  # fmt: skip
        inputs, native_layers, weights = _ready_chain(inputs, layers, plan)
        dtype = inputs.features.dtype
        kernels = KERNELS[dtype]
        c_out = layers[-1].weight.shape[0]
        shape = (plan.outputs, c_out)
        has_background = [] if inputs.background is None else [("forward.background", forward.background, (c_out,))]
        of_values, values, *others = ready(
            [("grad", grad.features, shape), ("forward.values", forward.values, shape), *has_background],
            [("grad_background", grad.background, (c_out,))],
            dtype=dtype,
        )
        forward_background, of_background = (None, *others) if inputs.background is None else others
        kept_bytes = kernels.convolution_chain_kept_bytes(chain=plan, layers=native_layers)
        (between,) = ready([("forward.between", forward.between, (kept_bytes,))], dtype=torch.uint8)
        gradients = [
            torch.empty_like(tensor) if asked_for and tensor is not None else None
            for tensor, asked_for in zip((*inputs, *weights), needed, strict=True)
        ]
        g_features, g_background, *of_layers = map(address, gradients)
        kernels.convolution_chain_backward(
            chain=plan,
            layers=native_layers,
            features=inputs.features.data_ptr(),
            background=address(inputs.background),
            kept=between.data_ptr(),
            result=values.data_ptr(),
            result_background=address(forward_background),
            grad=of_values.data_ptr(),
            grad_background=address(of_background),
            g_features=g_features,
            g_background=g_background,
            g_layers=[
                _kernels.LayerGradients(weight=each, bias=bias)
                for each, bias in zip(of_layers[::2], of_layers[1::2], strict=True)
            ],
            threads=torch.get_num_threads(),
        )
        return gradients


def _result_of(inputs: Rows, layers: Sequence[Layer], plan: _kernels.Chain) -> Rows:
    """Room for the last layer's values and background."""
    dtype, c_out = inputs.features.dtype, layers[-1].weight.shape[0]
    values = torch.empty((plan.outputs, c_out), dtype=dtype, device="cpu")
    return Rows(values, None if inputs.background is None else torch.empty(c_out, dtype=dtype, device="cpu"))


def _ready_chain(
    inputs: Rows, layers: Sequence[Layer], plan: _kernels.Chain
) -> tuple[Rows, list[_kernels.Layer], list[Tensor | None]]:
    """The inputs, the layers as the kernels take them, and their weights and biases, to be held meanwhile."""
    kernels = plan.kernels
    if len(kernels) != len(layers):
        raise InputError(f"the plan is one of {len(kernels)} layers, got {len(layers)}; plan the layers that are run")
    channels = channels_of(inputs.features)
    required: list[Sized] = [("features", inputs.features, (plan.inputs, channels))]
    optional: list[Sized] = [("background", inputs.background, (channels,))]
    for (_, weight, bias, slope), kernel in zip(layers, kernels, strict=True):
        check_slope(slope)
        c_out, _ = channels_of_weight(weight)
        required.append(("weight", weight, (c_out, *kernel, channels)))
        optional.append(("bias", bias, (c_out,)))
        channels = c_out
    arrays = ready(required, optional)
    weights, biases = arrays[1 : len(required)], arrays[len(required) + 1 :]
    native_layers = [
        layer_of(weight, bias, layer.slope) for layer, weight, bias in zip(layers, weights, biases, strict=True)
    ]
    held = [each for pair in zip(weights, biases, strict=True) for each in pair]
    return Rows(arrays[0], arrays[len(required)]), native_layers, held
