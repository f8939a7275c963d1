"""Pools over windows."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_sparse3d import _kernels
from napari_sparse3d.engine.native.arrays import KERNELS, address, ready
from napari_sparse3d.sparse.arrays import channels_of
from napari_sparse3d.sparse.contract import Engine


class Pools(Engine[_kernels.Plan]):
    """The part of the engine that pools."""

    def max_pool(self, features: Tensor, background: Tensor | None, plan: _kernels.Plan) -> tuple[Tensor, Tensor]:  # noqa: D102
        channels = channels_of(features)
        features, background = ready(
            [("features", features, (plan.inputs, channels))], [("background", background, (channels,))]
        )
        values = features.new_empty((plan.outputs, channels))
        rows = features.new_empty((plan.outputs, channels), dtype=torch.int32)
        KERNELS[features.dtype].max_pool(
            plan=plan,
            features=features.data_ptr(),
            background=address(background),
            channels=channels,
            values=values.data_ptr(),
            rows=rows.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return values, rows

    def max_pool_backward(self, grad: Tensor, rows: Tensor, plan: _kernels.Plan) -> tuple[Tensor, Tensor]:  # noqa: D102
        channels = channels_of(grad, "grad")
        shape = (plan.outputs, channels)
        (grad,), (rows,) = ready([("grad", grad, shape)]), ready([("rows", rows, shape)], dtype=torch.int32)
        features, background = grad.new_empty((plan.inputs, channels)), grad.new_empty(channels)
        KERNELS[grad.dtype].max_pool_backward(
            plan=plan,
            grad=grad.data_ptr(),
            rows=rows.data_ptr(),
            channels=channels,
            g_features=features.data_ptr(),
            g_background=background.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return features, background

    def avg_pool(self, features: Tensor, background: Tensor | None, plan: _kernels.Plan) -> Tensor:  # noqa: D102
        channels = channels_of(features)
        features, background = ready(
            [("features", features, (plan.inputs, channels))], [("background", background, (channels,))]
        )
        values = features.new_empty((plan.outputs, channels))
        KERNELS[features.dtype].avg_pool(
            plan=plan,
            features=features.data_ptr(),
            background=address(background),
            channels=channels,
            values=values.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return values

    def avg_pool_backward(self, grad: Tensor, plan: _kernels.Plan, *, over_active: bool) -> tuple[Tensor, Tensor]:  # noqa: D102
        channels = channels_of(grad, "grad")
        (grad,) = ready([("grad", grad, (plan.outputs, channels))])
        features, background = grad.new_empty((plan.inputs, channels)), grad.new_empty(channels)
        KERNELS[grad.dtype].avg_pool_backward(
            plan=plan,
            grad=grad.data_ptr(),
            channels=channels,
            over_active=over_active,
            g_features=features.data_ptr(),
            g_background=background.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return features, background
