"""``napari-sparse3d evaluate``: how good a model is on a labelled set, with intervals and pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.cli.common import CallError, JsonFlag, emit, replacing, say, show, status, the_call
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
from napari_sparse3d.errors import InputError, failure_line

if TYPE_CHECKING:
    from napari_sparse3d.cases.case import Case
    from napari_sparse3d.cases.store import VoxelStore
    from napari_sparse3d.models import Model

_MOST_VIEWS = 48


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

    from napari_sparse3d.cases.groups import linked_cases
    from napari_sparse3d.cases.labels import label_numbers
    from napari_sparse3d.cases.store import VoxelStore, content_hash
    from napari_sparse3d.engine.choice import choose
    from napari_sparse3d.measure.judge import judge
    from napari_sparse3d.sparse import use_engine
    from napari_sparse3d.training.predict import predict

    choice = choose(engine, device)
    count, kind = _views(loaded, views)
    store = VoxelStore(loaded.card.recipe)
    with the_call():
        asked = _choose(_cases(data, label), split, loaded, store)
    with status(f"Reading {len(asked.cases)} cases"):
        measured = _usable(asked, loaded, store, skip_unlabelled=skip_unlabelled)
    if not measured.cases:
        raise InputError(_nothing_left(asked, measured))
    import numpy as np

    labels = np.array(label_numbers(measured.cases, loaded.card.classes))
    patients = linked_cases(measured.cases, [store.facts(case).content for case in measured.cases])
    with status(f"Running {loaded.card.name} on {len(measured.cases)} cases"), use_engine(choice.engine):
        network = loaded.network.to(choice.device)
        found = predict(network, measured.cases, store, views=count, view_kind=kind, device=choice.device)
    result: dict[str, Any] = {
        "model": loaded.card.name,
        "dataset": data.name,
        "split": asked.split,
        "trained_on": measured.trained_on,
        "trained_on_left_out": measured.left_out,
        "unlabelled": measured.unlabelled,
        "outside_training": measured.outside,
        "views": count,
        "classes": list(loaded.card.classes),
        **judge(found.probabilities, found.embeddings, labels, patients),
        "failed": measured.failed,
    }
    if output is not None:
        named = {**result, "dataset": f"set {content_hash(data)[:8]}"}
        _report(output, named, found.probabilities, found.embeddings, labels, patients)
    if as_json:
        emit(result)
    else:
        _show(result)
        if output is not None:
            say(f"report: {output / 'report.md'}")
    if measured.failed:
        for line in measured.failed:
            say(line)
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Asked:
    """The cases of a split, and which it is."""

    split: str
    cases: list[Case]


@dataclass
class _Measured:
    """The cases that are measured, and what became of the others."""

    cases: list[Case] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unlabelled: int = 0
    trained_on: int | None = None
    """Of those measured; None: the model does not say which cases it was trained on."""
    left_out: int = 0
    """Trained on, and so not measured."""
    outside: int = 0
    """Of those measured, unlike the cases that it was trained on."""


def _model(text: str, runs: Path | None) -> Model:
    loaded = trained_model(text, run_store(runs))
    if not loaded.card.trained:
        say(f"{loaded.card.name}: random weights, the figures mean nothing")
    return loaded


def _views(model: Model, views: int | None) -> tuple[int, str]:
    """How many symmetric views are averaged, and of which kind: as asked for, else as the card says."""
    from typing import get_args

    from napari_sparse3d.training.augment import turns
    from napari_sparse3d.training.config import Augmentation

    training = model.card.training
    known = get_args(Augmentation.model_fields["turns"].annotation)
    count = training.get("test_views", 1) if views is None else views
    if count == 1:
        return 1, "none"
    augment = training.get("augment", {})
    kind = augment.get("turns", "none") if isinstance(augment, dict) else None
    if type(count) is not int or not 1 <= count <= _MOST_VIEWS or not isinstance(kind, str) or kind not in known:
        raise CallError(
            f"the model's card asks for views that are none: test_views of 1 to {_MOST_VIEWS} and augment.turns of "
            f"{', '.join(known)} were expected; give --views 1, or take a model that `train` wrote"
        )
    available = len(turns(kind))
    if views is not None and views > available:
        raise CallError(
            f"--views {views}: the model was trained with augment.turns={kind}, which has {available} symmetric "
            f"view{'s' * (available > 1)}; give at most {available}, or leave it out"
        )
    return min(count, available), kind


def _cases(data: Path, label: str) -> list[Case]:
    from napari_sparse3d.cases.sources import cases_of

    cases = cases_of(data, label_column=label, other_splits=True)
    if all(case.label is None for case in cases):
        raise CallError(f"the set has no labelled case in column {label!r}")
    return cases


def _choose(cases: list[Case], split: str | None, model: Model, store: VoxelStore) -> _Asked:
    """The cases of a split: that which the set names, else that in which the model was trained on them."""
    from napari_sparse3d.cases.sources import NAMED_SPLITS

    wanted = None if split is None else NAMED_SPLITS.get(split.lower(), split)
    if wanted == "all":
        return _Asked("all", cases)
    sides = {case: case.split or _side(case, model, store) for case in cases}
    present = set(sides.values())
    chosen = wanted or next((one for one in ("test", "val") if one in present), "all")
    if chosen == "all":
        return _Asked(chosen, cases)
    kept = [case for case in cases if sides[case] == chosen or sides[case] == _UNREADABLE]
    if chosen not in present:
        known = ", ".join(sorted(one for one in present if one and one != _UNREADABLE)) or "none, so use --split all"
        raise CallError(f"the set has no case in split {chosen!r}; it has {known}")
    return _Asked(chosen, kept)


_UNREADABLE = "unreadable"


def _side(case: Case, model: Model, store: VoxelStore) -> str | None:
    """On which side the model's training had a case, of which its set does not say."""
    from napari_sparse3d.cases.seen import side_of

    if model.card.split is None:
        return None
    try:
        return side_of(model.card, store.facts(case).content)
    except Exception:  # said with the others that cannot be read
        return _UNREADABLE


