"""Torch's operations for the way from a volume to its voxels, on any device; numpy's are their twins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class TorchArrays:
    """See :class:`napari_sparse3d.voxels.arrays.Arrays`; all tensors on one device."""

    def __init__(self, device: str | torch.device) -> None:
        self.device = torch.device(device)

    def of(self, array: NDArray[Any]) -> Tensor:
        """A numpy array on the device."""
        return torch.from_numpy(array).to(self.device)

    def dtype(self, data: Tensor) -> np.dtype[Any]:
        """The type of the values, as numpy calls it."""
        return np.dtype(str(data.dtype).removeprefix("torch."))

    def float32(self, data: Tensor) -> Tensor:
        return data.float()

    def float64(self, data: Tensor) -> Tensor:
        return data.double()

    def take(self, data: Tensor, indices: NDArray[np.intp], axis: int) -> Tensor:
        return data.index_select(axis, self.of(indices))

    def where(self, condition: Tensor, data: Tensor, other: Tensor | float) -> Tensor:
        return torch.where(condition, data, other)

    def clip(self, data: Tensor, low: int | None = None, high: int | None = None) -> Tensor:
        return data.clamp(low, high)

    def copy(self, data: Tensor) -> Tensor:
        return data.clone()

    def compact(self, data: Tensor) -> Tensor:
        return data  # operations here take any strides

    def is_finite(self, data: Tensor) -> Tensor:
        return torch.isfinite(data)

    def count(self, mask: Tensor) -> int:
        return int(torch.count_nonzero(mask))

    def lowest(self, values: Tensor) -> float:
        return values.min().item()

    def highest(self, values: Tensor) -> float:
        return values.max().item()

    def histogram(self, values: Tensor, bins: int) -> tuple[NDArray[np.intp], NDArray[Any]]:
        """By numpy's edges; torch's own histogram rounds in another way."""
        edges = np.histogram_bin_edges(torch.stack(values.aminmax()).cpu().numpy(), bins)
        # bins are closed below, and the last one above as well
        inner = self.of(edges[1:-1].copy())
        bin_of = torch.bucketize(values.flatten().to(inner.dtype), inner, right=True)
        return torch.bincount(bin_of, minlength=bins).cpu().numpy(), edges

    def find(self, data: Tensor, low: float, high: float) -> tuple[Tensor, None]:
        return _between(data, low, high).nonzero(), None

    def rows(self, count: int, channels: int, like: Tensor) -> Tensor:
        return torch.empty((count, channels), dtype=torch.float32, device=like.device)

    def empty(self, shape: tuple[int, ...], dtype: str, like: Tensor) -> Tensor:
        return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device)

    def stretches(self, count: int, n_bytes: int) -> Sequence[slice]:
        return [slice(0, count)]  # each step is a call of its own, and a card is fast only on many values


def _between(data: Tensor, low: float, high: float) -> Tensor:
    """(Z, Y, X) bool: ``low <= data <= high``, compared as float64 would, in the data's own type."""
    active = torch.ones_like(data, dtype=torch.bool)
    if data.is_floating_point():
        kind = np.float64 if data.dtype == torch.float64 else np.float32
        with np.errstate(over="ignore"):  # beyond the largest float32 is infinite
            first, last = kind(low), kind(high)
        first = np.nextafter(first, kind(np.inf)) if float(first) < low else first
        last = np.nextafter(last, kind(-np.inf)) if float(last) > high else last
        return active & (data >= float(first)) & (data <= float(last))
    limits = torch.iinfo(data.dtype)
    if low > limits.max or high < limits.min:
        return ~active
    if low > limits.min:
        active &= data >= math.ceil(low)
    if high < limits.max:
        active &= data <= math.floor(high)
    return active
