"""``napari-sparse3d voxelize``: a scan becomes a voxel set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_sparse3d.cli.common import JsonFlag, emit, say, status
from napari_sparse3d.cli.options import (
    FrameOption,
    LabelValueOption,
    RepairOption,
    ScanPath,
    SeriesOption,
    check_output,
    find_recipe,
    read_voxels,
    say_idle_on_voxels,
)


def voxelize(
    path: ScanPath,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            "-r",
            metavar="R",
            help="How the scan becomes voxels: {recipes}, or a .toml or .json file.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT.npz", help="The file to write.")],
    series: SeriesOption = None,
    frame: FrameOption = None,
    repair: RepairOption = None,
    label_value: LabelValueOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Keep only the voxels of a scan that matter: a sparse voxel set.

    Example: napari-sparse3d voxelize ct-folder --recipe ct-bone-110 -o bone.npz
    """
    check_output(output, ".npz")
    say_idle_on_voxels(path, recipe=recipe, series=series, frame=frame, repair=repair, label_value=label_value)
    how = find_recipe(recipe)
    with status("Reading the scan"):
        voxels = read_voxels(path, how, series=series, frame=frame, repair=repair, label_value=label_value)
    voxels.save(output)
    if as_json:
        emit(
            {
                "out": output,
                "n_active": voxels.n_active,
                "active_percent": voxels.active_percent,
                "shape": voxels.shape,
                "affine": voxels.affine,
                "channels": voxels.features.shape[1],
                "recipe": how.model_dump(mode="json", exclude_none=True),
            }
        )
        return
    size = " x ".join(map(str, voxels.shape))
    say(f"{output}: {voxels.n_active:,} active voxels, {voxels.active_percent:.2f} % of a grid of {size} (z, y, x)")
