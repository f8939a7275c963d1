"""The repair of a tilted or unevenly spaced stack: linear interpolation onto a true grid, on request only.

The slices are parallel planes, each known exactly. A point of the new grid lies between two of them (or on one); its
value is interpolated linearly inside each plane and then along the normal between both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.dicom.grid import TILT_DEGREES, Grid
from napari_sparse3d.io.dicom.pixels import decode, dtype_of
from napari_sparse3d.io.dicom.plane import Kind, Plane, normal_of
from napari_sparse3d.io.dicom.stack import Stack
from napari_sparse3d.io.limits import check_memory
from napari_sparse3d.io.orientation import canonical

_ROUNDING_PIXELS = 0.25
FILL_HU = -1024
"""Where no slice reaches (the corners that a tilt leaves): air. Other images than CT get their smallest value."""


@dataclass(frozen=True)
class Repair:
    """The true grid of a faulty stack."""

    grid: Grid
    depths: NDArray[np.float64]
    """(N,) position of each slice along the normal, from the first; mm, rising."""
    shifts: NDArray[np.float64]
    """(N, 2) offset of each slice in its plane against the new grid, in pixels (row, column); never negative."""
    said: str
    """What is done, for ``meta["repairs"]``."""


def plan_repair(kind: Kind, planes: tuple[Plane, ...]) -> Repair:
    """The grid onto which a stack is resampled: its own rows and columns, slices perpendicular and evenly spaced.

    It spans from the first slice to the last; their distance is divided into equal steps, as near as possible to the
    finest step that the stack has in earnest (one tenth of its steps or more).
    """
    assert kind.orientation is not None  # a stack with positions
    assert kind.pixel_spacing is not None
    row = np.asarray(kind.orientation[:3]) / np.linalg.norm(kind.orientation[:3])
    normal = normal_of(kind.orientation)
    normal /= np.linalg.norm(normal)
    column = np.cross(normal, row)
    between_rows, between_columns = kind.pixel_spacing
    offsets = np.array([plane.position for plane in planes]) - np.asarray(planes[0].position)
    depths = offsets @ normal
    pixels = np.stack([offsets @ column / between_rows, offsets @ row / between_columns], axis=1)
    angle = float(np.degrees(np.arctan2(np.linalg.norm(offsets[-1] - depths[-1] * normal), depths[-1])))
    if angle <= TILT_DEGREES and np.abs(pixels).max() < _ROUNDING_PIXELS:
        pixels = np.zeros_like(pixels)  # rounded positions, no tilt: moving the slices would only blur them
    lowest = np.floor(pixels.min(axis=0) + 1e-3)
    shifts = np.maximum(pixels - lowest, 0.0)
    shifts[np.abs(shifts - np.round(shifts)) < 1e-3] = np.round(shifts[np.abs(shifts - np.round(shifts)) < 1e-3])
    extent = float(depths[-1])
    n = max(1, round(extent / _finest_step(np.diff(depths)))) + 1
    step = extent / (n - 1)
    rows, columns = (
        int(np.ceil(shifts[:, axis].max() - 1e-9)) + size for axis, size in enumerate((kind.rows, kind.columns))
    )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * between_columns, column * between_rows, normal * step
    affine[:3, 3] = (
        np.asarray(planes[0].position) + lowest[1] * between_columns * row + lowest[0] * between_rows * column
    )
    affine[:2] *= -1  # LPS to RAS
    said = f"resampled by linear interpolation from {len(planes)} slices to {n} slices {step:.6g} mm apart"
    if pixels.max() - pixels.min() > 1e-3:
        said += f", a tilt of {angle:.2f} degrees taken out"
    return Repair(Grid((n, rows, columns), affine), depths, shifts, said)


def resampled_stack(stack: Stack, frames: Iterable[int]) -> tuple[NDArray[Any], NDArray[np.float64], str]:
    """Decode the frames and resample each.

    Returns
    -------
    data : ndarray
        (T, Z, Y, X), of the type that the stored values have: integers are rounded.
    affine : ndarray
        (4, 4), as ``Volume.affine``.
    said : str
        What was done.
    """
    kind = stack.kind
    chosen = list(frames)
    repair = plan_repair(kind, stack.frames[0])
    n, rows, columns = repair.grid.shape
    order = canonical((columns, rows, n), repair.grid.affine_ras)
    dtype = dtype_of(plane for t in chosen for plane in stack.frames[t])
    check_memory(dtype.itemsize * n * rows * columns * len(chosen), what="the resampled series")
    volumes = []
    for t in chosen:
        slices = decode(stack.frames[t], np.empty((len(stack.frames[t]), kind.rows, kind.columns), dtype=dtype))
        fill = FILL_HU if kind.modality == "CT" and np.issubdtype(slices.dtype, np.signedinteger) else slices.min()
        out = resample_slices(slices, repair, fill=float(min(fill, slices.min())))
        volumes.append(order.apply(out.transpose(2, 1, 0)))
    return np.ascontiguousarray(np.stack(volumes)), order.affine, repair.said


def resample_slices(slices: NDArray[Any], repair: Repair, *, fill: float) -> NDArray[Any]:
    """(N, rows, columns) onto the repair's grid; where neither neighbouring slice reaches, ``fill``."""
    n, rows, columns = repair.grid.shape
    out = np.empty((n, rows, columns), dtype=slices.dtype)
    depths = repair.depths
    for index, depth in enumerate(np.linspace(0.0, depths[-1], n)):
        above = int(np.clip(np.searchsorted(depths, depth, side="right"), 1, len(depths) - 1))
        weight = float((depth - depths[above - 1]) / (depths[above] - depths[above - 1]))
        total = np.zeros((rows, columns))
        covered = np.zeros((rows, columns))
        for k, part in ((above - 1, 1.0 - weight), (above, weight)):
            if part > 1e-6:
                _add_shifted(slices[k], repair.shifts[k], part, total, covered)
        value = np.where(covered > 1e-6, total / np.maximum(covered, 1e-6), fill)
        out[index] = np.rint(value) if out.dtype.kind in "iu" else value
    return out


def _add_shifted(
    image: NDArray[Any],
    shift: NDArray[np.float64],
    part: float,
    total: NDArray[np.float64],
    covered: NDArray[np.float64],
) -> None:
    """Add ``part`` of an image, moved by a fraction of pixels, to ``total``, and its weight to ``covered``."""
    rows, columns = image.shape
    (down, right), (fraction_down, fraction_right) = shift.astype(int), shift - shift.astype(int)
    for step_down, weight_down in ((0, 1 - fraction_down), (1, fraction_down)):
        for step_right, weight_right in ((0, 1 - fraction_right), (1, fraction_right)):
            weight = part * weight_down * weight_right
            if weight > 1e-9:
                place = np.s_[
                    down + step_down : down + step_down + rows, right + step_right : right + step_right + columns
                ]
                total[place] += weight * image
                covered[place] += weight


def _finest_step(steps: NDArray[np.float64]) -> float:
    """The smallest step that at least a tenth of the steps have (to within 5 %): one odd overlap does not count."""
    ordered = np.sort(steps)
    for step in ordered:
        if np.count_nonzero(np.abs(steps - step) <= 0.05 * step) >= 0.1 * len(steps):
            return float(step)
    return float(np.median(steps))
