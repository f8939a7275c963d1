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

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.dicom.marks import MARKS, Mark
from napari_sparse3d.io.dicom.order import (
    DIMENSIONS,
    INSTANCE,
    Frames,
    Volumes,
    in_order,
    number_of,
    separate,
    values_by_row,
)
from napari_sparse3d.io.dicom.plane import Plane
from napari_sparse3d.io.faults import Fault, FaultKind, Severity

Columns = list[list[Plane]]
"""The images of each place."""


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
    return in_order(frames, told_by)


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
        values = values_by_row(mark, columns)
        if any(value is None for row in values for value in row):
            return [columns]
        if isinstance(values[0][0], (int, float)):
            return _by_rank(columns, np.array(values, dtype=np.float64), every=mark.overlaps)
        return _by_value(columns, values)

    return split


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
    numbers = [[number_of(plane) for plane in column] for column in columns]
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
        at_places = [{value for value in row if value is not None} for row in values_by_row(mark, columns)]
        if all(len(known) <= 1 for known in at_places):
            continue  # it tells places, not volumes
        known = [[value for value in row if value is not None] for row in values_by_row(mark, frames)]
        if mark.scatters:
            if separate([row for row in known if row]) is None:
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
