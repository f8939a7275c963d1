"""From sites to voxels: what an attribution says at each voxel that was shown, and over the scan they are of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.grids import Grid

_TIE = 0.5 + 1e-6
"""Half way between two centres the later one is taken, whatever the last bit of the arithmetic says."""


def values_at(
    places: NDArray[np.int32],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    grid: Grid,
    shape: tuple[int, ...],
) -> NDArray[np.float32]:
    """The value of the site that is nearest to each voxel; 0 where that site is not active.

    Nothing is smoothed: between the centres of a coarse layer's sites no answer is invented.

    Parameters
    ----------
    places : ndarray
        (N, 3) int32 [z, y, x], voxels of the network's field.
    indices, values : ndarray
        (M, 3) int32 and (M,) float32: the sites and what is said of them.
    grid : Grid
        Where they lie over the field.
    shape : tuple of int
        (D, H, W) of the sites' grid.

    Returns
    -------
    ndarray
        (N,) float32.
    """
    if not len(indices):
        return np.zeros(len(places), dtype=np.float32)
    nearest = np.floor((places - np.array(grid.centre)) / np.array(grid.step) + _TIE).astype(np.int64)
    nearest = np.clip(nearest, 0, np.array(shape) - 1)  # at the rim, where a window without padding ends
    wanted = np.ravel_multi_index(tuple(nearest.T), shape)
    stored = np.ravel_multi_index(tuple(indices.astype(np.int64).T), shape)
    order = np.argsort(stored)
    at = np.minimum(np.searchsorted(stored, wanted, sorter=order), len(order) - 1)
    rows = order[at]
    return np.where(stored[rows] == wanted, values[rows], np.float32(0)).astype(np.float32)


def on_grid(
    values: NDArray[np.float32], shape: tuple[int, int, int], to_voxels: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Values of one grid on another that runs along the same axes: each voxel takes that of the nearest one.

    Parameters
    ----------
    values : ndarray
        (Z, Y, X) float32.
    shape : tuple of int
        Of the other grid.
    to_voxels : ndarray
        (4, 4), index of the other grid to index of ``values``.

    Returns
    -------
    ndarray
        ``shape`` float32; 0 outside of ``values``.

    Raises
    ------
    InputError
        If one is turned against the other.
    """
    steps, first = np.diag(to_voxels)[:3], to_voxels[:3, 3]
    if not np.allclose(to_voxels[:3, :3], np.diag(steps), rtol=0, atol=1e-6 * float(np.abs(steps).max())):
        raise InputError("the voxel set is turned against the scan's grid; write it as .npz, on its own grid")
    inside, nearest = [], []
    for step, begin, size, room in zip(steps, first, shape, values.shape, strict=True):
        at = np.floor(begin + step * np.arange(size) + _TIE).astype(np.int64)
        there = np.flatnonzero((at >= 0) & (at < room))
        inside.append(there)
        nearest.append(at[there])
    out = np.zeros(shape, dtype=np.float32)
    out[np.ix_(*inside)] = values[np.ix_(*nearest)]
    return out
