"""What every part of a recipe is, and how its faults are said: in one line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from napari_sparse3d.errors import InputError
from napari_sparse3d.text import did_you_mean

_UNIONS = {("threshold",), ("resample",), ("region",)}
"""Parts of which there are kinds."""


class RecipePart(BaseModel):
    """Frozen; unknown keys are refused; what is wrong is said in one line, as an :class:`InputError`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_one_line(error)) from error


def _all_names() -> set[str]:
    """What can stand in a recipe."""
    return {name for part in _below(RecipePart) for name in part.model_fields} - {"kind", "name"}


def _below(part: type[RecipePart]) -> Iterator[type[RecipePart]]:
    for each in part.__subclasses__():
        yield each
        yield from _below(each)


def _one_line(error: ValidationError) -> str:
    """Every fault as ``where: what``, in one line; the first ten of many."""
    faults = error.errors(include_url=False)
    said = "; ".join(_describe(fault) for fault in faults[:10])
    return f"{said}; and {len(faults) - 10} more" if len(faults) > 10 else said


def short(value: object) -> str:
    """Some of a value from outside: it may be of any size."""
    try:
        text = str(value) if isinstance(value, Exception) else repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _describe(fault: ErrorDetails) -> str:
    place, kind = fault["loc"], fault["type"]
    if place[:1] in _UNIONS:
        place = place[:1] + place[2:]  # the second is the union's member, which the user never wrote there
    where = ".".join(map(str, place))[:80]
    if kind == "missing":
        return f"{where} is missing"
    if kind == "extra_forbidden":
        return f"{where} is no part of a recipe; remove it{did_you_mean(str(place[-1]), _all_names())}"
    if kind == "union_tag_not_found":
        return f"{where} needs a kind"
    if kind == "union_tag_invalid":
        context = fault["ctx"]
        return f"{where}: there is no kind {short(context['tag'])}, choose {context['expected_tags']}"
    if kind == "value_error":  # raised by the validators above, or by a part: already a sentence
        what = short(fault["ctx"]["error"])
        return f"{where}: {what}" if where else what
    return f"{where}: {fault['msg'][:1].lower()}{fault['msg'][1:]} (got {short(fault['input'])})"
