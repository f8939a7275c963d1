"""What is no one volume, nor one series in time, within a series: its parts.

One series may hold scouts, reconstructions, echoes, stations and passes. Images are parted where they cannot lie on one
grid (orientation, spacing, size), show different things (image type, kernel, echo, unit), or were acquired in passes
that interleave; never by position alone, and never so that a part could not stand by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from napari_sparse3d.io.dicom.grid import depths_of, is_even, places_of
from napari_sparse3d.io.dicom.kinds import by_grid, mixed_grids
from napari_sparse3d.io.dicom.marks import MARKS, Mark
from napari_sparse3d.io.dicom.plane import Kind, Plane
from napari_sparse3d.io.faults import Fault, FaultKind, Severity

_SAME_STEP = 0.01
_SAME_ECHO_MS = 0.05
_ALTERNATES = 0.1
_LEAST_FILLED = 0.7
"""Slices thinner than this part of their step leave room for those of another pass."""
_FAR = 5.0
"""A pause between two passes is this much longer than any within them."""


@dataclass(frozen=True)
class PlaneGroup:
    """Images that may be one volume or one series in time, and what is to be said of their series."""

    planes: list[Plane]
    faults: tuple[Fault, ...] = ()

    def said(self, *faults: Fault) -> PlaneGroup:
        """The same with more to say."""
        return replace(self, faults=(*self.faults, *faults))


def parts_of(series: PlaneGroup) -> list[PlaneGroup]:
    """The parts of one series that can each stand alone."""
    grids = by_grid(series.planes)
    mixed = mixed_grids(grids)
    parts = [PlaneGroup(planes, (*series.faults, *mixed)) for planes in grids]
    for mark in _CONTRASTS:
        parts = [finer for part in parts for finer in _by_contrast(part, mark)]
    parts = [finer for part in parts for finer in _by_pass(part)]
    if len(parts) > len(grids):
        detail = f"the series holds {len(parts)} volumes of different contrast or acquisition; each is listed"
        parts = [part.said(Fault.of(FaultKind.MIXED_CONTENT, detail)) for part in parts]
    return parts


# --- by contrast ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Contrast:
    """Something that images of one volume have in common."""

    name: str
    label: Callable[[list[Plane]], list[Hashable]]
    """One comparable value a plane."""
    alone: bool = True
    """Whether it parts images of different places too, where each part stands by itself."""


def _of(value: Callable[[Plane], Hashable]) -> Callable[[list[Plane]], list[Hashable]]:
    return lambda planes: [value(plane) for plane in planes]


def _echoes(planes: list[Plane]) -> list[Hashable]:
    """Echo times scatter by microseconds between slices: times that lie together are one echo."""
    times = [plane.kind.echo_time for plane in planes]
    if any(time is None for time in times):
        return list(times)
    values = np.array(times, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order])
    numbers = np.empty(len(values), dtype=int)
    numbers[order] = np.concatenate([[0], np.cumsum(steps > _SAME_ECHO_MS)])
    return [int(number) for number in numbers]


_CONTRASTS = (
    # the defined values; what follows them is the maker's (PS3.3 C.7.6.1.1.2) and may change from slab to slab
    _Contrast("image types", _of(lambda plane: plane.kind.image_type[:3])),
    _Contrast("image type details", _of(lambda plane: plane.kind.image_type), alone=False),
    _Contrast("rescale types", _of(lambda plane: plane.kind.rescale_type.upper())),
    _Contrast("units", _of(lambda plane: plane.kind.unit)),
    _Contrast("kernels", _of(lambda plane: plane.kind.kernel)),
    _Contrast("tube voltages", _of(lambda plane: plane.kind.kvp)),
    _Contrast("complex components", _of(lambda plane: plane.marks.component)),
    _Contrast("diffusion maps", _of(lambda plane: plane.marks.isotropic)),
    _Contrast("echo numbers", _of(lambda plane: plane.kind.echo_number)),
    _Contrast("echo times", _echoes, alone=False),
)


_UNNAMED: tuple[Hashable, ...] = (None, "", ())
"""A header that says nothing says nothing else."""


def _by_contrast(part: PlaneGroup, contrast: _Contrast) -> list[PlaneGroup]:
    """Split where one place holds several, or where each kind stands by itself; else say that they are mixed."""
    labels = contrast.label(part.planes)
    if len({label for label in labels if label not in _UNNAMED}) < 2:
        return [part]
    groups = _grouped(part.planes, labels)
    if _share_a_place(part.planes, labels) or (contrast.alone and _all_sound(groups)):
        return [replace(part, planes=group) for group in groups]
    if not contrast.alone:
        return [part]
    detail = f"slices of {len(groups)} {contrast.name} make up one stack"
    if is_even(part.planes) is None:
        return [
            part.said(Fault.of(FaultKind.MIXED_CONTENT, f"{detail}, unevenly: they are no one volume", Severity.REFUSE))
        ]
    return [part.said(Fault.of(FaultKind.VALUES, f"{detail}: their values may not compare"))]


def _share_a_place(planes: list[Plane], labels: list[Hashable]) -> bool:
    """Whether images of one place differ in their labels: what changes from place to place does not tell volumes."""
    return len(set(zip(places_of(planes), labels, strict=True))) > len(set(places_of(planes)))


# --- by pass ----------------------------------------------------------------------------------------------------------


def _by_pass(part: PlaneGroup) -> list[PlaneGroup]:
    """Passes, stations and reconstructions that interleave or overlap and stand by themselves are volumes of their own.

    On one even grid, slab after slab is one volume, whatever its acquisition numbers; images of one place that every
    acquisition has are a series in time.
    """
    planes = part.planes
    step = is_even(planes)
    if step is not None and _repeats(planes):
        return [part]
    for mark in MARKS:
        if step is not None and (mark.scatters or mark.is_remark or mark.name == "image type"):
            continue  # slices of one volume are taken in turns, with pauses between breaths; details are the maker's
        groups = _passes(planes, mark)
        if not _all_sound(groups):
            continue
        if _interleave(groups) or (step is None and not (mark.by_slab or mark.scatters or mark.is_remark)):
            if step is not None and mark.by_slab and all(_fills_the_step(group[0].kind, step) for group in groups):
                detail = f"slices that differ in {mark.name}, taken in turns, make up one stack"
                return [part.said(Fault.of(FaultKind.VALUES, f"{detail}: their values may not compare"))]
            return [replace(part, planes=group) for group in _of_same_places(groups)]
    if _repeats(planes):
        # uneven counts: acquisitions that cover different places, each of them once
        groups = partition(planes, lambda plane: plane.marks.acquisition)
        if len(groups) > 1 and not any(map(_repeats, groups)):
            return [replace(part, planes=group) for group in groups]
    elif step is None and _two_combs(planes):
        detail = (
            "slices lie as two stacks, each even, half a step or less apart: two passes, and no tag tells them apart"
        )
        return [part.said(Fault.of(FaultKind.MIXED_CONTENT, detail, Severity.REFUSE))]
    return [part]


def _fills_the_step(kind: Kind, step: float) -> bool:
    """Whether the header says that slices lie as close as all of them together do, not as those of one pass."""
    if kind.slice_step is not None and abs(kind.slice_step - step) <= _SAME_STEP * step:
        return True
    return kind.thickness is not None and _LEAST_FILLED * step <= kind.thickness <= (1 + _SAME_STEP) * step


def _of_same_places(groups: list[list[Plane]]) -> list[list[Plane]]:
    """Passes over the same places are volumes of one series in time: only what covers others is parted from them."""
    depths = [depths_of(group) for group in groups]
    covered = [() if depth is None else tuple(np.sort(depth).round(1)) for depth in depths]
    return [[plane for group in same for plane in group] for same in _grouped(groups, covered)]


def _passes(planes: list[Plane], mark: Mark) -> list[list[Plane]]:
    """Planes parted by the values of a mark; where it scatters, at one gap that is far larger than all others."""
    values = mark.values(planes)
    if any(value is None for value in values):
        return [planes]
    if not mark.scatters:
        return _grouped(planes, values)
    ordered = sorted(set(values))
    gaps = np.diff(ordered)
    if mark.overlaps or len(gaps) < 2 or np.sort(gaps)[-1] < _FAR * np.sort(gaps)[-2]:
        return [planes]
    above = ordered[int(gaps.argmax()) + 1]
    return _grouped(planes, [value >= above for value in values])


def _all_sound(groups: list[list[Plane]]) -> bool:
    """Whether each group lies evenly by itself; two slices always do, so that those must have the others' step."""
    if len(groups) < 2 or min(map(len, groups)) < 2:
        return False
    steps = [is_even(group) for group in groups]
    sound = [step for step in steps if step is not None]
    if len(sound) < len(groups):
        return False
    if all(len(set(places_of(group))) > 2 for group in groups):
        return True
    return max(sound) - min(sound) <= _SAME_STEP * min(sound)


