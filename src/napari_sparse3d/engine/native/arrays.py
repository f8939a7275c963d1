"""How arrays get to the kernels: checked, contiguous, as addresses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from napari_sparse3d import _kernels
from napari_sparse3d.errors import InputError, TensorTypeError
from napari_sparse3d.sparse.arrays import Sized, check_sizes

NO_ACTIVATION = 1.0
"""As the slope of a leaky ReLU."""

KERNELS: dict[torch.dtype, type[_kernels.Float32] | type[_kernels.Float64]] = {
    torch.float32: _kernels.Float32,
    torch.float64: _kernels.Float64,
}

_Made = TypeVar("_Made")
_STRIDED = torch.strided


def ready(required: Sequence[Sized], optional: Sequence[Sized] = (), *, dtype: torch.dtype | None = None) -> list[Any]:
    """The arrays of a call, contiguous and in order: what may be handed to the kernels as an address.

    Every array that a caller gives passes here, before its address is taken.

    Raises
    ------
    InputError
        If one has another size than stated, its memory is gone, or its type is not ``dtype`` (if None: that of the
        first, float32 or float64), or it does not lie in this machine's memory.
    """
    check_sizes(required, optional)
    arrays: list[Any] = [array for _, array, _ in (*required, *optional)]
    if dtype is None:
        dtype = arrays[0].dtype
        if dtype not in KERNELS:
            raise TensorTypeError(
                f"the native engine computes in float32 or float64, got {dtype}; convert the features"
            )
    for number, array in enumerate(arrays):
        if array is None:
            continue
        if not (array.dtype is dtype and array.is_cpu and array.layout is _STRIDED):
            raise TensorTypeError(
                f"the native engine needs dense CPU tensors of one dtype, got {dtype} and {array.dtype} "
                f"on {array.device}; convert them, or choose another engine"
            )
        if array.is_neg():  # a view whose sign is still to be turned
            array = arrays[number] = array.resolve_neg()
        if not array.is_contiguous():
            array = arrays[number] = array.contiguous()
        if not array.data_ptr() and array.numel():
            raise InputError("the memory of a tensor was given back; copy the tensor before that")
    return arrays


def address(tensor: Tensor | None) -> int:
    """Of its first number; 0 stands for no array."""
    return 0 if tensor is None else tensor.data_ptr()


def asked(make: Callable[..., _Made], **arguments: Any) -> _Made:
    """What the kernels make of sites; what they refuse is the caller's error."""
    try:
        return make(**arguments)
    except ValueError as error:
        raise InputError(str(error)) from None
