"""The flows of ``docs/flows.md``, walked with real clicks in a real window, with a stop-watch.

Run in a window: ``scripts/with-display .venv/bin/python benchmarks/flows.py`` (or with the names of some flows). Every
button that is clicked has to be there, visible and enabled, as for a person; rows and list items are clicked where they
are drawn, a folder is dropped on the canvas. What a person types into the system's file dialog is answered for it: such
a dialog counts as the click that opens it. What comes before a flow begins (a prediction, a table) is made before the
clock starts.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cases

LIMIT_S = 110
MENU = 2
"""Clicks to a panel: *Plugins*, and its name in *Sparse 3D*, which opens under the mouse."""
N_CASES, N_TRAINED, EPOCHS = 40, 40, 3


class Walk:
    """One flow: counts clicks, notes what took how long."""

    def __init__(self, viewer: Any, home: Path) -> None:
        self.viewer, self.home = viewer, home
        self.begin()

    def begin(self) -> None:
        """Start the clock."""
        self.clicks = 0
        self.notes: list[str] = []
        self._started = self._last = time.perf_counter()

    def panel(self, name: str) -> Any:
        """Open a panel as the menu does."""
        self.clicks += MENU
        _, panel = self.viewer.window.add_plugin_dock_widget("napari-sparse3d", name, tabify=True)
        _spin(0.1)
        return panel

    def click(self, button: Any) -> None:
        """Click a button, scrolling to it first."""
        _until(
            lambda: _reach(button) and button.isVisible() and button.isEnabled(), f"{button.text()!r} can be clicked"
        )
        self.press(button, button.rect().center())

    def click_item(self, view: Any, row: int, *, double: bool = False) -> None:
        """Click a row of a table or a list where it is drawn."""
        _reach(view)
        item = view.item(row, 0) if hasattr(view, "columnCount") else view.item(row)
        view.scrollToItem(item)
        _spin(0.05)
        self.press(view.viewport(), view.visualItemRect(item).center(), double=double)

    def press(self, widget: Any, at: Any, *, double: bool = False) -> None:
        """A click, or a double click, which counts as one."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        self.clicks += 1
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseClick(widget, left, none, at)
        if double:
            QTest.mouseDClick(widget, left, none, at)

    def wait(self, what: str, condition: Callable[[], Any]) -> None:
        """Wait for something, and note how long it took."""
        _until(condition, what)
        now = time.perf_counter()
        self.notes.append(f"{what} {now - self._last:.1f} s")
        self._last = now

    @property
    def seconds(self) -> float:
        """So far."""
        return time.perf_counter() - self._started


def first_look(walk: Walk) -> None:
    """First look: sample MRI, voxels, layer table, one layer in 3D."""
    voxels = walk.panel("Sparse voxels")
    walk.wait("panel", lambda: True)
    walk.click(voxels.sample_button)
    walk.wait("scan", lambda: len(walk.viewer.layers) > 0)
    walk.wait("preview", lambda: _shown(walk.viewer, "preview"))
    walk.click(voxels.next_button)
    walk.wait("voxels", lambda: _shown(walk.viewer, "voxels"))
    walk.wait("layer table", lambda: _panel(walk.viewer, "NetworkPanel") and _panel(walk.viewer, "NetworkPanel").ran)
    network = _panel(walk.viewer, "NetworkPanel")
    walk.click_item(network.table, 3)
    walk.wait("a layer", lambda: _shown(walk.viewer, "activation"))
    walk.click(network.in_3d)
    walk.wait("3D", lambda: walk.viewer.dims.ndisplay == 3 and _spin(0.1))


