"""From planes to stacks: which planes are one volume, in which order, on which grid, and what stands against it.

Planes are sorted by their position along the normal, never by slice location, file name, instance number or slice
thickness. Tilt and gaps are seen in the positions, never in tags that claim them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.dicom.plane import Kind, Plane, normal_of
from napari_sparse3d.io.faults import Fault, FaultKind, Severity

SAME_DIRECTION = 1.5e-4
"""Direction cosines that differ by less are the same: headers round them to 4 to 6 digits."""
SAME_SPACING = 1e-4
"""Pixel spacings that differ by less (relative) are the same."""
SAME_POSITION_MM = 1e-2
"""Positions along the normal that differ by less are the same slice (in microscopic scans: by a tenth of a pixel)."""
EVEN_RELATIVE, EVEN_ROUNDING_MM, EVEN_AT_MOST = 0.01, 0.02, 0.1
"""A slice may miss its place on the even grid by 1 % of the spacing or 0.02 mm (rounded positions), whichever is more,
but never by more than a tenth of the spacing."""
SECONDARY_CAPTURE = "a secondary capture (screenshot)"
TILT_DEGREES, TILT_DRIFT_MM = 0.25, 0.1
"""A stack is tilted when its step leaves the normal by more than 0.25 degrees and drifts by more than 0.1 mm in all."""


@dataclass(frozen=True)
class Grid:
    """The even grid on which the planes of a stack lie."""

    shape: tuple[int, int, int]
    """Slices, rows, columns."""
    affine_ras: NDArray[np.float64]
    """(4, 4), index (column, row, slice, 1) to RAS mm."""


@dataclass(frozen=True)
class Stack:
    """One series as it will be listed: planes in order, and what is wrong with them.

    ``frames[t][k]`` is slice ``k``, along the normal, of volume ``t``; ``grid`` is ``None`` where there is none.
    """

    kind: Kind
    frames: tuple[tuple[Plane, ...], ...]
    grid: Grid | None
    faults: tuple[Fault, ...]
    frame_label: str = ""
    """What tells the volumes apart: ``"time"``, ``"b-value"``, ..."""

    @property
    def planes(self) -> list[Plane]:
        """All planes."""
        return [plane for frame in self.frames for plane in frame]


Same = Callable[[Plane, Plane], bool]
"""Whether two planes hold the same pixels."""


def stacks_of(planes: Sequence[Plane], same: Same) -> list[Stack]:
    """Sort planes into stacks. ``same`` is asked only about planes that claim the same place.

    A series is split where its planes cannot lie on one grid (orientation, spacing, size, colour), where a scout
    shares its identifier, and, where positions repeat, by echo, image type and acquisition; what then still repeats is
    a series in time.
    """
    series: dict[str, list[Plane]] = defaultdict(list)
    for plane in planes:
        series[plane.kind.series_uid].append(plane)
    stacks: list[Stack] = []
    for members in series.values():
        unique, copies = _by_identifier(members)
        differing = sum(not same(kept, other) for kept, other in copies)
        parts = _split_by_grid(unique)
        mixed = _mixed(parts)
        pieces = [piece for part in parts for piece in _split_repeated(part)]
        if len(pieces) > len(parts):
            mixed.append(
                Fault.of(
                    FaultKind.MIXED_CONTENT,
                    f"the series holds {len(pieces)} volumes of different contrast or acquisition; each is listed",
                )
            )
        for piece in pieces:
            rest, dropped = _without_copies(piece, same)
            stack = _arrange(rest)
            keys = {_identifier(plane) for plane in piece}
            dropped += sum(_identifier(kept) in keys for kept, _ in copies)
            stacks.append(replace(stack, faults=(*stack.faults, *_copies(dropped, differing), *mixed)))
    return sorted(stacks, key=_listing_order)


def _listing_order(stack: Stack) -> tuple[Any, ...]:
    first = min(stack.planes, key=lambda plane: (plane.instance or 0, plane.frame))
    return (
        stack.kind.series_number,
        stack.kind.series_uid,
        stack.kind.echo_time or 0.0,
        first.instance or 0,
        stack.kind.image_type,
    )


def _identifier(plane: Plane) -> Hashable:
    # a file without an instance UID is its own identifier
    return (plane.sop_uid or str(plane.path), plane.frame, plane.tile)


def _by_identifier(planes: list[Plane]) -> tuple[list[Plane], list[tuple[Plane, Plane]]]:
    """Planes of distinct identifiers, and the pairs (kept, other) that share one: a file that is there twice."""
    kept: dict[Hashable, Plane] = {}
    duplicates = []
    for plane in planes:
        first = kept.setdefault(_identifier(plane), plane)
        if first is not plane:
            duplicates.append((first, plane))
    return list(kept.values()), duplicates


def _without_copies(planes: list[Plane], same: Same) -> tuple[list[Plane], int]:
    """Where some positions hold more images than others: the planes without those that repeat another's pixels."""
    places = _places(planes)
    counts = Counter(places)
    fewest = min(counts.values())
    if fewest == max(counts.values()) or any(plane.position is None for plane in planes):
        return planes, 0
    kept: dict[int, list[Plane]] = defaultdict(list)
    for plane, place in zip(planes, places, strict=True):
        if counts[place] == fewest or not any(
            _tags_agree(other, plane) and same(other, plane) for other in kept[place]
        ):
            kept[place].append(plane)
    rest = [plane for members in kept.values() for plane in members]
    return rest, len(planes) - len(rest)


