"""The command line, ``napari-sparse3d COMMAND``: one file a command.

A command is a function of the same name as its file. What its parameters' annotations need is imported at the top of
the file; everything heavy (torch, SimpleITK, matplotlib, ...) inside the function, so that ``--help`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

import typer

from napari_sparse3d.cli.common import guarded
from napari_sparse3d.cli.help_words import Command
from napari_sparse3d.cli.optional_imports import leave_out_what_is_optional

COMMANDS = (
    *("demo", "doctor"),
    *("info", "convert", "voxelize"),
    *("activations", "predict", "explain", "models"),
    *("map", "similar", "pick"),
    *("train", "evaluate", "runs", "search-params"),
    *("export", "bench"),
)
"""In the order of the help: first look, then data, then networks, then training."""

app = typer.Typer(
    name="napari-sparse3d",
    help="Sparse 3D networks on CT and MR volumes.\n\nStart with [bold]napari-sparse3d demo[/bold]: "
    "a head MRI from scan to network in one go.",
    epilog="Exit code: 0 done, 1 an input failed (each is named), 2 the call is wrong. For research use only.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("napari-sparse3d"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


for _name in COMMANDS:
    _identifier = _name.replace("-", "_")
    _module = import_module(f"napari_sparse3d.cli.{_identifier}")
    app.command(_name, cls=Command)(guarded(getattr(_module, _identifier)))


def main() -> None:
    """Entry point of the ``napari-sparse3d`` program."""
    leave_out_what_is_optional()
    app(prog_name="napari-sparse3d")
