"""Batch normalisation, a residual connection and an activation, in one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from napari_sparse3d.engine.native.arrays import KERNELS, NO_ACTIVATION, address, ready
from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.arrays import channels_of, check_eps, check_slope
from napari_sparse3d.sparse.contract import Normalized, Normalizes, scale_and_shift


class Norms(Normalizes):
    """The part of the engine that normalises."""

    def scale_rows(  # noqa: D102
        self,
        features: Tensor,
        scale: Tensor,
        shift: Tensor,
        other: Tensor | None,
        *,
        slope: float = NO_ACTIVATION,
    ) -> Tensor:
        check_slope(slope)
        channels = (channels_of(features),)
        features, scale, shift, other = ready(
            [("features", features, features.shape), ("scale", scale, channels), ("shift", shift, channels)],
            [("other", other, features.shape)],
        )
        result = torch.empty_like(features)
        KERNELS[features.dtype].scale_rows(
            features=features.data_ptr(),
            scale=scale.data_ptr(),
            shift=shift.data_ptr(),
            other=address(other),
            rows=features.shape[0],
            channels=features.shape[1],
            slope=slope,
            result=result.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return result

    def batch_norm(  # noqa: D102
        self,
        features: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        other: Tensor | None,
        *,
        eps: float,
        slope: float = NO_ACTIVATION,
    ) -> Normalized:
        check_eps(eps)
        channels = (channels_of(features),)
        if not len(features):
            raise InputError("the mean of no rows was asked for; batch normalisation needs at least one")
        features, weight, bias, other = ready(
            [("features", features, features.shape)],
            [("weight", weight, channels), ("bias", bias, channels), ("other", other, features.shape)],
        )
        mean, variance = (features.new_empty(features.shape[1]) for _ in range(2))
        KERNELS[features.dtype].row_statistics(
            features=features.data_ptr(),
            rows=features.shape[0],
            channels=features.shape[1],
            mean=mean.data_ptr(),
            variance=variance.data_ptr(),
            threads=torch.get_num_threads(),
        )
        scale, shift = scale_and_shift(mean, variance, weight, bias, eps)
        return Normalized(self.scale_rows(features, scale, shift, other, slope=slope), mean, variance)

    def batch_norm_backward(  # noqa: D102
        self,
        grad: Tensor,
        forward: Normalized,
        features: Tensor,
        weight: Tensor | None,
        *,
        eps: float,
        slope: float = NO_ACTIVATION,
        of_other: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        check_slope(slope)
        check_eps(eps)
        channels, shape = (channels_of(features),), features.shape
        features, grad, values, mean, variance, weight = ready(
            [("features", features, shape), ("grad", grad, shape), ("values", forward.values, shape),
             ("mean", forward.mean, channels), ("variance", forward.variance, channels)],
            [("weight", weight, channels)],
        )  # fmt: skip
        deviation = torch.sqrt(variance + eps)
        g_features = torch.empty_like(features)
        g_other = torch.empty_like(features) if of_other else None
        g_weight, g_bias = (features.new_empty(features.shape[1]) for _ in range(2))
        KERNELS[features.dtype].normalized_rows_backward(
            grad=grad.data_ptr(),
            values=0 if slope == NO_ACTIVATION else values.data_ptr(),
            features=features.data_ptr(),
            mean=mean.data_ptr(),
            deviation=deviation.data_ptr(),
            weight=address(weight),
            rows=features.shape[0],
            channels=features.shape[1],
            slope=slope,
            g_features=g_features.data_ptr(),
            g_other=address(g_other),
            g_weight=g_weight.data_ptr(),
            g_bias=g_bias.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return g_features, g_weight, g_bias, g_other
