"""On which side of the split a case is: patients together, the same share of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_sparse3d.cases.case import Case


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
    side: dict[str, str] = {}
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
