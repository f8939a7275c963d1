"""A whole network in one call, for inference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor

from napari_sparse3d import _kernels
from napari_sparse3d.engine.native.arrays import address, asked, ready
from napari_sparse3d.engine.native.sites import bound, index_of, sites_of
from napari_sparse3d.sparse.arrays import Sized, check_eps, check_slope
from napari_sparse3d.sparse.contract import Program, Rows, RunsNetworks, Step, scale_and_shift
from napari_sparse3d.sparse.sites import Sites

Frozen: TypeAlias = _kernels.Network32 | _kernels.Network64

_NETWORKS: dict[torch.dtype, type[Frozen]] = {
    torch.float32: _kernels.Network32,
    torch.float64: _kernels.Network64,
}


class Networks(RunsNetworks[_kernels.NetworkPlan, Frozen]):
    """The part of the engine that runs whole networks."""

    def plan_network(  # noqa: D102
        self, sites: Sites, program: Program
    ) -> tuple[Sites | None, _kernels.NetworkPlan]:
        threads = torch.get_num_threads()
        plan = asked(_kernels.plan_network, inputs=index_of(sites), steps=_bound(program), threads=threads)
        if program.same_sites:
            return None, plan
        return sites_of(plan.sites, program.out_shape, sites.batch_size), plan

    def freeze_network(  # noqa: D102
        self, program: Program, tensors: Sequence[Sequence[Tensor | None]]
    ) -> Frozen:
        held = [_ready_step(step, each, program.dtype) for step, each in zip(program.steps, tensors, strict=True)]
        weights = [
            _kernels.StepWeights(
                weight=address(weight), bias=address(bias), c_in=step.channels[0], c_out=step.channels[1],
                slope=step.slope,
            )
            for step, (weight, bias) in zip(program.steps, held, strict=True)
        ]  # fmt: skip
        kind: Callable[..., Frozen] = _NETWORKS[program.dtype]
        return asked(kind, steps=_bound(program), weights=weights)

    def run_network(  # noqa: D102
        self, inputs: Rows, program: Program, frozen: Frozen, plan: _kernels.NetworkPlan
    ) -> tuple[Rows, float]:
        c_in, c_out = program.steps[0].channels[0], program.steps[-1].channels[1]
        features, background = ready(
            [("features", inputs.features, (plan.inputs, c_in))],
            [("background", inputs.background, (c_in,))],
            dtype=program.dtype,
        )
        values = features.new_empty((plan.outputs, c_out))
        result_background = None if background is None else features.new_empty(c_out)
        largest = frozen.run(
            plan=plan,
            features=features.data_ptr(),
            background=address(background),
            result=values.data_ptr(),
            result_background=address(result_background),
            threads=torch.get_num_threads(),
        )
        return Rows(values, result_background), largest

    def content_of(self, tensors: Sequence[Tensor]) -> int:  # noqa: D102
        return _kernels.fingerprint_arrays([(each.data_ptr(), each.nbytes) for each in tensors])


@lru_cache(maxsize=256)
def _bound(program: Program) -> list[_kernels.Step]:
    """The steps as the kernels take them."""
    return [
        _kernels.Step(
            kind=step.kind,
            input=step.input,
            window=None if step.window is None else bound(step.window),
            at=step.at,
            pool=None if step.pool is None else bound(step.pool),
            other=step.other,
        )
        for step in program.steps
    ]


def _ready_step(
    step: Step, tensors: Sequence[Tensor | None], dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None]:
    """What the kernels multiply with and add."""
    check_slope(step.slope)
    c_in, c_out = step.channels
    if step.kind == "convolution":
        assert step.window is not None
        weight, bias = ready(
            [("weight", tensors[0], (c_out, *step.window.window.kernel, c_in))], [("bias", tensors[1], (c_out,))],
            dtype=dtype,
        )  # fmt: skip
        return weight, bias
    if step.kind == "scale":
        check_eps(step.eps)
        names = ("mean", "variance", "weight", "bias")
        sized: list[Sized] = [(name, each, (c_out,)) for name, each in zip(names, tensors, strict=True)]
        mean, variance, weight, bias = ready(sized[:2], sized[2:], dtype=dtype)
        scale, shift = ready(
            [(name, each, (c_out,)) for name, each in
             zip(("scale", "shift"), scale_and_shift(mean, variance, weight, bias, step.eps), strict=True)],
            dtype=dtype,
        )  # fmt: skip
        return scale, shift
    return None, None
