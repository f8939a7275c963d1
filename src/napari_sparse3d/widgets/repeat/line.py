"""A line for a terminal, and the recipe in it. No Qt."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from napari_sparse3d.environment import data_folder
from napari_sparse3d.text import one_file_name
from napari_sparse3d.voxels import BUILT_IN, Recipe

PROGRAM = "napari-sparse3d"


def line(words: Sequence[str]) -> str:
    """A line for a terminal of this system."""
    everything = [PROGRAM, *words]
    return subprocess.list2cmdline(everything) if sys.platform == "win32" else shlex.join(everything)


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


def recipe_lines(recipe: Recipe) -> list[str]:
    """The recipe in Python, line by line."""
    if BUILT_IN.get(recipe.name) == recipe:
        return [f"recipe = Recipe.named({recipe.name!r})"]
    return ["recipe = Recipe.from_toml('''", *recipe.to_toml().strip().splitlines(), "''')"]
