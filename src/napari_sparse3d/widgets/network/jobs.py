"""What the Network panel lets a worker do: make voxels, run a network in the child process, write files. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from uuid import uuid4

from napari_sparse3d.cases.identity import CaseIdentity
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import require_voxels, voxelize
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.child.records import Attributed, ModelInfo, NetworkResult, Request
from napari_sparse3d.widgets.network.export import write_chart, write_table
from napari_sparse3d.widgets.network.save import save_network_session
from napari_sparse3d.widgets.network.state import NetworkRun
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.caller import Caller
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.step import Step


def run(
    child: Caller, made: ScanVoxels, volume_id: str, model: str, engine: str
) -> Generator[Any, bool | None, NetworkRun]:
    """Run a model on a voxel set."""
    require_voxels(made.voxels, made.volume, made.recipe)
    request = Request(uuid4().hex, model, made.voxels, made.facts, engine)
    result = yield from in_words(child.call("network.run", request=request))
    return NetworkRun(result, made, volume_id)


def voxelize_and_run(
    child: Caller, volume: Volume, frame: int, case: CaseIdentity, info: ModelInfo, volume_id: str, engine: str
) -> Generator[Any, bool | None, NetworkRun]:
    """Make voxels of a volume by the model's own recipe, and run it on them."""
    yield Step(0, 0, f"Making voxels of {volume.name} by {info.recipe.name} …")
    made = ScanVoxels(voxelize(volume, info.recipe), info.recipe, volume, frame, case)
    return (yield from run(child, made, volume_id, info.argument, engine))


def attribute(child: Caller, request: Request, target: int, method: str) -> Generator[Any, bool | None, Attributed]:
    """Which voxels drove a class."""
    call = child.call("network.attribution", request=request, target=target, method=method)
    said: Attributed = yield from in_words(call)
    return said


def know_content(made: ScanVoxels) -> Generator[Any, bool | None, str]:
    """Hash what was run, so that its like can be asked for without waiting."""
    yield None
    return made.content


def in_words(call: Generator[Any, bool | None, Any]) -> Generator[Step, bool | None, Any]:
    """Steps that are words become :class:`Step`."""
    try:
        step = next(call)
        while True:
            answer = yield Step(0, 0, f"{str(step)[:1].upper()}{str(step)[1:]} …")
            step = call.send(answer)
    except StopIteration as done:
        return done.value


def export(result: NetworkResult, path: Path) -> Callable[[], str]:
    """Write the table (.csv) or the chart (.svg, .png)."""

    def write() -> str:
        (write_chart if path.suffix in (".svg", ".png") else write_table)(result, path)
        return f"Wrote {path.name}."

    return write


def save_session(
    folder: Path, ran: NetworkRun, drove: Attributed | None, source: repeat.Source | None
) -> Callable[[], str]:
    """Write the session."""

    def write() -> str:
        files = save_network_session(folder, ran, drove, source)
        return f"Saved {words.count(len(files), 'files')} in {folder.name}."

    return write
