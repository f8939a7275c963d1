"""What can be set, read from annotations: fields of a pydantic model, arguments of a function. No Qt, no torch.

A :class:`Field` is plain data, so a child process can describe what only it can import. ``toolbox.forms`` makes a
control of each.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Kind: TypeAlias = Literal["switch", "whole", "number", "choice", "subset", "text", "json"]
_UNITS = {"_mm": "mm", "_degrees": "°", "_seconds": "s", "_percent": "%"}
"""By the end of a name, which carries its unit."""


_BOUNDS = {"ge": ("low", "above"), "gt": ("low", "above"), "le": ("high", "below"), "lt": ("high", "below")}
"""What annotations call a bound, as those of annotated-types and pydantic do."""


@dataclass(frozen=True)
class Field:
    """One thing that can be set.

    Attributes
    ----------
    name : str
    kind : str
        ``switch`` (bool), ``whole`` (int), ``number`` (float), ``choice`` (one of ``choices``), ``subset`` (any of
        ``choices``, in order), ``text``, or ``json`` (anything else, written as JSON).
    default : object
        What it is where nobody sets it; None where that is not known.
    low, high : float or None
        Bounds.
    above, below : bool
        Whether ``low`` or ``high`` itself is left out.
    choices : tuple
        What can be chosen.
    words : tuple
        What may stand in the place of a number: ``"all"``, or None for nothing.
    count : int
        How many alike numbers there are: one control stands for all.
    unit : str
        Of the number.
    tip : str
        What it is, from the docstring.
    """

    name: str
    kind: Kind
    default: Any = None
    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False
    choices: tuple[Any, ...] = ()
    words: tuple[Any, ...] = ()
    count: int = 1
    unit: str = ""
    tip: str = ""

    @property
    def title(self) -> str:
        """The name for people."""
        plain = next((self.name.removesuffix(end) for end in _UNITS if self.name.endswith(end)), self.name)
        return plain[:1].upper() + plain[1:].replace("_", " ")


def fields_of(model: type[BaseModel], *, without: Sequence[str] = ()) -> tuple[Field, ...]:
    """The fields of a model in their order; parts of it that are models themselves are left out.

    Parameters
    ----------
    model : type
        Its numpy docstring says what the fields are.
    without : sequence of str
        Names of fields that are not wanted: a discriminator, what is shown elsewhere.
    """
    tips = documented(model)
    return tuple(
        _field(name, info.annotation, info.metadata, _default_of(info), tips.get(name, ""))
        for name, info in model.model_fields.items()
        if name not in without and not _is_model(info.annotation)
    )


def kinds_of(
    union: Any, *, key: str = "kind", without: Sequence[str] = (), units: Mapping[str, str] | None = None
) -> dict[str, tuple[Field, ...]]:
    """The fields of each member of a discriminated union, by its discriminator, in the union's order.

    Parameters
    ----------
    union : type
        ``Annotated[A | B, Field(discriminator=key)]`` of models.
    without : sequence of str
        Fields that are shown elsewhere.
    units : mapping
        Of fields whose name does not carry one.
    """
    union, _ = _unwrapped(union, ())
    return {
        member.model_fields[key].default: tuple(
            replace(each, unit=(units or {}).get(each.name, each.unit))
            for each in fields_of(member, without=(key, *without))
        )
        for member in get_args(union)
    }


def fields_of_arguments(function: Callable[..., Any], *, without: Sequence[str] = ()) -> tuple[Field, ...]:
    """The arguments of a function or class that have a default."""
    tips, hints = documented(function), _hints(function)
    return tuple(
        _field(name, hints.get(name, type(parameter.default)), (), parameter.default, tips.get(name, ""))
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is not inspect.Parameter.empty and name not in without
    )


def documented(what: Any) -> dict[str, str]:
    """What a numpy docstring says of each parameter or attribute, in one line; the summary under ``""``."""
    # what a class says of its own stands above what those say that it derives from
    bases = what.__mro__[:0:-1] if isinstance(what, type) else ()
    said = {name: tip for base in bases if base is not BaseModel for name, tip in _said(base).items() if name}
    return {**said, **_said(what)}


def _said(what: Any) -> dict[str, str]:
    text = inspect.cleandoc(what.__doc__ or "")
    said = {"": _plain(text.partition("\n\n")[0])}
    for section in re.findall(r"^(?:Parameters|Attributes)\n-+\n(.*?)(?=^\S[^\n]*\n-{3,}$|\Z)", text, re.M | re.S):
        for names, body in re.findall(r"^(\w[\w, ]*?)\s*(?::[^\n]*)?\n((?:[ ]{4}[^\n]*\n?|\n)*)", section + "\n", re.M):
            for name in names.split(","):
                said[name.strip()] = _plain(body)
    return said


def _plain(text: str) -> str:
    """One line without the marks of reStructuredText."""
    return " ".join(re.sub(r":\w+:`([^`]*)`", r"\1", text).replace("`", "").split())


def with_defaults(fields: Sequence[Field], values: Mapping[str, Any]) -> tuple[Field, ...]:
    """The same, beginning with other values."""
    return tuple(replace(each, default=values.get(each.name, each.default)) for each in fields)


def _field(name: str, annotation: Any, metadata: Sequence[Any], default: Any, tip: str) -> Field:
    annotation, metadata = _unwrapped(annotation, metadata)
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
    bounds = _bounds(metadata)
    origin, members = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        plain = [_unwrapped(member, ()) for member in members if member is not NoneType]
        words = [word for member, _ in plain if get_origin(member) is Literal for word in get_args(member)]
        numbers = [(member, rest) for member, rest in plain if member in (int, float)]
        if len(numbers) == 1 and len(plain) == len(numbers) + (1 if words else 0):
            (number, rest), nothing = numbers[0], (None,) if NoneType in members else ()
            kind: Kind = "whole" if number is int else "number"
            bounds = bounds or _bounds(rest)
            return Field(name, kind, default, **bounds, words=(*nothing, *words), unit=unit, tip=tip)
        if words and len(plain) == 1:
            return Field(name, "choice", default, choices=(None, *words), tip=tip)
        return Field(name, "json", default, tip=tip)
    if annotation is bool:
        return Field(name, "switch", default, tip=tip)
    if annotation in (int, float):
        return Field(name, "whole" if annotation is int else "number", default, **bounds, unit=unit, tip=tip)
    if origin is Literal:
        return Field(name, "choice", default, choices=members, tip=tip)
    if annotation is str and (named := [each for each in metadata if hasattr(each, "choices")]):
        return Field(name, "choice", default, choices=named[0].choices, tip=tip)
    if annotation is str:
        return Field(name, "text", default, tip=tip)
    if origin is tuple and members[-1:] == (Ellipsis,) and get_origin(members[0]) is Literal:
        return Field(name, "subset", default, choices=get_args(members[0]), tip=tip)
    if origin is tuple and len({repr(member) for member in members}) == 1:
        one = _field(name, members[0], (), default, tip)
        if one.kind in ("whole", "number"):
            return replace(one, count=len(members))
    return Field(name, "json", default, tip=tip)


def _unwrapped(annotation: Any, metadata: Sequence[Any]) -> tuple[Any, Sequence[Any]]:
    """Without ``Annotated``, whose metadata are added to those that there are."""
    while get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = [*metadata, *more]
    return annotation, metadata


def _bounds(metadata: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in (part for one in metadata for part in (one.metadata if isinstance(one, FieldInfo) else [one])):
        for name, bound in _BOUNDS.items():
            if (limit := getattr(each, name, None)) is not None:
                found |= {bound[0]: limit, bound[1]: name in ("gt", "lt")}
    return found


def _default_of(info: FieldInfo) -> Any:
    return None if info.is_required() else info.get_default(call_default_factory=True)


def _is_model(annotation: Any) -> bool:
    annotation, _ = _unwrapped(annotation, ())
    return any(_is_model(each) for each in get_args(annotation)) or (
        isinstance(annotation, type) and issubclass(annotation, BaseModel)
    )


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        called = getattr(function, "__init__") if isinstance(function, type) else function  # noqa: B009  (mypy)
        return get_type_hints(called, include_extras=True)
    except (NameError, TypeError):  # a name that only a type checker imports: the defaults tell enough
        return {}
