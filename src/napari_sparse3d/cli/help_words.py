"""What a command's help says of the parts that there are to choose from: looked up when help is shown, not before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperOption


def _engines() -> str:
    from napari_sparse3d.catalog import ENGINES

    return _any_of([_called(part.name, part.title) for part in ENGINES.values()])


def _formats() -> str:
    from napari_sparse3d.catalog import FORMATS

    return FORMATS.titles


def _written() -> str:
    from napari_sparse3d.catalog import FORMATS

    return ", ".join(FORMATS.by_written_ending)


def _architectures() -> str:
    from napari_sparse3d.catalog import ARCHITECTURES

    return ", ".join(ARCHITECTURES)


def _losses() -> str:
    from napari_sparse3d.catalog import LOSSES

    return _any_of([info.spelled or info.name for info in sorted(LOSSES.values(), key=lambda info: bool(info.spelled))])


def _recipes() -> str:
    from napari_sparse3d.catalog import RECIPES

    return ", ".join(RECIPES)


def _attributions() -> str:
    from napari_sparse3d.catalog import ATTRIBUTIONS

    return _any_of([info.spelled for info in ATTRIBUTIONS.values()])


def _called(name: str, title: str) -> str:
    """The name, which is what is typed; with what a title adds to it."""
    return title if title.startswith(name) else f"{name} ({title})"


def _any_of(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


WORDS: dict[str, Callable[[], str]] = {
    "{engines}": _engines,
    "{formats}": _formats,
    "{written}": _written,
    "{architectures}": _architectures,
    "{losses}": _losses,
    "{recipes}": _recipes,
    "{attributions}": _attributions,
}
"""What may stand in the help of a parameter, and what takes its place."""


class Command(TyperCommand):
    """A command whose parameters may have :data:`WORDS` in their help."""

    def format_help(self, *arguments: Any) -> None:
        """As typer, with all words in their place."""
        for parameter in self.params:
            if isinstance(parameter, (TyperArgument, TyperOption)) and parameter.help:
                for word, say in WORDS.items():
                    if word in parameter.help:
                        parameter.help = parameter.help.replace(word, say())
        super().format_help(*arguments)
