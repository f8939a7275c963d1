"""A cohort, its map and the cases like one of them, again. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_sparse3d.voxels import Recipe
from napari_sparse3d.widgets.repeat.line import line, recipe_argument
from napari_sparse3d.widgets.repeat.network import activations_python
from napari_sparse3d.widgets.repeat.source import Source


def map_command(table: Path, method: str) -> str:
    """``napari-sparse3d map ...``; ``method`` is ``"tsne"`` or ``"pca"``."""
    return line(["map", str(table), "--method", method, "-o", "map.parquet"])


@dataclass(frozen=True)
class Query:
    """Who is like it: the case that is open, by which model, among the cases of which table."""

    table: Path
    source: Source
    recipe: Recipe | None
    """None: the case is a set that was saved, which counts as made by the model's own."""
    model: str
    k: int
    recipe_file: str = ""
    """As for :func:`activations_command`."""


def similar_command(query: Query) -> str:
    """``napari-sparse3d similar ...``."""
    recipe = [] if query.recipe is None else ["--recipe", recipe_argument(query.recipe, query.recipe_file)]
    return line(
        [
            "similar",
            str(query.source.path),
            *query.source.options(),
            *recipe,
            "--table",
            str(query.table),
            "--model",
            query.model,
            "-k",
            str(query.k),
        ]
    )


def embed_python(sources: Sequence[Path], model: str, table: Path) -> str:
    """Embed the cases of folders and tables in Python."""
    one = len(sources) == 1
    paths = ", ".join(f"Path({str(source)!r})" for source in sources)
    cases = f"find_cases({paths})" if one else f"gather([{paths}]).cases"
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            f"from napari_sparse3d.cohort import {'find_cases' if one else 'gather'}, write_rows",
            "from napari_sparse3d.cohort.embed import embed_cases",
            "from napari_sparse3d.models import load_model",
            "",
            f"rows = list(embed_cases({cases}, load_model({model!r})))",
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
    recipe = "model.card.recipe" if query.recipe is None else "recipe"
    return "\n".join(
        [
            "from pathlib import Path",
            "",
            "from napari_sparse3d.cases.identity import recipe_hash",
            "from napari_sparse3d.cases.sources import one_case",
            "from napari_sparse3d.cohort import read_cohort",
            "from napari_sparse3d.cohort.comparable import Origin, check_comparable",
            "from napari_sparse3d.cohort.same import SAME, same_case",
            "from napari_sparse3d.measure.neighbours import similar",
            activations_python(query.source, query.recipe, query.model).rstrip("\n"),
            "",
            f"cohort = read_cohort(Path({str(query.table)!r}))",
            f"print(check_comparable(cohort, Origin(model.card.name, model.digest(), recipe_hash({recipe}))))",
            f"case = one_case(Path({str(query.source.path)!r}), {query.source.series!r})",
            "groups = same_case(cohort, case.path, case.series, case.patient, facts.content)",
            f"indices, distances = similar(result.embedding[None], cohort.embeddings, {query.k}, groups=groups, "
            "query_groups=[SAME], keys=cohort.keys())",
            "for index, distance in zip(indices[0], distances[0]):",
            "    if index >= 0:  # there may be fewer",
            '        print(f"{distance:.4f}", cohort.row(int(index)).get("path", index))',
            "",
        ]
    )
