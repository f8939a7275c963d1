"""Where planes lie: their places along the normal, and the even grid through them, or why there is none.

Planes are placed by their position along the normal, never by slice location, file name, instance number or slice
thickness. Tilt and gaps are seen in the positions, never in tags that claim them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.dicom.plane import Kind, Plane, normal_of
from napari_sparse3d.io.faults import Fault, FaultKind, Severity

SAME_POSITION_MM = 1e-2
"""Positions along the normal that differ by less are the same slice (in microscopic scans: by a tenth of a pixel)."""
JITTER_OF_STEP, JITTER_AT_MOST_MM = 0.1, 0.25
"""Positions that differ by less than this part of the step, and than this, are one slice of several volumes, if all
have as many."""
EVEN_RELATIVE, EVEN_ROUNDING_MM, EVEN_AT_MOST = 0.01, 0.02, 0.1
"""A slice may miss its place on the even grid by 1 % of the spacing or 0.02 mm (rounded positions), whichever is more,
but never by more than a tenth of the spacing."""
TILT_DEGREES, TILT_DRIFT_MM = 0.25, 0.1
"""A stack is tilted when its step leaves the normal by more than 0.25 degrees and drifts by more than 0.1 mm in all."""
MOVED_SAID_MM = 1e-3
"""Volumes in time that lie further apart than this are said to."""


@dataclass(frozen=True)
class SliceGrid:
    """The even grid on which the planes of a stack lie."""

    shape: tuple[int, int, int]
    """Slices, rows, columns."""
    affine_ras: NDArray[np.float64]
    """(4, 4), index (column, row, slice, 1) to RAS mm."""


def places_of(planes: Sequence[Plane]) -> list[int]:
    """The number, along the normal, of each plane's place; planes without a position share place 0.

    Where that leaves some places with fewer images than others, positions that scatter a little between the volumes of
    a series in time are taken together.
    """
    depths = depths_of(planes)
    if depths is None:
        return [0] * len(planes)
    pixel = min(planes[0].kind.pixel_spacing or (1.0,))
    tolerance = min(SAME_POSITION_MM, 0.1 * pixel) if pixel > 0 else SAME_POSITION_MM
    places = _numbered(depths, tolerance)
    counts = Counter(places)
    if len(set(counts.values())) > 1 or len(counts) == len(planes):
        loose = _numbered(depths, _jitter(depths, tolerance))
        several = Counter(loose)
        if len(several) > 1 and len(set(several.values())) == 1 and several[0] > 1 and _compact(depths, loose):
            return loose
    return places


def depths_of(planes: Sequence[Plane]) -> NDArray[np.float64] | None:
    """(N,) positions along the normal, mm; ``None`` where a plane has none, or they have no normal."""
    orientation = planes[0].kind.orientation
    if orientation is None or any(plane.position is None for plane in planes):
        return None
    normal = normal_of(orientation)
    length = float(np.linalg.norm(normal))
    if length == 0:
        return None
    return np.asarray(np.array([plane.position for plane in planes]) @ (normal / length))


def _numbered(depths: NDArray[np.float64], tolerance: float) -> list[int]:
    order = np.argsort(depths, kind="stable")
    numbers = np.empty(len(depths), dtype=int)
    # a new place begins where the next depth is further than the tolerance
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(depths[order]) > tolerance)])
    return [int(number) for number in numbers]


def _jitter(depths: NDArray[np.float64], tolerance: float) -> float:
    """How far positions of one slice may scatter: a tenth of the largest step, which is one between slices."""
    largest = float(np.diff(np.sort(depths)).max(initial=0.0))
    return max(tolerance, min(JITTER_OF_STEP * largest, JITTER_AT_MOST_MM))


def _compact(depths: NDArray[np.float64], places: Sequence[int]) -> bool:
    """Whether what is taken for one place is one: a stack beside a wide gap is no place that scatters."""
    ordered, at = np.sort(depths), np.sort(np.asarray(places))
    begins = np.flatnonzero(np.diff(at, prepend=-1))
    first, last = ordered[begins], ordered[[*(begins[1:] - 1), -1]]
    return bool((last - first).max() <= JITTER_OF_STEP * np.diff((first + last) / 2).min())


def is_even(planes: Sequence[Plane]) -> float | None:
    """The step of planes that lie evenly, every place held as often as the others; ``None`` where they do not.

    The step is in mm; two places always lie evenly.
    """
    depths, places = depths_of(planes), places_of(planes)
    if depths is None or len(set(Counter(places).values())) != 1 or len(set(places)) < 2:
        return None
    totals, numbers = np.bincount(places, weights=depths), np.bincount(places)
    centres = totals / numbers
    step = float((centres[-1] - centres[0]) / (len(centres) - 1))
    return step if _misses(centres, step) is None else None


def _misses(depths: NDArray[np.float64], spacing: float) -> float | None:
    """How far depths, rising, miss the even grid from the first to the last; ``None`` where that is rounding."""
    misses = np.abs(depths - (depths[0] + spacing * np.arange(len(depths))))
    allowed = min(max(EVEN_RELATIVE * spacing, EVEN_ROUNDING_MM), EVEN_AT_MOST * spacing)
    if misses.max() > allowed or np.abs(np.diff(depths) - spacing).max() > 2 * allowed:
        return float(misses.max())
    return None


def unusable(planes: Sequence[Plane]) -> Fault | None:
    """What keeps planes of one kind from being placed at all."""
    kind = planes[0].kind
    orientation = kind.orientation
    if orientation is None:
        return Fault.of(
            FaultKind.MISSING_POSITION, "no image orientation in the header: the images cannot be placed in the patient"
        )
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    lengths, cosine = np.linalg.norm([row, column], axis=1), float(row @ column)
    if (np.abs(lengths - 1) > 1e-2).any() or abs(cosine) > 1e-2:
        return Fault.of(
            FaultKind.MISSING_POSITION,
            "the image orientation is not two perpendicular unit vectors "
            f"(lengths {lengths[0]:.4f}, {lengths[1]:.4f}, cosine {cosine:.4f})",
        )
    lost = sum(plane.position is None for plane in planes)
    if lost:
        return Fault.of(
            FaultKind.MISSING_POSITION,
            f"{lost} of {len(planes)} images have no position in the header: they cannot be placed",
        )
    if kind.pixel_spacing is None or min(kind.pixel_spacing) <= 0:
        return Fault.of(
            FaultKind.MISSING_SPACING,
            f"the pixel spacing in the header is {as_text(kind.pixel_spacing)} mm: no size can be told",
        )
    return None


def as_text(numbers: Sequence[float] | None) -> str:
    """Lengths for a message."""
    return "unknown" if numbers is None else " x ".join(f"{number:.4g}" for number in numbers)


def grid_of(kind: Kind, frames: tuple[tuple[Plane, ...], ...]) -> tuple[SliceGrid | None, list[Fault]]:
    """The even grid through the positions, or why there is none."""
    assert kind.orientation is not None  # unusable() has seen to it
    assert kind.pixel_spacing is not None
    # of length 1 to the last digit, so that the spacing is the tag's even where the cosines are rounded
    row, column = (np.asarray(part) / np.linalg.norm(part) for part in (kind.orientation[:3], kind.orientation[3:]))
    normal = normal_of(kind.orientation)
    normal /= np.linalg.norm(normal)
    positions = np.array([plane.position for plane in frames[0]])
    n = len(positions)
    if n == 1:
        step, through = normal * (kind.slice_step or 1.0), [_single_slice(kind)]
    else:
        step, through = _even_step(positions, normal, kind.pixel_spacing)
    faults = [*_shear(row, column), *through, *_moved(frames, positions, step)]
    affine = np.eye(4)
    affine[:3, 0] = row * kind.pixel_spacing[1]
    affine[:3, 1] = column * kind.pixel_spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    affine[:2] *= -1  # LPS to RAS
    return SliceGrid((n, kind.rows, kind.columns), affine), faults


def _shear(row: NDArray[np.float64], column: NDArray[np.float64]) -> list[Fault]:
    shear = float(np.degrees(np.arcsin(min(1.0, abs(float(row @ column))))))
    if shear <= TILT_DEGREES:
        return []
    detail = f"rows and columns miss being perpendicular by {shear:.2f} degrees; the affine keeps it"
    return [Fault.of(FaultKind.SHEARED, detail)]


def _single_slice(kind: Kind) -> Fault:
    word = (
        f"{kind.slice_step:g} mm through it is the header's word, nothing measures it"
        if kind.slice_step
        else "the header has neither thickness nor spacing, so 1 mm through it is only a placeholder"
    )
    return Fault.of(FaultKind.SINGLE_SLICE, f"one slice: {word}")


def _even_step(
    positions: NDArray[np.float64], normal: NDArray[np.float64], pixel_spacing: tuple[float, float]
) -> tuple[NDArray[np.float64], list[Fault]]:
    """From slice to slice in mm, and where the positions (n, 3) depart from it: in depth, or within their planes."""
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    depths = positions @ normal
    depth = depths - depths[0]
    miss_mm = _misses(depths, float(step @ normal))
    faults = [] if miss_mm is None else [_gap(np.diff(depths), miss_mm)]
    in_plane = positions - positions[0] - np.outer(depth, normal)
    drift = float(np.linalg.norm(in_plane, axis=1).max())
    angle = float(np.degrees(np.arctan2(np.linalg.norm(in_plane[-1]), depth[-1])))
    uneven_drift = float(np.linalg.norm(in_plane - np.outer(depth / depth[-1], in_plane[-1]), axis=1).max())
    if uneven_drift > TILT_DRIFT_MM and uneven_drift > 0.1 * min(pixel_spacing):
        detail = f"slices are shifted against each other by up to {drift:.2f} mm in no straight line"
        faults.append(Fault.of(FaultKind.TILT, detail, Severity.REFUSE))
    elif drift > TILT_DRIFT_MM and angle > TILT_DEGREES:
        detail = f"the stack leans {angle:.2f} degrees from the normal of its slices (gantry tilt)"
        faults.append(Fault.of(FaultKind.TILT, detail))
    return step, faults


def _moved(
    frames: tuple[tuple[Plane, ...], ...], positions: NDArray[np.float64], step: NDArray[np.float64]
) -> list[Fault]:
    """How far the volumes of a series lie from the first one, whose positions these are."""
    moved = max(float(np.abs(np.array([plane.position for plane in frame]) - positions).max()) for frame in frames)
    allowed = min(JITTER_OF_STEP * float(np.linalg.norm(step)), JITTER_AT_MOST_MM)
    if moved > max(TILT_DRIFT_MM, allowed):
        detail = f"the volumes of the series lie up to {moved:.2f} mm apart: they share no grid"
        return [Fault.of(FaultKind.MIXED_CONTENT, detail, Severity.REFUSE)]
    if moved > MOVED_SAID_MM:
        detail = f"positions scatter between the volumes by up to {moved:.3f} mm; those of the first are taken for all"
        return [Fault.of(FaultKind.MOVED, detail)]
    return []


def _gap(steps: NDArray[np.float64], miss_mm: float) -> Fault:
    counts = Counter(np.round(steps, 2).tolist())
    # the most frequent step; of several, the smallest
    usual = min(step for step, count in counts.items() if count == max(counts.values()))
    ratio = steps / max(usual, 1e-6)
    missing = int(np.sum(np.round(ratio[ratio > 1.5]) - 1))
    span = f"{steps.min():.4g} to {steps.max():.4g} mm, usually {usual:.4g} mm"
    if missing and np.abs(ratio - np.round(ratio)).max() < 0.05 and steps.min() > 0.5 * usual:
        return Fault.of(
            FaultKind.GAP, f"{missing} slice{'s are' if missing > 1 else ' is'} missing: slices are {span} apart"
        )
    return Fault.of(FaultKind.GAP, f"slices are unevenly spaced: {span} apart, up to {miss_mm:.2g} mm off an even grid")
