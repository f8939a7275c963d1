"""The voxel set and what a network says of it, again. No Qt."""

from __future__ import annotations

from napari_sparse3d.voxels import Recipe
from napari_sparse3d.widgets.repeat.line import line, recipe_argument, recipe_lines
from napari_sparse3d.widgets.repeat.source import Source


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
