"""The line that repeats what a panel shows: for a terminal, and for Python. No Qt."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from napari_sparse3d.catalog.formats import FORMATS
from napari_sparse3d.environment import data_folder
from napari_sparse3d.errors import InputError
from napari_sparse3d.text import one_file_name
from napari_sparse3d.voxels import BUILT_IN, Recipe

PROGRAM = "napari-sparse3d"


@dataclass(frozen=True)
class Source:
    """Where a volume was read from: what the command line and ``read_volume`` need to read it again."""

    path: Path
    series: int | None = None
    frame: int | None = None
    repair: str | None = None

    def options(self) -> list[str]:
        """As options of the command line."""
        given = {"--series": self.series, "--frame": self.frame, "--repair": self.repair}
        return [part for name, value in given.items() if value is not None for part in (name, str(value))]

    def python(self) -> str:
        """As a call of ``read_volume``."""
        given = {"series": self.series, "frame": self.frame, "repair": self.repair}
        words = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
        return f"read_volume({str(self.path)!r}{words})"


SCAN, MODEL, DATA, TABLE = "SCAN", "MODEL", "DATA", "cohort.parquet"
"""What stands for a path in the lines that a session keeps; the last is the session's own table."""
STANDS_FOR = {
    SCAN: "the scan, as a file or folder",
    MODEL: "the model's file",
    DATA: "the labelled set",
}


def without_name(source: Source) -> Source:
    """The same, with a word in the place of the path: what it is called may name a patient."""
    # the ending, by which a reader is chosen, is kept
    return replace(source, path=Path(SCAN + FORMATS.ending_of(source.path.name)))


def model_without_name(model: str) -> str:
    """A model's name; a word in the place of a file."""
    return f"{MODEL}.safetensors" if model.endswith(".safetensors") else model


def explained(text: str) -> str:
    """Lines of a shell or of Python, with what their words stand for above them."""
    used = [f"# {word} stands for {what}" for word, what in STANDS_FOR.items() if re.search(rf"\b{word}\b", text)]
    hint = ["# session.json has the SHA-256 of each, by which it is found again"] if used else []
    return "\n".join([*used, *hint, text])


def require_source(source: Source | None) -> Source:
    """The source, or why there is no line to copy.

    Raises
    ------
    InputError
        If the volume was not read from a file.
    """
    if source is None:
        raise InputError(
            "this layer was not opened from a file; save it as NIfTI and open that, then it can be repeated"
        )
    return source


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


def map_command(table: Path, method: str) -> str:
    """``napari-sparse3d map ...``; ``method`` is ``"tsne"`` or ``"pca"``."""
    return line(["map", str(table), "--method", method, "-o", "map.parquet"])


@dataclass(frozen=True)
class Query:
    """Who is like it: the case that is open, by which model, among the cases of which table."""

    table: Path
    source: Source
    recipe: Recipe
    model: str
    k: int
    patient: str | None = None
    """Whose cases are left out."""
    recipe_file: str = ""
    """As for :func:`activations_command`."""


def similar_command(query: Query) -> str:
    """``napari-sparse3d similar ...``."""
    left_out = [] if query.patient is None else ["--not-patient", query.patient]
    return line(
        [
            "similar",
            str(query.source.path),
            *query.source.options(),
            "--recipe",
            recipe_argument(query.recipe, query.recipe_file),
            "--table",
            str(query.table),
            "--model",
            query.model,
            "-k",
            str(query.k),
            *left_out,
        ]
    )


def embed_python(source: Path, model: str, table: Path) -> str:
    """Embed the cases of a folder or table in Python."""
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            "from napari_sparse3d.cohort import find_cases, write_rows",
            "from napari_sparse3d.cohort.embed import embed_cases",
            "from napari_sparse3d.models import load_model",
            "",
            f"rows = list(embed_cases(find_cases(Path({str(source)!r})), load_model({model!r})))",
            f"write_rows(rows, Path({str(table)!r}))",
            "",
        ]
    )


def map_python(table: Path, method: str) -> str:
    """The map in Python."""
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            "from napari_sparse3d.measure import maps",
            "from napari_sparse3d.cohort import read_cohort",
            "",
            f"cohort = read_cohort(Path({str(table)!r}))",
            f"positions = maps.{method}(cohort.embeddings)",
            "",
        ]
    )


