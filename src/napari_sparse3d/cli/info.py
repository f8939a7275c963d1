"""``napari-sparse3d info``: every series at a path, and what is to know before it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.table import Table

from napari_sparse3d.cli.common import EXIT_INPUT, JsonFlag, emit, show, status
from napari_sparse3d.cli.options import ScanPath

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo

_BADGES = {
    "clean": "[green]✓ clean[/]",
    "note": "[cyan]i note[/]",
    "choice": "[blue]? choose[/]",
    "repair": "[yellow]! repair[/]",
    "refuse": "[red]✗ refused[/]",
}


def info(path: ScanPath, as_json: JsonFlag = False) -> None:
    """List every series at a path, with its faults. Only headers are read.

    ✓ and i: read as it is. ?: a series in time, choose with --frame. !: read with --repair. ✗: no volume can be made.

    Exit code 1 if no series can be read as it is.
    """
    from napari_sparse3d.io import scan

    with status("Reading headers"):
        series = scan(path)
    if as_json:
        emit({"series": [item.as_dict() for item in series]})
    else:
        show(_table(series))
        if any(item.faults for item in series):
            show("\n" + _fault_lines(series))
    if not any(item.readable for item in series):
        raise typer.Exit(EXIT_INPUT)


def _table(series: list[SeriesInfo]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("#", "", "kind", "description", "shape z, y, x", "spacing mm", "files"):
        table.add_column(
            column,
            justify="right" if column in ("#", "files") else "left",
            overflow="fold",
            no_wrap=column != "description",
        )
    for item in series:
        shape = "-" if item.shape is None else "×".join(map(str, item.shape))
        if item.n_frames > 1:
            shape += f"\n{item.n_frames} volumes"
        spacing = "-" if item.spacing_mm is None else "×".join(f"{value:.4g}" for value in item.spacing_mm)
        told = [_plain(item.description), "" if item.shape is None else f"[dim]{item.orientation}, {item.unit}[/]"]
        kind = item.modality or item.format
        table.add_row(
            str(item.index),
            _BADGES[item.status],
            kind,
            "\n".join(filter(None, told)) or "-",
            shape,
            spacing,
            str(item.n_files),
        )
    return table


def _fault_lines(series: list[SeriesInfo]) -> str:
    return "\n".join(
        f"  {item.index}  {_plain(fault.kind.value)}: {_plain(fault.detail)}"
        for item in series
        for fault in item.faults
    )


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
