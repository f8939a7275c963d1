"""Annotations become fields: kinds, bounds, units, and what a docstring says of them."""

from __future__ import annotations

import pickle
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel
from pydantic import Field as Declared

from napari_sparse3d.widgets.toolbox.fields import (
    Field,
    documented,
    fields_of,
    fields_of_arguments,
    kinds_of,
    with_defaults,
)

Share = Annotated[float, Declared(ge=0, le=1)]


class Inner(BaseModel):
    depth: int = 1


class Oven(BaseModel):
    """What bakes.

    It is hot.

    Attributes
    ----------
    heat, fan : float
        How hot; see :func:`warm`.
    rack_mm : tuple of float
        Size,
        on each axis.
    name : str
        ``any``.

    Raises
    ------
    ValueError
        Never.
    """

    name: str = "x"
    heat: Share
    fan: float = Declared(default=0.5, gt=0, lt=2)
    rack_mm: tuple[Share, Share, Share] = (0.1, 0.2, 0.3)
    shelves: int = Declared(default=3, ge=1)
    light: bool = False
    mode: Literal["top", "bottom", 3] = "top"
    side: Literal["left", "right"] | None = None
    timer: Annotated[int, Declared(ge=1)] | None = None
    keep: Literal["all"] | int = "all"
    trays: tuple[Literal["a", "b"], ...] = ("a",)
    extra: dict[str, int] = Declared(default_factory=dict)
    inner: Inner = Inner()
    either: int | list[int] = 2


def by_name(fields):
    return {each.name: each for each in fields}


def test_every_kind_of_annotation():
    fields = by_name(fields_of(Oven))
    assert list(fields) == [name for name in Oven.model_fields if name != "inner"]  # a model is a form of its own
    assert {name: each.kind for name, each in fields.items()} == {
        "name": "text", "heat": "number", "fan": "number", "rack_mm": "number", "shelves": "whole", "light": "switch",
        "mode": "choice", "side": "choice", "timer": "whole", "keep": "whole", "trays": "subset", "extra": "json",
        "either": "json",
    }  # fmt: skip
    assert fields["mode"].choices == ("top", "bottom", 3)
    assert fields["side"].choices == (None, "left", "right")
    assert fields["trays"].choices == ("a", "b")
    assert fields["timer"].words == (None,)
    assert fields["keep"].words == ("all",)


def test_bounds_units_defaults():
    fields = by_name(fields_of(Oven))
    limits = {name: (f.low, f.above, f.high, f.below) for name, f in fields.items() if f.kind in ("number", "whole")}
    assert limits == {
        "heat": (0, False, 1, False), "fan": (0, True, 2, True), "rack_mm": (0, False, 1, False),
        "shelves": (1, False, None, False), "timer": (1, False, None, False), "keep": (None, False, None, False),
    }  # fmt: skip
    assert (fields["rack_mm"].unit, fields["rack_mm"].count, fields["rack_mm"].title) == ("mm", 3, "Rack")
    assert fields["heat"].default is None
    assert fields["extra"].default == {}
    assert by_name(with_defaults(list(fields.values()), {"heat": 0.7}))["heat"].default == 0.7
    assert pickle.loads(pickle.dumps(fields)) == fields


def test_what_the_docstring_says():
    assert documented(Oven) == {
        "": "What bakes.",
        "heat": "How hot; see warm.",
        "fan": "How hot; see warm.",
        "rack_mm": "Size, on each axis.",
        "name": "any.",
    }
    assert documented(lambda: None) == {"": ""}


def test_arguments_of_a_function():
    def make(first, size: int = 3, *, share: float = 0.5, sizes=(1, 2), name="x"):
        """Make.

        Parameters
        ----------
        size : int
            How large.
        """

    assert fields_of_arguments(make, without=("name",)) == (
        Field("size", "whole", 3, tip="How large."),
        Field("share", "number", 0.5),
        Field("sizes", "json", (1, 2)),
    )


def test_a_union_by_its_kind():
    class Low(BaseModel):
        kind: Literal["low"] = "low"
        by: float = 1.0

    class High(BaseModel):
        kind: Literal["high"] = "high"

    union = Annotated[Low | High, Declared(discriminator="kind")]
    assert kinds_of(union, units={"by": "m"}) == {"low": (Field("by", "number", 1.0, unit="m"),), "high": ()}


@pytest.mark.parametrize("annotation", [list[int], object, "int | Missing"])
def test_what_has_no_control_is_written_as_json(annotation):
    def make(value=None):
        """Nothing is said."""

    make.__annotations__ = {"value": annotation}
    (field,) = fields_of_arguments(make)
    assert field.kind == "json"
