"""Site sets of the benchmarks: shapes of every density, as (N, 4) int32 [b, z, y, x] tensors in raster order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIDE = 128


def indices_of(mask: NDArray[np.bool_]) -> Tensor:
    """(Z, Y, X) bool -> (N, 4) int32, one volume."""
    return torch.from_numpy(np.pad(np.argwhere(mask).astype(np.int32), ((0, 0), (1, 0))))


def distance_from_centre(side: int) -> NDArray[np.float32]:
    """(side, side, side): each cell's distance from the middle of the grid, in cells."""
    square = (np.arange(side, dtype=np.float32) - (side - 1) / 2) ** 2
    return np.sqrt(square[:, None, None] + square[:, None] + square)


def smooth_noise(side: int, share: float, *, cells: int = 16, seed: int = 0) -> NDArray[np.bool_]:
    """The upper ``share`` of trilinear noise with one random value every ``cells`` cells: blobs, like organs.

    Made slice by slice, so that a grid of 1024^3 needs a byte a cell and no more.
    """
    coarse = np.random.default_rng(seed).standard_normal((side // cells + 2,) * 3).astype(np.float32)
    place = np.arange(side) / cells
    low, part = place.astype(int), (place % 1).astype(np.float32)

    def slice_at(z: int) -> NDArray[np.float32]:
        plane = coarse[low[z]] * (1 - part[z]) + coarse[low[z] + 1] * part[z]
        rows = plane[low] * (1 - part[:, None]) + plane[low + 1] * part[:, None]
        return rows[:, low] * (1 - part) + rows[:, low + 1] * part

    # five and the cells have no common factor, so the sample sees every phase of the noise
    sample = np.concatenate([slice_at(z)[::5, ::5].ravel() for z in range(0, side, 5)])
    level = np.quantile(sample, 1 - share)
    mask = np.empty((side,) * 3, dtype=bool)
    for z in range(side):
        np.greater(slice_at(z), level, out=mask[z])
    return mask


def scattered(share: float, side: int = SIDE, seed: int = 0) -> NDArray[np.bool_]:
    """Each cell for itself with this probability."""
    return np.random.default_rng(seed).random((side,) * 3, dtype=np.float32) < share


def _shell(radius: float, thickness: float) -> NDArray[np.bool_]:
    return np.abs(distance_from_centre(SIDE) - radius) <= thickness / 2


SWEEP: dict[str, Callable[[], NDArray[np.bool_]]] = {
    "ball, radius 33": lambda: distance_from_centre(SIDE) <= 33,
    "thick shell, radius 50, 4": lambda: _shell(50, 4),
    "thin shell, radius 62, 1": lambda: _shell(62, 1),
    "random 1 %": lambda: scattered(0.01),
    "random 10 %": lambda: scattered(0.1),
    "random 40 %": lambda: scattered(0.4)[:64],
    "smooth noise 7 %": lambda: smooth_noise(SIDE, 0.07),
}
"""From one connected body to dust. Sizes are such that a layer takes milliseconds, not microseconds."""