def _interleave(groups: list[list[Plane]]) -> bool:
    """Whether one group begins before another ends."""
    spans = []
    for group in groups:
        depths = depths_of(group)
        if depths is None:
            return False
        spans.append((float(depths.min()), float(depths.max())))
    spans.sort()
    return any(later[0] <= earlier[1] for earlier, later in pairwise(spans))


def _two_combs(planes: list[Plane]) -> bool:
    """Whether every second slice lies evenly while all of them do not: the steps alternate."""
    depths = depths_of(planes)
    if depths is None or len(planes) < 6:
        return False
    order = np.argsort(depths, kind="stable")
    steps = np.diff(depths[order])
    if abs(steps[::2].mean() - steps[1::2].mean()) < _ALTERNATES * steps.mean():
        return False
    return all(is_even([planes[i] for i in order[start::2]]) is not None for start in (0, 1))


def _repeats(planes: list[Plane]) -> bool:
    return max(Counter(places_of(planes)).values(), default=0) > 1


def _grouped(items: list[Any], labels: Sequence[Hashable]) -> list[list[Any]]:
    groups: dict[Hashable, list[Any]] = defaultdict(list)
    for item, label in zip(items, labels, strict=True):
        groups[label].append(item)
    return list(groups.values())


def partition(items: list[Any], key: Callable[[Any], Hashable]) -> list[list[Any]]:
    """Items by what ``key`` says of each, in the order in which it first does."""
    return _grouped(items, [key(item) for item in items])
