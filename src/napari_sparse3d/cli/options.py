"""Options that several commands share, and what turns their text into objects."""

from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from napari_sparse3d.cli.common import CallError, say, the_call
from napari_sparse3d.files import try_output
from napari_sparse3d.text import any_of

if TYPE_CHECKING:
    from napari_sparse3d.cases.case import Case
    from napari_sparse3d.cases.read import Source
    from napari_sparse3d.io import SeriesInfo
    from napari_sparse3d.models import Model, Result
    from napari_sparse3d.voxels import Recipe, VoxelSet

ScanPath = Annotated[Path, typer.Argument(metavar="PATH", help="A scan ({formats}), a folder, or a zip of a series.")]
SeriesOption = Annotated[
    int | None, typer.Option("--series", metavar="N", help="Which series, as `info` numbers them. Needed if several.")
]
FrameOption = Annotated[
    int | None, typer.Option("--frame", metavar="N", help="Which volume of a series in time, from 0.")
]


def _known_repair(how: str | None) -> str | None:
    """The same, if it is one."""
    if how is not None:
        from napari_sparse3d.io.series import REPAIRS

        if how not in REPAIRS:
            raise typer.BadParameter(f"choose {any_of(REPAIRS)}, got {how!r}")
    return how


RepairOption = Annotated[
    str | None,
    typer.Option(
        "--repair",
        callback=_known_repair,
        metavar="HOW",
        help="[bold]resample[/] brings a tilted or unevenly spaced series onto a true grid; "
        "[bold]magnitude[/] reads the magnitude of complex voxels.",
    ),
]


def _known_label(text: str | None) -> str | None:
    """The same, if it is a label's number or ``all``."""
    if text is not None and text != "all" and not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"choose the number of a label, or all, got {text!r}")
    return text


LabelValueOption = Annotated[
    str | None,
    typer.Option(
        "--label-value",
        callback=_known_label,
        metavar="N",
        help="PATH is a label map: the shape is where it has this label, or any ([bold]all[/]).",
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "-r",
        metavar="R",
        help="How the scan becomes voxels: {recipes}, or a .toml or .json file. Unless given, the model's own.",
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="M",
        help="A bundled model, a .safetensors file, or an architecture: {architectures} (random weights). A file of "
        "your own architecture is module:factory=FILE.",
    ),
]
EngineOption = Annotated[str, typer.Option("--engine", metavar="E", help="auto, {engines}.")]
DeviceOption = Annotated[str, typer.Option("--device", metavar="D", help="auto, cpu or cuda.")]


def find_recipe(text: str) -> Recipe:
    """The recipe that ``--recipe`` names; exit code 2 if there is none."""
    from napari_sparse3d.voxels import Recipe
    from napari_sparse3d.voxels.recipe import without_effect

    with the_call():
        recipe = Recipe.find(text)
    for line in without_effect(recipe):
        say(f"recipe {recipe.name}: {line}")
    return recipe


def find_model(text: str) -> Model:
    """The model that ``--model`` names; exit code 2 if there is none."""
    from napari_sparse3d.models import load_model

    look_here(text)
    with the_call():
        return load_model(text)


def look_here(*named: object) -> None:
    """Where users name code of their own, ``module:name``, find it also in the folder where they are."""
    from napari_sparse3d.catalog import is_own

    here = str(Path.cwd())
    if here not in sys.path and any(isinstance(name, str) and is_own(name.partition("=")[0]) for name in named):
        sys.path.append(here)


def check_engine(engine: str, device: str) -> None:
    """Raise ``EngineError`` (exit code 2) before any work is done, if these are not available."""
    from napari_sparse3d.engine.choice import choose

    choose(engine, device)


def check_output(path: Path, *endings: str) -> None:
    """Exit code 2, before any work is done, if ``path`` cannot become a file of one of these ``endings``."""
    if not path.name.lower().endswith(endings):
        raise CallError(f"the output must end in {' or '.join(endings)}, got {path.name!r}")
    if path.is_dir():
        raise CallError(f"{path} is a folder; name the file to write, for example {path / ('out' + endings[0])}")
    with the_call():
        try_output(path)


def check_not_the_input(path: Path, output: Path) -> None:
    """Exit code 2, before any work is done, if the output would take the place of what is read."""
    if output.is_file() and path.is_file() and output.samefile(path):
        raise CallError("the output is the scan itself, which would be lost; name another file")


