"""What stands in the terminal: results on stdout, progress, log and errors on stderr.

Names, classes, labels, paths and descriptions are anybody's: what is printed passes through :class:`_Terminal`, where
text is only text. No markup is looked for in it; nothing in it moves a cursor, changes a colour or ends a line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from napari_sparse3d.ending import end_if_asked
from napari_sparse3d.text import printable

T = TypeVar("T")

_UNLIMITED_COLUMNS = 1000


class _Terminal(Console):
    """A console on which a ``str`` is one line of plain text; what has lines or a style is a ``rich.text.Text``."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As text, without markup, on one line."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Whatever a ``Text`` was made of, nothing in it acts on the terminal."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(printable, segment.text.split("\n"))), segment.style)


def _stderr() -> Console:
    # made anew each time: sys.stderr may have been replaced since
    return _Terminal(stderr=True, soft_wrap=True)


def say(message: str) -> None:
    """Print one line of log on stderr. ``message`` is plain text, not markup."""
    _stderr().print(message)


def show(*objects: Any) -> None:
    """Print rich objects (tables, text) on stdout: what the user asked for. Not for use with ``--json``.

    A ``str``, here and in a table's cell, is one line of plain text; what has lines or a style is a ``rich.text.Text``.
    In a file or a pipe, where nothing has a width, tables are as wide as they need to be.
    """
    console = _Terminal(soft_wrap=all(isinstance(each, (str, Text)) for each in objects))
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _UNLIMITED_COLUMNS
    console.print(*objects)


@contextmanager
def status(description: str) -> Iterator[None]:
    """Say on stderr what is being done; with a spinner where stderr is a terminal."""
    end_if_asked()
    console = _stderr()
    if console.is_terminal:
        with console.status(Text(printable(description))):
            yield
    else:
        say(f"{description} ...")
        yield


def track(items: Sequence[T], description: str) -> Iterator[T]:
    """Iterate over ``items`` with a progress bar on stderr, where that is a terminal."""
    console = _stderr()
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        for item in bar.track(items, description=printable(description)):
            end_if_asked()
            yield item


def print_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Print a warning on stderr, in one line: what ``warnings.showwarning`` may be."""
    _print_labelled("warning:", "bold yellow", str(message))


def print_error(message: str) -> None:
    """Print an error on stderr, in one line."""
    _print_labelled("error:", "bold red", message)


def _print_labelled(label: str, style: str, message: str) -> None:
    _stderr().print(Text.assemble((label, style), " ", printable(" ".join(message.split()))))
