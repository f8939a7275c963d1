"""``napari-sparse3d evaluate``: how good a model is on a labelled set, with intervals and pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.cli.common import CallError, JsonFlag, emit, replacing, say, show, status, the_call
from napari_sparse3d.cli.options import DeviceOption, EngineOption, check_output_folder
from napari_sparse3d.cli.settings import DataArgument, LabelOption, RunsOption, ThreadsOption, run_store, use_threads
from napari_sparse3d.errors import InputError, failure_line

if TYPE_CHECKING:
    from napari_sparse3d.models import Model
    from napari_sparse3d.training.cases import Case

_MOST_VIEWS = 48


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundled model, a .safetensors file, or a run (`last`, its name).")
    ],
    data: DataArgument,
    split: Annotated[
        str | None,
        typer.Option("--split", help="train, val, test or all. Unless given: test where the set has one, else val."),
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
    runs: RunsOption = None,
    threads: ThreadsOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Measure a model on a labelled set: accuracy, AUC, calibration, retrieval, with 95 % bootstrap intervals.

    Cases that cannot be read are named and make the exit code 1; the others are measured.

    Example: napari-sparse3d evaluate vessel vesselmnist3d_64.npz --split test -o report/
    """
    use_threads(threads)
    if output is not None:
        check_output_folder(output)
    loaded = _model(model, runs)
    with the_call():
        cases, chosen = _cases(data, label, split)

    from napari_sparse3d.engine.choice import choose
    from napari_sparse3d.measure.judge import judge
    from napari_sparse3d.sparse import use_engine
    from napari_sparse3d.training.cases import label_numbers
    from napari_sparse3d.training.predict import predict
    from napari_sparse3d.training.session import patients_of
    from napari_sparse3d.training.store import VoxelStore, content_hash

    choice = choose(engine, device)
    count, kind = _views(loaded, views)
    store = VoxelStore(loaded.card.recipe)
    with status(f"Reading {len(cases)} cases"):
        usable, failed = _readable(cases, store)
    if not usable:
        raise InputError(f"none of {len(cases)} cases can be read; {failed[0]}")
    import numpy as np

    labels = np.array(label_numbers(usable, loaded.card.classes))
    with status(f"Running {loaded.card.name} on {len(usable)} cases"), use_engine(choice.engine):
        network = loaded.network.to(choice.device)
        found = predict(network, usable, store, views=count, view_kind=kind, device=choice.device)
    result: dict[str, Any] = {
        "model": loaded.card.name,
        "dataset": data.name,
        "split": chosen,
        "views": count,
        "classes": list(loaded.card.classes),
        **judge(found.probabilities, found.embeddings, labels, patients_of(usable)),
        "failed": failed,
    }
    if output is not None:
        _report(
            output,
            {**result, "dataset": f"set {content_hash(data)[:8]}"},
            found.probabilities,
            found.embeddings,
            labels,
            patients_of(usable),
        )
    if as_json:
        emit(result)
    else:
        _show(result)
        if output is not None:
            say(f"report: {output / 'report.md'}")
    if failed:
        for line in failed:
            say(line)
        raise typer.Exit(1)


def _model(text: str, runs: Path | None) -> Model:
    from napari_sparse3d.models import ARCHITECTURES, bundled_models, load_model

    with the_call():
        if text.endswith(".safetensors") or text in bundled_models() or text in ARCHITECTURES:
            loaded = load_model(text)
        else:
            path = Path(run_store(runs).find(text)["folder"]) / "model.safetensors"
            if not path.exists():
                raise CallError(f"run {text!r} has no model yet; let it finish, or stop it to keep its best")
            loaded = load_model(path)
    if not loaded.card.trained:
        say(f"{loaded.card.name}: random weights, the figures mean nothing")
    return loaded


def _views(model: Model, views: int | None) -> tuple[int, str]:
    """How many symmetric views are averaged, and of which kind: as asked for, else as the card says."""
    from typing import get_args

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
    return count, kind


def _cases(data: Path, label: str, split: str | None) -> tuple[list[Case], str]:
    from napari_sparse3d.training.cases import SPLITS
    from napari_sparse3d.training.sources import cases_of

    if split not in (None, "all", *SPLITS):
        raise CallError(f"there is no split {split!r}; choose train, val, test or all")
    cases = [case for case in cases_of(data, label_column=label) if case.label is not None]
    if not cases:
        raise CallError(f"the set has no labelled case in column {label!r}")
    present = {case.split for case in cases}
    chosen = split or next((one for one in ("test", "val") if one in present), "all")
    if chosen == "all":
        return cases, chosen
    kept = [case for case in cases if case.split == chosen]
    if not kept:
        known = ", ".join(sorted(one for one in present if one)) or "none, so use --split all"
        raise CallError(f"the set has no case in split {chosen!r}; it has {known}")
    return kept, chosen


def _readable(cases: list[Case], store: Any) -> tuple[list[Case], list[str]]:
    faults = {case: _fault(case, store) for case in cases}
    return [case for case in cases if not faults[case]], [fault for fault in faults.values() if fault]


def _fault(case: Case, store: Any) -> str:
    import torch

    from napari_sparse3d.models.finite import check_features
    from napari_sparse3d.training.store import case_title

    try:
        check_features(torch.from_numpy(store.get(case).features))
    except Exception as error:  # whatever is wrong with one case, the others are measured
        return f"{case_title(case)}: {failure_line(error, case.path)}"
    return ""


def _show(result: dict[str, Any]) -> None:
    from rich.table import Table

    title = f"{result['model']} on {result['dataset']}, {result['split']}: {result['n']} cases"
    table = Table(title=title, caption=result["interval"], title_justify="left", caption_justify="left")
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
    title = f"{result['model']} on {result['dataset']}, {result['split']}, {result['n']} cases"
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
