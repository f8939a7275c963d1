"""What must stay on one side of a split: the cases of one patient, and those with the same content."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.identity import patient_key
from napari_sparse3d.io.formats import may_have_tags


def patients_of(cases: Sequence[Case], *, unread: Sequence[Case] = ()) -> list[str]:
    """The patient of each case: as its set says, else a hash of what its DICOM tags say; "" where neither does.

    The set's word goes first: anonymisers call many patients alike in the tags. Of cases ``unread``, which follow, only
    the set's word counts.
    """
    tagged = ["" if case.patient else _patient_in_tags(case) for case in cases] + [""] * len(unread)
    said = [case.patient or "" for case in (*cases, *unread)]
    if not any(tagged):
        return said
    # in one spelling: the same identifier may stand in the table of one case and in the tags of another
    return [patient_key(word) if word else tag for word, tag in zip(said, tagged, strict=True)]


@dataclass(frozen=True)
class LinkedCases:
    """What each case counts as one with.

    Attributes
    ----------
    groups : tuple of str
        Of each case; equal ones belong together.
    kind : str
        ``"patients"`` where all of them are known, else ``"groups of equal ..."``: patient, content or file.
    """

    groups: tuple[str, ...]
    kind: str


PATIENTS = "patients"
"""The kind of groups that are patients, all of them known."""


def linked_cases(cases: Sequence[Case], contents: Sequence[str]) -> LinkedCases | None:
    """What each case counts as one with, where cases are drawn or compared: its patient, its content, its file.

    By the set's word and by the tags, directly or through others, as a split keeps them together. None where every case
    stands alone and not all patients are known.
    """
    # of packed shapes, that which stands for the patient is a hash of the content
    patients = [
        "" if case.kind == "packed" else patient for case, patient in zip(cases, patients_of(cases), strict=True)
    ]
    if len(cases) > 1 and len(set(patients)) == 1 and all(case.patient is None for case in cases):
        patients = [""] * len(cases)  # the tags call all alike: it may be the name that an anonymiser gives
    items = items_of(cases)
    groups = groups_of(patients, contents, items)
    if all(patients):
        kind = PATIENTS
    elif len(set(groups)) == len(cases):
        return None
    else:
        keys: dict[str, Sequence[Hashable]] = {"patient": patients, "content": contents, "file": items}
        kind = f"groups of equal {' or '.join(name for name, values in keys.items() if linked(values))}"
    return LinkedCases(tuple(map(str, groups)), kind)


def items_of(cases: Sequence[Case]) -> list[tuple[str, str]]:
    """What each case is a part of: rows of a table that name one file (several labels of its mask) share it."""
    return [(str(case.path), case.name) for case in cases]


def groups_of(*keys: Sequence[Hashable]) -> list[int]:
    """Number the groups of cases that are linked by any of their keys, directly or through others.

    Parameters
    ----------
    *keys : sequence
        Of each case: its patient, its content, ... Empty ones link nothing.

    Returns
    -------
    list of int
        The group of each case, in the order in which they first occur.
    """
    first_with: dict[Hashable, int] = {}
    above = list(range(len(keys[0])))

    def top(number: int) -> int:
        while above[number] != number:
            above[number] = above[above[number]]
            number = above[number]
        return number

    for kind, values in enumerate(keys):
        for number, value in enumerate(values):
            if value:
                above[top(number)] = top(first_with.setdefault((kind, value), number))
    numbers: dict[int, int] = {}
    return [numbers.setdefault(top(number), len(numbers)) for number in range(len(above))]


def linked(values: Iterable[Hashable]) -> dict[Hashable, list[int]]:
    """The places at which each value stands, of those that stand at more than one."""
    places: dict[Hashable, list[int]] = {}
    for place, value in enumerate(values):
        if value:
            places.setdefault(value, []).append(place)
    return {value: each for value, each in places.items() if len(each) > 1}


def _patient_in_tags(case: Case) -> str:
    """The patient's hash by the first DICOM file of a case; "" where it has none."""
    if case.info is not None:
        return case.info.patient
    if case.kind != "scan" or not may_have_tags(case.path):
        return ""
    from napari_sparse3d.io.dicom.person import patient_at

    return patient_at(case.path)
