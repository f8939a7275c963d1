"""The voxel set and what a network says of it, again. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sparse3d.catalog import ATTRIBUTIONS
from napari_sparse3d.voxels import Recipe
from napari_sparse3d.widgets.repeat.line import line, recipe_argument, recipe_lines
from napari_sparse3d.widgets.repeat.source import Source

if TYPE_CHECKING:
    from napari_sparse3d.widgets.child.records import Attributed


@dataclass(frozen=True)
class Ran:
    """What was run on what.

    Attributes
    ----------
    source : Source
    recipe : Recipe
    model, engine : str
        As ``--model`` and ``--engine`` take them.
    recipe_file : str
        A file that holds the recipe already, for one that has no name; else one is written for it.
    """

    source: Source
    recipe: Recipe
    model: str
    engine: str = "auto"
    recipe_file: str = ""


def voxelize_command(source: Source, recipe: Recipe) -> str:
    """``napari-sparse3d voxelize ...``."""
    return line(
        ["voxelize", str(source.path), *source.options(), "--recipe", recipe_argument(recipe), "-o", "voxels.npz"]
    )


def activations_command(
    source: Source, recipe: Recipe, model: str, engine: str = "auto", *, recipe_file: str = ""
) -> str:
    """``napari-sparse3d activations ...``: the per-layer table and the embedding.

    ``recipe_file``: a file that holds the recipe already, for one that has no name; else one is written for it.
    """
    chosen = [] if engine == "auto" else ["--engine", engine]
    return line(
        [
            "activations",
            str(source.path),
            *source.options(),
            "--model",
            model,
            "--recipe",
            recipe_argument(recipe, recipe_file),
            *chosen,
        ]
    )


def is_saved(source: Source) -> bool:
    """Whether it is a set that was saved: that is used as it is."""
    return source.path.suffix == ".npz"


def voxelize_python(source: Source, recipe: Recipe | None) -> str:
    """The same in Python; ``recipe`` None: of a set that was saved."""
    if recipe is None or is_saved(source):
        return f"from napari_sparse3d.voxels import VoxelSet\n\nvoxels = VoxelSet.load({str(source.path)!r})\n"
    return "\n".join(
        [
            "from napari_sparse3d.io import read_volume",
            *([] if source.label is None else ["from napari_sparse3d.volume import mask_of"]),
            "from napari_sparse3d.voxels import Recipe, voxelize",
            "",
            f"volume = {source.python()}",
            *recipe_lines(recipe),
            "voxels = voxelize(volume, recipe)",
            "",
        ]
    )


def activations_python(source: Source, recipe: Recipe | None, model: str, engine: str = "auto") -> str:
    """The same in Python."""
    chosen = "" if engine == "auto" else f", engine={engine!r}"
    return (
        "from napari_sparse3d.cases.facts import facts_of\n"
        "from napari_sparse3d.cases.seen import unlike_training, warning\n"
        "from napari_sparse3d.models import load_model\n"
        + voxelize_python(source, recipe)
        + "\n".join(
            [
                f"facts = facts_of({'voxels' if is_saved(source) else 'volume'})",
                f"model = load_model({model!r})",
                f"result = model.run(voxels{chosen})",
                "print(result.probabilities, result.embedding)",
                "outside = unlike_training(model.card, facts, voxels, result.input.active_percent)",
                "print(warning(model.card.name, outside))",
                "for row in result.layers:",
                "    print(row)",
                "",
            ]
        )
    )


def explain_command(ran: Ran, drove: Attributed) -> str:
    """``napari-sparse3d explain ...``: what drove the class, as a volume."""
    chosen = [] if ran.engine == "auto" else ["--engine", ran.engine]
    name = drove.class_name
    return line(
        [
            "explain",
            str(ran.source.path),
            *ran.source.options(),
            "--model",
            ran.model,
            "--recipe",
            recipe_argument(ran.recipe, ran.recipe_file),
            "--method",
            ATTRIBUTIONS[drove.method].spelled,
            "--class",
            str(drove.target) if name.startswith("-") else name,  # which would be taken for an option
            *chosen,
            "-o",
            "attribution.nii.gz",
        ]
    )


def network_command(ran: Ran, drove: Attributed | None) -> str:
    """The table of layers, and the attribution that is shown with it: a line for each."""
    table = activations_command(ran.source, ran.recipe, ran.model, ran.engine, recipe_file=ran.recipe_file)
    return table if drove is None else f"{table}\n{explain_command(ran, drove)}"


def network_python(ran: Ran, drove: Attributed | None) -> str:
    """The same in Python."""
    table = activations_python(ran.source, ran.recipe, ran.model, ran.engine)
    if drove is None:
        return table
    return (
        "from napari_sparse3d.explain.explanation import explain\n"
        f"{table}"
        f"explanation = explain(result, voxels, {drove.target}, {drove.method!r})  # class {drove.class_name!r}\n"
        "print(explanation.record())  # explanation.values: one a voxel; explanation.over(shape, affine): as a volume\n"
    )
