"""``napari-sparse3d doctor``: what works here, and the line that mends what doesn't."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

import typer

from napari_sparse3d.cli.common import EXIT_INPUT, JsonFlag, emit, show, status

if TYPE_CHECKING:
    from napari_sparse3d.catalog import EngineInfo, Registry

REINSTALL = "pip install --force-reinstall napari-sparse3d"


@dataclass(frozen=True)
class Check:
    """One finding; ``absent`` is optional and can be added, ``broken`` must work and doesn't."""

    name: str
    state: Literal["ok", "absent", "broken"]
    found: str
    mend: str = ""


def doctor(as_json: JsonFlag = False) -> None:
    """Show what works on this machine, and the line that mends what doesn't.

    Exit code 1 if something that must work is broken. What is only absent (a CUDA card, napari) is optional.
    """
    with status("Looking at this machine"):
        checks = list(_checks())
    if as_json:
        emit(
            {"ok": not any(check.state == "broken" for check in checks), "checks": [asdict(check) for check in checks]}
        )
    else:
        show(_table(checks))
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(EXIT_INPUT)


def _checks() -> Iterator[Check]:
    for name, check in _CHECKS.items():
        yield from _survived(name, check)


def _survived(name: str, check: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from check()
    except Exception as error:  # a check that breaks is a finding, and the others still matter
        yield Check(name, "broken", f"{type(error).__name__}: {error}", REINSTALL)


def _program() -> Iterator[Check]:
    yield Check("napari-sparse3d", "ok", version("napari-sparse3d"))
    yield Check("Python", "ok", f"{platform.python_version()}, {sys.prefix}")


def _processor() -> Iterator[Check]:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check(
        "processor",
        "ok",
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{usable} cores for this process, {torch.get_num_threads()} threads in use",
    )


def _cuda() -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        cards = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        yield Check("CUDA", "ok", f"{', '.join(cards)} (CUDA {torch.version.cuda}, torch {torch.__version__})")
    elif torch.version.cuda is None:
        mend = "with a CUDA card: install the CUDA build of torch, see https://pytorch.org/get-started/locally"
        yield Check("CUDA", "absent", f"torch {torch.__version__} is built for the CPU", mend)
    else:
        mend = "with a CUDA card: update its driver; `nvidia-smi` must list it"
        yield Check("CUDA", "absent", f"torch {torch.__version__} finds no card", mend)


def _engines() -> Iterator[Check]:
    from napari_sparse3d.catalog import ENGINES

    yield from map(_engine, ENGINES.values())
    yield from _broken(ENGINES)


def _parts() -> Iterator[Check]:
    """What there is of each other kind, ours and others'."""
    from napari_sparse3d.catalog import (
        ARCHITECTURES,
        ATTRIBUTIONS,
        FORMATS,
        LOSSES,
        PANELS,
        RECIPES,
        THRESHOLDS,
        TRAINED,
    )

    registries: tuple[tuple[str, Registry[Any]], ...] = (
        ("formats", FORMATS),
        ("recipes", RECIPES),
        ("presets", THRESHOLDS),
        ("architectures", ARCHITECTURES),
        ("models", TRAINED),
        ("losses", LOSSES),
        ("attribution methods", ATTRIBUTIONS),
        ("panels", PANELS),
    )
    for title, registry in registries:
        lost = _lost_files() if registry.kind == "model" else {}
        there = (name for name, part in registry.items() if not part.absent and name not in lost)
        yield Check(title, "ok", ", ".join(there))
        for name, part in registry.items():
            if name in lost:
                yield Check(f"model {name}", "broken", lost[name], "update or remove the package that brings it")
            elif part.absent:
                yield Check(f"{registry.kind} {name}", "absent", part.absent, part.install)
        yield from _broken(registry)


def _lost_files() -> dict[str, str]:
    """The trained models whose file is not there, and what is said of each."""
    from napari_sparse3d.catalog import TRAINED
    from napari_sparse3d.errors import CatalogError

    lost = {}
    for name, info in TRAINED.items():
        try:
            _ = info.path
        except CatalogError as error:
            lost[name] = str(error)
    return lost


def _broken(registry: Registry[Any]) -> Iterator[Check]:
    """What other packages bring and cannot be used."""
    for name, why in registry.broken.items():
        yield Check(f"{registry.kind} {name}", "broken", why, "update or remove the package that brings it")


def _choice() -> Iterator[Check]:
    from napari_sparse3d.engine.choice import choose

    yield Check("networks run on", "ok", str(choose()))


def _engine(info: EngineInfo) -> Check:
    from napari_sparse3d.errors import EngineError
    from napari_sparse3d.sparse.engine import engine

    try:
        loaded = engine(info.name)
    except EngineError as error:
        mend = f"with a CUDA card: {info.install}" if info.devices[0] == "cuda" else info.install
        return Check(f"engine {info.name}", "absent" if info.needs else "broken", str(error), mend or REINSTALL)
    said = [info.description, getattr(loaded, "instruction_set", "")]
    return Check(f"engine {info.name}", "ok", ", ".join(filter(None, said)))


def _codecs() -> Iterator[Check]:
    from napari_sparse3d.io.codecs import decodable

    codecs = decodable()
    missing = [name for name, works in codecs.items() if not works]
    if missing:
        mend = "pip install python-gdcm pylibjpeg pylibjpeg-openjpeg"
        yield Check("DICOM codecs", "broken", f"cannot decode {', '.join(missing)}", mend)
    else:
        yield Check("DICOM codecs", "ok", ", ".join(codecs))


def _window() -> Iterator[Check]:
    from napari_sparse3d.widgets.display import display_name
    from napari_sparse3d.widgets.opengl import probe

    mend = 'pip install "napari-sparse3d[gui]"'
    try:
        yield Check("napari", "ok", version("napari"))
    except PackageNotFoundError:
        yield Check("napari", "absent", "not installed; everything else works without", mend)
        return
    if display_name() is None:
        yield Check("display", "absent", "none: no window can be opened here, everything else works", "")
        return
    window = probe()
    if "error" in window:
        yield Check("Qt and OpenGL", "broken", window["error"], mend)
    elif "opengl" not in window:
        yield Check(
            "Qt and OpenGL",
            "broken",
            f"{window['binding']} {window['qt']}, but no OpenGL",
            "install a graphics driver (Mesa)",
        )
    else:
        drawn = f"OpenGL {window['opengl']}, {window['renderer']}"
        yield Check("Qt and OpenGL", "ok", f"{window['binding']} {window['qt']} on {window['platform']}, {drawn}")


_CHECKS: dict[str, Callable[[], Iterator[Check]]] = {
    "program": _program,
    "processor": _processor,
    "CUDA": _cuda,
    "engines": _engines,
    "choice": _choice,
    "parts": _parts,
    "DICOM codecs": _codecs,
    "window": _window,
}


def _table(checks: list[Check]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    styles = {"ok": "green", "absent": "yellow", "broken": "bold red"}
    for check in checks:
        table.add_row(Text(check.state, styles[check.state]), check.name, Text(check.found))
        if check.mend:
            table.add_row("", "", Text(check.mend, "bold"))
    return table