def similar_python(query: Query) -> str:
    """The similar cases in Python."""
    itself = f"Path({str(query.source.path)!r}), {query.source.series!r}, {query.patient!r}"
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            "from napari_sparse3d.measure.neighbours import similar",
            "from napari_sparse3d.cohort import read_cohort",
            "from napari_sparse3d.cohort.same import SAME, same_case",
            activations_python(query.source, query.recipe, query.model).rstrip("\n"),
            "",
            f"cohort = read_cohort(Path({str(query.table)!r}))",
            f"groups = same_case(cohort, {itself})",
            f"indices, distances = similar(result.embedding[None], cohort.embeddings, {query.k}, groups=groups, "
            "query_groups=[SAME], keys=cohort.keys())",
            "for index, distance in zip(indices[0], distances[0]):",
            "    if index >= 0:  # there may be fewer",
            '        print(f"{distance:.4f}", cohort.row(int(index)).get("path", index))',
            "",
        ]
    )


def train_python(data: Path, chosen: Mapping[str, object], loss: str, recipe: str, *, use_good: bool) -> str:
    """A training in Python; ``chosen`` are settings by name, as ``architecture`` and ``epochs``."""
    start = {"architecture": chosen.get("architecture"), "loss": loss}
    others = {name: value for name, value in chosen.items() if name != "architecture"}
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            "from napari_sparse3d.measure.judge import judge, measure",
            "from napari_sparse3d.training.config import Training, starting_settings",
            "from napari_sparse3d.training.runs import RunStore",
            "from napari_sparse3d.training.session import Data, train",
            "from napari_sparse3d.voxels import Recipe",
            "",
            f"settings = starting_settings({', '.join(f'{name}={value!r}' for name, value in start.items() if value)})",
            *(f"settings[{name!r}] = {value!r}" for name, value in others.items()),
            f'settings["recipe"] = Recipe.named({recipe!r})',
            f"data = Data(Path({str(data)!r}), use_good={use_good!r})",
            'runs = RunStore(Path("runs"))',
            "outcome = train(data, Training(**settings), runs=runs, measure=measure, judge=judge)",
            "print(outcome.model, outcome.metrics)",
            "",
        ]
    )


def voxelize_python(source: Source, recipe: Recipe) -> str:
    """The same in Python."""
    if source.path.suffix == ".npz":  # a set that was saved: used as it is
        return f"from napari_sparse3d.voxels import VoxelSet\n\nvoxels = VoxelSet.load({str(source.path)!r})\n"
    return "\n".join(
        [
            "from napari_sparse3d.io import read_volume",
            "from napari_sparse3d.voxels import Recipe, voxelize",
            "",
            f"volume = {source.python()}",
            *_recipe_lines(recipe),
            "voxels = voxelize(volume, recipe)",
            "",
        ]
    )


def activations_python(source: Source, recipe: Recipe, model: str, engine: str = "auto") -> str:
    """The same in Python."""
    chosen = "" if engine == "auto" else f", engine={engine!r}"
    return (
        "from napari_sparse3d.models import load_model\n"
        + voxelize_python(source, recipe)
        + "\n".join(
            [
                f"model = load_model({model!r})",
                f"result = model.run(voxels{chosen})",
                "print(result.probabilities, result.embedding)",
                "for row in result.layers:",
                "    print(row)",
                "",
            ]
        )
    )


def recipe_argument(recipe: Recipe, file: str = "") -> str:
    """What ``--recipe`` takes: a built-in name, or a file: that which is given, or one written for this recipe.

    The file is named by its content, so the line stays true however often the sliders move afterwards.
    """
    if BUILT_IN.get(recipe.name) == recipe:
        return recipe.name
    if file:
        return file
    text = recipe.to_toml()
    path = (
        recipe_folder()
        / f"{one_file_name(recipe.name, 'recipe')[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.toml"
    )
    if not path.is_file():
        recipe.save(path)
    return str(path)


def recipe_folder() -> Path:
    """Where recipes that were made in a panel are kept: ``NAPARI_SPARSE3D_HOME``, or the user's data folder."""
    return data_folder() / "recipes"


def _recipe_lines(recipe: Recipe) -> list[str]:
    if BUILT_IN.get(recipe.name) == recipe:
        return [f"recipe = Recipe.named({recipe.name!r})"]
    return ["recipe = Recipe.from_toml('''", *recipe.to_toml().strip().splitlines(), "''')"]


def line(words: Sequence[str]) -> str:
    """A line for a terminal of this system."""
    everything = [PROGRAM, *words]
    return subprocess.list2cmdline(everything) if sys.platform == "win32" else shlex.join(everything)
