"""Which images are of one series: more than one identifier, and sometimes several.

A series identifier is reused by anonymisers and senders for several patients, studies, frames of reference or series;
others make one anew for each file, or for each volume of a series in time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import fields, replace

from napari_sparse3d.io.dicom.grid import is_even, places_of
from napari_sparse3d.io.dicom.kinds import by_grid, is_localizer
from napari_sparse3d.io.dicom.parts import PlaneGroup, partition
from napari_sparse3d.io.dicom.plane import Kind, Origin, Plane
from napari_sparse3d.io.faults import Fault, FaultKind


def series_of(planes: Iterable[Plane]) -> list[PlaneGroup]:
    """Planes by the series that they belong to; a series in time that was sent as many is put together."""
    by_uid: dict[str, list[Plane]] = defaultdict(list)
    for plane in planes:
        by_uid[plane.kind.origin.series_uid].append(plane)
    whole, scattered = _one_identifier_a_file(list(by_uid.values()))
    return [*scattered, *_reunited([part for members in whole for part in _by_origin(members)])]


_ORIGINS = {
    "patient": "patients",
    "study_uid": "studies",
    "frame_of_reference": "frames of reference",
    "series_number": "series numbers",
}


def _by_origin(planes: list[Plane]) -> list[PlaneGroup]:
    """One identifier, several patients, studies, frames of reference or series numbers: as many series.

    A file that lacks one of them goes with the others where they all name the same. Where each file names a study or a
    frame of reference of its own, as careless anonymisers make them, they tell nothing, and what is even is one series.
    """
    origins = dict.fromkeys(plane.kind.origin for plane in planes)
    if len(origins) == 1:
        return [PlaneGroup(planes)]
    arbitrary = [name for name in _ANONYMISED if _another_each_file(planes, name)]
    if arbitrary:
        blank = dict.fromkeys(arbitrary, "")
        groups = partition(planes, lambda plane: replace(plane.kind.origin, **blank))
        if all(_one_even_grid(group) for group in groups):
            what = " and ".join(_ORIGINS[name] for name in arbitrary)
            fault = Fault.of(FaultKind.MIXED_CONTENT, f"each file names another of the {what}: they are not believed")
            return [PlaneGroup(group, (fault,)) for group in groups]
    named = {name: {value for origin in origins if (value := getattr(origin, name))} for name in _ORIGINS}
    whole = {name: next(iter(values)) for name, values in named.items() if len(values) == 1}
    groups = partition(planes, lambda plane: replace(plane.kind.origin, **whole))
    what = " and ".join(f"{len(named[name])} {words}" for name, words in _ORIGINS.items() if len(named[name]) > 1)
    if len(groups) == 1:
        return [PlaneGroup(planes)]
    fault = Fault.of(
        FaultKind.MIXED_CONTENT, f"one series identifier is used for {what or 'several series'}; each is listed"
    )
    return [PlaneGroup(group, (fault,)) for group in groups]


_ANONYMISED = ("study_uid", "frame_of_reference")
"""Identifiers of the study and below it, which an anonymiser may make anew for each file."""
_SEVERAL_FILES = 3


def _another_each_file(planes: list[Plane], name: str) -> bool:
    """Whether each of several files has a value of its own."""
    by_file = {plane.path: getattr(plane.kind.origin, name) for plane in planes}
    return len(by_file) >= _SEVERAL_FILES and len(set(by_file.values())) == len(by_file) and all(by_file.values())


def _one_even_grid(planes: list[Plane]) -> bool:
    return len(by_grid(planes)) == 1 and is_even(planes) is not None


def _one_identifier_a_file(series: list[list[Plane]]) -> tuple[list[list[Plane]], list[PlaneGroup]]:
    """The series as they are, and those put together of which a careless anonymiser made a series of each file.

    They are single images of one patient, series number and kind, with numbers of their own, that lie evenly, and
    whose studies and frames of reference are one, or another for each file.
    """
    single = [members[0] for members in series if len(members) == 1 and members[0].kind.origin.series_uid]
    scattered = []
    taken: set[str] = set()
    for group in partition(single, _without_identifiers):
        if len(group) >= _SEVERAL_FILES and _is_scattered(group):
            detail = (
                f"each of {len(group)} files has a series identifier of its own; they lie evenly and are read as one"
            )
            scattered.append(PlaneGroup(group, (Fault.of(FaultKind.MIXED_CONTENT, detail),)))
            taken.update(plane.kind.origin.series_uid for plane in group)
    return [members for members in series if members[0].kind.origin.series_uid not in taken], scattered


def _without_identifiers(plane: Plane) -> Hashable:
    kind = plane.kind
    where = (kind.origin.patient, kind.origin.series_number, kind.sop_class, kind.modality, kind.image_type)
    return (*where, kind.rows, kind.columns, kind.kernel, kind.echo_number, plane.marks.description)


def _is_scattered(planes: list[Plane]) -> bool:
    numbers = {plane.instance for plane in planes}
    if len(numbers) < len(planes) or None in numbers or is_localizer(planes[0].kind):
        return False
    origins = [plane.kind.origin for plane in planes]
    believable = all(
        len({getattr(origin, name) for origin in origins}) == 1 or _another_each_file(planes, name)
        for name in _ANONYMISED
    )
    return believable and _one_even_grid(planes)


def _reunited(series: list[PlaneGroup]) -> list[PlaneGroup]:
    """Put together the volumes of a series in time that were exported under an identifier each.

    Their headers say that they are some of n temporal positions (0020,0105), they differ in nothing but their
    acquisition numbers, which run from 1, and they hold the same places once (Siemens XA).
    """
    groups: dict[Hashable, list[PlaneGroup]] = defaultdict(list)
    rest = []
    for part in series:
        key = None if part.faults else _one_time_of_several(part.planes)
        if key is None:
            rest.append(part)
        else:
            groups[key].append(part)
    for members in groups.values():
        rest.extend(_runs(members))
    return rest


def _one_time_of_several(planes: list[Plane]) -> Hashable | None:
    """What the volumes of one series in time share; ``None`` where the planes are no single such volume."""
    kind = planes[0].kind
    if kind.n_temporal < 2 or len({plane.marks.acquisition for plane in planes}) != 1:
        return None
    if any(plane.position is None for plane in planes) or max(Counter(places_of(planes)).values()) != 1:
        return None
    positions = tuple(sorted({tuple(round(x, 2) for x in plane.position or ()) for plane in planes}))
    anonymous = Origin("", 0, kind.origin.study_uid, kind.origin.frame_of_reference, kind.origin.patient)
    numbers = {field.name: getattr(kind, field.name) for field in fields(Kind)}
    numbers.update(origin=anonymous, echo_time=None, slice_step=None, inversion_time=None)
    return (tuple(numbers.values()), positions)


def _runs(members: list[PlaneGroup]) -> list[PlaneGroup]:
    """Members whose acquisition numbers run from 1 as one part; else by series number, else each alone."""
    for groups in ([members], partition(members, lambda part: part.planes[0].kind.origin.series_number)):
        if all(_run_from_one(group) for group in groups):
            return [_joined(group) for group in groups]
    return members


def _run_from_one(members: list[PlaneGroup]) -> bool:
    numbers = sorted(part.planes[0].marks.acquisition or 0 for part in members)
    return numbers == list(range(1, len(members) + 1)) and len(members) <= members[0].planes[0].kind.n_temporal


def _joined(members: list[PlaneGroup]) -> PlaneGroup:
    if len(members) == 1:
        return members[0]
    members = sorted(members, key=lambda part: part.planes[0].marks.acquisition or 0)
    n, of = len(members), members[0].planes[0].kind.n_temporal
    detail = f"{n} series identifiers hold one volume each of a series in time; they are listed as one"
    detail += "" if n == of else f", which lacks {of - n} of its {of} volumes"
    return PlaneGroup(
        [plane for part in members for plane in part.planes], (Fault.of(FaultKind.ORDER_IN_TIME, detail),)
    )
