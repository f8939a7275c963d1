"""Which columns of a cohort tell something, and the colours that they give. No Qt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cohort.classes import ClassNumbers
from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.pictures.palette import SYMBOL_SIGNS, look_of

MAX_CLASSES = 20
"""A column of text with more values than this has no legend that anybody could read."""
TAG = "tag"
"""The column of the user's own words; the truth, ``label``, is not theirs to change."""
_FIRST = ("label", TAG, "prediction", "split", "probability", "n_active")
_ALWAYS_CLASSES = ("label", TAG, "prediction", "split", "patient", "outside_training")
"""Classes even where they are written as numbers."""
_NONE = {
    *("path", "file", "filename", "file_name", "name", "case", "content", "error", "mask", "thumbnail"),
    *("series", "series_number", "schema", "model_hash", "recipe_hash", "x", "y"),
}
"""What tells one case from all others, or counts what was stored, is no class and measures nothing."""
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?")
"""As text: ``007`` is none, it names something."""
ALIKE, UNLIKE = "like training", "unlike training"


@dataclass(frozen=True)
class Scale:
    """What the ends of the colours mean."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Colouring:
    """A colour for each case.

    Attributes
    ----------
    codes : ndarray
        (N,): class numbers (-1: none), or values from 0 to 1 (not finite: none).
    scale : Scale or None
        Of numbers; None: the colours are those of classes.
    legend : list
        Colour, sign and words of each class; the first two are "" for what has no colour of its own.
    values : sequence
        (N,) numbers, or classes as text; None where nothing is known.
    numbers : mapping
        The number of each class.
    """

    codes: NDArray[np.int64] | NDArray[np.float64]
    scale: Scale | None = None
    legend: list[tuple[str, str, str]] = field(default_factory=list)
    values: Sequence[Any] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def continuous(self) -> bool:
        """Whether the colours are those of numbers."""
        return self.scale is not None


def values_of(cohort: Cohort, name: str) -> Sequence[Any]:
    """A column as it gives colours: in what cases are unlike the training is a sentence, whether they are a class."""
    values = cohort.column(name)
    if name != "outside_training":
        return values
    return [None if value is None else UNLIKE if value else ALIKE for value in values]


def numbers_in(name: str, values: Sequence[Any]) -> NDArray[np.float64] | None:
    """A column of numbers, nan where there is none; None where these are classes.

    A CSV has its numbers as text. Yes and no are classes, and so is a label that is written as a number, unless there
    are so many that it must be measured.
    """
    numbers = [_number(value) for value in values]
    known = [number for number in numbers if number is not None and np.isfinite(number)]
    if None in numbers or not known or (name in _ALWAYS_CLASSES and len(set(known)) <= MAX_CLASSES):
        return None
    return np.array(numbers, dtype=np.float64)


def _number(value: Any) -> float | None:
    """nan for what is missing, None for what is no number."""
    if value is None or value == "":
        return float("nan")
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) else None


def classes_in(values: Sequence[Any]) -> set[str]:
    """The classes of a column."""
    return {str(value) for value in values if value not in (None, "")}


def tells(name: str, values: Sequence[Any]) -> bool:
    """Whether a column has more than one value, and is a number or a class."""
    if name.strip().lower() in _NONE:
        return False
    numbers = numbers_in(name, values)
    if numbers is not None:
        return len(np.unique(numbers[np.isfinite(numbers)])) > 1
    known = [str(value) for value in values if value not in (None, "")]
    n_classes = len(set(known))
    if name in _ALWAYS_CLASSES:
        return (n_classes > 1 or (name == TAG and n_classes > 0)) and n_classes <= MAX_CLASSES
    return 1 < n_classes <= MAX_CLASSES and (n_classes < len(known) or len(known) == 2)  # else it is a name


def telling_columns(cohort: Cohort) -> list[str]:
    """The columns that tell something, the most telling first."""
    names = [name for name in cohort.columns if tells(name, values_of(cohort, name))]
    first = [name for name in _FIRST if name in names]
    return [*first, *(name for name in names if name not in first)]


def class_orders(cohort: Cohort, numbers: ClassNumbers) -> dict[str, list[str]]:
    """For the columns of classes that tell something, the order of their colours, for the table to keep."""
    orders = {}
    for name in telling_columns(cohort):
        values = values_of(cohort, name)
        if numbers_in(name, values) is None:
            numbers.of(name, classes_in(values), cohort.classes.get(name, ()))
            orders[name] = numbers.order(name, classes_in(values))
    return orders


def colouring(cohort: Cohort, name: str, class_numbers: ClassNumbers) -> Colouring:
    """By a column; ``""``: all alike. ``class_numbers`` gives each class the number that it has already."""
    if not name:
        return Colouring(np.zeros(len(cohort), dtype=np.int64))
    values = values_of(cohort, name)
    numbers = numbers_in(name, values)
    if numbers is not None:
        return _by_numbers(name, numbers)
    number_of = class_numbers.of(name, classes_in(values), cohort.classes.get(name, ()))
    texts = [None if value in (None, "") else str(value) for value in values]
    codes = np.array([-1 if text is None else number_of[text] for text in texts], dtype=np.int64)
    legend = [_entry(each, number) for each, number in number_of.items()]
    return Colouring(codes, None, [*legend, *_unknown(int((codes < 0).sum()))], texts, number_of)


def _by_numbers(name: str, numbers: NDArray[np.float64]) -> Colouring:
    known = np.isfinite(numbers)
    low, high = float(numbers[known].min()), float(numbers[known].max())
    with np.errstate(invalid="ignore", over="ignore"):
        # halved, since the whole range of float64 has no width
        parts = (numbers / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
    codes = np.where(known, parts, np.nan)
    values = [number if np.isfinite(number) else None for number in numbers.tolist()]
    return Colouring(codes, Scale(name, low, high), _unknown(int((~known).sum())), values)


def _entry(name: str, number: int) -> tuple[str, str, str]:
    colour, symbol = look_of(number)
    return colour, SYMBOL_SIGNS[symbol], name


def _unknown(n: int) -> list[tuple[str, str, str]]:
    return [("", "", f"grey: {n:,} without")] if n else []
