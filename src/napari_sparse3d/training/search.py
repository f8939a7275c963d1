"""Search for settings with Optuna: resumable, pruned, and shared by any number of processes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

from napari_sparse3d.catalog import LOSSES
from napari_sparse3d.errors import EngineError, InputError
from napari_sparse3d.files import process_lives, process_mark
from napari_sparse3d.text import did_you_mean
from napari_sparse3d.training.checks import require
from napari_sparse3d.training.config import Training, put_setting
from napari_sparse3d.training.finished import Judge
from napari_sparse3d.training.loop import EpochReport, Measure, accuracy_alone
from napari_sparse3d.training.losses import kind_of
from napari_sparse3d.training.runs import RunStore
from napari_sparse3d.training.session import Data, Report, StoppedEarly, look, train

STUDY = "studies.sqlite"


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; whole where both bounds are."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only integers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True)
class OneOf:
    """Any of these values."""

    values: tuple[Any, ...]


Space: TypeAlias = dict[str, Range | OneOf]
"""Dotted setting, and what it may be."""

DEFAULT_SPACE: Space = {
    "learning_rate": Range(3e-4, 1e-2, log=True),
    "weight_decay": Range(1e-3, 0.3, log=True),
    "loss.smoothing": Range(0.0, 0.2),
    "augment.rotate_degrees": OneOf((0, 15, 30, 45)),
    "augment.scale": Range(0.0, 0.25),
}


def default_space(config: Training) -> Space:
    """What is searched unless said: what of :data:`DEFAULT_SPACE` the loss, or anything else, has."""
    known = _searchable(config, {})
    return {name: allowed for name, allowed in DEFAULT_SPACE.items() if _is_setting(known, name)}


def _is_setting(known: dict[str, Any], name: str) -> bool:
    inner: Any = known
    for part in name.split("."):
        if not isinstance(inner, dict) or part not in inner:
            return False
        inner = inner[part]
    return True


@dataclass(frozen=True)
class Found:
    """What a search knows so far.

    Attributes
    ----------
    trials : int
        In all, over all processes and starts.
    pruned : int
    failed : int
        Settings that cannot be trained with, and trials whose process died.
    best : float or None
        Largest value of the selected measure; None: no trial has finished.
    settings : dict
        The searched settings of that trial.
    run : str
        Its run.
    stopped_by_signal : bool
        Whether an interrupt or SIGTERM came, with whose trial this search ended.
    """

    trials: int
    pruned: int
    failed: int
    best: float | None
    settings: dict[str, Any]
    run: str
    stopped_by_signal: bool = False


def search(
    data: Data,
    config: Training,
    space: Space,
    *,
    trials: int,
    study: str = "search",
    storage: str | None = None,
    runs: RunStore | None = None,
    measure: Measure = accuracy_alone,
    judge: Judge | None = None,
    report: Report = lambda event: None,
    cache: Path | None = None,
) -> Found:
    """Try settings, each as a run of its own, and say which were best on the validation cases.

    An interrupt or SIGTERM ends the trial that runs, and with it the search; the study keeps what was found.

    Parameters
    ----------
    data, config
        What on, and the settings that are not searched.
    space : Space
    trials : int
        How many more to try in this process.
    study : str
        Name of the search; one of the same name in the same storage goes on.
    storage : str, optional
        Database URL as Optuna takes it, shared by machines; None: an SQLite file beside the runs, shared by processes.
    report : function
        Called with each event of each run.

    Raises
    ------
    InputError
        If the space names no setting, or Optuna is not installed.
    """
    optuna = _optuna()
    table = RunStore() if runs is None else runs
    table.folder.mkdir(parents=True, exist_ok=True)
    check_space(config, space)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = storage or f"sqlite:///{table.folder / STUDY}"
    with _storage_faults(), _nothing_left_empty(place):
        running = optuna.create_study(
            study_name=study,
            storage=place,
            load_if_exists=True,
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=None),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3),
        )
        _end_dead_trials(running)
    asked = threading.Event()

    def objective(trial: Any) -> float:
        trial.set_user_attr(_PROCESS, process_mark())
        chosen = {name: _suggest(trial, name, allowed, study) for name, allowed in space.items()}

        def on_epoch(epoch: EpochReport) -> bool:
            trial.report(epoch.best, epoch.epoch)
            return bool(trial.should_prune())

        outcome = train(
            data,
            with_settings(config, chosen),
            name=f"{study}-{trial.number}",
            runs=table,
            cache=cache,
            measure=measure,
            judge=judge,
            report=report,
            on_epoch=on_epoch,
            asked=asked,
        )
        trial.set_user_attr("run", outcome.run)
        if outcome.status == "stopped":
            raise optuna.TrialPruned
        return float(table.find(outcome.run)["best"])

    def recorded(trial: Any) -> float:
        try:
            return objective(trial)
        except StoppedEarly as stopped:  # which says nothing against its settings
            raise optuna.TrialPruned from stopped
        except (InputError, EngineError) as error:
            if isinstance(error, _OtherChoices):
                raise
            trial.set_user_attr("error", str(error))
            report({"event": "error", "run": f"{study}-{trial.number}", "message": str(error)})
            raise _Impossible from error
        finally:
            if asked.is_set():
                running.stop()

    if any(name.partition(".")[0] in _DECIDE_WHAT_FITS for name in space):
        data.cases()  # the settings that are not searched may fit no case: each trial looks for itself
    else:  # what is wrong with the data is so in every trial
        require(look(data, config, cache)[0], use_good=data.use_good)
    with _storage_faults():
        running.optimize(recorded, n_trials=trials, catch=(_Impossible,))
        return replace(found_in(running), stopped_by_signal=asked.is_set())


_DECIDE_WHAT_FITS = ("recipe", "architecture", "arguments")
"""Settings, by how their names begin, on which it depends what :func:`session.look` says of the data."""
_PROCESS = "process"


class _Impossible(Exception):
    """A trial whose settings cannot be trained with; the next one may."""


class _OtherChoices(InputError):
    """A study that goes on has other choices than it was begun with."""


def _end_dead_trials(study: Any) -> None:
    """Trials that a killed process left running count as failed."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        mark = trial.user_attrs.get(_PROCESS)
        if mark and not process_lives(mark):
            study.tell(trial.number, state=TrialState.FAIL)


@contextmanager
def _storage_faults() -> Iterator[None]:
    """What a database that is full, locked, damaged, read-only or no database raises, as one line."""
    from optuna.exceptions import StorageInternalError

    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while not isinstance(cause, sqlite3.Error) and cause.__cause__ is not None:
            cause = cause.__cause__
        of_sqlalchemy = type(error).__module__.partition(".")[0] == "sqlalchemy"  # it reads the database's URL
        if not (isinstance(error, StorageInternalError) or isinstance(cause, sqlite3.Error) or of_sqlalchemy):
            raise
        text = " ".join(str(cause).split())[:200]
        raise InputError(
            f"the study's database cannot be used ({text}); see that its disk has room and its folder can be written, "
            "or name another with --storage, by a URL such as sqlite:///study.db"
        ) from error


@contextmanager
def _nothing_left_empty(url: str) -> Iterator[None]:
    """A new SQLite file that gets no content, as on a full disk, does not stay."""
    path = Path(url.removeprefix("sqlite:///"))
    is_new = url.startswith("sqlite:///") and not path.exists()
    try:
        yield
    except BaseException:
        if is_new and path.is_file() and path.stat().st_size == 0:
            path.unlink()
        raise


def found_in(study: Any) -> Found:
    """What an Optuna study has found."""
    states = [trial.state.name for trial in study.trials]
    counts = states.count("PRUNED"), states.count("FAIL")
    if "COMPLETE" not in states:
        return Found(len(states), *counts, None, {}, "")
    best = study.best_trial
    return Found(len(states), *counts, best.value, dict(best.params), best.user_attrs.get("run", ""))


def with_settings(config: Training, chosen: dict[str, Any]) -> Training:
    """The same settings with some replaced, by dotted name; where a loss is among them, it goes first.

    Settings of other losses than that one are left out: a search over losses varies those of each.
    """
    values = config.model_dump()
    losses = sorted(name for name in chosen if name in _LOSS)
    for name in losses:
        put_setting(values, name, chosen[name])
    taken = set(values["loss"]) if not losses else _settings_of_loss(values["loss"]["kind"])
    for name, value in chosen.items():
        if name in _LOSS or (losses and name.startswith("loss.") and name.split(".")[1] not in taken):
            continue
        put_setting(values, name, value)
    return Training(**values)


_LOSS = ("loss.kind", "loss.name")
"""Settings that choose a loss."""


def _settings_of_loss(kind: str) -> set[str]:
    return set(LOSSES[kind].load().model_fields)


def _searchable(config: Training, space: Space) -> dict[str, Any]:
    """All settings that there are, by their values now, None where they come with another loss."""
    values = config.model_dump()
    values["loss"]["name"] = values["loss"].get("name")
    for name in _LOSS:
        allowed = space.get(name)
        for text in allowed.values if isinstance(allowed, OneOf) else ():
            kind, _ = kind_of(str(text))
            values["loss"] = dict.fromkeys(_settings_of_loss(kind)) | values["loss"]
    return values


def check_space(config: Training, space: Space) -> None:
    """Raise ``InputError`` for a name that is no setting (``arguments.`` takes any), or an empty range."""
    known = _searchable(config, space)
    for name, allowed in space.items():
        inner: Any = known
        for part in name.split("."):
            if not isinstance(inner, dict) or (part not in inner and not name.startswith(("arguments.", "loss.arg"))):
                near = did_you_mean(part, inner) if isinstance(inner, dict) else ""
                raise InputError(f"there is no setting {name!r} to search; settings are those of --set{near}")
            inner = inner.get(part)
        if isinstance(allowed, OneOf) and len(allowed.values) < 2:
            raise InputError(f"{name}: there is one choice alone, {allowed.values[0]!r}; set it with --set")
        if isinstance(allowed, OneOf):
            continue
        if not allowed.low < allowed.high or not (isfinite(allowed.low) and isfinite(allowed.high)):
            raise InputError(f"{name}: a range goes from low to high, got {allowed.low} to {allowed.high}")
        if allowed.log and allowed.low <= 0:
            raise InputError(f"{name}: a range by its logarithm begins above 0, got {allowed.low}; leave out :log")


def parse_space(texts: Sequence[str], parse: Callable[[str], Any]) -> Space:
    """``name=low:high``, ``name=low:high:log`` or ``name=a|b|c``; ``parse`` reads one value.

    Raises
    ------
    InputError
        If a text is neither.
    """
    space: Space = {}
    for text in texts:
        name, _, allowed = text.partition("=")
        bounds = [parse(part) for part in allowed.split(":")]
        numbers = all(isinstance(bound, (int, float)) and not isinstance(bound, bool) for bound in bounds[:2])
        if name in space:
            raise InputError(f"{name} is searched twice; give it once")
        if "|" in allowed:
            space[name] = OneOf(tuple(parse(part) for part in allowed.split("|")))
        elif len(bounds) >= 2 and numbers and bounds[2:] in ([], ["log"]):
            space[name] = Range(bounds[0], bounds[1], log=len(bounds) == 3)
        else:
            raise InputError(f"a setting to search is NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A|B, got {text!r}")
    return space


def _suggest(trial: Any, name: str, allowed: Range | OneOf, study: str) -> Any:
    try:
        if isinstance(allowed, OneOf):
            return trial.suggest_categorical(name, list(allowed.values))
        suggest = trial.suggest_int if allowed.whole else trial.suggest_float
        return suggest(name, allowed.low, allowed.high, log=allowed.log)
    except ValueError as error:  # Optuna compares with the trials before
        raise _OtherChoices(
            f"study {study!r} was begun with other choices for {name}; give those, or begin another with --study"
        ) from error


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise InputError("search-params needs Optuna; pip install 'napari-sparse3d[train]'") from error
    return optuna
