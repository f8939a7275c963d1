"""Opening scans from a panel: a folder with a choice of its series, or a sample."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.failures import Failure
from napari_sparse3d.widgets.toolbox.layers import from_file
from napari_sparse3d.widgets.toolbox.step import Step
from napari_sparse3d.widgets.toolbox.work import Work

if TYPE_CHECKING:
    from napari_sparse3d.cases.identity import CaseIdentity
    from napari_sparse3d.io import SeriesInfo
    from napari_sparse3d.io.layers import LayerData

# Reading takes half a second to import: that happens in the worker, so that a panel opens at once.

Say = Callable[[str], None]
PLUGIN = "napari-sparse3d"


def open_sample(viewer: Viewer, key: str, parent: QWidget, say: Say) -> None:
    """Open one of this plugin's samples, read in the background."""

    def job() -> Generator[Step, None, list[LayerData]]:
        yield Step(0, 0, "Opening the sample …")
        from napari_sparse3d.io.samples import sample_layers

        return sample_layers(key)

    def show(found: list[LayerData]) -> None:
        for each in found:
            layer = Layer.create(*each)
            layer._set_source(layer.source.model_copy(update={"sample": (PLUGIN, key)}))
            viewer.add_layer(layer)
        say("")

    _start(job, "opening the sample", show, parent, say)


def open_folder(viewer: Viewer, parent: QWidget, say: Say) -> None:
    """Ask for a folder, list its series in the background, and open the one that is meant."""
    folder = QFileDialog.getExistingDirectory(parent, "Open a folder with a series")
    if folder:
        open_path(viewer, Path(folder), parent, say)


def open_path(viewer: Viewer, path: Path, parent: QWidget, say: Say) -> None:
    """List the series at a path in the background; several: ask; then read."""
    _start(
        lambda: _scan(path), "looking for series", lambda found: _choose(viewer, path, found, parent, say), parent, say
    )


def _scan(path: Path) -> Generator[Step, None, list[SeriesInfo]]:
    yield Step(0, 0, "Looking for series …")
    from napari_sparse3d.io import scan

    return scan(path)


def _choose(viewer: Viewer, path: Path, found: list[SeriesInfo], parent: QWidget, say: Say) -> None:
    if len(found) == 1 and found[0].status != "repair":
        _read(viewer, path, found, found[0], parent, say)
        return
    from napari_sparse3d.widgets.opening.series_chooser import SeriesChooser

    say("")
    dialog = SeriesChooser(found, parent)
    dialog.accepted.connect(lambda: _read(viewer, path, found, dialog.chosen(), parent, say, repair=dialog.repair))
    dialog.open()


@dataclass(frozen=True)
class _Opened:
    data: LayerData
    case: CaseIdentity


def _read(
    viewer: Viewer,
    path: Path,
    found: list[SeriesInfo],
    info: SeriesInfo,
    parent: QWidget,
    say: Say,
    *,
    repair: str | None = None,
) -> None:
    def show(opened: _Opened) -> None:
        layer = Layer.create(*opened.data)
        from_file(layer, path, series=info.index if len(found) > 1 else None, repair=repair, case=opened.case)
        viewer.add_layer(layer)
        notes = "; ".join(f"{fault.kind.value}: {fault.detail}" for fault in info.faults)
        say(f"Opened, with a note: {notes}." if notes else "")

    def job() -> Generator[Step, None, _Opened]:
        yield Step(0, 0, f"Reading {words.count(info.n_files, 'files')} …")
        from napari_sparse3d.cases.identity import identify
        from napari_sparse3d.io import read_sequence
        from napari_sparse3d.io.layers import layer_of

        return _Opened(layer_of(read_sequence(info, repair=repair), info.title), identify(path, found, info))

    _start(job, "reading the series", show, parent, say)


def _start(
    job: Callable[[], Generator[Step, None, Any]], title: str, show: Callable[[Any], None], parent: QWidget, say: Say
) -> None:
    """Run a job in the background; its steps and its failure are said, what it gives is shown."""
    work = Work(parent)
    work.stepped.connect(lambda step: say(step.text) if isinstance(step, Step) else None)
    work.failed.connect(lambda failure: _tell(failure, parent, say))
    work.finished.connect(show)
    work.ended.connect(work.deleteLater)
    work.start(job, title)


def _tell(failure: Failure, parent: QWidget, say: Say) -> None:
    fail = getattr(parent, "fail", None)
    if fail is not None:
        fail(failure)
    else:
        say(failure.sentence)
