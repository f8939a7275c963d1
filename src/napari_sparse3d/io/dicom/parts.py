"""What shares a series identifier and is no one volume, nor one series in time: the parts of a series.

A series identifier is reused by anonymisers and senders, and one series may hold scouts, reconstructions, echoes,
stations and passes. Images are parted where they cannot belong together (patient, study, frame of reference, series
number), cannot lie on one grid (orientation, spacing, size), show different things (image type, kernel, echo, unit), or
were acquired in passes that interleave; never by position alone, and never so that a part could not stand by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from napari_sparse3d.io.dicom.grid import as_text, depths_of, is_even, places_of
from napari_sparse3d.io.dicom.marks import MARKS, Mark
from napari_sparse3d.io.dicom.plane import Kind, Origin, Plane
from napari_sparse3d.io.faults import Fault, FaultKind, Severity

SECONDARY_CAPTURE = "a secondary capture (screenshot)"
SAME_DIRECTION = 1.5e-4
"""Direction cosines that differ by less are the same: headers round them to 4 to 6 digits."""
SAME_SPACING = 1e-4
"""Pixel spacings that differ by less (relative) are the same."""
_SAME_STEP = 0.01
_SAME_ECHO_MS = 0.05
_ALTERNATES = 0.1
_LEAST_FILLED = 0.7
"""Slices thinner than this part of their step leave room for those of another pass."""
_FAR = 5.0
"""A pause between two passes is this much longer than any within them."""


@dataclass(frozen=True)
class Part:
    """Images that may be one volume or one series in time, and what is to be said of their series."""

    planes: list[Plane]
    faults: tuple[Fault, ...] = ()

    def said(self, *faults: Fault) -> Part:
        """The same with more to say."""
        return replace(self, faults=(*self.faults, *faults))


def series_of(planes: Iterable[Plane]) -> list[Part]:
    """Planes by the series that they belong to; a series in time that was sent as many is put together."""
    by_uid: dict[str, list[Plane]] = defaultdict(list)
    for plane in planes:
        by_uid[plane.kind.origin.series_uid].append(plane)
    whole, scattered = _one_identifier_a_file(list(by_uid.values()))
    return [*scattered, *_reunited([part for members in whole for part in _by_origin(members)])]


def parts_of(series: Part) -> list[Part]:
    """The parts of one series that can each stand alone."""
    grids = _by_grid(series.planes)
    mixed = _mixed_grids(grids)
    parts = [Part(planes, (*series.faults, *mixed)) for planes in grids]
    for mark in _CONTRASTS:
        parts = [finer for part in parts for finer in _by_contrast(part, mark)]
    parts = [finer for part in parts for finer in _by_pass(part)]
    if len(parts) > len(grids):
        detail = f"the series holds {len(parts)} volumes of different contrast or acquisition; each is listed"
        parts = [part.said(Fault.of(FaultKind.MIXED_CONTENT, detail)) for part in parts]
    return parts


# --- by origin --------------------------------------------------------------------------------------------------------

_ORIGINS = {
    "patient": "patients",
    "study_uid": "studies",
    "frame_of_reference": "frames of reference",
    "series_number": "series numbers",
}


def _by_origin(planes: list[Plane]) -> list[Part]:
    """One identifier, several patients, studies, frames of reference or series numbers: as many series.

    A file that lacks one of them goes with the others where they all name the same. Where each file names a study or a
    frame of reference of its own, as careless anonymisers make them, they tell nothing, and what is even is one series.
    """
    origins = dict.fromkeys(plane.kind.origin for plane in planes)
    if len(origins) == 1:
        return [Part(planes)]
    arbitrary = [name for name in _ANONYMISED if _another_each_file(planes, name)]
    if arbitrary:
        blank = dict.fromkeys(arbitrary, "")
        groups = _partition(planes, lambda plane: replace(plane.kind.origin, **blank))
        if all(_one_even_grid(group) for group in groups):
            what = " and ".join(_ORIGINS[name] for name in arbitrary)
            fault = Fault.of(FaultKind.MIXED_CONTENT, f"each file names another of the {what}: they are not believed")
            return [Part(group, (fault,)) for group in groups]
    named = {name: {value for origin in origins if (value := getattr(origin, name))} for name in _ORIGINS}
    whole = {name: next(iter(values)) for name, values in named.items() if len(values) == 1}
    groups = _partition(planes, lambda plane: replace(plane.kind.origin, **whole))
    what = " and ".join(f"{len(named[name])} {words}" for name, words in _ORIGINS.items() if len(named[name]) > 1)
    if len(groups) == 1:
        return [Part(planes)]
    fault = Fault.of(
        FaultKind.MIXED_CONTENT, f"one series identifier is used for {what or 'several series'}; each is listed"
    )
    return [Part(group, (fault,)) for group in groups]


_ANONYMISED = ("study_uid", "frame_of_reference")
"""Identifiers of the study and below it, which an anonymiser may make anew for each file."""
_SEVERAL_FILES = 3


def _another_each_file(planes: list[Plane], name: str) -> bool:
    """Whether each of several files has a value of its own."""
    by_file = {plane.path: getattr(plane.kind.origin, name) for plane in planes}
    return len(by_file) >= _SEVERAL_FILES and len(set(by_file.values())) == len(by_file) and all(by_file.values())


def _one_even_grid(planes: list[Plane]) -> bool:
    return len(_by_grid(planes)) == 1 and is_even(planes) is not None


def _one_identifier_a_file(series: list[list[Plane]]) -> tuple[list[list[Plane]], list[Part]]:
    """The series as they are, and those put together of which a careless anonymiser made a series of each file.

    They are single images of one patient, series number and kind, with numbers of their own, that lie evenly, and
    whose studies and frames of reference are one, or another for each file.
    """
    single = [members[0] for members in series if len(members) == 1 and members[0].kind.origin.series_uid]
    scattered = []
    taken: set[str] = set()
    for group in _partition(single, _without_identifiers):
        if len(group) >= _SEVERAL_FILES and _is_scattered(group):
            detail = (
                f"each of {len(group)} files has a series identifier of its own; they lie evenly and are read as one"
            )
            scattered.append(Part(group, (Fault.of(FaultKind.MIXED_CONTENT, detail),)))
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


def _reunited(series: list[Part]) -> list[Part]:
    """Put together the volumes of a series in time that were exported under an identifier each.

    Their headers say that they are some of n temporal positions (0020,0105), they differ in nothing but their
    acquisition numbers, which run from 1, and they hold the same places once (Siemens XA).
    """
    groups: dict[Hashable, list[Part]] = defaultdict(list)
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


def _runs(members: list[Part]) -> list[Part]:
    """Members whose acquisition numbers run from 1 as one part; else by series number, else each alone."""
    for groups in ([members], _partition(members, lambda part: part.planes[0].kind.origin.series_number)):
        if all(_run_from_one(group) for group in groups):
            return [_joined(group) for group in groups]
    return members


def _run_from_one(members: list[Part]) -> bool:
    numbers = sorted(part.planes[0].marks.acquisition or 0 for part in members)
    return numbers == list(range(1, len(members) + 1)) and len(members) <= members[0].planes[0].kind.n_temporal


def _joined(members: list[Part]) -> Part:
    if len(members) == 1:
        return members[0]
    members = sorted(members, key=lambda part: part.planes[0].marks.acquisition or 0)
    n, of = len(members), members[0].planes[0].kind.n_temporal
    detail = f"{n} series identifiers hold one volume each of a series in time; they are listed as one"
    detail += "" if n == of else f", which lacks {of - n} of its {of} volumes"
    return Part([plane for part in members for plane in part.planes], (Fault.of(FaultKind.ORDER_IN_TIME, detail),))


# --- by grid ----------------------------------------------------------------------------------------------------------


def _by_grid(planes: list[Plane]) -> list[list[Plane]]:
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


def _mixed_grids(parts: list[list[Plane]]) -> list[Fault]:
    """What differs between the grids that share one series identifier."""
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
        spacings = ", ".join(sorted({as_text(kind.pixel_spacing) for kind in kinds}))
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


def _by_contrast(part: Part, contrast: _Contrast) -> list[Part]:
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


def _by_pass(part: Part) -> list[Part]:
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
        groups = _partition(planes, lambda plane: plane.marks.acquisition)
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


def _partition(items: list[Any], key: Callable[[Any], Hashable]) -> list[list[Any]]:
    return _grouped(items, [key(item) for item in items])
