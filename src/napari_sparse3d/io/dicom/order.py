"""The order of volumes, and when each begins."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from napari_sparse3d.io.dicom.marks import MARKS, Mark
from napari_sparse3d.io.dicom.plane import Plane
from napari_sparse3d.io.faults import Fault, FaultKind

Frames = tuple[tuple[Plane, ...], ...]
"""``frames[t][k]`` is slice ``k``, along the normal, of volume ``t``."""

INSTANCE = "instance number"
DIMENSIONS = "dimension index"
FILE, _MADE = "file", "content time"


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


def values_by_row(mark: Mark, columns: Sequence[Sequence[Plane]]) -> list[list[Any]]:
    """The values of a mark by column, comparable with each other."""
    values = iter(mark.values(plane for column in columns for plane in column))
    return [[next(values) for _ in column] for column in columns]


def number_of(plane: Plane) -> tuple[int, int]:
    """Instance and frame number, by which a maker may have meant an order."""
    return (plane.instance or 0, plane.frame)


def _file_number(plane: Plane) -> int:
    return plane.instance or 0


def in_order(frames: Frames, told_by: tuple[str, ...]) -> Volumes:
    """The volumes, which the marks ``told_by`` tell apart, by the most trusted tags that order them."""
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
    for number in (number_of, _file_number) if FILE in told_by else (number_of,):
        numbers = separate([[number(plane) for plane in frame] for frame in frames])
        instance += [] if numbers is None else [(INSTANCE, numbers)]
    by_value = [
        (mark.name, [_comparable(mark, frame[0]) for frame in frames])
        for mark in MARKS
        if mark.name in told_by and all(mark.of(frame[0]) is not None for frame in frames)
    ]
    if FILE in told_by:
        whole = [order for order in in_time if len(set(order[1])) == len(frames)]
        return [*whole, *of_files, *instance, *in_time, *dimensions, *by_value]
    return [*in_time, *of_files, *dimensions, *instance, *by_value]


def _comparable(mark: Mark, plane: Plane) -> Any:
    """A value that orders volumes, where nothing else does: text by its words and numbers, a file by its object."""
    value = plane.sop_uid if mark.name == FILE else mark.of(plane)
    if not isinstance(value, str):
        return value
    return tuple((int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", value))


def _moments(frames: Frames, mark: Mark) -> list[float] | None:
    """One value a volume, where those of different volumes are apart."""
    values = values_by_row(mark, frames)
    if any(value is None for row in values for value in row):
        return None
    if mark.overlaps:
        return [float(np.mean(row)) for row in values]
    return separate(values)


def separate(values: list[list[Any]]) -> list[Any] | None:
    """The least value of each volume, where no volume's values reach into another's."""
    spans = sorted((min(row), max(row)) for row in values)
    apart = all(a == b or a[1] < b[0] for a, b in pairwise(spans))
    return [min(row) for row in values] if apart else None


def _order_notes(frames: Frames, ordered_by: Sequence[str]) -> tuple[Fault, ...]:
    if list(ordered_by) == [INSTANCE]:
        return (
            Fault.of(FaultKind.ORDER_IN_TIME, "no tag of time orders the volumes: they follow the instance numbers"),
        )
    if FILE in ordered_by:
        return (Fault.of(FaultKind.ORDER_IN_TIME, "no tag orders the volumes: they follow the identifiers of files"),)
    against = [
        mark.name
        for mark in MARKS
        if mark.is_time and mark.name not in ordered_by and _runs_against(_moments(frames, mark))
    ]
    numbers = separate([[number_of(plane) for plane in frame] for frame in frames])
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
    values = values_by_row(mark, frames)
    if any(value is None for row in values for value in row):
        return None
    starts = [min(row) for row in values]
    times = tuple((start - starts[0]) * _SECONDS.get(mark.name, 1.0) for start in starts)
    return times if all(a < b for a, b in pairwise(times)) else None


_SECONDS = {"frame reference time": 1e-3, "trigger time": 1e-3}
_BY_NAME = {mark.name: mark for mark in MARKS}
_ACQUIRED, _TRIGGER = _BY_NAME["acquisition time"], _BY_NAME["trigger time"]
_TIMES = (_ACQUIRED, *(_BY_NAME[name] for name in ("acquisition date and time", "time offset", "frame reference time")))