def _usable(asked: _Asked, model: Model, store: VoxelStore, *, skip_unlabelled: bool) -> _Measured:
    from napari_sparse3d.cases.seen import side_of, unlike_training
    from napari_sparse3d.cases.store import case_title

    measured = _Measured(trained_on=None if model.card.split is None else 0)
    field_side = model.describer.field
    for case in asked.cases:
        if case.label is None:
            measured.unlabelled += 1
            if not skip_unlabelled:
                measured.failed.append(f"{case_title(case)}: has no label; give it one, or use --skip-unlabelled")
            continue
        if fault := _fault(case, model, store):
            measured.failed.append(f"{case_title(case)}: {fault}")
            continue
        facts, voxels = store.facts(case), store.get(case)
        if side_of(model.card, facts.content) == "train":
            # asked for by name they are measured, and that is said
            if asked.split not in ("all", "train"):
                measured.left_out += 1
                continue
            measured.trained_on = (measured.trained_on or 0) + 1
        percent = 100.0 * voxels.n_active / field_side**3
        measured.outside += bool(unlike_training(model.card, facts, voxels, percent))
        measured.cases.append(case)
    return measured


def _fault(case: Case, model: Model, store: VoxelStore) -> str:
    """Why a case cannot be measured; "" where it can."""
    import torch

    from napari_sparse3d.cases.labels import label_numbers
    from napari_sparse3d.models.finite import check_features

    try:
        label_numbers([case], model.card.classes)
        voxels = store.get(case)
        check_features(torch.from_numpy(voxels.features))
    except Exception as error:  # whatever is wrong with one case, the others are measured
        return failure_line(error, case.path).removeprefix(f"case {case.number} ")
    field_side = model.describer.field
    if max(voxels.shape) > field_side:
        size = "x".join(map(str, voxels.shape))
        return f"is {size} voxels, larger than the network's field of {field_side}; it needs a smaller crop"
    return ""


def _nothing_left(asked: _Asked, measured: _Measured) -> str:
    if measured.left_out and not measured.failed:
        return (
            f"the model was trained on all {measured.left_out} cases of split {asked.split!r}; "
            "measure it on others, or on these with --split all"
        )
    first = measured.failed[0] if measured.failed else "none has a label"
    return f"none of {len(asked.cases)} cases can be read; {first}"


def _title(result: dict[str, Any]) -> str:
    """The first line of what is shown and written: what was measured, and whether it was trained on."""
    trained, left_out = result["trained_on"], result["trained_on_left_out"]
    notes = [f"{result['n']} cases"]
    if trained is None:
        notes.append("which cases it was trained on is not known")
    elif trained:
        notes.append(f"{trained} of them trained on")
    if left_out:
        notes.append(f"{left_out} that it was trained on left out")
    if result["unlabelled"]:
        notes.append(f"{result['unlabelled']} without a label left out")
    if result["outside_training"]:
        notes.append(f"{result['outside_training']} unlike what it was trained on")
    return f"{result['model']} on {result['dataset']}, {result['split']}: {', '.join(notes)}"


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    show(_title(result))  # not as the table's title, which would be broken to its width
    table = Table(caption=result["interval"], caption_justify="left")
    for column, justify in (("measure", "left"), ("value", "right"), ("95 % interval", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, value in result.items():
        if isinstance(value, float):
            low, high = result["intervals"].get(name, (None, None))
            table.add_row(name, f"{value:.3f}", "" if low is None else f"{low:.3f} to {high:.3f}")
    show(table)


def _report(
    folder: Path, result: dict[str, Any], probabilities: Any, embeddings: Any, labels: Any, groups: Any
) -> None:
    """``report.md`` with its pictures, and the figures as ``figures.json``."""
    from napari_sparse3d.measure.judge import RETRIEVED_PER_CLASS
    from napari_sparse3d.measure.retrieval import retrieval
    from napari_sparse3d.pictures.evaluation import evaluation_figure
    from napari_sparse3d.pictures.style import as_png

    try:
        found = retrieval(embeddings, labels, groups=groups, at_most_per_class=RETRIEVED_PER_CLASS)
    except InputError:
        found = None
    title = _title(result)
    picture = as_png(evaluation_figure(probabilities, labels, result["classes"], found, title=title))
    lines = [f"# {title}", "", "Research use only.", "", "| measure | value | 95 % interval |", "| --- | --- | --- |"]
    for name, value in result.items():
        if isinstance(value, float):
            low, high = result["intervals"].get(name, (None, None))
            lines.append(f"| {name} | {value:.3f} | {'' if low is None else f'{low:.3f} to {high:.3f}'} |")
    lines += ["", f"Intervals: {result['interval']}. Views averaged: {result['views']}.", "", "![](evaluation.png)", ""]
    for name, content in (
        ("evaluation.png", picture),
        ("figures.json", json.dumps(result, indent=1).encode()),
        ("report.md", "\n".join(lines).encode()),
    ):
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
