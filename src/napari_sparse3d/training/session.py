"""A whole training: look at the data, train, write down, keep the model. What the command line and the panel start."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.groups import LinkedCases, linked_cases
from napari_sparse3d.cases.sources import cases_of, has_label_column
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.engine.choice import choose
from napari_sparse3d.errors import InputError, line_of
from napari_sparse3d.files import locked, replacing
from napari_sparse3d.models import Model, build_network
from napari_sparse3d.models.network import Network
from napari_sparse3d.training.checkpoint import previous_of
from napari_sparse3d.training.checks import Prepared, prepare, require
from napari_sparse3d.training.config import Start, Training
from napari_sparse3d.training.effect import check_effect, check_effect_on, without_effect
from napari_sparse3d.training.finished import Judge, keep_model
from napari_sparse3d.training.loop import EpochReport, Measure, Trainer, accuracy_alone, no_bounds
from napari_sparse3d.training.processes import join, leaving_together
from napari_sparse3d.training.run_rows import row_of_epoch, row_of_run
from napari_sparse3d.training.runs import BEST, CHECKPOINT, LOCK, MODEL, SETTINGS, STOP, RunStore

Report = Callable[[dict[str, Any]], None]
"""Takes one event: a dict with ``event`` (check, epoch, done, error) and its fields."""


@dataclass(frozen=True)
class Data:
    """Where the labelled cases are, and how they are taken.

    Attributes
    ----------
    path : Path
        See :func:`sources.cases_of`.
    validation : Path or None
        A second set whose cases are all for validation.
    label_column : str
    class_names : tuple of str
        Names for labels that are the numbers 0, 1, ...; empty: the labels themselves.
    validation_share : float
        Of the patients, where the set does not say.
    unlabelled_is_a_problem : bool
    use_good : bool
        Whether training starts although some cases cannot be used.
    """

    path: Path
    validation: Path | None = None
    label_column: str = "label"
    class_names: tuple[str, ...] = ()
    validation_share: float = 0.2
    unlabelled_is_a_problem: bool = True
    use_good: bool = False

    def cases(self) -> list[Case]:
        """All cases, sides decided as far as the set decides them.

        Raises
        ------
        InputError
            If a set is none, or a label column is named and neither set has its labels in a table.
        """
        found = self._cases_in(self.path, beside=self.validation)
        if self.validation is None:
            return found
        if marked := sum(case.split == "val" for case in found):
            warnings.warn(
                f"{marked} cases of the set are marked for validation and are trained on, as another set is for "
                "validation",
                stacklevel=2,
            )
        others = self._cases_in(self.validation, beside=self.path)
        return [replace(case, split="train") for case in found if case.split != "test"] + [
            replace(case, split="val", number=len(found) + case.number) for case in others
        ]

    def _cases_in(self, path: Path, beside: Path | None) -> list[Case]:
        """The cases of one set; the label column may be that of the other alone."""
        of_other = beside is not None and not has_label_column(path) and has_label_column(beside)
        return cases_of(path) if of_other else cases_of(path, label_column=self.label_column)


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Attributes
    ----------
    run : str
    status : {"done", "stopped", "followed"}
        ``followed``: in a process beside the first, see :mod:`processes`.
    model : Path
    metrics : dict
        On the validation cases.
    """

    run: str
    status: str
    model: Path
    metrics: dict[str, Any]


class LinkedBounds(Protocol):
    """As :class:`loop.Bounds`, of cases of which some count as one."""

    def __call__(
        self, name: str, probabilities: NDArray[Any], labels: NDArray[Any], linked: LinkedCases | None
    ) -> dict[str, float]:
        """The numbers."""


class StoppedEarly(InputError):
    """A run was stopped before its first epoch was done: there is no model."""


def look(data: Data, config: Training, cache: Path | None = None) -> tuple[Prepared, VoxelStore]:
    """Find the cases, voxelise them, and say what is wrong with them."""
    store = VoxelStore(config.recipe, cache)
    sized = {**config.arguments, "in_features": config.recipe.n_channels, "classes": 2}  # more classes, the same field
    field = cast(Network, build_network(config.architecture, **sized)).field
    prepared = prepare(
        data.cases(),
        store,
        field,
        validation=data.validation_share,
        seed=config.seed,
        unlabelled_is_a_problem=data.unlabelled_is_a_problem,
    )
    if data.class_names:
        prepared = _named(prepared, data.class_names)
    return prepared, store


