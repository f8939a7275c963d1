"""One plane of the voxel set that a recipe makes, without making the set: the same voxels, in milliseconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.body import Mask, in_body
from napari_sparse3d.voxels.image_data import padding_of
from napari_sparse3d.voxels.native_threshold import slice_mask
from napari_sparse3d.voxels.recipe import NoResampling, Resample
from napari_sparse3d.voxels.resample import NewGrid, new_grid, sampled
from napari_sparse3d.voxels.voxel_set import VoxelSet


class Planes(Protocol):
    """Planes of a voxel set."""

    @property
    def affine(self) -> NDArray[np.float64]:
        """(4, 4) of the set's grid."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X)."""

    def plane(self, axis: int, index: int) -> Mask:
        """(..., ...) bool: which voxels of plane ``index`` along ``axis`` are active."""


@dataclass(frozen=True, eq=False)
class SetPlanes:
    """Of a set that is there."""

    voxels: VoxelSet

    @property
    def affine(self) -> NDArray[np.float64]:
        """See :class:`Planes`."""
        return self.voxels.affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """See :class:`Planes`."""
        return self.voxels.shape

    def plane(self, axis: int, index: int) -> Mask:
        """See :class:`Planes`."""
        indices = self.voxels.indices
        if axis == 0:  # they are in raster order
            begin, end = np.searchsorted(indices[:, 0], [index, index + 1])
            here = indices[begin:end]
        else:
            here = indices[indices[:, axis] == index]
        mask = np.zeros([size for each, size in enumerate(self.shape) if each != axis], dtype=bool)
        mask[tuple(here[:, each] for each in range(3) if each != axis)] = True
        return mask


class RangePlanes:
    """Of the set that a range makes of a volume, before its largest parts are chosen.

    Parameters
    ----------
    volume : Volume
    resample : NoResampling, ToSpacing or ToLongestSide
    low, high : float
        Inclusive, in the volume's unit.
    body : ndarray, optional
        (Z, Y, X) bool on the volume's own grid, where only what lies in it is kept.
    all_inside : bool
        Whether all voxels of the volume are known to be image data (see ``voxels.image_data``): which decides by what
        rule is interpolated.
    """

    def __init__(
        self,
        volume: Volume,
        resample: Resample,
        low: float,
        high: float,
        *,
        body: Mask | None = None,
        all_inside: bool = True,
    ) -> None:
        self.volume, self.low, self.high, self.body, self.all_inside = volume, low, high, body, all_inside
        self._grid = None if isinstance(resample, NoResampling) else new_grid(volume, resample)

    @property
    def affine(self) -> NDArray[np.float64]:
        """See :class:`Planes`."""
        return self.volume.affine if self._grid is None else self._grid.affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """See :class:`Planes`."""
        if self._grid is None:
            return self.volume.shape
        z, y, x = (len(centres) for centres in self._grid.centres)
        return z, y, x

    def plane(self, axis: int, index: int) -> Mask:
        """See :class:`Planes`."""
        values = self._own(axis, [index]) if self._grid is None else self._between(self._grid, axis, index)
        low, padding = self.low, padding_of(self.volume)
        if self._grid is None and padding is not None:
            low = max(low, math.floor(padding) + 1)
        mask = slice_mask(values, low, self.high)
        if values.dtype.kind == "f":
            mask &= np.isfinite(values)
        if self.body is not None:
            indices = np.argwhere(mask).astype(np.int32)
            indices[:, axis] = index
            mask[mask] = in_body(indices, self.affine, self.body, self.volume)
        return mask.squeeze(axis)

    def _own(self, axis: int, planes: list[int]) -> NDArray[Any]:
        return np.asarray(self.volume.data.take(planes, axis))

    def _between(self, grid: NewGrid, axis: int, index: int) -> NDArray[Any]:
        """A plane of the new grid, of the two old ones beside it, by the very operations of :func:`resample`."""
        size = self.volume.shape[axis]
        position = float(np.clip(grid.centres[axis][index], 0, size - 1))
        below = math.floor(position)
        two = self._own(axis, [below, min(below + 1, size - 1)])
        centres = tuple(np.array([position - below]) if each == axis else grid.centres[each] for each in range(3))
        here = NewGrid(centres, grid.order, grid.affine)
        inside: Mask | None = None
        if not self.all_inside:
            padding = padding_of(self.volume)
            inside = np.isfinite(two) if padding is None else two > np.float64(padding)
        return np.asarray(sampled(two, here, inside)[0])
