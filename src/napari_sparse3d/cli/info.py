"""``napari-sparse3d info``: every series at a path, and what is to know before it is read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from napari_sparse3d.cli.common import EXIT_INPUT, CallError, JsonFlag, emit, say, show, status, track
from napari_sparse3d.cli.options import ScanPath
from napari_sparse3d.text import printable

if TYPE_CHECKING:
    from napari_sparse3d.io import SeriesInfo

_BADGES = {
    "clean": Text("✓ clean", "green"),
    "note": Text("i note", "cyan"),
    "choice": Text("? choose", "blue"),
    "repair": Text("! repair", "yellow"),
    "refuse": Text("✗ refused", "red"),
}

MOST_LOOKED_AT = 50
"""Files whose values are looked at for their unit."""


def info(
    path: ScanPath,
    content: Annotated[
        bool,
        typer.Option("--content", help="With --json: read the voxels too, and give each series' content hash."),
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List every series at a path, with its faults. Only headers are read, but where no header names a unit.

    With --json each series has its own place, path (below PATH) and series, by which `predict` writes it down and
    `similar` knows it again; index is its number at PATH.

    ✓ and i: read as it is. ?: a series in time, choose with --frame. !: read with --repair. ✗: no volume can be made.

    Exit code 1 if no series can be read as it is.
    """
    from napari_sparse3d.io import scan

    if content and not as_json:
        raise CallError("--content is shown by --json alone; give both, or leave it out")
    with status("Reading headers"):
        series = scan(path)
    units = _units(series)
    if as_json:
        emit({"series": _records(path, series, units, content)})
    else:
        show(_table(series, units))
        if any(item.faults for item in series):
            show(_fault_lines(series))
    if not any(item.readable for item in series):
        raise typer.Exit(EXIT_INPUT)


def _records(path: Path, series: list[SeriesInfo], units: list[str], with_content: bool) -> list[dict[str, Any]]:
    """Each series with its identity, as the tables of ``predict`` have it; its place below PATH.

    A place that is called after the person in the tags is not repeated.
    """
    from napari_sparse3d.cases.identity import content_of_volume, places
    from napari_sparse3d.io.naming import without_identity

    own = places(path, series)
    records = []
    for item, unit in zip(series, units, strict=True):
        place, number = own[item.index]
        below = place.relative_to(path).as_posix() if place.is_relative_to(path) else place.name
        named = any(without_identity(part, item.identity) != part for part in Path(below).parts if item.identity)
        record = {**item.as_dict(), "unit": unit, "path": None if named else below, "series": number}
        if with_content:
            one = item.readable and item.n_frames == 1
            record["content"] = content_of_volume(item.load().volume(0)) if one else None
        records.append(record)
    return records


def _units(series: list[SeriesInfo]) -> list[str]:
    """The unit of each as it will be read; "" where that is not known.

    The values are looked at where only they tell, unless there are so many files that it would take long.
    """
    undecided = [item for item in series if not item.unit and item.readable]
    if len(undecided) > MOST_LOOKED_AT:
        say(f"{len(undecided)} files name no unit: it is known when they are read (name fewer to see it here)")
        return [item.unit for item in series]
    looked_at = track(series, "Looking at values") if undecided else series
    return [item.unit_as_read() for item in looked_at]


def _table(series: list[SeriesInfo], units: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("#", "", "kind", "description", "shape z, y, x", "spacing mm", "files"):
        table.add_column(
            column,
            justify="right" if column in ("#", "files") else "left",
            overflow="fold",
            no_wrap=column != "description",
        )
    for item, unit in zip(series, units, strict=True):
        shape = "-" if item.shape is None else "×".join(map(str, item.shape))
        if item.n_frames > 1:
            shape += f"\n{item.n_frames} volumes"
        spacing = "-" if item.spacing_mm is None else "×".join(f"{value:.4g}" for value in item.spacing_mm)
        lines = [Text(printable(item.title))] if item.title else []
        if item.shape is not None:
            lines.append(Text(f"{item.orientation}, {unit or 'unit not known'}", "dim"))
        table.add_row(
            str(item.index),
            _BADGES[item.status],
            item.modality or item.format,
            Text("\n").join(lines) if lines else "-",
            Text(shape),
            spacing,
            str(item.n_files),
        )
    return table


def _fault_lines(series: list[SeriesInfo]) -> Text:
    lines = (f"  {item.index}  {fault.kind.value}: {fault.detail}" for item in series for fault in item.faults)
    return Text("\n" + "\n".join(map(printable, lines)))
