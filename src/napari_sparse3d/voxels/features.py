"""What an active voxel holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.voxels.arrays import NUMPY, Array, Arrays
from napari_sparse3d.voxels.image_data import values_inside
from napari_sparse3d.voxels.recipe import FEATURE_CHANNELS, FeatureName

HU_UNIT = 1000.0
"""Intensity of CT is given in kHU: air -1, water 0, dense bone about 1 to 3."""

DEPTH_MM = 10.0
"""Depth is given in units of 10 mm, so that vessels and organs lie near 1."""


def features_at(
    indices: Array,
    data: Array,
    affine: NDArray[np.float64],
    unit: str,
    names: tuple[FeatureName, ...],
    values: Array | None = None,
    inside: Array | None = None,
    arrays: Arrays = NUMPY,
) -> Array:
    """The feature rows of the active voxels.

    * ``occupancy``: 1.
    * ``intensity``: the value in kHU for CT; otherwise as a fraction of the largest absolute value of the volume.
    * ``depth``: how far the voxel lies below the surface of the active set, in units of 10 mm: the distance from its
      centre to the nearest centre of an inactive voxel (outside the grid nothing is active), Euclidean.
    * ``gradient``: three channels, the derivative of the intensity along z, y and x per millimetre, by central
      differences over the whole volume (one-sided on the border of the image data), not over the active voxels alone.

    Parameters
    ----------
    indices : array
        (N, 3) integers [z, y, x].
    data : array
        (Z, Y, X), after resampling.
    affine : ndarray
        (4, 4) float64 of the grid, for its spacing.
    unit : str
        ``"HU"`` or ``"a.u."``.
    names : tuple of str
        Which features, in the order of the channels.
    values : array, optional
        (N,) float32: ``data`` at the voxels, where it is already at hand and float32 holds it exactly.
    inside : array, optional
        (Z, Y, X) bool: which voxels are image data; all unless given.
    arrays : Arrays
        Of the kind of all of these; ``depth`` is measured on numpy's alone.

    Returns
    -------
    array
        (N, C) float32.
    """
    looks_at_range = unit != "HU" and not {"intensity", "gradient"}.isdisjoint(names)
    seen = values_inside(data, inside) if looks_at_range else None
    extremes = (0.0, 0.0) if seen is None else (float(arrays.lowest(seen)), float(arrays.highest(seen)))
    scale = intensity_scale(unit, *extremes)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    rows = arrays.rows(len(indices), sum(FEATURE_CHANNELS[name] for name in names), data)
    channel = 0
    for name in names:
        if name == "occupancy":
            rows[:, channel] = 1
        elif name == "intensity":
            intensity = _value(data, indices, arrays) if values is None else arrays.float64(values)
            rows[:, channel] = intensity * scale
        elif name == "depth":
            rows[:, channel] = _depth_mm(indices, spacing_mm) / DEPTH_MM
        else:
            # as an array: torch turns a division by a number into a product with its reciprocal on a card
            between = arrays.of(spacing_mm)
            for axis in range(3):
                difference = _difference(data, indices, axis, inside, arrays)
                rows[:, channel + axis] = difference * scale / between[axis]
        channel += FEATURE_CHANNELS[name]
    return rows


def intensity_scale(unit: str, lowest: float, highest: float) -> float:
    """What values are multiplied by to become the feature ``intensity``, from the extremes of the volume."""
    # not the largest of abs(data): the most negative integer has no positive counterpart
    return 1 / HU_UNIT if unit == "HU" else 1 / (max(abs(lowest), abs(highest)) or 1.0)


def _value(data: Array, indices: Array, arrays: Arrays) -> Array:
    return arrays.float64(data[tuple(indices.T)])


def _difference(data: Array, indices: Array, axis: int, inside: Array | None, arrays: Arrays) -> Array:
    """Per voxel: (next - previous) / 2; on the border one-sided; 0 where no neighbour on the axis is image data."""
    above, below = arrays.copy(indices), arrays.copy(indices)
    above[:, axis] = arrays.clip(indices[:, axis] + 1, high=data.shape[axis] - 1)
    below[:, axis] = arrays.clip(indices[:, axis] - 1, low=0)
    if inside is not None:
        for neighbour in (above, below):
            there = inside[tuple(neighbour.T)]
            neighbour[:, axis] = arrays.where(there, neighbour[:, axis], indices[:, axis])
    steps = arrays.clip(above[:, axis] - below[:, axis], low=1)
    return (_value(data, above, arrays) - _value(data, below, arrays)) / steps


def _depth_mm(indices: NDArray[np.int32], spacing_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,): distance from each active voxel to the nearest inactive one, in mm."""
    if len(indices) == 0:
        return np.zeros(0)
    import SimpleITK as sitk

    first = indices.min(axis=0)
    mask = np.zeros(indices.max(axis=0) - first + 3, dtype=np.uint8)  # a margin of one inactive voxel on each side
    inside = indices - first + 1
    mask[tuple(inside.T)] = 1
    image = sitk.GetImageFromArray(1 - mask)
    image.SetSpacing(spacing_mm[::-1].tolist())  # type: ignore[no-untyped-call]
    # Maurer's distance to the set of inactive voxels, from centre to centre
    transform: Any = sitk.SignedMaurerDistanceMapImageFilter()  # type: ignore[no-untyped-call]
    transform.SetSquaredDistance(False)
    transform.SetUseImageSpacing(True)
    transform.SetNumberOfThreads(1)  # a crop is done sooner than threads are started
    distance = transform.Execute(image)
    values: NDArray[np.float64] = sitk.GetArrayViewFromImage(distance)[tuple(inside.T)].astype(np.float64)
    return values
