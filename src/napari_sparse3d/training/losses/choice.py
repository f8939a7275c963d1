"""Which loss is meant: a discriminated union by ``kind``, whose members are those of the catalogue."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, SerializeAsAny

from napari_sparse3d.catalog import DEFAULT_LOSS, LOSSES
from napari_sparse3d.errors import CatalogError, InputError
from napari_sparse3d.text import did_you_mean
from napari_sparse3d.training.losses.base import LossSettings, Pairs
from napari_sparse3d.training.settings import Settings, Share


class FlatLoss(Settings):
    """The settings of all losses in one, as they were written before each had its own: what is not its own is idle."""

    name: str = "cross-entropy"
    smoothing: Share = 0.0
    class_weights: Literal["none", "balanced"] = "none"
    distance: Literal["cosine", "squared-l2"] = "cosine"
    margin: float = Field(default=0.5, gt=0)
    pairs: Pairs = "hardest"
    miner: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)
    classify: float = Field(default=1.0, ge=0)

    @classmethod
    def of(cls, loss: LossSettings) -> FlatLoss | None:
        """The same as it was written then; None for a loss that there was not."""
        if loss.kind not in ("cross-entropy", "triplet", "metric-learning", "function"):
            return None
        own = loss.model_dump(exclude={"kind"})
        return cls(**{"name": loss.kind, **own})


def kind_of(text: str) -> tuple[str, str]:
    """The ``kind`` that is asked for as ``text``, and the ``name`` within it, "" where the kind is one loss alone.

    Raises
    ------
    CatalogError
        If there is no such loss.
    """
    if text in LOSSES or text in LOSSES.broken:
        return LOSSES[text].name, ""
    if ":" in text:
        return "function", text
    if text[:1].isupper():  # as classes are written
        return "metric-learning", text
    known = ", ".join(info.spelled or info.name for info in LOSSES.values())
    raise CatalogError(f"there is no loss {text!r}; choose {known}{did_you_mean(text, LOSSES)}")


def loss_of(value: object) -> object:
    """Settings of a loss from what a file, a card or a person says; what is none of that is left to the field.

    Without ``kind`` it is read as it was written before, by ``name``: settings of other losses, which had no effect,
    are left out, and said where they were not the usual ones.

    Raises
    ------
    InputError
        If there is no such loss, or it does not take these settings.
    """
    if isinstance(value, str):
        value = switched({}, value)
    if not isinstance(value, Mapping):
        return value
    said = dict(value) if "kind" in value else _as_before(value)
    kind = str(said.pop("kind"))
    taken = _settings(kind)
    fields = [name for name in taken.model_fields if name != "kind"]
    if unknown := [name for name in said if name not in fields]:
        near = did_you_mean(str(unknown[0]), fields)
        raise InputError(f"{kind} takes {', '.join(fields) or 'no settings'}, not {', '.join(map(str, unknown))}{near}")
    return taken(**said)


AnyLoss: TypeAlias = Annotated[SerializeAsAny[LossSettings], BeforeValidator(loss_of)]
"""The type of a setting that holds a loss."""


def switched(before: Mapping[str, Any], asked: str) -> dict[str, Any]:
    """Settings of the loss that is ``asked`` for, with what it shares of those ``before``."""
    kind, name = kind_of(asked)
    fields = _settings(kind).model_fields.keys() - {"kind"}
    if name or before.get("kind") != kind:
        fields -= {"name"}
    shared = {key: value for key, value in before.items() if key in fields}
    return {"kind": kind, **({"name": name} if name else {}), **shared}


def _as_before(said: Mapping[str, Any]) -> dict[str, Any]:
    kind, name = kind_of(str(said.get("name", DEFAULT_LOSS)))
    fields = _settings(kind).model_fields
    idle = {key: value for key, value in said.items() if key not in fields and key in FlatLoss.model_fields}
    idle.pop("name", None)
    # what never was a setting is refused, idle or not
    FlatLoss(**{key: value for key, value in said.items() if key in FlatLoss.model_fields})
    usual = FlatLoss()
    if unusual := [key for key, value in idle.items() if value != getattr(usual, key)]:
        warnings.warn(f"loss settings without effect on {name or kind}: {', '.join(unusual)}", stacklevel=2)
    settings = {key: value for key, value in said.items() if key not in idle and key != "name"}
    return {"kind": kind, **({"name": name} if name else {}), **settings}


def _settings(kind: str) -> type[LossSettings]:
    settings = LOSSES[kind].load()
    if not isinstance(settings, type) or not issubclass(settings, LossSettings):
        raise CatalogError(
            f"loss {kind!r} is described by {settings!r:.80}, settings derived from LossSettings are needed"
        )
    return settings
