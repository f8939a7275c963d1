"""``napari-sparse3d demo``: the main job, end to end, on the head MRI that comes with nilearn."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_sparse3d.cli.common import JsonFlag, emit, finish, show, status
from napari_sparse3d.cli.demo_report import COLUMNS, MODEL, RECIPE, TOLERANCE, Demo, Row, cells, compare, write_report
from napari_sparse3d.cli.options import DeviceOption, EngineOption, check_engine, check_output_folder


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the report goes.")] = Path(
        "demo"
    ),
    viewer: Annotated[bool, typer.Option(help="Open napari at the end, where there is a display.")] = True,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Take a head MRI from scan to network, and compare with the published figures.

    Reads the MNI152 T1 head that comes with nilearn, keeps the voxels that matter, runs them through deepC2, and prints
    how full each layer is beside what was published. A report with pictures, the voxel set and the embedding go to
    FOLDER. Exit code 1 if a figure is not what an independent computation gave.
    """
    check_engine(engine, device)
    check_output_folder(output)
    shown = _run(engine, device)
    with status("Drawing the report"):
        files = write_report(shown, output)
    window = _open_window(output, viewer)

    wrong = [row for row in shown.rows if not row.agrees]
    if as_json:
        record = {
            "ok": not wrong,
            "layers": [asdict(row) for row in shown.rows],
            "folder": output,
            "files": files,
        }
        emit(
            {
                **record,
                "engine": shown.result.choice.engine,
                "device": shown.result.choice.device,
                "window": window,
            }
        )
    else:
        show(_table(shown.rows))
        choice = shown.result.choice
        for line in (
            "",
            f"{len(shown.rows) - len(wrong)} of {len(shown.rows)} figures within {TOLERANCE} of the reference",
            f"engine {choice.engine} on {choice.device} ({choice.reason}), network {shown.result.seconds:.3f} s",
            f"report: {output / 'report.html'}",
            f"napari: {window}",
        ):
            show(line)
    finish(
        f"{row.layer}: {row.active_percent:.2f} % active, the reference is {row.reference_percent:.2f} %"
        for row in wrong
    )


def _run(engine: str, device: str) -> Demo:
    from napari_sparse3d.io import sample_head_mri
    from napari_sparse3d.models import load_model
    from napari_sparse3d.voxels import Recipe, voxelize

    with status("Reading the head MRI"):
        volume = sample_head_mri()
    with status(f"Keeping the voxels that matter ({RECIPE})"):
        voxels = voxelize(volume, Recipe.named(RECIPE))
    with status(f"Running {MODEL}"):
        result = load_model(MODEL).run(voxels, engine=engine, device=device, record=True)
    return Demo(volume, voxels, result, compare(result))


def _table(rows: tuple[Row, ...]) -> Any:
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, header_style="bold", title="deepC2 on MNI152 T1: active sites after each layer"
    )
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=True)
    for row in rows:
        table.add_row(*cells(row), style="" if row.agrees else "bold red")
    return table


def _open_window(folder: Path, wanted: bool) -> str:
    """Open napari with the scan and the voxels; what happened, in words."""
    from importlib.util import find_spec

    from napari_sparse3d.io import sample_head_mri_path
    from napari_sparse3d.widgets.display import display_name
    from napari_sparse3d.widgets.viewer import NoWindow, open_window

    if not wanted:
        return "not opened (--no-viewer)"
    if find_spec("napari") is None:
        return 'not opened, since it is not installed; pip install "napari-sparse3d[gui]"'
    if display_name() is None:
        return "not opened, since there is no display; look at the report instead"
    try:
        with status("Opening napari"):
            open_window(sample_head_mri_path(), folder / "voxels.npz", folder / "napari.log")
    except NoWindow as error:
        return f"not opened: {error}"
    return "open with the scan and its voxels; close it when you are done"
