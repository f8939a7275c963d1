"""Everything that decides what a training gives: one frozen object, stored with the run and with its model.

Its defaults are the only ones: the command line, a file and Python begin with them, see :func:`layered`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from copy import deepcopy
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from napari_sparse3d.catalog import ARCHITECTURES, DEFAULT_ARCHITECTURE, DEFAULT_LOSS, ArchitectureInfo, is_own
from napari_sparse3d.errors import InputError
from napari_sparse3d.training.losses.base import LossSettings
from napari_sparse3d.training.losses.choice import AnyLoss, FlatLoss, switched
from napari_sparse3d.training.losses.cross_entropy import CrossEntropy
from napari_sparse3d.training.settings import Positive, Settings
from napari_sparse3d.voxels import Recipe


class Augmentation(Settings):
    """How training shapes are varied, on their sparse coordinates (see :mod:`augment`). The default varies nothing.

    Attributes
    ----------
    turns : {"none", "mirror", "upright", "rotate", "all"}
        Exact symmetries of the grid: mirrored along axes (8), those that leave axis 0 (up) alone (8), quarter turns
        (24), or all (48).
    rotate_degrees : float
        Largest further rotation about each axis, up to 45.
    scale : float
        Largest relative change of size along each axis: factors from 1 / (1 + scale) to 1 + scale.
    shear : float
        Largest shear coefficient.
    shift : float
        Largest shift along each axis, as a share of the field.
    drop : float
        Largest share of voxels left out.
    jitter : float
        Share of voxels moved to a neighbouring site.
    """

    turns: Literal["none", "mirror", "upright", "rotate", "all"] = "none"
    rotate_degrees: float = Field(default=0.0, ge=0, le=45)
    scale: float = Field(default=0.0, ge=0, le=1)
    shear: float = Field(default=0.0, ge=0, le=1)
    shift: float = Field(default=0.0, ge=0, le=0.5)
    drop: float = Field(default=0.0, ge=0, lt=1)
    jitter: float = Field(default=0.0, ge=0, le=1)


class Start(Settings):
    """The trained model that a training began from.

    Attributes
    ----------
    name : str
        What its card calls it.
    digest : str
        See :meth:`napari_sparse3d.models.Model.digest`.
    """

    name: str
    digest: str


class Training(Settings):
    """One training; the defaults were good for vessels and glands in a grid of 64, with few of one class.

    In Python a part that is given (``arguments``, ``loss``, ``augment``, ``recipe``) is taken as it stands; files and
    the command line change single settings inside the default's parts, see :func:`layered`.

    Attributes
    ----------
    architecture : str
        A name in ``catalog.ARCHITECTURES``, or ``module:factory``, the user's own callable.
    arguments : dict
        Handed to it. Unless given, those that the catalogue has of it.
    recipe : Recipe
        How a case becomes voxels; or the name of a built-in one.
    loss : LossSettings
        What is made small: a union by ``kind`` of the losses in ``catalog.LOSSES``. Unless given, the architecture's.
    start : Start or None
        The model whose weights the training begins with; None: random ones.
    epochs, batch_size, seed : int
    sampler : {"shuffled", "balanced", "pk", "pairs"}
        ``balanced``: every class as often as the others. ``pk``: batches of P classes with K cases each. ``pairs``:
        batches of triplets, whose pairs of a class come lazily shuffled, see :mod:`samplers`.
    classes_per_batch, cases_per_class : int
        P and K.
    optimizer : {"adamw", "nesterov"}
    learning_rate, weight_decay, momentum : float
        Momentum is that of ``nesterov``.
    momentum_schedule : {"constant", "step"}
        ``step``: from ``initial_momentum`` to ``momentum`` after ``momentum_step_epochs`` epochs.
    initial_momentum, momentum_step_epochs : float
    schedule : {"cosine", "one-cycle", "step", "constant"}
        ``one-cycle`` rises for the first quarter; ``step`` divides by ten at 60 % and 85 %.
    warmup_epochs : float
        Linear rise at the start.
    clip : float or None
        Largest norm of the gradient.
    average : float or None
        Decay of the exponential average of the weights, which is what is validated and kept.
    patience : int or None
        Stop after so many epochs without a better validation.
    select_by : str
        The validation measure to be large: ``auto`` (auc for two classes, else accuracy; map for embeddings).
    keep : {"best", "last"}
        Which epoch's weights become the model.
    test_views : int
        Predictions are averaged over so many symmetric views (of ``augment.turns``).
    calibrate : {"validation", "frequencies", "none"}
        What the finished classifier's probabilities are made to fit, see :mod:`calibrate`: the validation cases, by one
        scale and a bias for each class; or, where classes were made to count the same, how frequent they are in
        training. With two classes the ranking (AUC) does not change.
    mixed_precision : bool
        Products in half precision, weights in float32: see :func:`optimize.half_type`.
    checkpoint_seconds : float
        A checkpoint is written at least so often, and after each epoch.
    """

    architecture: str = DEFAULT_ARCHITECTURE
    arguments: dict[str, Any] = Field(default_factory=dict)
    recipe: Recipe = Recipe.named("shape-64")
    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=32, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)
    sampler: Literal["shuffled", "balanced", "pk", "pairs"] = "balanced"
    classes_per_batch: int = Field(default=8, ge=2)
    cases_per_class: int = Field(default=4, ge=1)
    loss: AnyLoss = CrossEntropy(smoothing=0.1)
    augment: Augmentation = Augmentation(rotate_degrees=20, scale=0.1, shift=0.05)
    optimizer: Literal["adamw", "nesterov"] = "adamw"
    learning_rate: Positive = 0.002
    weight_decay: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    momentum: float = Field(default=0.99, ge=0, lt=1)
    momentum_schedule: Literal["constant", "step"] = "constant"
    initial_momentum: float = Field(default=0.5, ge=0, lt=1)
    momentum_step_epochs: Positive = 5.0
    schedule: Literal["cosine", "one-cycle", "step", "constant"] = "one-cycle"
    warmup_epochs: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    clip: Positive | None = 5.0
    average: float | None = Field(default=0.99, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    select_by: str = "auto"
    keep: Literal["best", "last"] = "best"
    test_views: int = Field(default=1, ge=1, le=48)
    calibrate: Literal["validation", "frequencies", "none"] = "validation"
    mixed_precision: bool = False
    checkpoint_seconds: Positive = 60.0
    start: Start | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, said: object) -> object:
        """The architecture's own arguments and loss, where none are given."""
        if not isinstance(said, Mapping):
            return said
        info = _described(said.get("architecture", DEFAULT_ARCHITECTURE))
        recipe = said.get("recipe")
        return {
            "arguments": _arguments_of(info),
            "loss": _loss_of(info),
            **said,
            **({"recipe": Recipe.named(recipe)} if isinstance(recipe, str) else {}),
        }

    @model_validator(mode="after")
    def _gradient_channels(self) -> Training:
        moved = self.augment.turns != "none" or self.augment.rotate_degrees > 0
        if moved and "gradient" in self.recipe.features:
            raise ValueError(
                "the gradient feature has a direction, so shapes with it cannot be rotated; leave it out, or set "
                "augment.turns=none and augment.rotate_degrees=0"
            )
        return self

    @classmethod
    def _names(cls) -> Iterable[str]:
        parts = {
            "augment": Augmentation.model_fields,
            "recipe": Recipe.model_fields,
            "loss": FlatLoss.model_fields,
            "arguments": ARCHITECTURES[DEFAULT_ARCHITECTURE].arguments,
        }
        return [*cls.model_fields, *(f"{part}.{name}" for part, names in parts.items() for name in names)]

    def digest(self) -> str:
        """A short hash of everything that decides the outcome."""
        idle = {"checkpoint_seconds"}
        if self.start is None:
            idle.add("start")
        if self.momentum_schedule == "constant":  # as settings were written before momentum had a schedule
            idle |= _OF_MOMENTUM_SCHEDULE
        outcome = self.model_dump_json(exclude=idle)
        if flat := FlatLoss.of(self.loss):
            # as settings were written before each loss had its own: runs that were begun then go on
            outcome = outcome.replace(f'"loss":{_text(self.loss)}', f'"loss":{_text(flat)}', 1)
        return hashlib.sha256(outcome.encode()).hexdigest()[:16]

    def dotted(self) -> dict[str, Any]:
        """Every setting by its dotted name, as ``--set`` takes them, in JSON's own types."""
        return _dotted("", self.model_dump(mode="json"))

    def changed(self) -> dict[str, tuple[Any, Any]]:
        """The settings that are not the usual ones, by dotted name: what each is, and what it is unless given."""
        usual = Training(architecture=self.architecture).dotted()
        mine = self.dotted()
        names = dict.fromkeys([*mine, *usual])
        return {name: (mine.get(name), usual.get(name)) for name in names if mine.get(name) != usual.get(name)}