@leaving_together
def train(
    data: Data,
    config: Training,
    *,
    name: str = "",
    runs: RunStore | None = None,
    resume: str | None = None,
    start: Model | None = None,
    cache: Path | None = None,
    measure: Measure = accuracy_alone,
    judge: Judge | None = None,
    bounds: LinkedBounds | None = None,
    report: Report = lambda event: None,
    on_epoch: Callable[[EpochReport], bool] = lambda epoch: False,
    device: str = "auto",
    engine: str = "auto",
    card: dict[str, Any] | None = None,
    asked: threading.Event | None = None,
) -> Outcome:
    """Train on a labelled set, from the checks to a model file with its card.

    Parameters
    ----------
    data, config
        What on, and how.
    name : str
        Of the model, and part of the run's name.
    runs : RunStore, optional
        Where the run is written down.
    resume : str, optional
        A run to go on with; data and settings must be those that it was started with.
    start : Model, optional
        A trained model whose weights it begins with (fine-tuning): all but the head's where the classes differ. Its
        architecture and recipe's features must be those of ``config``.
    measure, judge
        Measures after each epoch, and for the card. The caller's choice: see ``measure.judge``.
    bounds : function, optional
        What the measure after each epoch is read against, see ``measure.bounds``.
    report : function
        Called with each event.
    on_epoch : function
        Called after each epoch; True stops the run.
    device, engine : str
        See :func:`napari_sparse3d.engine.choice.choose`.
    card : dict, optional
        Further fields of the model card: ``description``, ``data``, ``licence``, ``limits``, ...
    asked : Event, optional
        Set where a signal asks this process, and not the run alone, to stop: whatever the run then ends in.

    Raises
    ------
    InputError
        If the data cannot be trained on.
    StoppedEarly
        If it was stopped before its first epoch was done.
    """
    choice = choose(engine, device)
    config = _starting(config, start)
    table = RunStore() if runs is None else runs
    processes = join()
    check_effect(config, processes=processes.size)
    if processes.is_main:
        for line in without_effect(config, device=choice.device, processes=processes.size):
            warnings.warn(line, stacklevel=2)
        prepared, store = look(data, config, cache)
        report({"event": "check", **_summary(prepared), "settings": config.dotted()})
    processes.broadcast(None)
    if not processes.is_main:  # after the first, which has filled the cache
        prepared, store = look(data, config, cache)
    require(prepared, use_good=data.use_good)
    for line in check_effect_on(config, [str(case.label) for case in prepared.train]):
        if processes.is_main:
            warnings.warn(line, stacklevel=2)
    trainer = Trainer(
        config,
        prepared.train,
        prepared.val,
        prepared.classes,
        store,
        measure=measure,
        bounds=no_bounds if bounds is None else partial(bounds, linked=_linked(prepared)),
        device=choice.device,
        engine=choice.engine,
        processes=processes,
        start=start,
    )
    if processes.is_main and trainer.taken is not None:
        report({"event": "start", "model": cast(Start, config.start).name, **asdict(trainer.taken)})
    held = ExitStack()
    run = processes.broadcast(_run(table, name, resume, held) if processes.is_main else "")
    folder = table.folder / run
    with held:
        if config.start is not None and start is None and not _has_checkpoint(folder):
            raise InputError(
                f"run {run} begins with the weights of model {config.start.name!r}; give it again (--from)"
            )
        # all processes read the same generation: the first may put a damaged one aside
        if processes.is_main and _has_checkpoint(folder):
            trainer.resume(folder / CHECKPOINT, to_other_epochs=True)
            if trainer.progress.epoch > config.epochs:
                warnings.warn(
                    f"run {run} has {trainer.progress.epoch} epochs done, more than the {config.epochs} that are asked "
                    "for: nothing more is trained",
                    stacklevel=2,
                )
        processes.broadcast(None)
        if not processes.is_main:
            if _has_checkpoint(folder):
                trainer.resume(folder / CHECKPOINT, to_other_epochs=True)
            return _follow(trainer, run, folder)
        asked = threading.Event() if asked is None else asked
        device = choice.device
        return _lead(trainer, prepared, table, run, name, data, judge, report, on_epoch, device, card or {}, asked)


