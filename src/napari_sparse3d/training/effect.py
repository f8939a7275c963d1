"""Settings that have no effect, or one that is not what they say: said before the first epoch, or refused.

Only what differs from the defaults is said: of the rest nobody has asked for anything.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from napari_sparse3d.errors import InputError
from napari_sparse3d.training.augment import turns
from napari_sparse3d.training.config import Training
from napari_sparse3d.training.losses.base import OnEmbeddings, WithEntropy
from napari_sparse3d.training.losses.metric_learning import MetricLearning
from napari_sparse3d.training.losses.triplet import Triplet
from napari_sparse3d.voxels.recipe import without_effect as without_effect_in_recipe

Holds: TypeAlias = Callable[[Training], bool]


@dataclass(frozen=True)
class _Rule:
    """Settings that do not do what they say where ``holds``.

    ``cure`` says why, and what to do; ``does`` is what the setting does instead, where it has an effect after all.
    """

    names: tuple[str, ...]
    holds: Holds
    cure: str
    does: str = "is without effect"


def _alone(with_: str, value: str) -> str:
    return f"it acts with {with_}={value} alone; set that, or leave it out"


_OF_NO_ENTROPY = "it is of the cross entropy, whose weight loss.classify is 0; make that larger, or leave it out"

_RULES = (
    _Rule(("momentum", "momentum_schedule"), lambda c: c.optimizer != "nesterov", _alone("optimizer", "nesterov")),
    _Rule(
        ("initial_momentum", "momentum_step_epochs"),
        lambda c: c.momentum_schedule == "constant",
        _alone("momentum_schedule", "step"),
    ),
    _Rule(
        ("momentum_schedule",),
        lambda c: c.optimizer == "nesterov" and c.momentum_schedule == "step" and c.momentum_step_epochs >= c.epochs,
        "it would come after the last epoch; make momentum_step_epochs smaller",
        "never takes its step",
    ),
    _Rule(("classes_per_batch", "cases_per_class"), lambda c: c.sampler != "pk", _alone("sampler", "pk")),
    _Rule(
        ("warmup_epochs",),
        lambda c: c.warmup_epochs >= c.epochs,
        "the rate still rises in the last epoch and never reaches learning_rate; make it smaller than epochs",
        "does not end before the training",
    ),
    _Rule(
        ("patience",),
        lambda c: c.patience is not None and c.patience >= c.epochs - 1,
        "so many epochs without a better one end the training no sooner than it ends by itself; make it smaller",
    ),
    _Rule(
        ("test_views",),
        lambda c: c.test_views > 1 and c.augment.turns == "none",
        "views are those of augment.turns, which is none; choose turns, or leave it out",
    ),
    _Rule(
        ("test_views",),
        lambda c: c.augment.turns != "none" and c.test_views > len(turns(c.augment.turns)),
        "there are fewer symmetries of augment.turns, and all of them are taken; make it smaller",
        "is more than there are",
    ),
    _Rule(
        ("loss.smoothing",),
        lambda c: isinstance(c.loss, OnEmbeddings) and not c.loss.classify and c.loss.smoothing > 0,
        _OF_NO_ENTROPY,
    ),
    _Rule(
        ("loss.class_weights",),
        lambda c: isinstance(c.loss, OnEmbeddings) and not c.loss.classify and c.loss.balances_classes,
        _OF_NO_ENTROPY,
    ),
    _Rule(
        ("loss.class_weights",),
        lambda c: _entropy_is_weighted(c) and c.sampler in ("balanced", "pk"),
        "the sampler shows every class equally often already: rare classes then count more than common ones; choose "
        "sampler=shuffled, or leave the weights out",
        "balances a second time",
    ),
    _Rule(
        ("loss.margin",),
        lambda c: isinstance(c.loss, Triplet) and c.loss.margin >= (2 if c.loss.distance == "cosine" else 4),
        "no two unit vectors are so far apart, and every triplet is pushed on for ever; make it smaller",
        "is never reached",
    ),
    _Rule(
        ("loss.classify",),
        lambda c: isinstance(c.loss, OnEmbeddings) and not c.loss.classify,
        "the model's probabilities mean nothing, only its embeddings do; make it larger to train both",
        "leaves the classes untrained",
    ),
    _Rule(
        ("recipe.field",),
        lambda c: c.recipe.field is not None and c.arguments.get("field", c.recipe.field) != c.recipe.field,
        "the network sees a field of its own (arguments.field); set that",
        "is not what the network sees",
    ),
    _Rule(
        ("calibrate",),
        lambda c: c.calibrate == "frequencies" and not (c.sampler in ("balanced", "pk") or c.loss.balances_classes),
        "classes are seen as often as they are, and validation cases are then not looked at; leave it out",
        "corrects nothing",
    ),
)


def without_effect(config: Training, *, device: str = "cpu", processes: int = 1) -> list[str]:
    """Each setting of a training that does not do what it says, with why and what to do."""
    changed = config.changed()
    said = [
        f"{name}={changed[name][0]} {rule.does}: {rule.cure}"
        for rule in _RULES
        for name in rule.names
        if name in changed and rule.holds(config)
    ]
    if config.sampler == "pk" and config.cases_per_class <= processes and _needs_positives(config):
        said.append(
            f"cases_per_class={config.cases_per_class}{_among(processes)} draws nothing together: no process sees two "
            f"cases of a class in a batch; make it {processes + 1} or more"
        )
    if config.mixed_precision and device == "cpu":
        said.append(
            "mixed_precision is nearly without effect on the CPU: convolutions stay in float32; leave it out, or train "
            "on a card"
        )
    return said + [f"recipe: {line}" for line in without_effect_in_recipe(config.recipe)]


def check_effect(config: Training, *, processes: int = 1) -> None:
    """Refuse a training whose loss can never have a triplet.

    Raises
    ------
    InputError
        If no process's shard of a batch (:meth:`~processes.ProcessGroup.shard`) can hold two cases of a class and one
        of another.
    """
    largest_shard = -(-config.batch_size // processes)
    if (config.sampler == "pairs" or config.loss.kind == "triplet") and largest_shard < 3 and config.sampler != "pk":
        raise InputError(
            f"batch_size={config.batch_size}{_among(processes)} holds no triplet (two of a class, one of another); "
            f"make it {2 * processes + 1} or more"
        )
    if config.sampler == "pairs" and processes > 1:
        raise InputError(
            f"sampler=pairs lays out whole triplets, which {processes} processes would share out among each other; "
            "choose sampler=pk, or train with one process"
        )
    if not isinstance(config.loss, Triplet):
        return
    if config.loss.pairs == "lazily-shuffled" and config.sampler != "pairs":
        raise InputError(
            f"loss.pairs=lazily-shuffled takes triplets as sampler=pairs lays them out, got sampler={config.sampler}; "
            "set sampler=pairs, or choose loss.pairs=hardest"
        )
    # a batch has the cases of a class in a row, and a shard every so many-th of them: two only where there are more
    if config.sampler == "pk" and config.cases_per_class <= processes:
        raise InputError(
            f"cases_per_class={config.cases_per_class}{_among(processes)} gives no triplet: one case of a class has no "
            f"positive; make it {processes + 1} or more"
        )


def check_effect_on(config: Training, labels: Sequence[str]) -> Iterator[str]:
    """What settings do not do on these training cases, by their labels, in words.

    Raises
    ------
    InputError
        If a loss of triplets, or the sampler of pairs, finds no two cases of a class.
    """
    counts = Counter(labels)
    if (config.loss.kind == "triplet" or config.sampler == "pairs") and max(counts.values(), default=0) < 2:
        raise InputError(
            f"no class has two training cases, got {len(labels)} cases of {len(counts)} classes: there is no triplet; "
            "add cases, or choose loss.name=cross-entropy"
        )
    changed = config.changed()
    if config.sampler == "pk" and "classes_per_batch" in changed and config.classes_per_batch > len(counts):
        yield (
            f"classes_per_batch={config.classes_per_batch} is more than there are classes: every batch has all "
            f"{len(counts)} of them"
        )


def _among(processes: int) -> str:
    return f" among {processes} processes" if processes > 1 else ""


def _entropy_is_weighted(config: Training) -> bool:
    """Whether class weights act: those of a cross entropy that has a weight itself."""
    loss = config.loss
    return (
        isinstance(loss, WithEntropy)
        and loss.balances_classes
        and not (isinstance(loss, OnEmbeddings) and not loss.classify)
    )


def _needs_positives(config: Training) -> bool:
    """Whether a loss of pytorch-metric-learning compares cases: one with weights of its classes needs no positives."""
    if not isinstance(config.loss, MetricLearning):
        return False
    try:
        from pytorch_metric_learning import losses
    except ImportError:  # said where the loss is made
        return False
    kind = getattr(losses, config.loss.name, None)
    return isinstance(kind, type) and "num_classes" not in inspect.signature(kind).parameters
