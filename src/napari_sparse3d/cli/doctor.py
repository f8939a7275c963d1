"""``napari-sparse3d doctor``: what works here, and the line that mends what doesn't."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import typer

from napari_sparse3d.cli.common import EXIT_INPUT, JsonFlag, emit, show


@dataclass(frozen=True)
class Check:
    """One finding. ``state``: ``ok``, ``absent`` (optional, can be added) or ``broken`` (must work, and doesn't)."""

    name: str
    state: Literal["ok", "absent", "broken"]
    found: str
    mend: str = ""


def doctor(as_json: JsonFlag = False) -> None:
    """Show what works on this machine, and the line that mends what doesn't.

    Exit code 1 if something that must work is broken; what is only absent (a GPU, napari) is listed with the line that
    adds it.
    """
    checks = list(_checks())
    if as_json:
        emit({"ok": all(check.state != "broken" for check in checks), "checks": [asdict(check) for check in checks]})
    else:
        show(_table(checks))
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(EXIT_INPUT)


def _checks() -> Iterator[Check]:
    check: Callable[[], Check]
    for check in (_program, _python, _torch):
        yield check()


def _program() -> Check:
    return Check("napari-sparse3d", "ok", version("napari-sparse3d"))


def _python() -> Check:
    return Check(
        "Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.prefix}"
    )


def _torch() -> Check:
    try:
        return Check("torch", "ok", f"{version('torch')}, {os.cpu_count()} processors")
    except PackageNotFoundError:
        return Check("torch", "broken", "not installed", "pip install torch")


def _table(checks: list[Check]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    marks = {"ok": "[green]ok[/]", "absent": "[yellow]absent[/]", "broken": "[bold red]broken[/]"}
    for check in checks:
        table.add_row(marks[check.state], check.name, check.found)
        if check.mend:
            table.add_row("", "", f"[bold]{check.mend}[/]")
    return table
