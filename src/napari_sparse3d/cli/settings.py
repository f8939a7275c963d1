"""How the commands that train turn their options into settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.cli.common import CallError, the_call
from napari_sparse3d.cli.options import look_here
from napari_sparse3d.errors import InputError
from napari_sparse3d.parse import parse_json, parse_toml
from napari_sparse3d.text import did_you_mean

if TYPE_CHECKING:
    from napari_sparse3d.models import Model
    from napari_sparse3d.training.config import Training
    from napari_sparse3d.training.runs import RunStore
    from napari_sparse3d.training.session import Data

DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        help="A folder per class (scans, voxel sets or meshes), a table (.csv or .parquet with path, label, patient, "
        "split), a MedMNIST .npz, sparse shapes (.npz beside a .csv), or a folder with images/ and labels/.",
    ),
]
LabelOption = Annotated[
    str, typer.Option("--label", metavar="COLUMN", help="Column of the label, where the set has a table.")
]
ClassesOption = Annotated[
    str | None, typer.Option("--classes", metavar="A,B", help="Names for labels that are the numbers 0, 1, ...")
]
CaseRecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", "-r", metavar="R", help="How a case becomes voxels. Unless given, shape-64."),
]
UseGoodOption = Annotated[
    bool, typer.Option("--use-good", help="Train although some cases cannot be used; they are named.")
]
SkipUnlabelledOption = Annotated[
    bool, typer.Option("--skip-unlabelled", help="Cases without a label are left out and are no problem.")
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        help="Settings over the usual ones: some of them as TOML, or settings.json of a run.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="NAME=VALUE",
        help="Any setting, e.g. -s epochs=40 -s augment.rotate_degrees=30 -s 'arguments.channels=[16,32,64]' "
        "-s loss.name=triplet. Repeat it.",
    ),
]
RunsOption = Annotated[
    Path | None, typer.Option("--runs", metavar="DIR", help="Where runs are kept. Unless given, ./runs.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, metavar="N", help="Threads to compute with. Unless given, all cores.")
]


def settings_of(
    file: Path | None,
    recipe: str | None,
    named: dict[str, Any],
    assignments: Sequence[str] | None,
    start: Model | None = None,
) -> Training:
    """The defaults, and over them in this order: the model to begin with, a file, named options, ``--set``.

    The file of a run holds every setting, whether anybody asked for it or not: there the model goes over the file.
    Exit code 2 if they do not fit. What has no effect is said.

    Parameters
    ----------
    named : dict
        Dotted name and value; None: not given.
    start : Model, optional
        What the training begins with: its architecture, arguments and recipe, unless others are given.
    """
    import torch

    from napari_sparse3d.catalog import DEFAULT_ARCHITECTURE, is_own, load_own
    from napari_sparse3d.models.architectures import build_network, check_architecture
    from napari_sparse3d.training.config import Training, is_of_run, layered, starting_settings
    from napari_sparse3d.training.effect import check_effect
    from napari_sparse3d.voxels import Recipe

    with the_call():
        options = {name: value for name, value in named.items() if value is not None}
        assigned = dict(map(_assigned, assignments or ()))
        look_here((options | assigned).get("architecture"), (options | assigned).get("loss.name"))
        from_file = _load(file) if file else {}
        _check_own(from_file.get("architecture"), options | assigned)
        if start is not None and is_of_run(from_file):
            from_file |= {"architecture": start.card.architecture, **_of_model(start)}
        layers: list[dict[str, Any]] = [from_file, _tree(options)]
        if recipe is not None:
            layers.append({"recipe": Recipe.find(recipe).model_dump()})
        layers.append(_tree(assigned))
        architecture = next((layer["architecture"] for layer in reversed(layers) if "architecture" in layer), None)
        usual = DEFAULT_ARCHITECTURE if start is None else start.card.architecture
        asked = usual if architecture is None else str(architecture)
        check_architecture(asked)
        values = starting_settings(asked)
        if start is not None and start.card.architecture == asked:
            values |= _of_model(start)
        for layer in layers:
            values = layered(values, layer)
        config = Training(**values)
        if is_own(asked):  # it is made when the training begins
            load_own(asked, kind="architecture", what="factory")
        else:
            build_network(asked, **{**config.arguments, "in_features": config.recipe.n_channels, "classes": 2})
        _check_measure(config.select_by)
        config.loss.criterion(2, 8, torch.ones(2))
        check_effect(config)
        return config


def _tree(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names and their values as settings: a whole part before what is in it, what chooses a loss first."""
    from napari_sparse3d.training.config import put_setting

    values: dict[str, Any] = {}
    for name in sorted(dotted, key=lambda each: (each.count("."), each not in ("loss.kind", "loss.name"))):
        put_setting(values, name, dotted[name])
    return values