def own_ct(walk: Walk) -> None:
    """Own CT: a folder with two series is dropped, the CT chosen, bone voxels."""
    from napari_sparse3d.widgets.toolbox.layers import volumes

    folder = cases.disc(walk.home / "disc")
    if folder is None:
        raise SystemExit("own_ct needs real DICOM: see benchmarks/cases.py")
    walk.begin()
    voxels = walk.panel("Sparse voxels")
    asked: list[str] = []
    _answer_dialogs(walk, asked)
    walk.clicks += 1  # the drop
    _drop(walk.viewer, folder)
    walk.wait("series listed and chosen", lambda: volumes(walk.viewer))
    walk.wait("scan and preview", lambda: _shown(walk.viewer, "preview"))
    walk.click(voxels.primary)
    walk.wait("voxels", lambda: _shown(walk.viewer, "voxels"))
    walk.notes.append(f"asked by {' and '.join(asked)}")


def what_drove_it(walk: Walk) -> None:
    """What drove it: from a prediction to the attribution over the scan, in 2D and 3D."""
    network = _ran(walk)
    walk.click(network.attribute_button)
    walk.wait("in 2D", lambda: _shown(walk.viewer, "attribution"))
    walk.click(network.in_3d)
    walk.wait("in 3D", lambda: walk.viewer.dims.ndisplay == 3 and _spin(0.1))


def who_is_like_it(walk: Walk) -> None:
    """Who is like it: from a prediction to the most similar case side by side, out of a table that is opened."""
    table = cases.nodule_table(walk.home / "nodules", N_CASES)
    embedded = _embed(table, "nodule", walk.home / "cohort.parquet")
    network = _ran(walk, scan=table.parent / "nodule_0030.nii.gz", model="nodule")
    _answer("getOpenFileName", (str(embedded), ""))
    walk.click(network.like_button)
    cohort = _panel(walk.viewer, "CohortPanel")
    walk.click(cohort.open_table)
    walk.wait("map and similar cases", lambda: cohort.similar.list.count() > 0)
    before = len(walk.viewer.layers)
    walk.click_item(cohort.similar.list, 0, double=True)
    walk.wait("side by side", lambda: len(walk.viewer.layers) > before)


def my_model(walk: Walk) -> None:
    """My model: from a folder per class to a trained model in the Network panel (3 epochs on 40 small masks)."""
    folder = cases.nodules_by_class(walk.home / "classes", N_TRAINED)
    _answer("getExistingDirectory", str(folder))
    walk.begin()
    train = walk.panel("Train")
    walk.click(train.folder_button)
    train.epochs.setValue(EPOCHS)
    walk.click(train.primary)
    walk.wait("checked", lambda: train.check_text.isVisible())
    walk.wait("trained", lambda: train.process is None)
    walk.click(train.use_button)
    network = _panel(walk.viewer, "NetworkPanel")
    walk.wait("in Network", lambda: network.model.currentData() == str(train.model_path))


def again(walk: Walk) -> None:
    """Again, headless: the copied line in a terminal gives the same numbers."""
    network = _ran(walk)
    walk.click(network.copy_command)
    words = shlex.split(_application().clipboard().text())
    program = [sys.executable, "-c", "from napari_sparse3d.cli import main; main()"]
    done = subprocess.run([*program, *words[1:], "--json"], capture_output=True, text=True, check=True, cwd=walk.home)
    walk.wait("in a fresh Python", lambda: True)
    found = json.loads(done.stdout)["embedding"]
    difference = float(np.abs(np.subtract(found, network.ran.result.embedding)).max())
    walk.notes.append(f"largest difference of the embedding {difference:g}")


FLOWS = {each.__name__: each for each in (first_look, own_ct, what_drove_it, who_is_like_it, my_model, again)}


def main() -> None:
    """Walk the flows, each in a new window, and print the table."""
    import napari

    print("| flow | clicks | time | where it went |\n| --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_SPARSE3D_HOME"] = home
        for name in sys.argv[1:] or FLOWS:
            viewer = napari.Viewer(show=True, show_welcome_screen=False)
            viewer.window.resize(1400, 900)
            _spin(0.5)
            walk = Walk(viewer, Path(home))
            FLOWS[name](walk)
            about = (FLOWS[name].__doc__ or "").removesuffix(".")
            print(f"| {about} | {walk.clicks} | {walk.seconds:.1f} s | {', '.join(walk.notes)} |", flush=True)
            viewer.close()
            _spin(0.3)