def _tags_agree(a: Plane, b: Plane) -> bool:
    """Whether nothing tells two planes of one place apart; two volumes in time may well hold equal (empty) slices."""
    return (a.instance, a.temporal, a.acquisition, a.trigger, a.b_value, a.time, a.order) == (
        b.instance, b.temporal, b.acquisition, b.trigger, b.b_value, b.time, b.order,
    )  # fmt: skip


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


def _split_by_grid(planes: list[Plane]) -> list[list[Plane]]:
    parts: list[tuple[Kind, list[Plane]]] = []
    home: dict[int, list[Plane]] = {}
    for plane in planes:
        members = home.get(id(plane.kind))
        if members is None:
            members = next((others for kind, others in parts if _same_grid(kind, plane.kind)), None)
            if members is None:
                members = []
                parts.append((plane.kind, members))
            home[id(plane.kind)] = members
        members.append(plane)
    return [members for _, members in parts]


def _same_grid(a: Kind, b: Kind) -> bool:
    return (
        (a.rows, a.columns, a.samples, a.photometric, a.modality)
        == (b.rows, b.columns, b.samples, b.photometric, b.modality)
        and is_localizer(a) == is_localizer(b)
        and no_volume(a.sop_class) == no_volume(b.sop_class)
        and _close(a.orientation, b.orientation, SAME_DIRECTION)
        and _close(a.pixel_spacing, b.pixel_spacing, SAME_SPACING * min(a.pixel_spacing or (1.0,)))
    )


def _close(a: Sequence[float] | None, b: Sequence[float] | None, tolerance: float) -> bool:
    if a is None or b is None:
        return a is b
    return max(abs(x - y) for x, y in zip(a, b, strict=True)) <= tolerance


# SOP classes that hold pixels but no slices of a patient (PS3.4 B.5)
_NO_VOLUME = {
    "1.2.840.10008.5.1.4.1.1.7": SECONDARY_CAPTURE,
    "1.2.840.10008.5.1.4.1.1.1": "a projection radiograph",
    "1.2.840.10008.5.1.4.1.1.6": "an ultrasound image",
    "1.2.840.10008.5.1.4.1.1.12": "an angiographic projection",
    "1.2.840.10008.5.1.4.1.1.77": "a photograph",
}


def no_volume(sop_class: str) -> str:
    """What an image of this class is, where it is no slice of a volume; ``""`` where it may be one."""
    for root, name in _NO_VOLUME.items():
        if sop_class == root or sop_class.startswith(root + "."):
            return name
    return ""


def is_localizer(kind: Kind) -> bool:
    """Whether the image type says that it is a scout."""
    return any(value.upper() in ("LOCALIZER", "SCOUT") for value in kind.image_type)


