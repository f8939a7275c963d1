"""Threshold a volume with the C++ kernels: one pass over memory, on several threads."""

from __future__ import annotations

import os
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import napari_sparse3d._kernels as _kernels
from napari_sparse3d.voxels.instruction_set import instruction_set

_MANY = 1 << 21  # voxels of 32 MB; less than that the allocator itself keeps
_Kernels: TypeAlias = (
    type[_kernels.VoxelsUInt8] | type[_kernels.VoxelsInt16] | type[_kernels.VoxelsUInt16] | type[_kernels.VoxelsFloat32]
)
_KERNELS: dict[str, _Kernels] = {
    "|u1": _kernels.VoxelsUInt8,
    "<i2": _kernels.VoxelsInt16,
    "<u2": _kernels.VoxelsUInt16,
    "<f4": _kernels.VoxelsFloat32,
}


def find_voxels(
    data: NDArray[Any], low: float, high: float, *, threads: int | None = None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The voxels whose value lies in ``[low, high]``.

    Parameters
    ----------
    data : ndarray
        (Z, Y, X), any real type, any strides; uint8, int16, uint16 and float32 are read as they are.
    low, high : float
        Both inclusive, in the volume's unit. NaN voxels are never in the range.
    threads : int, optional
        How many to use; all processors that this process may use if not given.

    Returns
    -------
    indices : ndarray
        (N, 3) int32 [z, y, x], raster order.
    values : ndarray
        (N,) float32.

    Raises
    ------
    ValueError
        If ``data`` is not 3D.
    """
    view = _view(data)
    if view is None:
        low, high = np.float64(low), np.float64(high)  # numpy would round a plain number to the array's own type
        indices = np.ascontiguousarray(np.argwhere((data >= low) & (data <= high)), dtype=np.int32)
        return indices, data[tuple(indices.T)].astype(np.float32)
    kernels, place = view
    threads = threads or _processors()
    capacity = _guess(data, low, high, kernels, threads)
    while True:
        indices, values = _room(capacity)
        n_found = kernels.find(
            **place,
            low=low,
            high=high,
            capacity=capacity,
            indices=indices.ctypes.data,
            values=values.ctypes.data,
            bitmap=0,
            threads=threads,
        )
        if n_found <= capacity:
            return indices[:n_found], values[:n_found]
        capacity = n_found


def count_voxels(data: NDArray[Any], low: float, high: float, *, threads: int | None = None) -> int:
    """How many voxels lie in ``[low, high]``; see :func:`find_voxels`."""
    view = _view(data)
    if view is None:
        return int(np.count_nonzero(slice_mask(data, low, high)))
    kernels, place = view
    return kernels.count(**place, low=low, high=high, threads=threads or _processors())


def slice_mask(plane: NDArray[Any], low: float, high: float) -> NDArray[np.bool_]:
    """(Y, X) bool: which pixels of one slice lie in ``[low, high]``, by :func:`find_voxels`' rule."""
    low, high = np.float64(low), np.float64(high)  # numpy would round a plain number to the array's own type
    mask: NDArray[np.bool_] = (plane >= low) & (plane <= high)
    return mask


def _guess(data: NDArray[Any], low: float, high: float, kernels: _Kernels, threads: int) -> int:
    """Room for the voxels: half as many again as every 16th slice suggests."""
    step = 16 if data.shape[0] >= 64 else 1
    sample = data[::step]
    count = kernels.count(**_place(sample), low=low, high=high, threads=threads)
    return count if step == 1 else min(data.size, count * step * 3 // 2 + 65536)


def _room(count: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """(count, 3) and (count,), with nothing in them yet: pages that are never written to take no memory."""
    if count < _MANY:
        return np.empty((count, 3), dtype=np.int32), np.empty(count, dtype=np.float32)
    return _kernels.new_rows(count), _kernels.new_values(count)  # in pages of an earlier result: new ones cost more


def _view(data: NDArray[Any]) -> tuple[_Kernels, dict[str, Any]] | None:
    if data.ndim != 3:
        raise ValueError(f"a volume must be (Z, Y, X), got shape {data.shape}")
    kernels = _KERNELS.get(data.dtype.str)
    if kernels is None or data.size == 0 or not data.flags.aligned:
        return None
    instruction_set()
    return kernels, _place(data)


def _place(data: NDArray[Any]) -> dict[str, Any]:
    return {"data": data.ctypes.data, "shape": data.shape, "strides": data.strides}


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
