"""``napari-sparse3d evaluate``: how good a model is on a labelled set, with intervals and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_sparse3d.cli.common import CallError, JsonFlag, emit, say, show, status, the_call
from napari_sparse3d.cli.options import DeviceOption, EngineOption, check_output_folder
from napari_sparse3d.cli.settings import (
    DataArgument,
    LabelOption,
    RunsOption,
    SkipUnlabelledOption,
    ThreadsOption,
    run_store,
    trained_model,
    use_threads,
)

if TYPE_CHECKING:
    from napari_sparse3d.cases.case import Case
    from napari_sparse3d.models import Model
    from napari_sparse3d.training.evaluation import Evaluation

_MOST_VIEWS = 48
"""As in :mod:`napari_sparse3d.training.evaluation`, which imports torch."""


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundled model, a .safetensors file, or a run (`last`, its name).")
    ],
    data: DataArgument,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="train, val, test, whatever the set's column split says, or all. Unless given: test where the set has "
            "one, else val, of the set or of the model's own training.",
        ),
    ] = None,
    label: LabelOption = "label",
    views: Annotated[
        int | None,
        typer.Option(
            "--views", min=1, max=_MOST_VIEWS, help="Average over so many symmetric views. Unless given, the card's."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Write a report with pictures here.")
    ] = None,
    skip_unlabelled: SkipUnlabelledOption = False,
    runs: RunsOption = None,
    threads: ThreadsOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Measure a model on a labelled set: accuracy, AUC, calibration, retrieval, with 95 % bootstrap intervals.

    Cases that the model was trained on are left out, or, with --split all or train, counted in the first line. Cases
    that cannot be read, or have no label, are named and make the exit code 1; the others are measured.

    Example: napari-sparse3d evaluate vessel vesselmnist3d_64.npz --split test -o report/
    """
    use_threads(threads)
    if output is not None:
        check_output_folder(output)
    loaded = _model(model, runs)

    from napari_sparse3d.cases.measured import cases_in_split, measurable
    from napari_sparse3d.cases.store import VoxelStore, content_hash
    from napari_sparse3d.engine.choice import choose
    from napari_sparse3d.training.evaluation import evaluate_model, views_of, write_report

    choice = choose(engine, device)
    store = VoxelStore(loaded.card.recipe)
    with the_call():
        averaged = views_of(loaded.card, views)
        asked = cases_in_split(_cases(data, label), split, loaded, store)
    with status(f"Reading {len(asked.cases)} cases"):
        measured = measurable(asked, loaded, store, skip_unlabelled=skip_unlabelled)
    with status(f"Running {loaded.card.name} on {len(measured.cases)} cases"):
        evaluation = evaluate_model(
            loaded, measured, store, dataset=data.name, split=asked.split, views=averaged, choice=choice
        )
    if output is not None:
        named = {**evaluation.figures, "dataset": f"set {content_hash(data)[:8]}"}  # a report is given away
        write_report(output, replace(evaluation, figures=named))
    if as_json:
        emit(evaluation.figures)
    else:
        _show(evaluation)
        if output is not None:
            say(f"report: {output / 'report.md'}")
    for line in measured.failed:
        say(line)
    if measured.failed:
        raise typer.Exit(1)


def _model(text: str, runs: Path | None) -> Model:
    loaded = trained_model(text, run_store(runs))
    if not loaded.card.trained:
        say(f"{loaded.card.name}: random weights, the figures mean nothing")
    return loaded


def _cases(data: Path, label: str) -> list[Case]:
    from napari_sparse3d.cases.sources import cases_of

    cases = cases_of(data, label_column=label, other_splits=True)
    if all(case.label is None for case in cases):
        raise CallError(f"the set has no labelled case in column {label!r}")
    return cases


def _show(evaluation: Evaluation) -> None:
    from rich.table import Table

    show(evaluation.title)  # not as the table's title, which would be broken to its width
    table = Table(caption=evaluation.figures["interval"], caption_justify="left")
    for column, justify in (("measure", "left"), ("value", "right"), ("95 % interval", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for row in evaluation.rows():
        table.add_row(*row)
    show(table)
