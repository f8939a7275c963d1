"""Jobs that say what can be set in a training: only what imports torch knows the losses and the networks."""

from __future__ import annotations

from collections.abc import Generator
from copy import deepcopy
from typing import Any

from napari_sparse3d.models import ARCHITECTURES
from napari_sparse3d.training.config import SMALL_SHAPES, Augmentation, Loss, Training
from napari_sparse3d.widgets.child.records import TrainingFields
from napari_sparse3d.widgets.toolbox.fields import Field, fields_of, fields_of_arguments, with_defaults

_IN_PANEL = ("architecture", "arguments", "recipe", "epochs", "loss", "augment")
_BY_DATA = ("in_features", "classes")
"""Arguments of every network that the labelled set decides."""
_OF_LOSS = {
    "cross-entropy": ("smoothing", "class_weights"),
    "triplet": ("distance", "margin", "pairs", "classify", "smoothing", "class_weights"),
}


def training() -> Generator[Any, bool, TrainingFields]:
    """All that a training can be told, beginning with what the command line begins with."""
    yield "reading the settings"
    begin = deepcopy(SMALL_SHAPES)
    return TrainingFields(
        with_defaults(fields_of(Training, without=_IN_PANEL), begin),
        with_defaults(fields_of(Augmentation), begin.get("augment", {})),
        {name: with_defaults(_loss(name), begin.get("loss", {})) for name in _OF_LOSS},
        {name: _architecture(name, begin) for name in ARCHITECTURES},
    )


def _loss(name: str) -> tuple[Field, ...]:
    return tuple(each for each in fields_of(Loss) if each.name in _OF_LOSS[name])


def _architecture(name: str, begin: dict[str, Any]) -> tuple[Field, ...]:
    fields = fields_of_arguments(ARCHITECTURES[name].build, without=_BY_DATA)
    return with_defaults(fields, begin["arguments"] if name == "residual" else {})