def _lead(
    trainer: Trainer,
    prepared: Prepared,
    table: RunStore,
    run: str,
    name: str,
    data: Data,
    judge: Judge | None,
    report: Report,
    on_epoch: Callable[[EpochReport], bool],
    device: str,
    card: dict[str, Any],
    asked: threading.Event,
) -> Outcome:
    """Train, write down and keep the model: what the first process does."""
    config, folder = trainer.config, table.folder / run
    with replacing(folder / SETTINGS) as temporary:
        temporary.write_text(config.model_dump_json(indent=1), encoding="utf-8")
    table.update(run, **row_of_run(data.path, trainer, device), split=prepared.split)
    try:
        with _signals_set(asked):

            def should_stop() -> bool:
                return asked.is_set() or (folder / STOP).exists()

            for epoch in trainer.run(checkpoint=folder / CHECKPOINT, best=folder / BEST, should_stop=should_stop):
                report({"event": "epoch", "run": run, **asdict(epoch)})
                table.update(run, **row_of_epoch(epoch, trainer))
                if on_epoch(epoch):
                    (folder / STOP).touch()
    except BaseException as error:
        table.update(run, status="failed", error=f"{type(error).__name__}: {line_of(error)}"[:500])
        raise
    if trainer.progress.best_epoch is None:
        table.update(run, status="stopped")
        raise StoppedEarly(f"run {run} was stopped before its first epoch was done; resume it with --resume {run}")
    finished = trainer.progress.epoch >= config.epochs or not (trainer.was_stopped or should_stop())
    status = "done" if finished else "stopped"
    model, metrics = keep_model(trainer, prepared, folder, name or run, judge, card)
    table.update(run, status=status, seconds=trainer.progress.seconds, cpu_seconds=trainer.progress.cpu_seconds)
    report({"event": "done", "run": run, "status": status, "model": str(model), "metrics": metrics})
    return Outcome(run, status, model, metrics)


def _starting(config: Training, start: Model | None) -> Training:
    """The settings with what they begin from, which must be of their architecture."""
    if start is None:
        return config
    if not start.card.trained:
        raise InputError(f"model {start.card.name!r} has random weights, which are nothing to start from; leave it out")
    if start.card.architecture != config.architecture:
        raise InputError(
            f"model {start.card.name!r} is a {start.card.architecture}, the settings ask for {config.architecture}; "
            "train the model's own architecture"
        )
    return config.model_copy(update={"start": Start(name=start.card.name, digest=start.digest())})


def _run(table: RunStore, name: str, resume: str | None, held: ExitStack) -> str:
    """The name of a new run, or of the one to go on with, which nothing asks to stop any more; held against others."""
    run: str = table.find(resume)["run"] if resume else table.new(name)
    held.enter_context(locked(table.folder / run / LOCK, f"run {run} is being trained"))
    (table.folder / run / STOP).unlink(missing_ok=True)
    return run


def _has_checkpoint(folder: Path) -> bool:
    return (folder / CHECKPOINT).exists() or previous_of(folder / CHECKPOINT).exists()


def _follow(trainer: Trainer, run: str, folder: Path) -> Outcome:
    """Train along with the first process, which reports and writes."""
    # asked to end (a scheduler asks every process), it tells the others, which would wait for it for ever
    asked = threading.Event()
    with _signals_set(asked):
        for _ in trainer.run(should_stop=asked.is_set):
            pass
    return Outcome(run, "followed", folder / MODEL, {})


def _named(prepared: Prepared, names: Sequence[str]) -> Prepared:
    """The same with names instead of the class numbers 0, 1, ..."""
    numbers = [str(number) for number in range(len(names))]
    if list(prepared.classes) != numbers:
        raise InputError(
            f"class names can be given to labels {', '.join(numbers)}; this set has {', '.join(prepared.classes)}"
        )
    called = dict(zip(numbers, names, strict=True))

    def renamed(cases: Sequence[Case]) -> tuple[Case, ...]:
        return tuple(replace(case, label=called[cast(str, case.label)]) for case in cases)

    train, val = renamed(prepared.train), renamed(prepared.val)
    before = (*prepared.train, *prepared.val)
    contents = {case: prepared.contents[known] for case, known in zip((*train, *val), before, strict=True)}
    return replace(prepared, train=train, val=val, classes=tuple(names), contents=contents)


def _linked(prepared: Prepared) -> LinkedCases | None:
    return linked_cases(prepared.val, [prepared.contents[case] for case in prepared.val])


def _summary(prepared: Prepared) -> dict[str, Any]:
    return {
        "train": len(prepared.train),
        "val": len(prepared.val),
        "classes": _counted(prepared.train, prepared.classes),
        "val_classes": _counted(prepared.val, prepared.classes),
        "split": prepared.split,
        "problems": [asdict(problem) for problem in prepared.problems],
    }


def _counted(cases: Sequence[Case], classes: Sequence[str]) -> dict[str, int]:
    return {name: sum(case.label == name for case in cases) for name in classes}


@contextmanager
def _signals_set(asked: threading.Event) -> Iterator[None]:
    """An interrupt (Ctrl-C) or SIGTERM sets the event, so that a run ends with a checkpoint and its best model."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: asked.set())
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
