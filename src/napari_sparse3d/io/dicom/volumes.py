"""Images of the same places become volumes: which belong together, in which order, and at which time.

A volume is the set of images, one a place, that agree in every mark that can tell volumes apart
(:data:`~napari_sparse3d.io.dicom.marks.MARKS`): in value, or in its rank at each place where it scatters between them.
No single mark need do it. Starting from all images of a place as one class, each mark in turn splits the classes whose
images it orders alike at every place, until each class has one image a place. InstanceNumber, which may legally be
random (PS3.3 C.7.6.1), is asked after them, and believed only where it runs through volume after volume or place after
place; last, whether a tag is there at all, where it is there for as many images of every place. What then is not told
apart is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.dicom.marks import MARKS, Mark
from napari_sparse3d.io.dicom.plane import Plane
from napari_sparse3d.io.faults import Fault, FaultKind, Severity

Columns = list[list[Plane]]
"""The images of each place."""
Frames = tuple[tuple[Plane, ...], ...]
"""``frames[t][k]`` is slice ``k``, along the normal, of volume ``t``."""

INSTANCE = "instance number"
DIMENSIONS = "dimension index"
_FILE, _MADE = "file", "content time"


@dataclass(frozen=True)
class Volumes:
    """The volumes of a series."""

    frames: Frames
    told_by: tuple[str, ...] = ()
    """The marks that told them apart."""
    ordered_by: tuple[str, ...] = ()
    """The marks that their order follows."""
    notes: tuple[Fault, ...] = ()
    times_s: tuple[float, ...] | None = None
    """When each begins, from the first; ``None`` where no tag says."""


def volumes_of(columns: Columns) -> Volumes | Fault:
    """Tell the volumes apart that share the places of ``columns``, each place holding as many images.

    Returns
    -------
    Volumes or Fault
        The fault where the marks do not tell, or contradict each other.
    """
    n = len(columns[0])
    if n == 1:
        return Volumes((tuple(column[0] for column in columns),))
    classes, told_by = _told_apart(columns)
    if any(len(cls[0]) > 1 for cls in classes):
        tried = ", ".join([*_known(columns), INSTANCE])
        return Fault.of(
            FaultKind.DUPLICATE_DIFFERENT,
            f"each of {len(columns)} places holds {n} images and no tag tells them apart; tried: {tried}",
        )
    frames = tuple(tuple(column[0] for column in cls) for cls in classes)
    contradiction = _contradiction(frames, columns)
    if not contradiction and INSTANCE in told_by:
        contradiction = _against_numbers(frames, columns)
    if contradiction:
        return Fault.of(
            FaultKind.MIXED_CONTENT,
            f"volumes told apart by {' and '.join(told_by)} would mix images of different {contradiction}",
            Severity.REFUSE,
        )
    if _numbers_disagree(frames, told_by, columns):
        by = " and ".join(told_by)
        detail = f"{by} would make other volumes than the instance numbers, which run through volume after volume"
        return Fault.of(FaultKind.MIXED_CONTENT, detail, Severity.REFUSE)
    return _in_order(frames, told_by)


def _told_apart(columns: Columns) -> tuple[list[Columns], tuple[str, ...]]:
    """Classes of images, one image a place where the marks suffice, and the marks that made them."""
    classes, told_by = [columns], []
    for name, split in _STEPS:
        if all(len(cls[0]) == 1 for cls in classes):
            break
        finer = [part for cls in classes for part in (split(cls) if len(cls[0]) > 1 else [cls])]
        if len(finer) > len(classes):
            classes = finer
            told_by.append(name)
    return classes, tuple(dict.fromkeys(told_by))


def _splitter(mark: Mark) -> Callable[[Columns], list[Columns]]:
    def split(columns: Columns) -> list[Columns]:
        values = _values(mark, columns)
        if any(value is None for row in values for value in row):
            return [columns]
        if isinstance(values[0][0], (int, float)):
            return _by_rank(columns, np.array(values, dtype=np.float64), every=mark.overlaps)
        return _by_value(columns, values)

    return split


def _values(mark: Mark, columns: Sequence[Sequence[Plane]]) -> list[list[Any]]:
    """The values of a mark by column, comparable with each other."""
    values = iter(mark.values(plane for column in columns for plane in column))
    return [[next(values) for _ in column] for column in columns]


def _by_presence(mark: Mark) -> Callable[[Columns], list[Columns]]:
    """Split by whether a mark is there at all: makers leave out the b-value of an image without diffusion weighting.

    What is there must be the same at every place: a tag that was lost here and there tells nothing.
    """

    def split(columns: Columns) -> list[Columns]:
        values = [[mark.of(plane) for plane in column] for column in columns]
        counts = Counter(values[0])
        if any(Counter(row) != counts for row in values[1:]):
            return [columns]
        return _by_value(columns, [[value is not None for value in row] for row in values])

    return split


def _by_value(columns: Columns, values: list[list[Hashable]]) -> list[Columns]:
    """Split by a value that occurs equally often at every place."""
    counts = Counter(values[0])
    if len(counts) == 1 or any(Counter(row) != counts for row in values[1:]):
        return [columns]
    return [
        [
            [plane for plane, own in zip(column, row, strict=True) if own == value]
            for column, row in zip(columns, values, strict=True)
        ]
        for value in counts
    ]


def _by_rank(columns: Columns, values: NDArray[np.float64], *, every: bool = False) -> list[Columns]:
    """Split where, at every place, the values of the lower ranks lie below those of the higher ones.

    ``every``: else by each rank, where values differ at every place though they overlap between places.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=1)
    cuts = np.flatnonzero(ranked[:, :-1].max(axis=0) < ranked[:, 1:].min(axis=0)) + 1
    if every and len(cuts) < ranked.shape[1] - 1 and (np.diff(ranked, axis=1) > 0).all():
        cuts = np.arange(1, ranked.shape[1])
    return [
        [[column[i] for i in row] for column, row in zip(columns, ranks, strict=True)]
        for ranks in np.split(order, cuts, axis=1)
    ]


