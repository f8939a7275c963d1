"""One thing of a mask: the part in which a place lies, cut loose from what it is attached to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError

WIDEST = 12
"""Voxels: the largest radius by which a thing is opened. What is attached by more is no thing of its own."""
_NEAR = 1.0
"""Voxels by which a place may miss what an opening leaves: it rounds corners off."""


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a mask.

    Attributes
    ----------
    mask : ndarray
        (Z, Y, X) bool.
    opened : int
        Radius, in voxels, of the opening by which it was cut loose; 0: it is a part of its own.
    """

    mask: NDArray[np.bool_]
    opened: int


def part_at(mask: NDArray[np.bool_], place: tuple[int, int, int], side: int) -> Part:
    """The part of a mask in which a place lies, if it fits into a cube; else cut loose until it does.

    Lung nodules hang on vessels and lie against the chest wall. The mask is therefore eroded by balls of growing radius
    until the part about the place fits, which is then grown back by the same radius within the mask (morphological
    opening of one part; Kuhnigk et al. 2006, IEEE Trans. Med. Imaging 25, 417, section III).

    Parameters
    ----------
    mask : ndarray
        (Z, Y, X) bool. Isotropic, and it reaches at least ``side`` voxels beyond the place on every side, or as far as
        there is anything: then the answer is the same for all places in one part.
    place : tuple of int
        (z, y, x) of a voxel of the mask.
    side : int
        Voxels along each side of the cube.

    Raises
    ------
    InputError
        If the place is not in the mask, or nothing about it can be cut loose.
    """
    if not mask[place]:
        raise InputError("there is nothing at this place; choose one inside what is meant")
    part = _component(mask, place)
    if _fits(part, side):
        return Part(part, 0)
    depth = distance_to(~mask)
    for radius in range(1, WIDEST + 1):
        core = _nearest(depth > radius, place, radius + _NEAR)
        if core is None:
            break
        eroded = _component(depth > radius, core)
        if not _fits(eroded, side):
            continue
        part = mask & (distance_to(eroded) <= radius)
        if _fits(part, side):
            return Part(part, radius)
    raise InputError(
        f"what lies at this place is part of something larger than {side} voxels on a side, and cannot be cut loose "
        "from it; draw a box around what is meant, or choose a label"
    )


def distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(Z, Y, X) Euclidean distance of each voxel to the nearest of a mask, in voxels; infinite if that is empty."""
    import SimpleITK as sitk

    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    measure: Any = sitk.SignedMaurerDistanceMap  # SimpleITK gives its functions no types
    # measured from the mask's outermost voxels, negative inside it
    signed = measure(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=False)
    away: NDArray[np.float32] = np.maximum(sitk.GetArrayFromImage(signed), np.float32(0))
    return away


def _component(mask: NDArray[np.bool_], place: tuple[int, int, int]) -> NDArray[np.bool_]:
    """What hangs together with a voxel of the mask, by faces: over edges alone a wall and a nodule are one."""
    import cc3d

    labels = cc3d.connected_components(np.ascontiguousarray(mask), connectivity=6)
    return np.asarray(labels == labels[place])


def _fits(part: NDArray[np.bool_], side: int) -> bool:
    occupied = (np.flatnonzero(part.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    return all(int(along[-1]) - int(along[0]) < side for along in occupied)


def _nearest(mask: NDArray[np.bool_], place: tuple[int, int, int], reach: float) -> tuple[int, int, int] | None:
    """The voxel of a mask nearest to a place, within ``reach`` voxels; of equals the first in raster order."""
    first = [max(0, at - int(reach)) for at in place]
    near = mask[tuple(slice(low, at + int(reach) + 1) for low, at in zip(first, place, strict=True))]
    candidates = np.argwhere(near) + first
    away = np.linalg.norm(candidates - np.asarray(place), axis=1)
    if not len(away) or away.min() > reach:
        return None
    z, y, x = candidates[int(away.argmin())].tolist()
    return z, y, x