def _dotted(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = isinstance(value, Mapping) and value
        flat |= _dotted(f"{prefix}{name}.", value) if inner else {f"{prefix}{name}": value}
    return flat


def _text(part: LossSettings | FlatLoss) -> str:
    return part.model_dump_json()


_OF_MOMENTUM_SCHEDULE = {"momentum_schedule", "initial_momentum", "momentum_step_epochs"}
_OF_EVERY_RUN = {name for name in Training.model_fields if name not in ("start", *_OF_MOMENTUM_SCHEDULE)}
"""Settings that stand in the file of each run, also in those of earlier versions."""


def starting_settings(architecture: str = DEFAULT_ARCHITECTURE, loss: str | None = None) -> dict[str, Any]:
    """The defaults as a mapping, for an architecture with its own arguments, and for a loss as far as it takes them.

    Parameters
    ----------
    architecture : str
    loss : str, optional
        As on the command line; None: the architecture's own.

    Raises
    ------
    InputError
        If there is no such architecture or loss.
    """
    info = _described(architecture)
    if info is None and not is_own(architecture):
        ARCHITECTURES[architecture]
    own = {"architecture": architecture, "arguments": _arguments_of(info), "loss": _loss_of(info, loss)}
    fields = {name: field.default for name, field in Training.model_fields.items() if name not in ("start", *own)}
    plain = {name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in fields.items()}
    return {**own, **plain}


def is_of_run(settings: Mapping[str, Any]) -> bool:
    """Whether these are all settings of a training, as its run's file holds them."""
    return settings.keys() >= _OF_EVERY_RUN


def layered(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One layer of settings over another: what ``above`` says, and nothing else, is changed.

    Parameters
    ----------
    below : mapping
        Settings, such as :func:`starting_settings` gives.
    above : mapping
        What a file or the command line says. Its parts (``arguments``, ``augment``, ``loss``, ``recipe``) may hold some
        of their settings. Another architecture brings its own arguments, and another loss keeps what it shares with the
        one before. A recipe that says how its threshold is found is one by itself.

    Raises
    ------
    InputError
        If there is no such loss or recipe.
    """
    if is_of_run(above):  # of a run: an argument that it lacks is the network's own default
        return deepcopy(dict(above))
    result = deepcopy(dict(below))
    if above.get("architecture", result.get("architecture")) != result.get("architecture"):
        result["arguments"] = _arguments_of(_described(above["architecture"]))
    for name, value in above.items():
        before = result.get(name)
        over = _OVER.get(name)
        has_settings = isinstance(before, Mapping) or (name in _CALLED_BY_NAME and isinstance(before, str))
        result[name] = over(before, value) if over and has_settings else deepcopy(value)
    return result


def _arguments_over(before: Mapping[str, Any], said: Any) -> Any:
    """Lists of one length have an entry for each stage: where one gets another length, the others no longer fit."""
    if not isinstance(said, Mapping):
        return said
    lengths = {name: len(value) for name, value in before.items() if isinstance(value, (list, tuple))}
    gone = {
        lengths[name]
        for name, value in said.items()
        if name in lengths and isinstance(value, (list, tuple)) and len(value) != lengths[name]
    }
    return {**{name: value for name, value in before.items() if lengths.get(name) not in gone}, **said}


def _augment_over(before: Mapping[str, Any], said: Any) -> Any:
    return {**before, **said} if isinstance(said, Mapping) else said


def _loss_over(before: Mapping[str, Any] | str, said: Any) -> Any:
    if isinstance(before, str):
        before = switched({}, before)
    if isinstance(said, str):
        return switched(before, said)
    if not isinstance(said, Mapping):
        return said
    kind, name = said.get("kind"), said.get("name")
    if kind is None and name is None:
        return {**before, **said}
    shared = switched(before, str(kind if name is None or kind in _ONE_LOSS else name))
    if kind is None:  # as it was written before each loss had settings of its own: without a kind
        return {**{key: value for key, value in shared.items() if key not in ("kind", "name")}, **said}
    return {**shared, **said}


_ONE_LOSS = ("cross-entropy", "triplet")
"""Kinds that are one loss alone; a name says nothing more."""


def _recipe_over(before: Mapping[str, Any] | str, said: Any) -> Any:
    """A recipe by itself, or a part of one: of a part that says its kind, nothing before it is kept."""
    if not isinstance(said, Mapping):
        return said
    threshold = said.get("threshold")
    if isinstance(threshold, Mapping) and "kind" in threshold:
        return said
    before = _spelled_out(before)
    changed: dict[str, Any] = {**before, "name": _changed(before)}
    for name, value in said.items():
        part = before.get(name)
        if isinstance(part, Mapping) and isinstance(value, Mapping) and "kind" not in value:
            value = {**part, **value}
        changed[name] = value
    return changed


def _spelled_out(recipe: Mapping[str, Any] | str) -> Mapping[str, Any]:
    """The settings of a recipe, which may be called by its name."""
    return Recipe.named(recipe).model_dump() if isinstance(recipe, str) else recipe


def _changed(recipe: Mapping[str, Any]) -> str:
    """What a recipe is called of which a part is another now."""
    name = str(recipe.get("name", "custom"))
    return name if name.endswith(", changed") else f"{name}, changed"


_OVER: dict[str, Callable[[Any, Any], Any]] = {
    "arguments": _arguments_over,
    "augment": _augment_over,
    "loss": _loss_over,
    "recipe": _recipe_over,
}
_CALLED_BY_NAME = ("loss", "recipe")


def _described(architecture: object) -> ArchitectureInfo | None:
    """What the catalogue says of it; None of the user's own, and of what is none."""
    return ARCHITECTURES.get(architecture) if isinstance(architecture, str) else None


def _arguments_of(info: ArchitectureInfo | None) -> dict[str, Any]:
    return {} if info is None else deepcopy(dict(info.arguments))


def _loss_of(info: ArchitectureInfo | None, asked: str | None = None) -> dict[str, Any]:
    usual = Training.model_fields["loss"].default.model_dump(exclude_defaults=True)
    return switched(usual, asked or (info.loss if info else DEFAULT_LOSS))


def put_setting(values: MutableMapping[str, Any], name: str, value: Any) -> None:
    """Set one setting by its dotted name, in settings that are still a mapping.

    ``loss.name`` and ``loss.kind`` choose another loss, which keeps of the settings before what it takes. A recipe that
    is called by its name is spelled out where a part of it is set, and called changed.

    Raises
    ------
    InputError
        If a part of the name holds no settings of its own, or there is no such loss.
    """
    if name in ("loss.name", "loss.kind", "loss") and isinstance(value, str):
        before = values.get("loss")
        values["loss"] = switched(before if isinstance(before, dict) else {}, value)
        return
    *path, last = name.split(".")
    if path[:1] == ["recipe"] and isinstance(called := values.get("recipe"), str):
        recipe = _spelled_out(called)
        values["recipe"] = {**recipe, "name": _changed(recipe)}
    for part in path:
        inner = values.setdefault(part, {})
        if not isinstance(inner, MutableMapping):
            raise InputError(f"setting {name!r}: {part!r} holds no settings of its own")
        values = inner
    values[last] = value