def _by_dimension(columns: Columns) -> list[Columns]:
    """Split by what varies, at one place, in the dimension indices of enhanced frames (PS3.3 C.7.6.17)."""
    lengths = {len(plane.order) for column in columns for plane in column}
    if len(columns[0]) == 1 or len(lengths) != 1 or lengths == {0}:
        return [columns]
    varying = [i for i in range(*lengths) if any(len({plane.order[i] for plane in column}) > 1 for column in columns)]
    return _by_value(columns, [[tuple(plane.order[i] for i in varying) for plane in column] for column in columns])


def _by_instance(columns: Columns) -> list[Columns]:
    """Split by instance and frame number, where they run through volume after volume or place after place."""
    if any(plane.instance is None for column in columns for plane in column):
        return [columns]
    numbers = [[_number(plane) for plane in column] for column in columns]
    position = {number: i for i, number in enumerate(sorted({number for row in numbers for number in row}))}
    values = np.array([[position[number] for number in row] for row in numbers], dtype=np.float64)
    volume_after_volume = _by_rank(columns, values)
    if len(volume_after_volume) == len(columns[0]):
        return volume_after_volume
    if len(position) != values.size:
        return [columns]
    spans = values.max(axis=1) - values.min(axis=1)
    if (spans == len(columns[0]) - 1).all() and _monotone(values.min(axis=1)):
        return _by_rank(columns, values, every=True)
    return [columns]


def _monotone(values: NDArray[np.float64]) -> bool:
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all())


def _number(plane: Plane) -> tuple[int, int]:
    return (plane.instance or 0, plane.frame)


def _file_number(plane: Plane) -> int:
    return plane.instance or 0


def _known(columns: Columns) -> list[str]:
    """The marks that the headers have at all."""
    planes = [plane for column in columns for plane in column]
    known = [mark.name for mark in MARKS if any(mark.of(plane) is not None for plane in planes)]
    return [*known, DIMENSIONS] if any(plane.order for plane in planes) else known


def _contradiction(frames: Frames, columns: Columns) -> str:
    """A mark of which a volume holds two values, though the other volumes, or the places, say that it holds one.

    An image that lacks the mark holds no value of it.
    """
    for mark in MARKS:
        if mark.scatters or mark.is_remark or mark.name == "file":
            continue
        numbers = [len({mark.of(plane) for plane in frame} - _NOTHING) for frame in frames]
        if max(numbers) <= 1:
            continue
        if 1 in numbers:
            return mark.name
        rows = [Counter(mark.of(plane) for plane in column) for column in columns]
        if len(rows[0].keys() - _NOTHING) > 1 and all(row == rows[0] for row in rows):
            return mark.name
    return ""


_NOTHING = frozenset((None,))


