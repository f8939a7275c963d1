"""A case of a labelled set: where it lies, what it is labelled, on which side of the split it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from napari_sparse3d.errors import InputError

Split: TypeAlias = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Case:
    """One labelled volume.

    Attributes
    ----------
    name : str
        The file (and item) inside the set. It may hold an identity: messages call a case by ``number``.
    path : Path
        The file or folder that holds it.
    kind : str
        How it is read: a key of ``read.READERS``.
    item : str
        Which item of the file; empty where the file is the case.
    label : str or None
        None: the label is missing.
    split : {"train", "val", "test"} or None
        None: not decided by the set.
    patient : str or None
        Cases of one patient stay on one side of a split.
    mask : Path or None
        A label map whose voxels with value ``item`` are the case.
    number : int
        Its place in the set, from 0.
    """

    name: str
    path: Path
    kind: str
    item: str = ""
    label: str | None = None
    split: Split | None = None
    patient: str | None = field(default=None, repr=False)
    mask: Path | None = None
    number: int = field(default=0, repr=False, compare=False)


def class_names(cases: Sequence[Case]) -> tuple[str, ...]:
    """The labels that occur: numbers in numeric order, else alphabetically."""
    labels = {case.label for case in cases if case.label is not None}
    return tuple(sorted(labels, key=lambda label: (0, int(label), "") if _is_number(label) else (1, 0, label)))


def label_numbers(cases: Sequence[Case], classes: Sequence[str]) -> list[int]:
    """The class number of each case.

    A label that is a number, where no class is called so, counts as the number of the class.

    Raises
    ------
    InputError
        If a case has no label, or one that is no class.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    if not any(_is_number(name) for name in classes):
        numbers |= {str(number): number for number in range(len(classes))}
    found = []
    for case in cases:
        if case.label not in numbers:
            raise InputError(f"case {case.number} is labelled {case.label!r}, which is none of {', '.join(classes)}")
        found.append(numbers[case.label])
    return found


def split_by_patient(cases: Sequence[Case], *, validation: float = 0.2, seed: int = 0) -> list[Case]:
    """Put cases without a split on the training or validation side, the same share of each class, patients together.

    A patient with cases of several classes goes with the rarest of them.

    Parameters
    ----------
    cases : sequence of Case
        Those with a split keep it, and a patient on one side takes its undecided cases along.
    validation : float
        Share of patients for validation.
    seed : int
        What the choice is drawn from.
    """
    side: dict[str, Split] = {}
    for case in cases:
        if case.patient is not None and case.split is not None:
            side.setdefault(case.patient, case.split)
    undecided: dict[str, list[Case]] = {}
    for case in cases:
        if case.split is None and (case.patient is None or case.patient not in side):
            undecided.setdefault(_unit(case), []).append(case)
    counts: dict[str | None, int] = {}
    for group in undecided.values():
        for case in group:
            counts[case.label] = counts.get(case.label, 0) + 1
    by_label: dict[str | None, list[str]] = {}
    for unit, group in sorted(undecided.items()):
        rarest = min((case.label for case in group), key=lambda label: (counts[label], str(label)))
        by_label.setdefault(rarest, []).append(unit)
    random = np.random.default_rng(seed)
    chosen: set[str] = set()
    for _, units in sorted(by_label.items(), key=lambda pair: str(pair[0])):
        take = max(1, round(validation * len(units))) if len(units) > 1 else 0
        chosen.update(units[index] for index in random.permutation(len(units))[:take])
    decided = []
    for case in cases:
        if case.split is not None:
            decided.append(case)
            continue
        known = side.get(case.patient) if case.patient is not None else None
        decided.append(replace(case, split=known or ("val" if _unit(case) in chosen else "train")))
    return decided


def _unit(case: Case) -> str:
    """What stays together: the patient, or the case itself."""
    return f"patient {case.patient}" if case.patient is not None else f"case {case.name}"


def _is_number(label: str) -> bool:
    return label.lstrip("-").isdecimal()