def _check_measure(name: str) -> None:
    """Before the first epoch, at whose end it would be looked for."""
    import numpy as np

    from napari_sparse3d.measure.judge import measure

    known = ["auto", *measure(np.full((4, 2), 0.5), np.eye(4), np.array([0, 0, 1, 1])), "loss"]
    if name not in known:
        raise CallError(
            f"select_by: there is no measure {name!r}; choose {', '.join(known)}{did_you_mean(name, known)}"
        )


def _of_model(start: Model) -> dict[str, Any]:
    """What a training that begins with a model's weights takes of its card."""
    card = start.card
    return {
        "arguments": {name: value for name, value in card.arguments.items() if name not in ("in_features", "classes")},
        "recipe": card.recipe.model_dump(),
    }


def _assigned(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CallError(f"--set takes NAME=VALUE, got {text!r}; for example --set epochs=40")
    return name, setting_value(value)


def _check_own(architecture: object, settings: Mapping[str, Any]) -> None:
    """A file's word alone imports nothing."""
    from napari_sparse3d.catalog import is_own

    if isinstance(architecture, str) and is_own(architecture) and "architecture" not in settings:
        raise CallError(
            f"the settings ask for {architecture!r}, code that is not part of this package; if you trust it, name it "
            f"yourself: -s architecture={architecture}"
        )


def trained_model(text: str, runs: RunStore) -> Model:
    """The model of this name: bundled, a file, or that of a run; exit code 2 if there is none."""
    from napari_sparse3d.catalog import ARCHITECTURES, TRAINED, is_own
    from napari_sparse3d.models import load_model
    from napari_sparse3d.training.runs import MODEL

    with the_call():
        look_here(text)
        if text.endswith(".safetensors") or text in TRAINED or text in ARCHITECTURES or is_own(text.partition("=")[0]):
            return load_model(text)
        path = Path(runs.find(text)["folder"]) / MODEL
        if not path.exists():
            raise CallError(f"run {text!r} has no model yet; let it finish, or stop it to keep its best")
        return load_model(path)


def data_of(
    path: Path, *, validation: Path | None, label: str, classes: str | None, use_good: bool, skip_unlabelled: bool
) -> Data:
    """The labelled set that the options name."""
    from napari_sparse3d.training.session import Data

    names = tuple(name.strip() for name in classes.split(",")) if classes else ()
    return Data(
        path,
        validation,
        label,
        names,
        unlabelled_is_a_problem=not skip_unlabelled,
        use_good=use_good,
    )


def run_store(folder: Path | None) -> RunStore:
    """The table of runs."""
    if folder is not None and folder.exists() and not folder.is_dir():
        raise CallError(f"--runs: {folder} is a file; name the folder of the runs")
    from napari_sparse3d.training.runs import RunStore

    return RunStore(folder)


def use_threads(count: int | None) -> None:
    """Compute with so many threads."""
    if count is not None:
        import torch

        torch.set_num_threads(count)


def _load(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".toml":
            return parse_toml(text)
        values = parse_json(text)
    except UnicodeDecodeError as error:
        raise CallError(f"{file.name} is not UTF-8; save it so") from error
    except InputError as error:
        raise CallError(f"{file.name}: {error}") from error
    if not isinstance(values, dict):
        raise CallError(f"{file.name} must hold one object of settings, got a {type(values).__name__}")
    return values


def setting_value(text: str) -> Any:
    """JSON where it is JSON, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