def _against_numbers(frames: Frames, columns: Columns) -> str:
    """A mark, though some images lack it, by which volumes that only numbers tell would mix images."""
    for mark in MARKS:
        if mark.is_remark or mark.overlaps or mark.name in ("file", "content time"):
            continue
        at_places = [{value for value in row if value is not None} for row in _values(mark, columns)]
        if all(len(known) <= 1 for known in at_places):
            continue  # it tells places, not volumes
        known = [[value for value in row if value is not None] for row in _values(mark, frames)]
        if mark.scatters:
            if _separate([row for row in known if row]) is None:
                return mark.name
        elif any(len(set(row)) > 1 for row in known):
            return mark.name
    return ""


def _numbers_disagree(frames: Frames, told_by: Sequence[str], columns: Columns) -> bool:
    """Whether only ranks of times told the volumes, and instance numbers that run through volumes tell others.

    A tag that scatters orders any images, also where it means nothing (the time since a heart beat, of a
    reconstruction); numbers without meaning hardly ever run through whole volumes.
    """
    scattered = {mark.name for mark in MARKS if mark.scatters} | {INSTANCE}
    if told_by == (INSTANCE,) or not scattered.issuperset(told_by):
        return False
    numbered = _by_instance(columns)
    if len(numbered) < len(frames):
        return False
    volume = {id(column[0]): t for t, cls in enumerate(numbered) for column in cls}
    return any(len({volume[id(plane)] for plane in frame}) > 1 for frame in frames)


_BY_MARK = (
    *((mark.name, _splitter(mark)) for mark in MARKS if not mark.of_acquisition),
    (DIMENSIONS, _by_dimension),
    *((mark.name, _splitter(mark)) for mark in MARKS if mark.of_acquisition),
)
_STEPS: tuple[tuple[str, Callable[[Columns], list[Columns]]], ...] = (
    *_BY_MARK,
    (INSTANCE, _by_instance),
    *((mark.name, _by_presence(mark)) for mark in MARKS),
    *_BY_MARK,
)


# --- order ------------------------------------------------------------------------------------------------------------


def _in_order(frames: Frames, told_by: tuple[str, ...]) -> Volumes:
    keys: list[list[Any]] = [[] for _ in frames]
    ordered_by: list[str] = []
    for name, values in _orders(frames, told_by):
        if len({tuple(key) for key in keys}) == len(frames):
            break
        finer = {(*key, value) for key, value in zip(keys, values, strict=True)}
        if len(finer) > len({tuple(key) for key in keys}):
            ordered_by.append(name)
            for key, value in zip(keys, values, strict=True):
                key.append(value)
    ranks = sorted(range(len(frames)), key=lambda t: tuple(keys[t]))
    ordered = tuple(frames[t] for t in ranks)
    notes = _order_notes(ordered, ordered_by)
    return Volumes(ordered, told_by, tuple(ordered_by), notes, times_of(ordered, told_by))


def _orders(frames: Frames, told_by: tuple[str, ...]) -> list[tuple[str, list[Any]]]:
    """What the order may follow, the most trusted first: a name and one comparable value a volume.

    A time that is another for each volume comes before those of which only several together are.
    """
    in_time = [(mark.name, values) for mark in MARKS if mark.is_time and (values := _moments(frames, mark)) is not None]
    # times of making are the last of them; but volumes of one file follow each other
    of_files = [order for order in in_time if order[0] == _MADE]
    in_time = [order for order in in_time if order[0] != _MADE]
    in_time.sort(key=lambda order: len(set(order[1])) < len(frames))
    dimensions: list[tuple[str, list[Any]]] = []
    lengths = {len(plane.order) for frame in frames for plane in frame}
    if len(lengths) == 1 and lengths != {0}:
        dimensions = [
            (DIMENSIONS, [min(plane.order[i] for plane in frame) for frame in frames]) for i in range(*lengths)
        ]
    instance: list[tuple[str, list[Any]]] = []
    for number in (_number, _file_number) if _FILE in told_by else (_number,):
        numbers = _separate([[number(plane) for plane in frame] for frame in frames])
        instance += [] if numbers is None else [(INSTANCE, numbers)]
    by_value = [
        (mark.name, [_comparable(mark, frame[0]) for frame in frames])
        for mark in MARKS
        if mark.name in told_by and all(mark.of(frame[0]) is not None for frame in frames)
    ]
    if _FILE in told_by:
        whole = [order for order in in_time if len(set(order[1])) == len(frames)]
        return [*whole, *of_files, *instance, *in_time, *dimensions, *by_value]
    return [*in_time, *of_files, *dimensions, *instance, *by_value]


