"""What a model file says about itself."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from napari_sparse3d.errors import InputError
from napari_sparse3d.voxels.recipe import Recipe

Name: TypeAlias = Annotated[str, Field(max_length=200)]
Text: TypeAlias = Annotated[str, Field(max_length=20_000)]

_LARGEST_CARD = 4_000_000
_DEEPEST = 20
_LARGEST_NUMBER = 65_536
_MOST_PARTS = 1024
"""Of the arguments of an architecture: more than any network here was made with, less than what fills a machine."""


class Seen(BaseModel):
    """What the training cases of a model were like; None or empty: not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    active_percent: tuple[float, float] | None = None
    """Lowest and highest percent active of the field."""
    longest_side: tuple[int, int] | None = None
    """Of the voxel sets' grids, in voxels."""
    spacing_mm: tuple[float, float] | None = None
    """Smallest and largest side of a voxel of theirs."""
    units: tuple[Name, ...] = ()
    values: tuple[Literal["mask", "scan"], ...] = ()
    """Whether they were masks (two values alone) or scans."""


class ModelCard(BaseModel):
    """Everything that is needed to use a model, and to judge it. Stored as JSON in the header of the model file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    architecture: Name
    arguments: dict[str, Any] = Field(default_factory=dict, max_length=64)
    recipe: Recipe
    classes: tuple[Name, ...] = Field(max_length=10_000)
    trained: bool
    description: Text = ""
    data: Text = ""
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    active_percent_seen: tuple[float, float] | None = None
    """Lowest and highest percent active among the training inputs."""
    seen: Seen | None = None
    """What else is known of them."""
    split: dict[Name, tuple[Name, ...]] | None = None
    """Content hashes (their first 16 digits) of the cases that it was trained on, ``train``, and chosen by, ``val``."""
    intended_use: Text = "research use only"
    limits: Text = ""
    licence: Text = ""

    @field_validator("arguments")
    @classmethod
    def _bounded(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        for name, value in arguments.items():
            parts = value if isinstance(value, (list, tuple)) else [value]
            if len(parts) > 64 or any(isinstance(part, (list, tuple, dict)) for part in parts):
                raise ValueError(f"argument {name[:80]!r} must be one value, or a list of at most 64")
            numbers = [part for part in parts if isinstance(part, (int, float)) and not isinstance(part, bool)]
            if any(not abs(number) <= _LARGEST_NUMBER for number in numbers):
                raise ValueError(f"argument {name[:80]!r} must lie within {_LARGEST_NUMBER}")
            if name == "blocks" and sum(numbers) > (_MOST_PARTS if len(parts) > 1 else _MOST_PARTS // 16):
                raise ValueError(f"argument {name!r} asks for more than {_MOST_PARTS} parts")
        return arguments

    @classmethod
    def parse(cls, text: str) -> ModelCard:
        """The card that a file carries.

        Raises
        ------
        InputError
            In one line, if it is none, or larger than any that was written here.
        """
        if len(text) > _LARGEST_CARD:
            raise InputError(f"it takes {len(text):,} characters, at most {_LARGEST_CARD:,} are read")
        if _depth(text) > _DEEPEST:
            raise InputError(f"it is nested more than {_DEEPEST} deep")
        try:
            return cls(**json.loads(text))
        except InputError:  # of the recipe
            raise
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, fault["loc"]))[:80]
            raise InputError(f"{where}: {' '.join(fault['msg'].split())[:200]}") from error
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise InputError(f"it is no JSON object of a card ({type(error).__name__})") from error


def _depth(text: str) -> int:
    """How deep JSON is nested at most; brackets in strings count too, which no card has twenty of open."""
    depth = deepest = 0
    for character in text:
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest
