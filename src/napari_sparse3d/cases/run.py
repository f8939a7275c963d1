"""A case is read, voxelised, run and written down: one way for ``predict`` and for cohorts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.facts import Facts, facts_of
from napari_sparse3d.cases.identity import patient_key, recipe_hash
from napari_sparse3d.cases.read import guessed_unit, located, read_source, some_voxels_of
from napari_sparse3d.cases.record import NAMES, SCHEMA
from napari_sparse3d.cases.seen import unlike_training
from napari_sparse3d.engine.choice import choose
from napari_sparse3d.errors import failure_line
from napari_sparse3d.models.model import Result
from napari_sparse3d.voxels import Recipe, VoxelSet

if TYPE_CHECKING:
    from napari_sparse3d.models import Model
    from napari_sparse3d.sparse.tensor_voxels import TensorVoxels


@dataclass(frozen=True)
class Runner:
    """What is the same for every case.

    Attributes
    ----------
    model : Model
    recipe : Recipe or None
        None: the model's own.
    engine, device : str
        See :func:`napari_sparse3d.engine.choice.choose`.
    repair : str or None
        What may be done to a scan with a fault, see :func:`~napari_sparse3d.io.read_volume`.
    look : function or None
        Of the voxel set, for further columns: a thumbnail.
    say : function
        Takes what is to be said of a case that is well.
    ahead : function or None
        Gives what became of a case that was read ahead, see :mod:`.ahead`; None: each is read when its turn comes.
    """

    model: Model
    recipe: Recipe | None = None
    engine: str = "auto"
    device: str = "auto"
    repair: str | None = None
    look: Callable[[VoxelSet], dict[str, Any]] | None = None
    say: Callable[[str], None] = field(default=lambda line: None)
    ahead: Callable[[Case], Answered] | None = None

    @cached_property
    def how(self) -> Recipe:
        """The recipe that is followed."""
        return self.model.card.recipe if self.recipe is None else self.recipe

    @cached_property
    def model_hash(self) -> str:
        """Of the weights and the card."""
        return self.model.digest()

    @cached_property
    def recipe_hash(self) -> str:
        """See :func:`napari_sparse3d.cases.identity.recipe_hash`."""
        return recipe_hash(self.how)

    @cached_property
    def place(self) -> str:
        """The device on which voxel sets are made."""
        return choose(self.engine, self.device).device


@dataclass(frozen=True)
class Ready:
    """A case before the network.

    Attributes
    ----------
    case : Case
        With its series, as far as that was found.
    facts : Facts or None
    voxels : VoxelSet, TensorVoxels or None
        None where it failed.
    more : dict
        What ``runner.look`` says of the voxels.
    said : str
        What is to be said of it, although it is well.
    error : Exception or None
        Why it failed.
    seconds : float
        What it took.
    """

    case: Case
    facts: Facts | None = None
    voxels: VoxelSet | TensorVoxels | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    said: str = ""
    error: Exception | None = None
    seconds: float = 0.0


class Answered(NamedTuple):
    """A case, and what the network made of it."""

    ready: Ready
    result: Result | Exception | None
    """None where there was nothing to run."""


def run_case(case: Case, runner: Runner) -> dict[str, Any]:
    """The record of a case: the columns of :mod:`.record`, and those of ``runner.look``.

    Whatever is wrong with one case, the next one may be right, or smaller: a failure is a record too.
    """
    ready, result = answered([read_case(case, runner)], runner)[0] if runner.ahead is None else runner.ahead(case)
    started = perf_counter()
    row = {**_begun(case, runner), **_of_series(ready.case)}
    if ready.said:
        runner.say(ready.said)
    error = ready.error or result
    seconds = ready.seconds
    if isinstance(error, Exception):
        row |= failure(case, error)
    else:
        assert isinstance(result, Result)
        assert ready.facts is not None
        seconds += result.seconds
        row |= _of_answer(ready, result, ready.facts, runner)
    return {**row, "seconds": seconds + perf_counter() - started}


def read_case(case: Case, runner: Runner) -> Ready:
    """A case is read, and its voxels made; whatever fails is a part of what is given back."""
    started = perf_counter()
    said = ""
    try:
        case = located(case)
        source = read_source(case, runner.how, repair=runner.repair)
        said = guessed_unit(source)
        facts = facts_of(source)
        voxels = some_voxels_of(source, runner.how, device=runner.place)
        del source  # a large volume need not stay while the network runs
        more = {} if runner.look is None else runner.look(voxels if isinstance(voxels, VoxelSet) else voxels.numpy())
    except Exception as error:
        return Ready(case, said=said, error=error, seconds=perf_counter() - started)
    return Ready(case, facts, voxels, more, said, None, perf_counter() - started)


def answered(cases: Sequence[Ready], runner: Runner) -> list[Answered]:
    """Cases meet the network, each on its own: to the bit as if it were the only one."""
    sets = [ready.voxels for ready in cases if ready.voxels is not None]
    results: list[Result | Exception]
    try:
        results = runner.model.run_each(sets, engine=runner.engine, device=runner.device) if sets else []
    except Exception as error:
        results = [error] * len(sets)
    each = iter(results)
    return [Answered(ready, None if ready.voxels is None else next(each)) for ready in cases]


def failure(case: Case, error: BaseException) -> dict[str, Any]:
    """The columns of a case that failed."""
    return {"status": "failed", "error": failure_line(error, case.path)}


def failed_row(case: Case, runner: Runner, error: BaseException) -> dict[str, Any]:
    """The record of what is no case at all."""
    return {**_begun(case, runner), **failure(case, error), "seconds": 0.0}


def _begun(case: Case, runner: Runner) -> dict[str, Any]:
    known = {
        "path": str(case.path),
        "series": case.series,
        "status": "done",
        "label": case.label,
        "recipe": runner.how.name,
        "recipe_hash": runner.recipe_hash,
        "model": runner.model.card.name,
        "model_hash": runner.model_hash,
        "schema": SCHEMA,
    }
    return {**dict.fromkeys(NAMES), **known, **_of_series(case)}


def _of_series(case: Case) -> dict[str, Any]:
    """What is known before a voxel is read."""
    said = patient_key(case.patient) if case.patient else None
    if case.info is None:
        return {"patient": said}
    info = case.info
    return {
        "series_number": info.series_number,
        "modality": info.modality or None,
        "patient": said or info.patient or None,
    }


def _of_answer(ready: Ready, result: Result, facts: Facts, runner: Runner) -> dict[str, Any]:
    voxels, percent = ready.voxels, result.input.active_percent
    assert voxels is not None
    return {
        **_of(facts),
        "prediction": result.label,
        "probability": float(result.probabilities.max()),
        "probabilities": result.probabilities.tolist(),
        "embedding": result.embedding.tolist(),
        "n_active": voxels.n_active,
        "active_percent": percent,
        "outside_training": unlike_training(runner.model.card, facts, voxels, percent),
        "engine": result.choice.engine,
        **ready.more,
    }


def _of(facts: Facts) -> dict[str, Any]:
    return {
        "content": facts.content,
        "modality": facts.modality or None,
        "manufacturer": facts.manufacturer or None,
        "spacing_mm": list(facts.spacing_mm),
    }
