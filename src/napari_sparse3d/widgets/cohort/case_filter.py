"""Which cases a filter leaves: words in a column, or a range of numbers. No Qt."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.widgets.cohort.case_words import case_name
from napari_sparse3d.widgets.cohort.colours import TAG, numbers_in

NAME = "name"
_UNSEEN = {"content", "error", "status", "schema", "model_hash", "recipe_hash", NAME}
_FIRST = (NAME, "label", TAG, "prediction", "split", "probability", "n_active")
_LAST = ("path", "series", "series_number")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_COMPARED = re.compile(rf"(<=|>=|<|>|=)?\s*({_NUMBER})")
_RANGE = re.compile(rf"({_NUMBER})\s*(?:\.\.|…|–)\s*({_NUMBER})")
_COMPARE: dict[str, Callable[[NDArray[np.float64], float], NDArray[np.bool_]]] = {
    "<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal, "=": np.equal,
}  # fmt: skip


def shown_columns(cohort: Cohort) -> list[str]:
    """The columns that a table shows and a filter looks at, the name first; hashes are for machines."""
    names = [name for name in cohort.columns if name not in _UNSEEN]
    first = [name for name in _FIRST if name in names or name == NAME]
    last = [name for name in _LAST if name in names]
    return [*first, *(name for name in names if name not in {*first, *last}), *last]


def column_of(cohort: Cohort, name: str) -> Sequence[Any]:
    """A column as a table shows it: a case without a name is called by its file; numpy's numbers become Python's."""
    if name == NAME:
        known = zip(cohort.column(NAME), cohort.column("path"), strict=True)
        return [case_name({"name": own, "path": path or ""}) for own, path in known]
    return [value.item() if isinstance(value, np.generic) else value for value in cohort.column(name)]


def matching(cohort: Cohort, column: str, text: str) -> NDArray[np.bool_]:
    """The cases that a filter leaves: (N,) bool.

    Parameters
    ----------
    cohort : Cohort
    column : str
        "": any that is shown.
    text : str
        A part of the value, in capitals or not. ``=word``: all of it; ``=``: those without. Of a column of numbers:
        ``> 5``, ``<= 5``, ``5`` or ``5..10``. "": all cases.
    """
    wanted = text.strip()
    if not wanted:
        return np.ones(len(cohort), dtype=bool)
    if column:
        return _in_column(column, column_of(cohort, column), wanted)
    found = np.zeros(len(cohort), dtype=bool)
    for name in shown_columns(cohort):
        found |= _holds(column_of(cohort, name), wanted)
    return found


def _in_column(name: str, values: Sequence[Any], wanted: str) -> NDArray[np.bool_]:
    numbers = numbers_in(name, values)
    if wanted == "=":
        return np.array([value in (None, "") for value in values], dtype=bool)
    if numbers is not None:
        if (between := _RANGE.fullmatch(wanted)) is not None:
            low, high = sorted(map(float, between.groups()))
            return np.asarray((numbers >= low) & (numbers <= high))
        if (compared := _COMPARED.fullmatch(wanted)) is not None:
            return _COMPARE[compared[1] or "="](numbers, float(compared[2]))
    return _holds(values, wanted)


def _holds(values: Sequence[Any], wanted: str) -> NDArray[np.bool_]:
    whole, word = wanted.startswith("="), wanted.removeprefix("=").strip().casefold()
    texts = ("" if value is None else str(value).casefold() for value in values)
    return np.array([text == word if whole else word in text for text in texts], dtype=bool)