def _mixed(parts: list[list[Plane]]) -> list[Fault]:
    """What differs between the parts that share one series identifier."""
    kinds = [part[0].kind for part in parts]
    faults = []
    if len({(kind.rows, kind.columns) for kind in kinds}) > 1:
        sizes = ", ".join(sorted({f"{kind.rows} x {kind.columns}" for kind in kinds}))
        faults.append(
            Fault.of(FaultKind.MIXED_SIZE, f"one series identifier holds images of {sizes} pixels; each size is listed")
        )
    if any(not _close(kinds[0].orientation, kind.orientation, SAME_DIRECTION) for kind in kinds):
        faults.append(
            Fault.of(
                FaultKind.MIXED_ORIENTATION,
                f"one series identifier holds {len(parts)} groups of images in different directions; each is listed",
            )
        )
    if any(
        not _close(kinds[0].pixel_spacing, kind.pixel_spacing, SAME_SPACING * min(kinds[0].pixel_spacing or (1.0,)))
        for kind in kinds
    ):
        spacings = ", ".join(sorted({_text(kind.pixel_spacing) for kind in kinds}))
        faults.append(
            Fault.of(
                FaultKind.MIXED_SPACING, f"one series identifier holds pixel spacings of {spacings} mm; each is listed"
            )
        )
    if len(parts) > 1 and not faults:
        faults.append(
            Fault.of(
                FaultKind.MIXED_CONTENT, f"one series identifier holds {len(parts)} kinds of image; each is listed"
            )
        )
    return faults


def _text(numbers: Sequence[float] | None) -> str:
    return "unknown" if numbers is None else " x ".join(f"{number:.4g}" for number in numbers)


_SPLITS: tuple[Callable[[Plane], Hashable], ...] = (
    lambda plane: plane.kind.echo_time,
    lambda plane: plane.kind.image_type,
)


def _split_repeated(planes: list[Plane]) -> list[list[Plane]]:
    """Where positions repeat: echoes and image types are volumes of their own, and so are acquisitions that cover
    different positions."""
    pieces = [planes]
    for key in _SPLITS:
        pieces = [part for piece in pieces for part in (_partition(piece, key) if _repeats(piece) else [piece])]
    return [part for piece in pieces for part in (_by_acquisition(piece) if _repeats(piece) else [piece])]


def _partition(planes: list[Plane], key: Callable[[Plane], Hashable]) -> list[list[Plane]]:
    parts: dict[Hashable, list[Plane]] = defaultdict(list)
    for plane in planes:
        parts[key(plane)].append(plane)
    return list(parts.values())


def _by_acquisition(planes: list[Plane]) -> list[list[Plane]]:
    parts = _partition(planes, lambda plane: plane.acquisition)
    if len(parts) == 1 or any(_repeats(part) for part in parts):
        return [planes]
    places = {tuple(sorted(_places(part))) for part in parts}
    # the same positions in every acquisition: a series in time
    return [planes] if len(places) == 1 else parts


def _repeats(planes: list[Plane]) -> bool:
    return max(Counter(_places(planes)).values(), default=0) > 1


def _places(planes: list[Plane]) -> list[int]:
    """The number, along the normal, of each plane's position; planes without one share place 0."""
    orientation = planes[0].kind.orientation
    if orientation is None or any(plane.position is None for plane in planes):
        return [0] * len(planes)
    depths = np.array([plane.position for plane in planes]) @ normal_of(orientation)
    pixel = min(planes[0].kind.pixel_spacing or (1.0,))
    tolerance = min(SAME_POSITION_MM, 0.1 * pixel) if pixel > 0 else SAME_POSITION_MM
    order = np.argsort(depths, kind="stable")
    numbers = np.empty(len(planes), dtype=int)
    # a new place begins where the next depth is further than the tolerance
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(depths[order]) > tolerance)])
    return [int(number) for number in numbers]


