"""The array operations that the way from a volume to its voxels is made of: numpy's here, torch's in ``sparse``.

The steps of that way (:mod:`~napari_sparse3d.voxels.resample`, :mod:`~napari_sparse3d.voxels.threshold`,
:mod:`~napari_sparse3d.voxels.features`) stand once, over these and what every array has: arithmetic, comparison,
indexing. Each operation rounds by itself and as numpy's does, so voxels are the same bits wherever they are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.voxels.native_threshold import find_voxels

Array: TypeAlias = Any
"""Of one kind in one call: ``numpy.ndarray`` or ``torch.Tensor``."""


_STRETCH_BYTES = 4 << 20
"""Of float32: with what is made from them on the way they fit into a processor's caches."""
_FEWEST_PLANES = 4
"""Of a stretch: what lies between two planes is read for both of two neighbouring stretches."""


class Arrays(Protocol):
    """Operations on one kind of array."""

    def of(self, array: NDArray[Any]) -> Array:
        """A numpy array as one of this kind, beside the others."""

    def dtype(self, data: Array) -> np.dtype[Any]:
        """The type of the values."""

    def float32(self, data: Array) -> Array:
        """Rounded; the same array where it is float32."""

    def float64(self, data: Array) -> Array:
        """As float64."""

    def take(self, data: Array, indices: NDArray[np.intp], axis: int) -> Array:
        """The slices of these numbers along an axis."""

    def where(self, condition: Array, data: Array, other: Array | float) -> Array:
        """``data`` where the condition holds, else ``other``, in the type of ``data``."""

    def clip(self, data: Array, low: int | None = None, high: int | None = None) -> Array:
        """Not below ``low``, not above ``high``."""

    def copy(self, data: Array) -> Array:
        """A copy that may be written to."""

    def compact(self, data: Array) -> Array:
        """In raster order in memory."""

    def is_finite(self, data: Array) -> Array:
        """Neither NaN nor infinite."""

    def count(self, mask: Array) -> int:
        """How many are true."""

    def lowest(self, values: Array) -> float:
        """The smallest value; an integer stays one."""

    def highest(self, values: Array) -> float:
        """The largest value; an integer stays one."""

    def histogram(self, values: Array, bins: int) -> tuple[NDArray[np.intp], NDArray[np.floating[Any]]]:
        """(B,) counts and (B + 1,) edges as ``numpy.histogram`` has them, from the smallest to the largest value."""

    def find(self, data: Array, low: float, high: float) -> tuple[Array, Array | None]:
        """(N, 3) [z, y, x] of the voxels with ``low <= value <= high``, in raster order, compared as float64 would.

        And (N,) float32, their values, if they come with them and none is rounded.
        """

    def rows(self, count: int, channels: int, like: Array) -> Array:
        """(count, channels) float32 with nothing in it yet, beside ``like``."""

    def empty(self, shape: tuple[int, ...], dtype: str, like: Array) -> Array:
        """An array with nothing in it yet, beside ``like``."""

    def stretches(self, count: int, n_bytes: int) -> Sequence[slice]:
        """``count`` planes of so many bytes, in the pieces in which they are best worked on: all at once on a card."""


class NumpyArrays:
    """On the CPU, by numpy and our kernels."""

    def of(self, array: NDArray[Any]) -> NDArray[Any]:
        """See :class:`Arrays`, as for all that follow."""
        return array

    def dtype(self, data: NDArray[Any]) -> np.dtype[Any]:
        return data.dtype

    def float32(self, data: NDArray[Any]) -> NDArray[np.float32]:
        return data.astype(np.float32, copy=False)

    def float64(self, data: NDArray[Any]) -> NDArray[np.float64]:
        return data.astype(np.float64)

    def take(self, data: NDArray[Any], indices: NDArray[np.intp], axis: int) -> NDArray[Any]:
        return data.take(indices, axis)

    def where(self, condition: NDArray[np.bool_], data: NDArray[Any], other: Any) -> NDArray[Any]:
        return np.where(condition, data, other)

    def clip(self, data: NDArray[Any], low: int | None = None, high: int | None = None) -> NDArray[Any]:
        clipped: NDArray[Any] = np.clip(data, low, high)
        return clipped

    def copy(self, data: NDArray[Any]) -> NDArray[Any]:
        return data.copy()

    def compact(self, data: NDArray[Any]) -> NDArray[Any]:
        return np.ascontiguousarray(data)

    def is_finite(self, data: NDArray[Any]) -> NDArray[np.bool_]:
        finite: NDArray[np.bool_] = np.isfinite(data)
        return finite

    def count(self, mask: NDArray[np.bool_]) -> int:
        return int(np.count_nonzero(mask))

    def lowest(self, values: NDArray[Any]) -> float:
        return values.min().item()  # type: ignore[no-any-return]

    def highest(self, values: NDArray[Any]) -> float:
        return values.max().item()  # type: ignore[no-any-return]

    def histogram(self, values: NDArray[Any], bins: int) -> tuple[NDArray[np.intp], NDArray[Any]]:
        return np.histogram(values.view(np.uint8) if values.dtype == bool else values, bins=bins)

    def find(self, data: NDArray[Any], low: float, high: float) -> tuple[NDArray[np.int32], NDArray[np.float32] | None]:
        indices, values = find_voxels(data, low, high)
        return indices, values if np.can_cast(data.dtype, np.float32) else None

    def rows(self, count: int, channels: int, like: NDArray[Any]) -> NDArray[np.float32]:
        return np.empty((count, channels), dtype=np.float32)

    def empty(self, shape: tuple[int, ...], dtype: str, like: NDArray[Any]) -> NDArray[Any]:
        return np.empty(shape, dtype=dtype)

    def stretches(self, count: int, n_bytes: int) -> Sequence[slice]:
        each = max(_FEWEST_PLANES, _STRETCH_BYTES // max(1, n_bytes))
        return [slice(start, start + each) for start in range(0, count, each)]


NUMPY = NumpyArrays()
