"""Which columns of a cohort tell something, and the colours that they give. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.pictures.palette import CLASS_COLOURS

MAX_CLASSES = 20
"""A column of text with more values than this has no legend that anybody could read."""
_FIRST = ("label", "prediction", "split", "probability", "n_active")
_NONE = ("path", "name", "content", "error")
"""What tells one case from all others is no class."""
ALIKE, UNLIKE = "like training", "unlike training"


@dataclass(frozen=True, eq=False)
class Colouring:
    """A colour for each case.

    Attributes
    ----------
    codes : ndarray
        (N,): class numbers (-1: none), or values from 0 to 1 (not finite: none).
    continuous : bool
        Which of the two.
    legend : list
        Colour and words of each class, or ("", words) for what has no colour of its own.
    """

    codes: NDArray[np.int64] | NDArray[np.float64]
    continuous: bool
    legend: list[tuple[str, str]]


def values_of(cohort: Cohort, name: str) -> Sequence[Any]:
    """A column as it gives colours: in what cases are unlike the training is a sentence, whether they are a class."""
    values = cohort.column(name)
    if name != "outside_training":
        return values
    return [None if value is None else UNLIKE if value else ALIKE for value in values]


def tells(values: Sequence[Any]) -> bool:
    """Whether a column has more than one value, and is a number or a class."""
    known = {str(value) for value in values if value not in (None, "")}
    return len(known) > 1 and (_numbers(values) or len(known) <= MAX_CLASSES)


def telling_columns(cohort: Cohort) -> list[str]:
    """The columns that tell something, the most telling first."""
    names = [name for name in cohort.columns if name not in _NONE and tells(values_of(cohort, name))]
    first = [name for name in _FIRST if name in names]
    return [*first, *(name for name in names if name not in first)]


def colouring(cohort: Cohort, name: str) -> Colouring:
    """By a column; ``""``: all alike."""
    if not name:
        return Colouring(np.zeros(len(cohort), dtype=np.int64), False, [])
    values = values_of(cohort, name)
    if _numbers(values):
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        return Colouring(
            (numbers - low) / ((high - low) or 1.0), True, [("", f"{name}: {low:.3g} (dark) to {high:.3g} (bright)")]
        )
    classes = sorted({str(value) for value in values if value not in (None, "")})
    number_of = {each: number for number, each in enumerate(classes)}
    codes = np.array([number_of.get(str(value), -1) for value in values], dtype=np.int64)
    legend = list(zip(CLASS_COLOURS, classes, strict=False))
    if len(classes) > len(legend):
        legend.append(("", f"and {len(classes) - len(legend)} more"))
    return Colouring(codes, False, legend)


def _numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) or value is None for value in values)