def _arrange(planes: list[Plane]) -> Stack:
    """One part as a stack: volumes in time, slices along the normal, on an even grid or with the fault."""
    kind = planes[0].kind
    in_order = tuple(sorted(planes, key=lambda plane: (plane.instance or 0, plane.frame, plane.tile or 0)))
    fault = _unusable(planes)
    if fault is not None:
        return Stack(kind, (in_order,), None, (fault,))
    places = _places(planes)
    counts = Counter(places)
    n_frames = max(counts.values())
    if min(counts.values()) < n_frames:
        return Stack(kind, (in_order,), None, (_uneven(counts),))
    frames, label, fault = _in_time(planes, places, n_frames)
    if fault is not None:
        return Stack(kind, (in_order,), None, (fault,))
    grid, faults = _grid(kind, frames)
    if n_frames > 1:
        faults = [
            *faults,
            Fault.of(FaultKind.FOUR_D, f"{n_frames} volumes ({label}); choose one with frame=0 to {n_frames - 1}"),
        ]
    return Stack(kind, frames, grid, tuple(faults), label)


def _unusable(planes: list[Plane]) -> Fault | None:
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
            f"the pixel spacing in the header is {_text(kind.pixel_spacing)} mm: no size can be told",
        )
    return None


def _uneven(counts: Counter[int]) -> Fault:
    """Positions that occur more often than others: copies, or a series in time that lacks slices."""
    most = max(counts.values())
    short = sum(1 for count in counts.values() if count < most)
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


_TIMES: tuple[tuple[str, Callable[[Plane], float | None]], ...] = (
    ("temporal position", lambda plane: plane.temporal),
    ("acquisition", lambda plane: plane.acquisition),
    ("trigger time", lambda plane: plane.trigger),
    ("b-value", lambda plane: plane.b_value),
)
_UNORDERED = ("trigger time", "b-value")
"""These tell volumes apart; their order is that of the instance numbers."""
_ORDERS: tuple[tuple[str, Callable[[Plane], float | None]], ...] = (
    ("instance number", lambda plane: plane.instance),
    ("acquisition time", lambda plane: plane.time),
    ("frame", lambda plane: plane.frame),
)


def _in_time(
    planes: list[Plane], places: list[int], n_frames: int
) -> tuple[tuple[tuple[Plane, ...], ...], str, Fault | None]:
    """The planes as ``frames[t][k]``, what tells the volumes apart, and a fault where nothing does."""
    at: dict[int, list[Plane]] = defaultdict(list)
    for plane, place in zip(planes, places, strict=True):
        at[place].append(plane)
    columns = [at[place] for place in sorted(at)]
    if n_frames == 1:
        return (tuple(column[0] for column in columns),), "", None
    # a value that is the same in all slices of a volume, and different between volumes, is the best witness
    for label, key in _TIMES:
        values = [[key(plane) for plane in column] for column in columns]
        if None not in values[0] and all(set(row) == set(values[0]) and len(set(row)) == n_frames for row in values):
            frames = _transpose(columns, key)
            if label in _UNORDERED:
                frames = tuple(sorted(frames, key=_first_made))
            return frames, label, None
    by_dimension = _by_dimension(columns, n_frames)
    if by_dimension is not None:
        return by_dimension, "dimension index", None
    for label, key in _ORDERS:
        values = [[key(plane) for plane in column] for column in columns]
        if all(None not in row and len(set(row)) == n_frames for row in values):
            return _transpose(columns, key), label, None
    return (
        (),
        "",
        Fault.of(
            FaultKind.DUPLICATE_DIFFERENT,
            f"each of {len(columns)} positions holds {n_frames} images and no tag tells them apart",
        ),
    )


def _by_dimension(columns: list[list[Plane]], n_frames: int) -> tuple[tuple[Plane, ...], ...] | None:
    """Volumes by what varies in the dimension indices of the frames at one position; ``None`` where that fails."""
    lengths = {len(plane.order) for column in columns for plane in column}
    if len(lengths) != 1 or lengths == {0}:
        return None
    varying = [i for i in range(*lengths) if any(len({plane.order[i] for plane in column}) > 1 for column in columns)]

    def key(plane: Plane) -> tuple[int, ...]:
        return tuple(plane.order[i] for i in varying)

    first = {key(plane) for plane in columns[0]}
    if len(first) != n_frames or any({key(plane) for plane in column} != first for column in columns):
        return None
    return _transpose(columns, key)


