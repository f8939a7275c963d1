"""From planes to stacks: which are one series in time or one volume, on which grid, and what stands against it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_sparse3d.io.dicom.grid import SliceGrid, grid_of, places_of, unusable
from napari_sparse3d.io.dicom.order import INSTANCE, Frames, Volumes
from napari_sparse3d.io.dicom.origins import series_of
from napari_sparse3d.io.dicom.parts import PlaneGroup, parts_of
from napari_sparse3d.io.dicom.plane import Kind, Origin, Plane
from napari_sparse3d.io.dicom.volumes import Columns, volumes_of
from napari_sparse3d.io.faults import Fault, FaultKind, Severity


@dataclass(frozen=True)
class Stack:
    """One series as it will be listed: planes in order, and what is wrong with them.

    ``frames[t][k]`` is slice ``k``, along the normal, of volume ``t``; ``grid`` is ``None`` where there is none.
    """

    kind: Kind
    frames: Frames
    grid: SliceGrid | None
    faults: tuple[Fault, ...]
    frame_label: str = ""
    """What tells the volumes apart: ``"temporal position"``, ``"b-value and gradient direction"``, ..."""
    times_s: tuple[float, ...] | None = None
    """When each volume begins, from the first."""

    @property
    def planes(self) -> list[Plane]:
        """All planes."""
        return [plane for frame in self.frames for plane in frame]


Same = Callable[[Plane, Plane], bool]
"""Whether two planes hold the same pixels."""


def stacks_of(planes: Sequence[Plane], same: Same) -> list[Stack]:
    """Sort planes into stacks. ``same`` is asked only about planes that claim the same place and differ in no tag."""
    stacks: list[Stack] = []
    for series in series_of(planes):
        unique, copies = _by_identifier(series.planes)
        differing = sum(not same(first, other) for first, other in copies)
        for part in parts_of(PlaneGroup(unique, series.faults)):
            rest, dropped = _without_copies(part.planes, same)
            if copies:
                here = {id(plane) for plane in part.planes}
                dropped += sum(id(first) in here for first, _ in copies)
            stacks.append(_arranged(PlaneGroup(rest, part.faults), dropped, differing, same))
    return sorted(stacks, key=_listing_order)


def _listing_order(stack: Stack) -> tuple[Any, ...]:
    first = min(stack.planes, key=lambda plane: (plane.instance or 0, plane.frame))
    return (
        stack.kind.origin.series_number,
        stack.kind.origin.series_uid,
        stack.kind.echo_time or 0.0,
        first.instance or 0,
        stack.kind.image_type,
    )


# --- copies -----------------------------------------------------------------------------------------------------------


def _identifier(plane: Plane) -> Hashable:
    # a file without an instance UID is its own identifier
    return (plane.sop_uid or str(plane.path), plane.frame, plane.tile)


def _by_identifier(planes: list[Plane]) -> tuple[list[Plane], list[tuple[Plane, Plane]]]:
    """Planes of distinct identifiers, and the pairs (kept, other) that share one: a file that is there twice.

    Anonymisers give one identifier to all images of a series: what lies elsewhere, or has other tags, is no copy.
    """
    named: dict[Hashable, Plane] = {}
    exact: dict[Hashable, Plane] = {}
    distinct, duplicates = [], []
    for plane in planes:
        name = _identifier(plane)
        first = named.setdefault(name, plane)
        if first is not plane:
            exact.setdefault((name, *_shown(first)), first)
            first = exact.setdefault((name, *_shown(plane)), plane)
        if first is plane:
            distinct.append(plane)
        else:
            duplicates.append((first, plane))
    return distinct, duplicates


def _shown(plane: Plane) -> tuple[Hashable, ...]:
    return (plane.position, plane.instance, plane.marks)


def _without_copies(planes: list[Plane], same: Same) -> tuple[list[Plane], int]:
    """The planes without those that differ from another of their place in no tag, and repeat its pixels."""
    if any(plane.position is None for plane in planes):
        return planes, 0
    places = places_of(planes)
    if len(set(places)) == len(planes):
        return planes, 0
    kinds = _as_if_one_codec(planes)
    alike_at: dict[Hashable, list[Plane]] = defaultdict(list)
    for plane, place in zip(planes, places, strict=True):
        # two volumes in time may well hold equal (empty) slices: only their tags tell
        alike = alike_at[(place, plane.instance, plane.marks, plane.order, kinds[id(plane.kind)])]
        if not any(same(other, plane) for other in alike):
            alike.append(plane)
    rest = [plane for members in alike_at.values() for plane in members]
    return rest, len(planes) - len(rest)


def _as_if_one_codec(planes: list[Plane]) -> dict[int, int]:
    """A number for each kind, the same for those that differ in nothing but how their pixels are compressed."""
    kinds = {id(plane.kind): plane.kind for plane in planes}
    numbers: dict[Kind, int] = {}
    return {
        key: numbers.setdefault(replace(kind, transfer_syntax="", origin=_NO_ORIGIN), len(numbers))
        for key, kind in kinds.items()
    }


_NO_ORIGIN = Origin("", 0, "", "", "")


def _without_repeats(planes: list[Plane], same: Same) -> list[Plane]:
    """One image of each, where all that say the same of how and when they were taken repeat its pixels.

    Exports give copies new numbers and times of making. One pair that differs shows that the others, which may be
    empty, are no copies either.
    """
    kinds = _as_if_one_codec(planes)
    groups: dict[Hashable, list[Plane]] = defaultdict(list)
    for plane, place in zip(planes, places_of(planes), strict=True):
        taken = replace(plane.marks, content_s=None)
        groups[(place, taken, plane.order, kinds[id(plane.kind)])].append(plane)
    for first, *others in groups.values():
        if not all(same(first, other) for other in others):
            return planes
    return [members[0] for members in groups.values()]


_OF_A_COPY = {INSTANCE, "content time", "file"}
"""What tells a copy from its original too."""


def _copies(dropped: int, differing: int) -> list[Fault]:
    if differing:
        return [
            Fault.of(
                FaultKind.DUPLICATE_DIFFERENT,
                f"{differing} images share an identifier with another and differ from it: the right one cannot be told",
            )
        ]
    if dropped:
        return [
            Fault.of(
                FaultKind.DUPLICATE_IDENTICAL,
                f"{dropped} image{'s are' if dropped > 1 else ' is'} there twice with equal pixels; one each is kept",
            )
        ]
    return []


# --- volumes on a grid ------------------------------------------------------------------------------------------------


def _arranged(part: PlaneGroup, dropped: int, differing: int, same: Same) -> Stack:
    """One part as a stack: volumes in time, slices along the normal, on an even grid or with the fault."""
    planes, kind = part.planes, part.planes[0].kind
    in_order = tuple(sorted(planes, key=lambda plane: (plane.instance or 0, plane.frame, plane.tile or 0)))

    def refused(fault: Fault) -> Stack:
        return Stack(kind, (in_order,), None, (fault, *_copies(dropped, differing), *part.faults))

    fault = unusable(planes)
    if fault is not None:
        return refused(fault)
    columns = _columns(planes)
    volumes = _volumes(columns)
    if isinstance(volumes, Fault) or _OF_A_COPY & set(volumes.told_by):
        once = _without_repeats(planes, same)
        if len(once) < len(planes):
            dropped += len(planes) - len(once)
            volumes = _volumes(_columns(once))
    if isinstance(volumes, Fault):
        return refused(volumes)
    grid, faults = grid_of(kind, volumes.frames)
    n = len(volumes.frames)
    label = " and ".join(volumes.told_by)
    if n > 1:
        detail = f"{n} volumes (by {label}); choose one with frame=0 to {n - 1}"
        faults = [*faults, Fault.of(FaultKind.FOUR_D, detail), *volumes.notes]
    turned = sum(frame[0].reversed_rows for frame in volumes.frames)
    if turned:
        detail = f"{turned} of {n} volumes are stored upside down by their sequence (GE epi_pepolar) and are turned"
        faults = [*faults, Fault.of(FaultKind.VALUES, detail)]
    faults = [*faults, *_mixed_mappings(volumes.frames)]
    said = (*faults, *_copies(dropped, differing), *part.faults)
    return Stack(kind, volumes.frames, grid, said, label if n > 1 else "", volumes.times_s)


def _mixed_mappings(frames: Frames) -> list[Fault]:
    """A volume of which some slices are mapped to values and others are as stored, or mapped otherwise."""
    ways = max(len({plane.mapping for plane in frame}) for frame in frames)
    if ways > 1 and not all(plane.as_stored for frame in frames for plane in frame):
        detail = "slices of one volume are mapped to values in different ways, or some not at all: they do not compare"
        return [Fault.of(FaultKind.MIXED_CONTENT, detail, Severity.REFUSE)]
    if all(plane.slope == 0 and not plane.values.applied for frame in frames for plane in frame):
        detail = "the rescale slope is 0: every value would be the same"
        return [Fault.of(FaultKind.VALUES, detail, Severity.REFUSE)]
    return []


def _volumes(columns: Columns) -> Volumes | Fault:
    counts = [len(column) for column in columns]
    return _uneven(counts) if min(counts) < max(counts) else volumes_of(columns)


def _columns(planes: list[Plane]) -> Columns:
    at: dict[int, list[Plane]] = defaultdict(list)
    for plane, place in zip(planes, places_of(planes), strict=True):
        at[place].append(plane)
    return [at[place] for place in sorted(at)]


def _uneven(counts: list[int]) -> Fault:
    """Places that hold more images than others: copies, or a series in time that lacks slices."""
    most = max(counts)
    short = sum(1 for count in counts if count < most)
    if most == 2 and short > len(counts) / 2:
        return Fault.of(
            FaultKind.DUPLICATE_DIFFERENT,
            f"{len(counts) - short} of {len(counts)} positions hold two different images: the right one cannot be told",
        )
    return Fault.of(
        FaultKind.GAP,
        f"{short} of {len(counts)} positions hold fewer than {most} images: volumes of the series lack slices",
        Severity.REFUSE,
    )
