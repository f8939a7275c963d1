"""``napari-sparse3d export``: a model becomes a file that other programs run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_sparse3d.cli.common import JsonFlag, emit, say, status, the_call
from napari_sparse3d.cli.options import find_model
from napari_sparse3d.text import one_file_name


def export(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A bundled model, a .safetensors file, or an architecture.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT", help="The file to write. Unless given, named after the model."),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", metavar="F", help="onnx, or torch for torch.export.load.")
    ] = "onnx",
    as_json: JsonFlag = False,
) -> None:
    """Write a model as a dense network, which needs nothing of this package to run.

    The file takes voxels (B, C, F, F, F) in the model's field, 0 where nothing is active, and gives probabilities and
    embedding. Classes and recipe are in its metadata.

    Example: napari-sparse3d export deepc2 --format onnx
    """
    from napari_sparse3d.models.export import ending_of, export_model

    opened = find_model(model)
    with the_call():
        ending = ending_of(format)
        # the card comes with the file: what it calls the model is a name, not a place
        target = Path(one_file_name(opened.card.name, "model") + ending) if output is None else output
        with status(f"Exporting {opened.card.name}"):
            export_model(opened, target, format=format)
    if as_json:
        emit({"model": opened.card.name, "format": format, "out": target, "bytes": target.stat().st_size})
    say(f"written to {target} ({target.stat().st_size / 1e6:.1f} MB)")
