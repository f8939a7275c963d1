"""On which side of the split a case is: what belongs together stays together, the same share of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.groups import groups_of, items_of


def split_by_patient(
    cases: Sequence[Case], *, groups: Sequence[int] | None = None, validation: float = 0.2, seed: int = 0
) -> list[Case]:
    """Put cases without a split on the training or validation side, the same share of each class, groups together.

    A group with cases of several classes goes with the rarest of them.

    Parameters
    ----------
    cases : sequence of Case
        Those with a split keep it, and a group with one takes its undecided cases along.
    groups : sequence of int, optional
        What stays together, see :func:`napari_sparse3d.cases.groups.groups_of`; unless given, the cases of a patient.
    validation : float
        Share of groups for validation.
    seed : int
        What the choice is drawn from.
    """
    group_of = groups_of([case.patient for case in cases], items_of(cases)) if groups is None else groups
    side: dict[int, str] = {}
    for case, group in zip(cases, group_of, strict=True):
        if case.split is not None:
            side.setdefault(group, case.split)
    undecided: dict[int, list[Case]] = {}
    for case, group in zip(cases, group_of, strict=True):
        if group not in side:
            undecided.setdefault(group, []).append(case)
    # in an order of their own: that of the set, or a salted hash, would draw others
    units = sorted((min(map(_name, members)), group) for group, members in undecided.items())
    counts: dict[str | None, int] = {}
    for members in undecided.values():
        for case in members:
            counts[case.label] = counts.get(case.label, 0) + 1
    by_label: dict[str | None, list[int]] = {}
    for _, group in units:
        rarest = min((case.label for case in undecided[group]), key=lambda label: (counts[label], str(label)))
        by_label.setdefault(rarest, []).append(group)
    random = np.random.default_rng(seed)
    chosen: set[int] = set()
    for _, members_of in sorted(by_label.items(), key=lambda pair: str(pair[0])):
        take = max(1, round(validation * len(members_of))) if len(members_of) > 1 else 0
        chosen.update(members_of[index] for index in random.permutation(len(members_of))[:take])
    return [
        case
        if case.split is not None
        else replace(case, split=side.get(group) or ("val" if group in chosen else "train"))
        for case, group in zip(cases, group_of, strict=True)
    ]


def _name(case: Case) -> str:
    """By which a group stands in order: the patient as its set calls it, or the case itself."""
    return f"patient {case.patient}" if case.patient is not None else f"case {case.name}"