def _first_made(frame: tuple[Plane, ...]) -> tuple[int, int]:
    return min((plane.instance or 0, plane.frame) for plane in frame)


def _transpose(columns: list[list[Plane]], key: Callable[[Plane], Any]) -> tuple[tuple[Plane, ...], ...]:
    return tuple(zip(*(sorted(column, key=key) for column in columns), strict=True))


def _grid(kind: Kind, frames: tuple[tuple[Plane, ...], ...]) -> tuple[Grid | None, list[Fault]]:
    """The even grid through the positions, or why there is none."""
    assert kind.orientation is not None  # _unusable has seen to it
    assert kind.pixel_spacing is not None
    # of length 1 to the last digit, so that the spacing is the tag's even where the cosines are rounded
    row, column = (np.asarray(part) / np.linalg.norm(part) for part in (kind.orientation[:3], kind.orientation[3:]))
    normal = normal_of(kind.orientation)
    normal /= np.linalg.norm(normal)
    positions = np.array([plane.position for plane in frames[0]])
    n = len(positions)
    faults: list[Fault] = []
    shear = float(np.degrees(np.arcsin(min(1.0, abs(float(row @ column))))))
    if shear > TILT_DEGREES:
        detail = f"rows and columns miss being perpendicular by {shear:.2f} degrees; the affine keeps it"
        faults.append(Fault.of(FaultKind.SHEARED, detail))
    if n == 1:
        step = normal * (kind.slice_step or 1.0)
        word = (
            f"{kind.slice_step:g} mm through it is the header's word, nothing measures it"
            if kind.slice_step
            else "the header has neither thickness nor spacing, so 1 mm through it is only a placeholder"
        )
        faults.append(Fault.of(FaultKind.SINGLE_SLICE, f"one slice: {word}"))
    else:
        step = (positions[-1] - positions[0]) / (n - 1)
        depths = positions @ normal
        spacing = float(step @ normal)
        misses = np.abs(depths - (depths[0] + spacing * np.arange(n)))
        allowed = min(max(EVEN_RELATIVE * spacing, EVEN_ROUNDING_MM), EVEN_AT_MOST * spacing)
        steps = np.diff(depths)
        if misses.max() > allowed or np.abs(steps - spacing).max() > 2 * allowed:
            faults.append(_gap(steps, float(misses.max())))
        in_plane = positions - positions[0] - np.outer(depths - depths[0], normal)
        drift = float(np.linalg.norm(in_plane, axis=1).max())
        angle = float(np.degrees(np.arctan2(np.linalg.norm(in_plane[-1]), depths[-1] - depths[0])))
        uneven_drift = float(
            np.linalg.norm(
                in_plane - np.outer((depths - depths[0]) / (depths[-1] - depths[0]), in_plane[-1]), axis=1
            ).max()
        )
        if uneven_drift > TILT_DRIFT_MM and uneven_drift > 0.1 * min(kind.pixel_spacing):
            faults.append(
                Fault.of(
                    FaultKind.TILT,
                    f"slices are shifted against each other by up to {drift:.2f} mm in no straight line",
                    Severity.REFUSE,
                )
            )
        elif drift > TILT_DRIFT_MM and angle > TILT_DEGREES:
            faults.append(
                Fault.of(
                    FaultKind.TILT, f"the stack leans {angle:.2f} degrees from the normal of its slices (gantry tilt)"
                )
            )
    moved = max(float(np.abs(np.array([plane.position for plane in frame]) - positions).max()) for frame in frames)
    if moved > TILT_DRIFT_MM:
        faults.append(
            Fault.of(
                FaultKind.MIXED_CONTENT,
                f"the volumes of the series lie up to {moved:.2f} mm apart: they share no grid",
                Severity.REFUSE,
            )
        )
    affine = np.eye(4)
    affine[:3, 0] = row * kind.pixel_spacing[1]
    affine[:3, 1] = column * kind.pixel_spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    affine[:2] *= -1  # LPS to RAS
    return Grid((n, kind.rows, kind.columns), affine), faults


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
