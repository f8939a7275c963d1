"""The active voxels over the scan."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_sparse3d.pictures.style import NIGHT, NIGHT_INK, ORANGE, style
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.voxel_set import VoxelSet

LIT = "#FFD08A"
"""Orange in full light: the surface of the voxel set."""

# Everything is drawn in mm from the grids' common corner, so that a scan and voxels of another spacing meet.
# Axes across the screen grow toward Right or Anterior; both are drawn to the left, as radiologists look.


class _Plane(NamedTuple):
    name: str
    across: int
    up: int
    into: int
    letters: str  # at the left, right, bottom and top


_PLANES = (
    _Plane("axial", 2, 1, 0, "RLPA"),
    _Plane("coronal", 2, 0, 1, "RLIS"),
    _Plane("sagittal", 1, 0, 2, "APIS"),
)


def planes_figure(volume: Volume, voxels: VoxelSet, *, title: str = "") -> Figure:
    """Three planes through the middle of the active voxels, over the scan, and the whole set seen from the left.

    Superior is up, the patient's right is on the viewer's left; obliqueness is dropped.

    Parameters
    ----------
    volume : Volume
        The scan.
    voxels : VoxelSet
        Made of it: its grid begins at the same corner.
    title : str
        Above the planes.
    """
    low_mm, high_mm = _box_mm(voxels)
    middle_mm = (low_mm + high_mm) / 2
    if voxels.n_active:
        middle_mm = (voxels.indices.mean(axis=0) + 0.5) * _spacing_mm(voxels.affine)
    size_mm, centre_mm = high_mm - low_mm, (low_mm + high_mm) / 2
    views = (*_PLANES, _PLANES[2])
    height_mm = max(size_mm[0], size_mm[1])
    widths_mm = [max(size_mm[view.across], height_mm / 3) for view in views]  # a thin stack still gets its title
    inches_per_mm = 3.5 / height_mm
    with style():
        figure = Figure(
            figsize=(sum(widths_mm) * inches_per_mm + 0.5, 3.9 + (0.35 if title else 0)),
            facecolor=NIGHT,
            layout="constrained",
        )
        axes = figure.subplots(1, 4, width_ratios=widths_mm)
        for ax, view, width_mm in zip(axes, views, widths_mm, strict=True):
            _frame(ax, view.letters)
            # one scale and one height for all
            ax.set_xlim(centre_mm[view.across] + width_mm / 2, centre_mm[view.across] - width_mm / 2)
            ax.set_ylim(centre_mm[view.up] - height_mm / 2, centre_mm[view.up] + height_mm / 2)
        for ax, view in zip(axes, _PLANES, strict=False):
            _draw_scan(ax, view, volume, middle_mm)
            _draw_active(ax, view, voxels, middle_mm)
            ax.set_title(f"{view.name} plane", color=NIGHT_INK, fontsize=9.5)
        _draw_surface(axes[3], voxels)
        axes[3].set_title("all active voxels, from the left", color=NIGHT_INK, fontsize=9.5)
        _scale_bar(axes[0])
        if title:
            figure.suptitle(title, color=NIGHT_INK, fontsize=11)
    return figure


def _draw_scan(ax: Axes, view: _Plane, volume: Volume, middle_mm: NDArray[np.float64]) -> None:
    low, high = _window(volume)
    plane, extent = _cut(volume.data, _spacing_mm(volume.affine), view, middle_mm)
    ax.imshow(plane, cmap="gray", vmin=low, vmax=high, origin="lower", extent=extent, interpolation="bilinear")


def _draw_active(ax: Axes, view: _Plane, voxels: VoxelSet, middle_mm: NDArray[np.float64]) -> None:
    spacing = _spacing_mm(voxels.affine)
    plane, extent = _cut(voxels.mask(), spacing, view, middle_mm)
    tint = np.ma.masked_equal(plane, False)
    ax.imshow(tint, cmap=ListedColormap([ORANGE]), alpha=0.2, origin="lower", extent=extent, interpolation="nearest")
    edges = _edges(plane) * spacing[[view.across, view.up]]
    ax.add_collection(LineCollection(list(edges), colors=ORANGE, linewidths=1.0, capstyle="projecting"))


def _cut(
    data: NDArray[np.generic], spacing_mm: NDArray[np.float64], view: _Plane, at_mm: NDArray[np.float64]
) -> tuple[NDArray[np.generic], tuple[float, float, float, float]]:
    """One plane as (up, across), and its extent in mm for ``imshow``."""
    index = int(np.clip(at_mm[view.into] / spacing_mm[view.into], 0, data.shape[view.into] - 1))
    plane: NDArray[np.generic] = data.take(index, view.into)  # type: ignore[assignment]  # numpy thinks it a scalar
    # the two axes that are left keep their order
    if view.up > view.across:
        plane = plane.T
    width, height = (float(data.shape[axis] * spacing_mm[axis]) for axis in (view.across, view.up))
    return plane, (0.0, width, 0.0, height)


def _edges(mask: NDArray[np.generic]) -> NDArray[np.float64]:
    """(E, 2, 2): the edges between active and inactive cells, from one (column, row) corner to the next."""
    padded = np.pad(mask.astype(bool), 1)
    row, column = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    level = np.stack([np.stack([column, row], 1), np.stack([column + 1, row], 1)], 1)
    row, column = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    upright = np.stack([np.stack([column, row], 1), np.stack([column, row + 1], 1)], 1)
    return np.concatenate([level, upright]).astype(np.float64)


def _draw_surface(ax: Axes, voxels: VoxelSet) -> None:
    """The voxels nearest to a viewer at the patient's left, lit from above and in front."""
    spacing = _spacing_mm(voxels.affine)
    mask = voxels.mask()
    seen = mask.any(axis=2)
    depth = mask.argmax(axis=2) * spacing[2]  # axis 2 grows toward Right, away from the viewer
    depth = _blur(np.where(seen, depth, depth.max()))
    padded = np.pad(depth, 1, mode="edge")
    slope = [np.gradient(padded, step, axis=axis)[1:-1, 1:-1] for axis, step in enumerate(spacing[:2].tolist())]
    normal = np.stack([*slope, np.ones_like(depth)]) / np.sqrt(slope[0] ** 2 + slope[1] ** 2 + 1)
    toward_light = np.array([0.55, 0.50, 0.67])
    lit = np.clip(np.tensordot(toward_light, normal, 1), 0, 1)
    near = 1 - 0.45 * depth / (depth.max() or 1.0)
    brightness = 0.10 + 0.90 * lit * near
    image = np.dstack([brightness[..., None] * to_rgb(LIT), seen])
    extent = (0.0, mask.shape[1] * spacing[1], 0.0, mask.shape[0] * spacing[0])
    ax.imshow(image, origin="lower", extent=extent, interpolation="nearest")


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """A binomial filter of 3 along both axes: takes the steps of single voxels out of the slopes."""
    for axis in (0, 1):
        padded = np.pad(image, [(1, 1) if axis == each else (0, 0) for each in (0, 1)], mode="edge")
        n = image.shape[axis]
        before, here, after = (padded.take(np.arange(start, start + n), axis) for start in range(3))
        image = (before + 2 * here + after) / 4
    return image


