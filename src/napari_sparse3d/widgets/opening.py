"""Opening scans from a panel: a folder with a choice of its series, or a sample."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from napari.layers import Image, Labels, Layer
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sparse3d.io import SeriesInfo, read_sequence, scan
from napari_sparse3d.io.layers import LayerData, layer_of
from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.faults import Fault
from napari_sparse3d.widgets.toolbox.work import Step, Work

Say = Callable[[str], None]


def open_sample(viewer: Viewer, key: str) -> None:
    """Open one of this plugin's samples."""
    viewer.open_sample("napari-sparse3d", key)


def open_folder(viewer: Viewer, parent: QWidget, say: Say) -> None:
    """Ask for a folder, list its series in the background, and open the one that is meant."""
    folder = QFileDialog.getExistingDirectory(parent, "Open a folder with a series")
    if folder:
        open_path(viewer, Path(folder), parent, say)


def open_path(viewer: Viewer, path: Path, parent: QWidget, say: Say) -> None:
    """List the series at a path in the background; several: ask; then read."""
    work = Work(parent)
    work.stepped.connect(lambda step: say(step.text) if isinstance(step, Step) else None)
    work.failed.connect(lambda fault: _tell(fault, parent, say))
    work.finished.connect(lambda found: _choose(viewer, path, found, parent, say))
    work.start(lambda: _scan(path), f"looking at {path.name}")


def _scan(path: Path) -> Generator[Step, None, list[SeriesInfo]]:
    yield Step(0, 0, f"Looking at {path.name} …")
    return scan(path)


def _choose(viewer: Viewer, path: Path, found: list[SeriesInfo], parent: QWidget, say: Say) -> None:
    if len(found) == 1:
        _read(viewer, path, found[0], parent, say, several=False)
        return
    say("")
    dialog = SeriesDialog(found, parent)
    dialog.accepted.connect(lambda: _read(viewer, path, dialog.chosen(), parent, say, several=True))
    dialog.open()


@dataclass(frozen=True)
class _Opened:
    data: LayerData
    info: SeriesInfo


def _read(viewer: Viewer, path: Path, info: SeriesInfo, parent: QWidget, say: Say, *, several: bool) -> None:
    work = Work(parent)
    work.failed.connect(lambda fault: _tell(fault, parent, say))

    def show(opened: _Opened) -> None:
        data, arguments, kind = opened.data
        arguments["metadata"] = {**arguments["metadata"], **({"series": info.index} if several else {})}
        layer: Layer = Labels(data, **arguments) if kind == "labels" else Image(data, **arguments)
        # the source as napari's own readers leave it, so that the layer says where it comes from
        layer._set_source(layer.source.model_copy(update={"path": str(path), "reader_plugin": "napari-sparse3d"}))
        viewer.add_layer(layer)
        notes = "; ".join(f"{fault.kind.value}: {fault.detail}" for fault in info.faults)
        say(f"Opened, with a note: {notes}." if notes else "")

    def job() -> Generator[Step, None, _Opened]:
        yield Step(0, 0, f"Reading {words.count(info.n_files, 'files')} …")
        return _Opened(layer_of(read_sequence(info)), info)

    work.stepped.connect(lambda step: say(step.text) if isinstance(step, Step) else None)
    work.finished.connect(show)
    work.start(job, f"reading {path.name}")


def _tell(fault: Fault, parent: QWidget, say: Say) -> None:
    fail = getattr(parent, "fail", None)
    if fail is not None:
        fail(fault)
    else:
        say(fault.sentence)


class SeriesDialog(QDialog):
    """Several series are there: which one?"""

    def __init__(self, found: list[SeriesInfo], parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Choose a series")
        self._found = found
        self.list = QListWidget()
        self.list.setMinimumSize(460, 220)
        for info in found:
            self.list.addItem(_item(info))
        likely = [i for i, info in enumerate(found) if info.readable and not (info.localizer or info.auxiliary)]
        first = likely[0] if likely else 0
        self.list.setCurrentRow(first)
        self.list.itemDoubleClicked.connect(lambda _: self.accept())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(f"{words.count(len(found), 'series')} are here. Which one is to be opened?"))
        layout.addWidget(self.list)
        layout.addWidget(buttons)

    def chosen(self) -> SeriesInfo:
        """The selected series."""
        return self._found[self.list.currentRow()]


def _item(info: SeriesInfo) -> QListWidgetItem:
    size = "no volume" if info.shape is None else words.grid(info.shape)
    if info.n_frames > 1:
        size += f" × {info.n_frames} in time"
    mm = "" if info.spacing_mm is None else f" · {words.spacing(info.spacing_mm)}"
    title = f"{info.modality or info.format}  {info.description or 'no description'}"
    text = f"{title}\n{size}{mm} · {words.count(info.n_files, 'files')}"
    item = QListWidgetItem(text)
    if not info.readable:
        item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
        item.setText(f"{text}\ncannot be read: {info.reason[:90]}")
    item.setToolTip("; ".join(f"{fault.kind.value}: {fault.detail}" for fault in info.faults) or "no faults found")
    return item
