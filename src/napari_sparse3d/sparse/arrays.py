"""The one check of what an operator is given: every tensor has the size that its plan asks for, or is refused.

An engine states the sizes of all arrays of a call, from its plan, before it touches one of them. Without this a kernel
would read past the end of an array, and torch would spread one row over all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, TypeAlias

import torch
from torch import Tensor

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.window import Triple

Sized: TypeAlias = tuple[str, Tensor | None, tuple[int, ...]]
"""What an array is called, the array, and the shape that it must have."""


def check_sizes(required: Sequence[Sized], optional: Sequence[Sized] = ()) -> None:
    """Refuse arrays of other sizes than stated; ``optional`` ones may be None.

    Raises
    ------
    InputError
        If one is no tensor, or has another shape.
    """
    for name, array, shape in required:
        if not isinstance(array, Tensor):
            raise InputError(f"{name} must be a tensor {shape}, got {_kind(array)}")
        if array.shape != shape:
            raise InputError(f"{name} must be {shape}, got {tuple(array.shape)}; give it the size that the sites have")
    for name, array, shape in optional:
        if array is None:
            continue
        if not isinstance(array, Tensor):
            raise InputError(f"{name} must be a tensor {shape} or None, got {_kind(array)}")
        if array.shape != shape:
            raise InputError(f"{name} must be {shape} or None, got {tuple(array.shape)}")


def check_indices(indices: Tensor) -> None:
    """Refuse what cannot be the sites of rows; whether each lies in its grid, once, is for an engine to see."""
    if not isinstance(indices, Tensor):
        raise InputError(f"indices must be a tensor (N, 4) int32 [b, z, y, x], got {_kind(indices)}")
    if indices.dtype != torch.int32 or indices.ndim != 2 or indices.shape[1] != 4:
        raise InputError(
            f"indices must be (N, 4) int32 [b, z, y, x], got {tuple(indices.shape)} {indices.dtype}; use indices.int()"
        )


def channels_of(features: Tensor, name: str = "features") -> int:
    """C of rows (N, C)."""
    if not isinstance(features, Tensor):
        raise InputError(f"{name} must be a tensor (N, C), got {_kind(features)}")
    shape = features.shape
    if len(shape) != 2 or shape[1] < 1:
        raise InputError(f"{name} must be (N, C), with at least one channel, got {tuple(shape)}")
    return shape[1]


def channels_of_weight(weight: Tensor) -> tuple[int, int]:
    """C_out and C_in of the weight of a convolution, (C_out, kz, ky, kx, C_in)."""
    if not isinstance(weight, Tensor):
        raise InputError(f"weight must be a tensor (C_out, kz, ky, kx, C_in), got {_kind(weight)}")
    shape = weight.shape  # asked once: torch makes it anew each time, and every layer of every pass comes through here
    if len(shape) != 5 or shape[0] < 1 or shape[4] < 1:
        raise InputError(f"weight must be (C_out, kz, ky, kx, C_in), got {tuple(shape)}")
    return shape[0], shape[4]


def check_convolution(
    features: Tensor, weight: Tensor, bias: Tensor | None, background: Tensor | None, inputs: int, kernel: Triple
) -> None:
    """Refuse what a convolution from so many sites, with this kernel, cannot take; see :meth:`Engine.convolution`."""
    c_out, c_in = channels_of_weight(weight)
    check_sizes(
        [("features", features, (inputs, c_in)), ("weight", weight, (c_out, *kernel, c_in))],
        [("bias", bias, (c_out,)), ("background", background, (c_in,))],
    )


def check_pool(features: Tensor, background: Tensor | None, inputs: int) -> None:
    """Refuse what a pool from so many sites cannot take; see :meth:`Engine.max_pool`."""
    channels = channels_of(features)
    check_sizes([("features", features, (inputs, channels))], [("background", background, (channels,))])


def check_slope(slope: float) -> None:
    """Refuse the slope of a leaky ReLU that falls, whose gradient cannot be told from its values."""
    if not (slope >= 0 and isfinite(slope)):
        raise InputError(f"the slope of a leaky ReLU must be a finite number of at least 0, got {slope}")


def check_eps(eps: float) -> None:
    """Refuse what cannot be added to a variance."""
    if not (eps >= 0 and isfinite(eps)):
        raise InputError(f"eps must be a finite number of at least 0, got {eps}")


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