def _comparable(mark: Mark, plane: Plane) -> Any:
    """A value that orders volumes, where nothing else does: text by its words and numbers, a file by its object."""
    value = plane.sop_uid if mark.name == _FILE else mark.of(plane)
    if not isinstance(value, str):
        return value
    return tuple((int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", value))


def _moments(frames: Frames, mark: Mark) -> list[float] | None:
    """One value a volume, where those of different volumes are apart."""
    values = _values(mark, frames)
    if any(value is None for row in values for value in row):
        return None
    if mark.overlaps:
        return [float(np.mean(row)) for row in values]
    return _separate(values)


def _separate(values: list[list[Any]]) -> list[Any] | None:
    """The least value of each volume, where no volume's values reach into another's."""
    spans = sorted((min(row), max(row)) for row in values)
    apart = all(a == b or a[1] < b[0] for a, b in pairwise(spans))
    return [min(row) for row in values] if apart else None


def _order_notes(frames: Frames, ordered_by: Sequence[str]) -> tuple[Fault, ...]:
    if list(ordered_by) == [INSTANCE]:
        return (
            Fault.of(FaultKind.ORDER_IN_TIME, "no tag of time orders the volumes: they follow the instance numbers"),
        )
    if _FILE in ordered_by:
        return (Fault.of(FaultKind.ORDER_IN_TIME, "no tag orders the volumes: they follow the identifiers of files"),)
    against = [
        mark.name
        for mark in MARKS
        if mark.is_time and mark.name not in ordered_by and _runs_against(_moments(frames, mark))
    ]
    numbers = _separate([[_number(plane) for plane in frame] for frame in frames])
    if numbers is not None and numbers != sorted(numbers):
        against.append(INSTANCE)
    if not against:
        return ()
    detail = f"the volumes follow {' and '.join(ordered_by)}; {' and '.join(against)} would order them otherwise"
    return (Fault.of(FaultKind.ORDER_IN_TIME, detail),)


def _runs_against(values: list[float] | None) -> bool:
    return values is not None and values != sorted(values)


# --- time -------------------------------------------------------------------------------------------------------------

_AGREES = 0.05
_LEAST_TR_MS = 100.0
_NOT_IN_TIME = frozenset(
    (
        "flip angle",
        "inversion time",
        "echo number",
        "echo time",
        "tube voltage",
        "kernel",
        "image type",
        "description",
        "repetition time",
        "slice thickness",
        "complex component",
        "flow direction",
    )
)


def times_of(frames: Frames, told_by: Sequence[str]) -> tuple[float, ...] | None:
    """When each volume begins, in seconds from the first; ``None`` where no tag says.

    The times of acquisition, where they rise; of a cycle, the trigger delays; else as many repetition times (or
    temporal resolutions) as there are volumes, for what is acquired slice by slice in each of them.
    """
    if "trigger time" in told_by or (_rising(frames, _TRIGGER) and not _rising(frames, _ACQUIRED)):
        return _rising(frames, _TRIGGER)
    kind = frames[0][0].kind
    acquired = next((times for mark in _TIMES if (times := _rising(frames, mark)) is not None), None)
    repetition = kind.repetition_ms if kind.modality == "MR" and not kind.volumetric else None
    if acquired is not None:
        step = acquired[-1] / (len(frames) - 1)
        if repetition and abs(repetition / 1000 - step) <= _AGREES * step:
            return _even(repetition, len(frames))  # times of acquisition are often rounded to whole seconds
        return acquired
    if _NOT_IN_TIME & set(told_by):
        return None
    if kind.step_ms:
        return _even(kind.step_ms, len(frames))
    return _even(repetition, len(frames)) if repetition and repetition >= _LEAST_TR_MS else None


def _even(step_ms: float, n: int) -> tuple[float, ...]:
    return tuple(t * step_ms / 1000 for t in range(n))


def _rising(frames: Frames, mark: Mark) -> tuple[float, ...] | None:
    values = _values(mark, frames)
    if any(value is None for row in values for value in row):
        return None
    starts = [min(row) for row in values]
    times = tuple((start - starts[0]) * _SECONDS.get(mark.name, 1.0) for start in starts)
    return times if all(a < b for a, b in pairwise(times)) else None


_SECONDS = {"frame reference time": 1e-3, "trigger time": 1e-3}
_BY_NAME = {mark.name: mark for mark in MARKS}
_ACQUIRED, _TRIGGER = _BY_NAME["acquisition time"], _BY_NAME["trigger time"]
_TIMES = (_ACQUIRED, *(_BY_NAME[name] for name in ("acquisition date and time", "time offset", "frame reference time")))