def _frame(ax: Axes, letters: str) -> None:
    ax.set_facecolor("black")
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.015, "center", "bottom"),
        (0.5, 0.985, "center", "top"),
    )
    for letter, (x, y, across, up) in zip(letters, places, strict=True):
        ax.text(x, y, letter, transform=ax.transAxes, color=NIGHT_INK, fontsize=8.5, ha=across, va=up)


def _scale_bar(ax: Axes) -> None:
    """The longest round length that takes less than half of the plane."""
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    width, height = left - right, top - bottom
    length = max((mm for mm in (0.1, 1, 2, 5, 10, 20, 50, 100) if mm < 0.45 * width), default=0.1)
    start, level = left - 0.04 * width, bottom + 0.03 * height
    ax.plot([start, start - length], [level, level], color=NIGHT_INK, linewidth=2, solid_capstyle="butt")
    words = {"color": NIGHT_INK, "fontsize": 8, "ha": "center", "va": "bottom"}
    ax.text(start - length / 2, level + 0.01 * height, f"{length:g} mm", fontdict=words)


def _box_mm(voxels: VoxelSet, margin_mm: float = 12) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The corners of the box around the active voxels, with a margin, in mm from the grid's corner; (z, y, x)."""
    spacing = _spacing_mm(voxels.affine)
    if voxels.n_active == 0:
        return np.zeros(3), np.array(voxels.shape) * spacing
    low = voxels.indices.min(axis=0) * spacing - margin_mm
    return low, (voxels.indices.max(axis=0) + 1) * spacing + margin_mm


def _window(volume: Volume) -> tuple[float, float]:
    """Soft tissue for CT; otherwise all but the outermost values."""
    if volume.unit == "HU":
        return -160, 240
    low, high = np.nanpercentile(volume.data, [1, 99.7])
    return float(low), float(high)


def _spacing_mm(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    spacing: NDArray[np.float64] = np.linalg.norm(affine[:3, :3], axis=0)
    return spacing
