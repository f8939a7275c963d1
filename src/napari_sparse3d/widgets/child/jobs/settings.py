"""Jobs that say what can be set in a training: only what imports torch knows the losses and the networks."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from napari_sparse3d.catalog import ARCHITECTURES, LOSSES
from napari_sparse3d.errors import CatalogError
from napari_sparse3d.training.config import Augmentation, Training, starting_settings
from napari_sparse3d.widgets.child.records import TrainingFields
from napari_sparse3d.widgets.toolbox.fields import Field, fields_of, fields_of_arguments, with_defaults

_IN_PANEL = ("architecture", "arguments", "recipe", "epochs", "loss", "augment", "start")
_BY_DATA = ("in_features", "classes")
"""Arguments of every network that the labelled set decides."""


def training() -> Generator[Any, bool, TrainingFields]:
    """All that a training can be told, beginning with what the command line begins with."""
    yield "reading the settings"
    begin = starting_settings()
    return TrainingFields(
        with_defaults(fields_of(Training, without=_IN_PANEL), begin),
        with_defaults(fields_of(Augmentation), begin.get("augment", {})),
        {name: _loss(name) for name, info in LOSSES.items() if not info.spelled},
        {name: _architecture(name) for name in ARCHITECTURES},
    )


def _loss(name: str) -> tuple[Field, ...]:
    try:
        return with_defaults(fields_of(LOSSES[name].load(), without=("kind",)), starting_settings(loss=name)["loss"])
    except CatalogError:  # a part that cannot be loaded says so when it is trained with
        return ()


def _architecture(name: str) -> tuple[Field, ...]:
    try:
        fields = fields_of_arguments(ARCHITECTURES[name].load(), without=_BY_DATA)
    except CatalogError:
        return ()
    return with_defaults(fields, ARCHITECTURES[name].arguments)