def check_output_folder(folder: Path) -> None:
    """Exit code 2, before any work is done, if ``folder`` cannot become a folder with files."""
    if folder.exists() and not folder.is_dir():
        raise CallError(f"{folder} is a file; name a folder for the output")
    with the_call():
        try_output(folder / "file")


def check_channels(model: Model, recipe: Recipe) -> None:
    """Exit code 2, before any scan is read, if the recipe's features are not those that the model takes."""
    takes = model.describer.in_features
    if recipe.n_channels != takes:
        raise CallError(
            f"model {model.card.name!r} takes {takes} feature(s) a voxel, recipe {recipe.name!r} gives "
            f"{recipe.n_channels} ({', '.join(recipe.features)}); leave --recipe out, or use one with features "
            f"{', '.join(model.card.recipe.features)}"
        )


def say_random_weights(model: Model) -> None:
    """Say of a model that is not trained that its answer has no meaning."""
    if not model.card.trained:
        say(f"{model.card.name}: random weights, the classes mean nothing")


def say_idle_on_voxels(path: Path, **options: object) -> None:
    """Say which options do nothing to a voxel set that was saved, which is taken as it is."""
    idle = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if path.suffix == ".npz" and idle:
        say(f"without effect on a voxel set, which is taken as it is: {', '.join(idle)}")


def of_label(case: Case, label_value: str | None) -> Case:
    """The same, where it is a label map and one of its labels (or ``all``) is meant."""
    if label_value is None or case.kind != "scan":
        return case
    return replace(case, kind="mask", item="" if label_value == "all" else label_value)


def find_case(path: Path, series: int | None = None, label_value: str | None = None) -> Case:
    """The case at a path, at its own place (see :mod:`napari_sparse3d.cases.identity`).

    Raises
    ------
    InputError
        If there is none, or several that could be meant.
    """
    from napari_sparse3d.cases.sources import one_case

    return of_label(one_case(path, series), label_value)


def read_voxels(
    scan: Path | SeriesInfo,
    recipe: Recipe,
    *,
    series: int | None = None,
    frame: int | None = None,
    repair: str | None = None,
    label_value: str | None = None,
) -> VoxelSet:
    """The voxel set of one scan, or of a ``.npz`` that ``voxelize`` wrote; never an empty one.

    Raises
    ------
    InputError
        If it cannot be read, or the recipe leaves nothing of it.
    """
    from napari_sparse3d.cases.case import Case
    from napari_sparse3d.cases.read import some_voxels_of
    from napari_sparse3d.volume import Volume
    from napari_sparse3d.voxels.from_volume import separates_nothing

    case = Case.at(scan, series) if isinstance(scan, Path) else Case(scan.source.name, scan.source, info=scan)
    source = read_source(of_label(case, label_value), recipe, frame=frame, repair=repair)
    voxels = cast("VoxelSet", some_voxels_of(source, recipe))  # made on the CPU
    if isinstance(source, Volume) and (said := separates_nothing(voxels, source, recipe)):
        warnings.warn(said, stacklevel=2)
    return voxels


def run_and_compare(
    model: Model, source: Source, recipe: Recipe, engine: str, device: str, *, record: bool = False
) -> tuple[Result, str | None, VoxelSet]:
    """Run a model on what :func:`read_source` gave, and tell in what that is unlike its training.

    ``record`` is :meth:`Model.run`'s.

    Returns
    -------
    Result, str or None, VoxelSet
        The last is what the model was shown.

    Raises
    ------
    InputError
        If the recipe leaves nothing of it, or it does not fit the model.
    """
    from napari_sparse3d.cases.facts import facts_of
    from napari_sparse3d.cases.read import some_voxels_of
    from napari_sparse3d.cases.seen import unlike_training, warning

    voxels = cast("VoxelSet", some_voxels_of(source, recipe))  # made on the CPU
    result = model.run(voxels, engine=engine, device=device, record=record)
    facts = facts_of(source, with_content=False)
    outside = unlike_training(model.card, facts, voxels, result.input.active_percent)
    if said := warning(model.card.name, outside):
        say(said)
    return result, outside, voxels


def read_source(case: Case, recipe: Recipe, *, frame: int | None = None, repair: str | None = None) -> Source:
    """Read one volume, and tell where its unit was guessed; or a voxel set that ``voxelize`` wrote.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    from napari_sparse3d.cases import read

    source = read.read_source(case, recipe, frame=frame, repair=repair)
    if guessed := read.guessed_unit(source):
        say(guessed)
    return source
