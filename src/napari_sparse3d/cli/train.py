"""``napari-sparse3d train``: a labelled set becomes a model file with its card."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.cli.common import CallError, JsonFlag, emit, plain, replacing, say, show, the_call
from napari_sparse3d.cli.options import DeviceOption, EngineOption, check_engine, check_output
from napari_sparse3d.cli.settings import (
    CaseRecipeOption,
    ClassesOption,
    DataArgument,
    LabelOption,
    RunsOption,
    SetOption,
    SettingsOption,
    SkipUnlabelledOption,
    ThreadsOption,
    UseGoodOption,
    data_of,
    run_store,
    settings_of,
    trained_model,
    use_threads,
)
from napari_sparse3d.errors import EngineError, InputError, line_of

if TYPE_CHECKING:
    from napari_sparse3d.training.config import Training


def train(
    data: DataArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="OUT.safetensors", help="Copy the finished model here.")
    ] = None,
    name: Annotated[str, typer.Option("--name", "-n", help="Name of the model and of the run.")] = "",
    validation: Annotated[
        Path | None, typer.Option("--validation", metavar="DATA", help="A second set, for validation alone.")
    ] = None,
    label: LabelOption = "label",
    classes: ClassesOption = None,
    recipe: CaseRecipeOption = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            "--architecture", "-a", help="{architectures}, or module:factory of your own. Unless given, residual."
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with the weights of this model (fine-tuning): bundled, a .safetensors file, or a run. Its "
            "architecture and recipe are taken too; its last layers only where the classes are the same.",
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option("--loss", help="{losses}. Unless given, the architecture's: of ours cross-entropy."),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", "-e", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", "-b", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0)] = None,
    settings: SettingsOption = None,
    set_: SetOption = None,
    use_good: UseGoodOption = False,
    skip_unlabelled: SkipUnlabelledOption = False,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run: its name, or `last`.")
    ] = None,
    runs: RunsOption = None,
    threads: ThreadsOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Print each event (check, epoch, done, error) as a line of JSON.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Train a network on a labelled set, and write it down as a run.

    Before the first epoch every case is looked at: files that cannot be read, empty volumes, missing labels, one class,
    a patient on both sides are named, with what to do. Killed at any moment, a run is resumed to the same weights with
    --resume. Ctrl-C, or a file named `stop` in the run's folder, ends it and keeps the best epoch.

    Your own network or loss, module:name, is looked for in the folder where you are, too.

    Example: napari-sparse3d train shapes/ --epochs 40 -s augment.turns=all -o model.safetensors
    """
    if as_json and json_lines:
        raise CallError("--json and --json-lines both print on stdout; choose one")
    if output is not None:
        check_output(output, ".safetensors")
    check_engine(engine, device)
    use_threads(threads)
    table = run_store(runs)
    if resume is not None and settings is None:
        from napari_sparse3d.training.runs import SETTINGS

        with the_call():
            settings = Path(table.find(resume)["folder"]) / SETTINGS
    start = None if from_ is None else trained_model(from_, table)
    named = {
        "architecture": architecture,
        "loss.name": loss,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    config = settings_of(settings, recipe, named, set_, start if resume is None else None)
    report = _lines() if json_lines else _words(config)
    with_errors = _reporting_errors(report) if json_lines else None

    from napari_sparse3d.measure.bounds import bounds
    from napari_sparse3d.measure.judge import judge, measure
    from napari_sparse3d.training.session import train as run_training

    source = data_of(
        data,
        validation=validation,
        label=label,
        classes=classes,
        use_good=use_good,
        skip_unlabelled=skip_unlabelled,
    )
    try:
        outcome = run_training(
            source,
            config,
            name=name,
            runs=table,
            resume=resume,
            start=start,
            measure=measure,
            judge=judge,
            bounds=bounds,
            report=report,
            device=device,
            engine=engine,
        )
    except Exception as error:
        if with_errors is not None:
            with_errors(error)
        raise
    if outcome.status == "followed":
        return
    if output is not None:  # before the curves: a disk that is full of runs may have room where the model goes
        with replacing(output) as temporary:
            temporary.write_bytes(outcome.model.read_bytes())
    draw_curves(table.folder / outcome.run, outcome.run, table)
    result = {
        "run": outcome.run,
        "status": outcome.status,
        "model": output or outcome.model,
        "metrics": outcome.metrics,
    }
    if as_json:
        emit(result)
    elif not json_lines:
        show(f"{outcome.run}: {outcome.status}, {output or outcome.model}")


def draw_curves(folder: Path, run: str, table: Any) -> None:
    """Draw the learning curves of a run into its folder."""
    from napari_sparse3d.pictures.evaluation import curves_figure
    from napari_sparse3d.pictures.style import as_png

    row = table.find(run)
    if row["history"]:
        with replacing(folder / "curves.png") as temporary:
            temporary.write_bytes(as_png(curves_figure(row["history"], row["selected_by"], title=run)))
        table.update(run, plot=str(folder / "curves.png"))


def _lines() -> Callable[[dict[str, Any]], None]:
    """Each event as one line of JSON on stdout."""
    stream = sys.stdout

    def report(event: dict[str, Any]) -> None:
        print(json.dumps(plain(event), allow_nan=False), file=stream, flush=True)

    return report


def _reporting_errors(report: Callable[[dict[str, Any]], None]) -> Callable[[Exception], None]:
    def tell(error: Exception) -> None:
        refused = isinstance(error, (InputError, EngineError, OSError, MemoryError))
        report({"event": "error", "message": line_of(error), "kind": type(error).__name__, "expected": refused})

    return tell


def _words(config: Training) -> Callable[[dict[str, Any]], None]:
    """Each event as a line of log on stderr."""

    def report(event: dict[str, Any]) -> None:
        if event["event"] == "check":
            classes = ", ".join(f"{name} {count}" for name, count in event["classes"].items())
            say(f"{event['train']} cases to train on ({classes}), {event['val']} to validate")
            for problem in event["problems"]:
                say(f"left out: {problem['case']}: {problem['message']}")
            for line in _settings_lines(config):
                say(line)
        elif event["event"] == "start":
            new = f"; random: {', '.join(event['anew'])}" if event["anew"] else ""
            say(f"from {event['model']}: the weights of {', '.join(event['taken'])}{new}")
        elif event["event"] == "epoch":
            chosen = event["selected_by"]
            say(
                f"epoch {event['epoch']}/{event['epochs']}  loss {event['loss']:.3f}"
                f"  {chosen} {event['val'][chosen]:.3f}  best {event['best']:.3f} at {event['best_epoch']}"
                f"  {_time(event['seconds_left'])} left"
            )

    return report


def _settings_lines(config: Training) -> list[str]:
    """The settings that are trained with, and those that are not the usual ones."""
    said = ["settings: " + " ".join(f"{name}={_value(value)}" for name, value in config.dotted().items())]
    if changed := config.changed():
        words = (f"{name}={_value(now)} (else {_value(usual)})" for name, (now, usual) in changed.items())
        said.append("not the usual: " + ", ".join(words))
    return said


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
