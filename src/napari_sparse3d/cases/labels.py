"""What a label says: nothing, a number, or a class."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from napari_sparse3d.cases.case import Case
from napari_sparse3d.errors import InputError

UNLABELLED = ("", "-1", "nan", "na", "n/a", "#n/a", "<na>", "null")
"""What stands for a missing label in a table, in any case and with any blanks around, as spreadsheets and pandas write.

``none`` is not among them: it is a finding.
"""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"-?\d+")


def label_of(text: object, unlabelled: Sequence[str] = UNLABELLED) -> str | None:
    """The label that a table or an array holds; None where it is missing.

    Numbers are numbers, however they are written: spreadsheets make ``1.0`` of ``1`` as soon as one row is empty. Whole
    numbers as they stand are left so (``007`` is a name as well).
    """
    label = str(text).strip() if text is not None else ""
    if label.lower() in unlabelled:
        return None
    if _NUMBER.fullmatch(label) and not _WHOLE.fullmatch(label):
        value = float(label)
        if math.isfinite(value):
            label = str(int(value)) if value == int(value) else repr(value)
    # once more: -1 may have been written -1.0
    return None if label in unlabelled else label


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
    for case in cases:
        if case.label not in numbers:
            raise InputError(f"case {case.number} is labelled {case.label!r}, which is none of {', '.join(classes)}")
    return [numbers[case.label] for case in cases if case.label is not None]


def _is_number(label: str) -> bool:
    return _WHOLE.fullmatch(label) is not None
