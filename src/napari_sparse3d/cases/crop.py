"""A cube out of a scan, at a spacing of its own, about a place in the patient.

The cube is a window of what the whole scan would be, resampled to that spacing by ``voxels.resample`` (same lattice,
same values): two places in one nodule give windows of one grid, and so one and the same nodule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.io.patient_world import canonical_axes
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.image_data import image_data
from napari_sparse3d.voxels.recipe import ToSpacing
from napari_sparse3d.voxels.resample import NewGrid, new_grid, sampled


@dataclass(frozen=True, eq=False)
class Crop:
    """A cube of a scan.

    Attributes
    ----------
    volume : Volume
        ``data`` (side, side, side) float32, in the scan's unit; NaN outside the scan and where it holds no image data.
    place : tuple of int
        (z, y, x) of the voxel in which the place lies about which the cube was cut.
    """

    volume: Volume
    place: tuple[int, int, int]


def patient_order(volume: Volume) -> Volume:
    """The same voxels, as a view, with array axes in the order (S, A, R), each growing with its own axis of the world.

    As every reader gives them. Obliqueness stays.
    """
    order = canonical_axes(volume.affine)
    data, affine = volume.data.transpose(order), volume.affine[:, [*order, 3]].copy()
    for axis in range(3):
        if affine[axis, axis] < 0:
            affine[:3, 3] += affine[:3, axis] * (data.shape[axis] - 1)
            affine[:3, axis] *= -1
            data = np.flip(data, axis)
    return replace(volume, data=data, affine=affine)


def crop(volume: Volume, at_mm: tuple[float, float, float], *, side: int, spacing_mm: float) -> Crop:
    """Cut a cube out of a scan, along the scan's own axes, and resample it linearly.

    Parameters
    ----------
    volume : Volume
        Any affine; its axes are taken in the patient's order first, see :func:`patient_order`.
    at_mm : tuple of float
        (s, a, r) in the world of ``volume.affine``: the cube's voxel ``side // 2`` is the one in which it lies.
    side : int
        Voxels along each side.
    spacing_mm : float
        Of a voxel, on every axis.

    Returns
    -------
    Crop
        What lies beyond the scan is NaN. Up to half a voxel beyond its outermost centres the nearest value holds.

    Raises
    ------
    InputError
        If the place lies outside the scan, or nothing about it is image data.
    """
    volume = replace(patient_order(volume), name="the scan about this place")
    _require_inside(volume, at_mm)
    grid = new_grid(volume, ToSpacing(spacing_mm=(spacing_mm,) * 3))
    lattice = np.linalg.inv(grid.affine) @ [*at_mm, 1.0]
    sizes = [len(centres) for centres in grid.centres]
    # the new grid's sizes are rounded, so that its last voxel may end half a voxel before the scan does
    nearest = [min(max(int(np.floor(at + 0.5)), 0), size - 1) for at, size in zip(lattice[:3], sizes, strict=True)]
    first = [at - side // 2 for at in nearest]
    low = [max(0, at) for at in first]
    high = [min(size, at + side) for at, size in zip(first, sizes, strict=True)]

    cut, centres = [], []
    for axis in range(3):
        wanted = grid.centres[axis][low[axis] : high[axis]]
        begin = int(np.clip(np.floor(wanted[0]), 0, volume.shape[axis] - 1))
        end = int(np.clip(np.floor(wanted[-1]) + 1, begin, volume.shape[axis] - 1))
        cut.append(slice(begin, end + 1))
        centres.append(wanted - begin)
    part = replace(volume, data=volume.data[tuple(cut)])
    inside = image_data(part, part.data)
    values, inside = sampled(part.data, NewGrid(tuple(centres), grid.order, grid.affine), inside)

    data = np.full((side,) * 3, np.nan, dtype=np.float32)
    window = tuple(slice(a - b, c - b) for a, b, c in zip(low, first, high, strict=True))
    data[window] = values
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    z, y, x = (at - begin for at, begin in zip(nearest, first, strict=True))
    return Crop(replace(volume, data=data, affine=affine, name="crop"), (z, y, x))


def shifted(affine: NDArray[np.float64], by: tuple[int, int, int]) -> NDArray[np.float64]:
    """The affine of a grid that begins ``by`` voxels (z, y, x) further on."""
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ by
    return moved


def _require_inside(volume: Volume, at_mm: tuple[float, float, float]) -> None:
    if len(at_mm) != 3 or not np.isfinite(at_mm).all():
        raise InputError(f"a place is three finite numbers of millimetres, got {list(at_mm)}")
    index = (np.linalg.inv(volume.affine) @ [*at_mm, 1.0])[:3]
    # a place that was written with a thousandth of a millimetre may lie as much beyond the last voxel
    slack = 0.5 + 1e-3 / np.array(volume.spacing_mm)
    if all(-more <= at < size - 1 + more for at, size, more in zip(index, volume.shape, slack, strict=True)):
        return
    corners = np.array(np.meshgrid(*((-0.5, n - 0.5) for n in volume.shape), indexing="ij")).reshape(3, -1)
    reach = volume.affine[:3, :3] @ corners + volume.affine[:3, 3:]
    low, high = reach.min(axis=1), reach.max(axis=1)
    spans = (f"{letter} {low[axis]:+.0f} to {high[axis]:+.0f}" for letter, axis in (("R", 2), ("A", 1), ("S", 0)))
    raise InputError(
        f"R {at_mm[2]:+.1f}  A {at_mm[1]:+.1f}  S {at_mm[0]:+.1f} mm lies outside the scan, which reaches over "
        f"{', '.join(spans)} mm; choose a place inside it"
    )
