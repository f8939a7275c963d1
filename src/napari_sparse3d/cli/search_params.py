"""``napari-sparse3d search-params``: look for good settings with Optuna."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_sparse3d.cli.common import EXIT_INPUT, CallError, JsonFlag, emit, say, show, the_call
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
    setting_value,
    settings_of,
    use_threads,
)
from napari_sparse3d.errors import InputError


def search_params(
    data: DataArgument,
    trials: Annotated[int, typer.Option("--trials", min=1, help="How many more settings to try.")] = 20,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search",
            metavar="NAME=...",
            help="What to vary: NAME=LOW:HIGH, NAME=LOW:HIGH:log, or NAME=A|B|C. Repeat it. Unless given: learning "
            "rate, weight decay, smoothing, rotation and scale.",
        ),
    ] = None,
    study: Annotated[str, typer.Option("--study", help="Name of the search; the same name goes on.")] = "search",
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="URL", help="A database that several machines share, as Optuna takes it."),
    ] = None,
    label: LabelOption = "label",
    classes: ClassesOption = None,
    recipe: CaseRecipeOption = None,
    settings: SettingsOption = None,
    set_: SetOption = None,
    use_good: UseGoodOption = False,
    skip_unlabelled: SkipUnlabelledOption = False,
    runs: RunsOption = None,
    threads: ThreadsOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Try settings, each as a run of its own; hopeless ones are stopped early. Validation cases decide.

    Start it in as many processes as you like: they share the study. optuna-dashboard shows it while it runs.

    Example: napari-sparse3d search-params shapes/ --trials 30 --search learning_rate=1e-4:1e-2:log -s epochs=20
    """
    use_threads(threads)
    config = settings_of(settings, recipe, {}, set_)

    from napari_sparse3d.measure.judge import judge, measure
    from napari_sparse3d.training import search as searching

    table = run_store(runs)
    with the_call():
        space = searching.parse_space(search, setting_value) if search else searching.default_space(config)
        if twice := {text.partition("=")[0] for text in set_ or ()} & space.keys() if search else None:
            raise CallError(f"{', '.join(sorted(twice))}: set and searched; leave out one of the two")
        searching.check_space(config, space)

    def report(event: dict[str, Any]) -> None:
        if event["event"] == "done":
            say(f"{event['run']}: {event['status']}")
        elif event["event"] == "error":
            say(f"{event['run']}: cannot be trained, {event['message']}")

    source = data_of(
        data, validation=None, label=label, classes=classes, use_good=use_good, skip_unlabelled=skip_unlabelled
    )
    ended = searching.search(
        source,
        config,
        space,
        trials=trials,
        study=study,
        storage=storage,
        runs=table,
        measure=measure,
        judge=judge,
        report=report,
    )
    if as_json:
        emit(asdict(ended))
        if ended.best is None and not ended.stopped_by_signal:
            raise typer.Exit(EXIT_INPUT)
        return
    if ended.stopped_by_signal:
        say(f"stopped by a signal; study {study!r} keeps what its {ended.trials} trials gave, and goes on by its name")
    if ended.best is None and ended.stopped_by_signal:
        return
    if ended.best is None:
        raise InputError(
            f"none of {ended.trials} trials has finished: {ended.failed} failed, {ended.pruned} were stopped early; "
            "search other settings, or try more"
        )
    if storage is None:
        say(f"watch: optuna-dashboard sqlite:///{Path(table.folder) / searching.STUDY}")
    chosen = " ".join(f"-s {name}={value}" for name, value in ended.settings.items())
    show(
        f"best of {ended.trials} ({ended.pruned} stopped early, {ended.failed} failed): {ended.best} in run {ended.run}"
    )
    show(chosen)