def _ran(walk: Walk, scan: Path | None = None, model: str | None = None) -> Any:
    """A Network panel with a prediction, before the clock starts."""
    if scan is None:
        walk.viewer.open_sample("napari-sparse3d", "head_mri")
    else:
        walk.viewer.open(str(scan), plugin="napari-sparse3d")
    _, network = walk.viewer.window.add_plugin_dock_widget("napari-sparse3d", "Network")
    _until(lambda: network.model.count() > 0, "the models are listed")
    if model is not None:
        network.workbench.set_model(model)
    network.run()
    _until(lambda: network.ran is not None, "a prediction")
    walk.begin()
    return network


def _embed(table: Path, model: str, out: Path) -> Path:
    from napari_sparse3d.cohort import write_rows
    from napari_sparse3d.widgets.child.process import Child

    child = Child()
    call = child.call("network.embed", source=str(table), model=model)
    try:
        while True:
            next(call)
    except StopIteration as done:
        write_rows(done.value, out)
    child.stop()
    return out


def _panel(viewer: Any, name: str) -> Any:
    docks = viewer.window.dock_widgets.values()
    return next((each for each in docks if type(each).__name__ == name), None)


def _shown(viewer: Any, role: str) -> bool:
    from napari_sparse3d.widgets.toolbox.layers import ours

    return any(layer.visible for layer in ours(viewer, role))


def _reach(widget: Any) -> bool:
    """Scroll to a widget that stands in a panel that scrolls."""
    from qtpy.QtWidgets import QScrollArea

    area = widget.parent()
    while area is not None and type(area) is not QScrollArea:
        area = area.parent()
    if area is not None and area.widget().isAncestorOf(widget):
        area.ensureWidgetVisible(widget)
    return True


def _answer(dialog: str, answer: Any) -> None:
    """What a person would choose in a file dialog."""
    from qtpy.QtWidgets import QFileDialog

    setattr(QFileDialog, dialog, staticmethod(lambda *_args, **_keywords: answer))


def _answer_dialogs(walk: Walk, asked: list[str]) -> None:
    """Click what a person would click in the dialogs that a drop brings up: which reader, which series."""
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QDialog, QDialogButtonBox, QRadioButton

    def look() -> None:
        for dialog in _application().topLevelWidgets():
            if not (isinstance(dialog, QDialog) and dialog.isVisible()):
                continue
            for radio in dialog.findChildren(QRadioButton):
                if radio.text() == "Sparse 3D" and not radio.isChecked():
                    radio.setChecked(True)
                    walk.clicks += 1
            buttons = dialog.findChild(QDialogButtonBox)
            if buttons is not None:
                asked.append(dialog.windowTitle())
                timer.stop()
                QTimer.singleShot(200, timer.start)
                walk.press(buttons.buttons()[0], buttons.buttons()[0].rect().center())
                return

    timer = QTimer(walk.viewer.window.dock_widgets["Sparse voxels (napari-sparse3d)"])
    timer.timeout.connect(look)
    timer.start(50)


def _drop(viewer: Any, folder: Path) -> None:
    """Drop a folder on the canvas."""
    from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
    from qtpy.QtGui import QDropEvent

    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(folder))])
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    viewer.window._qt_viewer.dropEvent(QDropEvent(QPointF(200, 200), Qt.DropAction.CopyAction, mime, left, none))


def _application() -> Any:
    from qtpy.QtWidgets import QApplication

    return QApplication.instance()


def _until(condition: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {LIMIT_S} s")
        _application().processEvents()
        time.sleep(0.01)


def _spin(seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _application().processEvents()
        time.sleep(0.01)
    return True


if __name__ == "__main__":
    main()
