"""Options that several commands share, and what turns their text into objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_sparse3d.cli.common import CallError, say, the_call
from napari_sparse3d.files import try_output

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo
    from napari_sparse3d.models import Model
    from napari_sparse3d.sparse.tensor_voxels import TensorVoxels
    from napari_sparse3d.volume import Volume
    from napari_sparse3d.voxels import Recipe, VoxelSet

ScanPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="A DICOM folder or file, NIfTI, NRRD, MetaImage, or a zip of a series.")
]
SeriesOption = Annotated[
    int | None, typer.Option("--series", metavar="N", help="Which series, as `info` numbers them. Needed if several.")
]
FrameOption = Annotated[
    int | None, typer.Option("--frame", metavar="N", help="Which volume of a series in time, from 0.")
]
RepairOption = Annotated[
    str | None,
    typer.Option(
        "--repair",
        metavar="HOW",
        help="[bold]resample[/] brings a tilted or unevenly spaced series onto a true grid; "
        "[bold]magnitude[/] reads the magnitude of complex voxels.",
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "-r",
        metavar="R",
        help="How the scan becomes voxels: mri-110, ct-bone-110, shape-40, shape-64, or a .toml or .json file. "
        "Unless given, the model's own.",
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="M",
        help="A bundled model, a .safetensors file, or an architecture: {architectures} (random weights). A file of "
        "your own architecture is module:factory=FILE.",
    ),
]
EngineOption = Annotated[str, typer.Option("--engine", metavar="E", help="auto, {engines}.")]
DeviceOption = Annotated[str, typer.Option("--device", metavar="D", help="auto, cpu or cuda.")]


def find_recipe(text: str) -> Recipe:
    """The recipe that ``--recipe`` names; exit code 2 if there is none."""
    from napari_sparse3d.voxels import Recipe

    with the_call():
        return Recipe.find(text)


def find_model(text: str) -> Model:
    """The model that ``--model`` names; exit code 2 if there is none."""
    from napari_sparse3d.models import load_model

    with the_call():
        return load_model(text)


def check_engine(engine: str, device: str) -> None:
    """Raise ``EngineError`` (exit code 2) before any work is done, if these are not available."""
    from napari_sparse3d.engine.choice import choose

    choose(engine, device)


def check_output(path: Path, *endings: str) -> None:
    """Exit code 2, before any work is done, if ``path`` cannot become a file of one of these ``endings``."""
    if not path.name.lower().endswith(endings):
        raise CallError(f"the output must end in {' or '.join(endings)}, got {path.name!r}")
    if path.is_dir():
        raise CallError(f"{path} is a folder; name the file to write, for example {path / ('out' + endings[0])}")
    with the_call():
        try_output(path)


def check_output_folder(folder: Path) -> None:
    """Exit code 2, before any work is done, if ``folder`` cannot become a folder with files."""
    if folder.exists() and not folder.is_dir():
        raise CallError(f"{folder} is a file; name a folder for the output")
    with the_call():
        try_output(folder / "file")


def read_voxels(
    scan: Path | SeriesInfo,
    recipe: Recipe,
    *,
    series: int | None = None,
    frame: int | None = None,
    repair: str | None = None,
) -> VoxelSet:
    """The voxel set of one scan, or of a ``.npz`` that ``voxelize`` wrote; never an empty one.

    Raises
    ------
    InputError
        If it cannot be read, or the recipe leaves nothing of it.
    """
    from napari_sparse3d.voxels import VoxelSet, require_voxels, voxelize

    if isinstance(scan, Path) and scan.suffix == ".npz":
        return VoxelSet.load(scan)
    volume = read_scan(scan, series=series, frame=frame, repair=repair)
    return require_voxels(voxelize(volume, recipe), volume, recipe)


def read_voxels_for(
    device: str, scan: Path | SeriesInfo, recipe: Recipe, *, repair: str | None = None
) -> VoxelSet | TensorVoxels:
    """As :func:`read_voxels`, made on the device as far as the recipe can be followed there.

    Raises
    ------
    DeviceMemoryError
        If a card has no memory left.
    """
    if device == "cpu" or (isinstance(scan, Path) and scan.suffix == ".npz"):
        return read_voxels(scan, recipe, repair=repair)
    from napari_sparse3d.sparse.voxelize import voxelize_for
    from napari_sparse3d.voxels import require_voxels

    volume = read_scan(scan, repair=repair)
    return require_voxels(voxelize_for(device, volume, recipe), volume, recipe)


def read_scan(
    scan: Path | SeriesInfo, *, series: int | None = None, frame: int | None = None, repair: str | None = None
) -> Volume:
    """Read one volume, and tell where its unit was guessed; raises ``InputError`` if it cannot be read."""
    from napari_sparse3d.io import read_volume

    volume = read_volume(scan, series=series, frame=frame, repair=repair)
    if "unit_from" in volume.meta:
        say(f"the file names no unit; taken as {volume.unit} from its {volume.meta['unit_from']}")
    return volume
