"""``napari-sparse3d predict``: classes, probabilities and embeddings of many scans, as a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.cli.common import JsonFlag, emit, finish, say, status, the_call, track
from napari_sparse3d.cli.options import (
    DeviceOption,
    EngineOption,
    LabelValueOption,
    ModelOption,
    RecipeOption,
    RepairOption,
    check_channels,
    check_engine,
    check_output,
    find_model,
    find_recipe,
    of_label,
    say_idle_on_voxels,
    say_random_weights,
)

if TYPE_CHECKING:
    from napari_sparse3d.cases.case import Case
    from napari_sparse3d.cases.parts import Parts
    from napari_sparse3d.cases.run import Runner


def predict(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATHS",
            help="Scans, folders of scans, voxel sets (.npz), or tables (.csv, .parquet) with a column path and, where "
            "known, label, patient, series.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.parquet", help="The table to write.")],
    model: ModelOption,
    recipe: RecipeOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    repair: RepairOption = None,
    label_value: LabelValueOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Classify and embed every series of the given scans; one row each. For research use only.

    A series that cannot be used gets a row with the reason, is named at the end by its row (from 0), and makes the
    exit code 1. The table's column `path` is the only place that repeats the names of the scans; `label` is the truth,
    where a table tells it, `prediction` the answer.

    Rows are kept in OUT.parquet.parts/ until the table is whole: ended at any moment, the same call goes on from there.

    Example: napari-sparse3d predict scans/ --model vessel -o predictions.parquet
    """
    check_output(output, ".parquet")
    check_engine(engine, device)
    network = find_model(model)
    how = None if recipe is None else find_recipe(recipe)
    if how is not None and any(path.suffix != ".npz" for path in paths):
        check_channels(network, how)
    for path in paths:
        say_idle_on_voxels(path, recipe=recipe, repair=repair, label_value=label_value)
    say_random_weights(network)

    from napari_sparse3d.cases.parts import Parts
    from napari_sparse3d.cases.record import arrow_schema
    from napari_sparse3d.cases.run import Runner
    from napari_sparse3d.cases.seen import warning_of_many

    runner = Runner(network, how, engine, device, repair, say=say)
    with status(f"Trying {output.name}"), the_call():
        parts = Parts(output, arrow_schema(), _call(runner, paths, label_value), say)
    table = _Table()
    with parts:
        for case, row in _rows(runner, paths, parts, table, label_value):
            table.cases.append(case)
            table.rows.append(row)
        parts.join(table.rows)
    unlike = sum(bool(row["outside_training"]) for row in table.rows)
    if said := warning_of_many(network.card.name, unlike, len(table.rows), "series"):
        say(said)
    failed = [number for number, row in enumerate(table.rows) if row["status"] == "failed"]
    done = len(table.rows) - len(failed)
    if as_json:
        counts = {"done": done, "failed": len(failed), "left_out": table.left_out, "outside_training": unlike}
        emit({"out": output, **counts, "rows": table.rows})
    else:
        passed_over = f"; {table.left_out} scouts, reports or the like left out" if table.left_out else ""
        say(f"{output}: {done} of {len(table.rows)} series{passed_over}")
    finish(
        f"row {number} of the table{_which(table.cases[number])}: {table.rows[number]['error']}" for number in failed
    )


@dataclass(frozen=True)
class _Todo:
    """What a row is made of: a case and the state of its files, or why a path holds none."""

    case: Case
    state: str = ""
    error: Exception | None = None


@dataclass
class _Table:
    """The rows so far, the case of each, and how many series were passed over."""

    cases: list[Case] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: int = 0


def _rows(
    runner: Runner, paths: Sequence[Path], parts: Parts, table: _Table, label_value: str | None
) -> Iterator[tuple[Case, dict[str, Any]]]:
    """A row for each case, kept as it is made; what an earlier start has kept is taken from there."""
    from napari_sparse3d.cases import run
    from napari_sparse3d.cases.ahead import Ahead

    todo = [each for number, path in enumerate(paths) for each in _at(path, number, len(paths), table, label_value)]
    before = [parts.earlier_row(str(each.case.path), each.case.series, each.state) for each in todo]
    anew = [each.case for each, row in zip(todo, before, strict=True) if row is None and each.error is None]
    with Ahead(anew, runner) as ahead:
        for each, row in track(list(zip(todo, before, strict=True)), "Predicting"):
            if row is None and each.error is not None:
                row = parts.keep(run.failed_row(each.case, runner, each.error), "")
            yield each.case, row or parts.keep(run.run_case(each.case, ahead.runner), each.state)


def _at(path: Path, number: int, paths: int, table: _Table, label_value: str | None) -> Iterator[_Todo]:
    """What a path stands for; its series that were left out are counted."""
    from napari_sparse3d.cases.case import Case
    from napari_sparse3d.cases.parts import state_of

    which = f"scan {number + 1} of {paths}"  # its name may hold an identity
    try:
        with nullcontext() if path.suffix == ".npz" else status(f"Looking at {which}"):
            cases, left_out = _cases_at(path)
    except Exception as error:  # whatever is wrong with one scan, the others have their rows
        yield _Todo(Case.at(path), error=error)
        return
    table.left_out += left_out
    for case in cases:
        # before it is read: what is written to it meanwhile makes its row another start's
        meant = of_label(case, label_value)
        yield _Todo(meant, state_of(meant))


def _cases_at(path: Path) -> tuple[Sequence[Case], int]:
    """The cases that a path stands for, and how many series of it were left out."""
    from napari_sparse3d.cases.sources import series_at, table_cases
    from napari_sparse3d.cases.tables import is_table

    if is_table(path):
        return list(table_cases(path)), 0
    series = series_at(path)
    return series.cases, series.left_out


def _which(case: Case) -> str:
    """Which series a message means, as its row says it: its number at its place, and how its file's content begins."""
    from napari_sparse3d.cases.store import short_hash

    said = [f"series {case.series}"] if case.series is not None else []
    said += [digits] if (digits := short_hash(case)) else []
    return f" ({', '.join(said)})" if said else ""


def _call(runner: Runner, paths: Sequence[Path], label_value: str | None) -> dict[str, str]:
    """What the rows of a call follow from, besides the scans; in words where it is said why they do not fit."""
    from napari_sparse3d.cases.record import SCHEMA

    return {
        "model": runner.model_hash,
        "recipe": hashlib.sha256(runner.how.to_json().encode()).hexdigest(),
        "engine": f"{runner.engine} {runner.device}",
        "repair": str(runner.repair),
        **({} if label_value is None else {"label value": label_value}),
        "version": f"{version('napari-sparse3d')} {SCHEMA}",
        "scans": hashlib.sha256("\n".join(str(path.absolute()) for path in paths).encode()).hexdigest(),
    }
