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
    typer.Option("--settings", metavar="FILE", help="Settings to start from: settings.json of a run, or TOML."),
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
    """Settings from a file, or ``SMALL_SHAPES``; then named options, then ``--set``. Exit code 2 if they do not fit.

    Parameters
    ----------
    named : dict
        Dotted name and value; None: not given.
    start : Model, optional
        What the training begins with: its arguments and recipe, unless others are given.
    """
    from napari_sparse3d.catalog import DEFAULT_ARCHITECTURE
    from napari_sparse3d.models.architectures import check_architecture
    from napari_sparse3d.training.config import Training, put_setting, starting_settings
    from napari_sparse3d.voxels import Recipe

    with the_call():
        given = {name: value for name, value in named.items() if value is not None}
        given |= dict(map(_assigned, assignments or ()))
        look_here(given.get("architecture"), given.get("loss.name"))
        if file:
            values = _load(file)
            _check_own(values.get("architecture"), given)
        else:
            values = starting_settings(str(given.get("architecture", DEFAULT_ARCHITECTURE)))
            if any(name.startswith("arguments.") for name in given):
                values["arguments"] = {}  # those to start from fit each other
        if start is not None:
            sizes = ("in_features", "classes")
            values["arguments"] = {k: v for k, v in start.card.arguments.items() if k not in sizes}
            values["recipe"] = start.card.recipe
        for name in sorted(given, key=lambda each: each not in ("loss.kind", "loss.name")):
            put_setting(values, name, given[name])
        if recipe is not None:
            values["recipe"] = Recipe.find(recipe)
        if "recipe" not in values:
            values["recipe"] = Recipe.named("shape-64")
        check_architecture(str(values.get("architecture", DEFAULT_ARCHITECTURE)))
        return Training(**values)


def _assigned(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CallError(f"--set takes NAME=VALUE, got {text!r}; for example --set epochs=40")
    return name, setting_value(value)


def _check_own(architecture: object, given: Mapping[str, Any]) -> None:
    """A file's word alone imports nothing."""
    from napari_sparse3d.catalog import is_own

    if isinstance(architecture, str) and is_own(architecture) and "architecture" not in given:
        raise CallError(
            f"the settings ask for {architecture!r}, code that is not part of this package; if you trust it, name it "
            f"yourself: -s architecture={architecture}"
        )


def trained_model(text: str, runs: RunStore) -> Model:
    """The model of this name: bundled, a file, or that of a run; exit code 2 if there is none."""
    from napari_sparse3d.catalog import ARCHITECTURES, is_own
    from napari_sparse3d.models import bundled_models, load_model
    from napari_sparse3d.training.runs import MODEL

    with the_call():
        look_here(text)
        if (
            text.endswith(".safetensors")
            or text in bundled_models()
            or text in ARCHITECTURES
            or is_own(text.partition("=")[0])
        ):
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
