"""``napari-sparse3d bench``: the engines side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_sparse3d.cli.common import CallError, JsonFlag, emit, say, show, status
from napari_sparse3d.cli.options import DeviceOption
from napari_sparse3d.text import did_you_mean

if TYPE_CHECKING:
    from napari_sparse3d.bench import Row


def bench(
    workload: Annotated[
        list[str] | None,
        typer.Option("--workload", "-w", metavar="W", help="object40, mri110, subm32 or ct512; again for more."),
    ] = None,
    engine: Annotated[
        list[str] | None,
        typer.Option(
            "--engine", metavar="E", help="Only native and those whose name starts so ({engines}, ...); again for more."
        ),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of pairs: native, then another engine.")] = 7,
    memory: Annotated[bool, typer.Option(help="Take the peak memory too, in a fresh process each (slow).")] = True,
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Measure the engines on the same work, in the same process, in interleaved pairs.

    A ratio is the median, over rounds, of an engine's time divided by that of the native engine just before: above 1
    is slower. The floor is what the work takes at least, at this machine's measured rates of matrix product and copy.
    Where there is a CUDA card, spconv and dense torch run there as well, in fp32, tf32 and fp16. Close other programs
    first.

    Example: napari-sparse3d bench --workload mri110 --json > bench.json
    """
    import torch

    from napari_sparse3d.bench import WORKLOADS, all_names, is_asked_for, machine, measure
    from napari_sparse3d.engine.choice import choose

    wanted = workload or list(WORKLOADS)
    if unknown := [name for name in wanted if name not in WORKLOADS]:
        raise CallError(f"there is no workload {unknown[0]!r}; choose {', '.join(WORKLOADS)}")
    known = all_names()
    for asked in engine or ():
        if not any(is_asked_for(each, [asked]) for each in known):
            near = did_you_mean(asked, known)
            raise CallError(f"--engine: there is nothing called {asked!r}; choose of {', '.join(known)}{near}")
    place = choose("dense", device).device if torch.cuda.is_available() or device != "auto" else "cpu"
    rows: list[Row] = []
    for name in wanted:
        with status(f"Measuring {name}"):
            rows += measure(name, device=place, engines=tuple(engine or ()), rounds=rounds, memory=memory, say=say)
    where = machine(place)
    if as_json:
        emit({"machine": where, "workloads": [row.record() for row in rows]})
        return
    show(_table(rows))
    say(
        ", ".join(
            f"{key} {value:.0f}" if isinstance(value, float) else f"{key} {value}" for key, value in where.items()
        )
    )


def _table(rows: list[Row]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("workload", "pass", "engine"):
        table.add_column(column, no_wrap=True)
    for column in ("ms", "to native", "floor, ms", "peak, MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for before, row in zip([None, *rows], rows, strict=False):
        first = before is None or (before.name, before.mode) != (row.name, row.mode)
        table.add_row(
            row.name if first else "",
            row.mode if first else "",
            row.engine,
            f"{row.ms:.1f}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            f"{row.floor_ms:.1f}",
            "" if row.peak_mb is None else f"{row.peak_mb:.0f}",
        )
    return table
