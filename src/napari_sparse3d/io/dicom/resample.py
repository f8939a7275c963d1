"""The repair of a tilted or unevenly spaced stack: linear interpolation onto a true grid, on request only.

The slices are parallel planes, each known exactly. A point of the new grid lies between two of them (or on one); its
value is interpolated linearly inside each plane and then along the normal between both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.dicom.grid import TILT_DEGREES, SliceGrid
from napari_sparse3d.io.dicom.padding import Padding
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

    grid: SliceGrid
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
    return Repair(SliceGrid((n, rows, columns), affine), depths, shifts, said)


def resampled_stack(
    stack: Stack, frames: Iterable[int]
) -> tuple[NDArray[Any], NDArray[np.float64], str, Padding, int | None]:
    """Decode the frames and resample each.

    Returns
    -------
    data : ndarray
        (T, Z, Y, X), of the type that the stored values have: integers are rounded.
    affine : ndarray
        (4, 4), as ``Volume.affine``.
    said : str
        What was done.
    padding : Padding
        The voxels that are no image data: nothing is interpolated from padded pixels, and where they make up more than
        half of what a voxel would be made of, it is padding itself.
    value : int or None
        What those voxels hold, see :meth:`Padding.settle`.
    """
    kind = stack.kind
    chosen = list(frames)
    repair = plan_repair(kind, stack.frames[0])
    n, rows, columns = repair.grid.shape
    order = canonical((columns, rows, n), repair.grid.affine_ras)
    dtype = dtype_of(plane for t in chosen for plane in stack.frames[t])
    check_memory(dtype.itemsize * n * rows * columns * len(chosen), what="the resampled series")
    volumes: list[NDArray[Any]] = []
    padding = Padding()
    for t in chosen:
        stored = Padding()
        slices = np.empty((len(stack.frames[t]), kind.rows, kind.columns), dtype=dtype)
        slices = decode(stack.frames[t], slices, stored)
        fill = FILL_HU if kind.modality == "CT" and np.issubdtype(slices.dtype, np.signedinteger) else np.inf
        masks = [stored.mask((0, k), (kind.rows, kind.columns)) for k in range(len(slices))]
        lowest = float(slices.min() if not stored.masks or slices.dtype.kind != "f" else np.nanmin(slices))
        out, empty = resample_image_data(slices, masks, repair, fill=min(float(fill), lowest))
        if stored.masks:
            for k, mask in enumerate(empty):
                padding.add((len(volumes), k), mask, stored.declared, lossy=stored.lossy)
        volumes.append(order.apply(out.transpose(2, 1, 0)))
    data = np.ascontiguousarray(np.stack(volumes))
    data, value = padding.settle(data, lambda whole, t: order.stored_view(whole[t]).transpose(2, 1, 0))
    return data, order.affine, repair.said, padding, value


def resample_image_data(
    slices: NDArray[Any], padded: Sequence[NDArray[np.bool_] | None], repair: Repair, *, fill: float
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """(N, rows, columns) onto the repair's grid, from those pixels alone that are image data.

    Parameters
    ----------
    slices : ndarray
        (N, rows, columns).
    padded : sequence
        For each slice (rows, columns) bool, which pixels are no image data; ``None`` where all are.
    repair : Repair
    fill : float
        What voxels hold that no image data makes up.

    Returns
    -------
    data : ndarray
        (N', rows', columns'), of the type of ``slices``.
    padded : ndarray
        (N', rows', columns') bool: voxels of which padding makes up more than half, or that no slice reaches.
    """
    n, rows, columns = repair.grid.shape
    out = np.empty((n, rows, columns), dtype=slices.dtype)
    empty = np.empty((n, rows, columns), dtype=bool)
    depths = repair.depths
    for index, depth in enumerate(np.linspace(0.0, depths[-1], n)):
        above = int(np.clip(np.searchsorted(depths, depth, side="right"), 1, len(depths) - 1))
        weight = float((depth - depths[above - 1]) / (depths[above] - depths[above - 1]))
        total = np.zeros((rows, columns))
        covered = np.zeros((rows, columns))
        lost = np.zeros((rows, columns))
        for k, part in ((above - 1, 1.0 - weight), (above, weight)):
            if part > 1e-6:
                mask = padded[k]
                if mask is None:
                    _add_shifted(slices[k], None, repair.shifts[k], part, total, covered)
                else:
                    _add_shifted(np.where(mask, 0, slices[k]), ~mask, repair.shifts[k], part, total, covered)
                    _add_shifted(mask, mask, repair.shifts[k], part, np.zeros((rows, columns)), lost)
        empty[index] = (covered <= 1e-6) | (lost > covered)
        value = np.where(empty[index], fill, total / np.maximum(covered, 1e-6))
        out[index] = np.rint(value) if out.dtype.kind in "iu" else value
    return out, empty


def _add_shifted(
    image: NDArray[Any],
    counts: NDArray[np.bool_] | None,
    shift: NDArray[np.float64],
    part: float,
    total: NDArray[np.float64],
    covered: NDArray[np.float64],
) -> None:
    """Add ``part`` of an image, moved by a fraction of pixels, to ``total``, and its weight to ``covered``.

    ``counts`` are the pixels that have a weight, ``None`` where all have.
    """
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
                covered[place] += weight if counts is None else weight * counts


def _finest_step(steps: NDArray[np.float64]) -> float:
    """The smallest step that at least a tenth of the steps have (to within 5 %): one odd overlap does not count."""
    ordered = np.sort(steps)
    for step in ordered:
        if np.count_nonzero(np.abs(steps - step) <= 0.05 * step) >= 0.1 * len(steps):
            return float(step)
    return float(np.median(steps))
