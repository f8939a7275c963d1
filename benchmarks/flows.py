"""The flows of ``docs/flows.md``, walked with real clicks in a real window, with a stop-watch.

Run in a window: ``scripts/with-display .venv/bin/python benchmarks/flows.py`` (or with the names of some flows). Every
button that is clicked has to be there, visible and enabled, as for a person; what a person types into a file dialog is
answered for it. Real scans come from ``SPARSE3D_DATA``, or ``../shared/data`` beside the checkout.
"""

from __future__ import annotations

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

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SPARSE3D_DATA", ROOT.parent / "shared" / "data"))
LIMIT_S = 400
MENU = 3
"""Clicks to a panel: *Plugins*, *Sparse 3D*, its name."""


class Walk:
    """One flow: counts clicks, notes what took how long."""

    def __init__(self, viewer: Any, home: Path) -> None:
        self.viewer, self.home = viewer, home
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
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QScrollArea

        area = button.parent()
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parent()
        if area is not None:
            area.ensureWidgetVisible(button)
        _until(lambda: button.isVisible() and button.isEnabled(), f"{button.text()!r} can be clicked")
        self.clicks += 1
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

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
    walk.click(voxels.sample_button)
    walk.wait("sample and preview", lambda: _shown(walk.viewer, "preview"))
    walk.click(voxels.primary)
    walk.wait("voxels", lambda: _shown(walk.viewer, "voxels"))
    walk.click(voxels.next_button)
    network = _panel(walk.viewer, "NetworkPanel")
    walk.wait("table", lambda: network.ran is not None)
    walk.clicks += 1  # the row
    network.table.selectRow(3)
    walk.wait("layer", lambda: _shown(walk.viewer, "activation"))
    walk.click(network.in_3d)
    walk.wait("3D", lambda: walk.viewer.dims.ndisplay == 3 and _spin(0.2))


def what_drove_it(walk: Walk) -> None:
    """What drove it: attribution over the scan, in 3D and 2D (after the first look)."""
    network = _ran(walk)
    walk.click(network.attribute_button)
    walk.wait("map", lambda: _shown(walk.viewer, "attribution"))
    walk.click(network.in_3d)
    walk.wait("3D", lambda: walk.viewer.dims.ndisplay == 3 and _spin(0.2))


def own_ct(walk: Walk) -> None:
    """Own CT: a folder with several series, one of them chosen, bone voxels."""
    voxels = walk.panel("Sparse voxels")
    folder = _ct_folder(walk.home)
    _answer("getExistingDirectory", str(folder))
    walk.click(voxels.open_button)
    from napari_sparse3d.widgets.toolbox.layers import volumes

    chooser: list[Any] = []

    def choosing() -> bool:
        chooser[:] = [each for each in _application().topLevelWidgets() if type(each).__name__ == "SeriesChooser"]
        return bool(chooser and chooser[0].isVisible()) or bool(volumes(walk.viewer))

    walk.wait("series listed", choosing)
    if not volumes(walk.viewer):
        from qtpy.QtWidgets import QDialogButtonBox

        buttons = chooser[0].findChild(QDialogButtonBox)
        walk.click(buttons.button(QDialogButtonBox.StandardButton.Open) or buttons.buttons()[0])
    walk.wait("scan and preview", lambda: _shown(walk.viewer, "preview"))
    walk.click(voxels.primary)
    walk.wait("voxels", lambda: _shown(walk.viewer, "voxels"))


def who_is_like_it(walk: Walk) -> None:
    """Who is like it: after a prediction, the most similar case side by side."""
    table = _embedded_table(walk.home)
    network = _ran(walk)
    cohort = walk.panel("Cohort")
    _answer("getOpenFileName", (str(table), ""))
    walk.click(cohort.open_table)
    walk.wait("map", lambda: cohort.cohort is not None)
    walk.click(cohort.similar.button)
    walk.wait("similar cases", lambda: cohort.similar.list.count() > 0)
    walk.clicks += 1  # the double click
    before = len(walk.viewer.layers)
    cohort.similar.list.itemActivated.emit(cohort.similar.list.item(0))
    walk.wait("side by side", lambda: len(walk.viewer.layers) > before)
    assert network.ran is not None


def my_model(walk: Walk) -> None:
    """My model: a folder per class, a trained model in the Network panel (2 epochs on 20 small shapes)."""
    train = walk.panel("Train")
    _answer("getExistingDirectory", str(_shapes(walk.home)))
    walk.click(train.folder_button)
    train.epochs.setValue(2)
    walk.click(train.primary)
    walk.wait("checked", lambda: train.check_text.isVisible())
    walk.wait("trained", lambda: train.process is None)
    walk.click(train.use_button)
    network = _panel(walk.viewer, "NetworkPanel")
    walk.wait("in Network", lambda: network.model.currentData() == str(train.model_path))


def again(walk: Walk) -> None:
    """Again, headless: the copied line in a terminal gives the same numbers (after the first look)."""
    import json

    network = _ran(walk)
    walk.click(network.copy_command)
    words = shlex.split(_application().clipboard().text())
    program = [sys.executable, "-c", "from napari_sparse3d.cli import main; main()"]
    done = subprocess.run([*program, *words[1:], "--json"], capture_output=True, text=True, check=True, cwd=walk.home)
    walk.wait("a fresh Python", lambda: True)
    found = json.loads(done.stdout)["embedding"]
    difference = float(np.abs(np.subtract(found, network.ran.result.embedding)).max())
    walk.notes.append(f"largest difference of the embedding {difference:g}")


FLOWS = {each.__name__: each for each in (first_look, what_drove_it, again, own_ct, who_is_like_it, my_model)}


def main() -> None:
    """Walk the flows, each in a new window, and print the table."""
    import napari

    print("| flow | clicks | time | where it went |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as home:
        os.environ["NAPARI_SPARSE3D_HOME"] = home
        for name in sys.argv[1:] or FLOWS:
            viewer = napari.Viewer(show=True, show_welcome_screen=False)
            _spin(0.5)
            walk = Walk(viewer, Path(home))
            FLOWS[name](walk)
            about = (FLOWS[name].__doc__ or "").partition(".")[0]
            print(f"| {about} | {walk.clicks} | {walk.seconds:.0f} s | {', '.join(walk.notes)} |", flush=True)
            viewer.close()
            _spin(0.3)


def _ran(walk: Walk) -> Any:
    """A Network panel with a prediction of the sample, before the clock starts."""
    walk.viewer.open_sample("napari-sparse3d", "head_mri")
    _, network = walk.viewer.window.add_plugin_dock_widget("napari-sparse3d", "Network")
    _until(lambda: network.model.count() > 0, "the models are listed")
    network.run()
    _until(lambda: network.ran is not None, "a prediction")
    walk._started = walk._last = time.perf_counter()
    return network


def _panel(viewer: Any, name: str) -> Any:
    docks = viewer.window.dock_widgets.values()
    return next(each for each in docks if type(each).__name__ == name)


def _shown(viewer: Any, role: str) -> bool:
    from napari_sparse3d.widgets.toolbox.layers import ours

    return any(layer.visible for layer in ours(viewer, role))


def _answer(dialog: str, answer: Any) -> None:
    """What a person would choose in a file dialog."""
    from qtpy.QtWidgets import QFileDialog

    setattr(QFileDialog, dialog, staticmethod(lambda *_args, **_keywords: answer))


def _ct_folder(home: Path) -> Path:
    """A CT beside another series, as a scanner's disc has it; made up where there is no real one at hand."""
    import tarfile

    folder = home / "disc"
    folder.mkdir()
    for case in sorted((DATA / "dicom").glob("*TotalSegmentator*")) + sorted((DATA / "dicom").glob("divest*"))[:1]:
        target = folder / case.name
        if (case / "in").is_dir():
            target.symlink_to(case / "in", target_is_directory=True)
        elif (case / "in.tar.xz").is_file():
            with tarfile.open(case / "in.tar.xz") as archive:
                archive.extractall(target, filter="data")
    if not any(folder.iterdir()):
        from napari_sparse3d.io.write import write_volume
        from napari_sparse3d.volume import Volume

        z, y, x = np.indices((60, 128, 128))
        ball = ((z - 30) ** 2 + (y - 64) ** 2 + (x - 64) ** 2) < 25**2
        for name in ("a", "b"):
            write_volume(
                Volume(np.where(ball, 700, -1000).astype(np.int16), np.eye(4), "HU", "CT"), folder / f"{name}.nii.gz"
            )
    return folder


def _embedded_table(home: Path) -> Path:
    """Forty shapes, embedded by the model of the open case."""
    from napari_sparse3d.cohort import write_rows
    from napari_sparse3d.widgets.child import Child

    table = home / "cohort.parquet"
    child = Child()
    call = child.call("network.embed", source=str(_shapes(home)), model="deepc2")
    try:
        while True:
            next(call)
    except StopIteration as done:
        write_rows(done.value, table)
    child.stop()
    return table


def _shapes(home: Path) -> Path:
    """A folder per class: balls and boxes."""
    from napari_sparse3d.io.write import write_volume
    from napari_sparse3d.volume import Volume

    folder = home / "shapes"
    if folder.is_dir():
        return folder
    grid = np.stack(np.meshgrid(*[np.arange(32) - 15.5] * 3, indexing="ij"))
    for number in range(10):
        for label, inside in {
            "ball": (grid**2).sum(0) < (8 + 0.5 * number) ** 2,
            "box": np.abs(grid).max(0) < 5 + 0.6 * number,
        }.items():
            (folder / label).mkdir(parents=True, exist_ok=True)
            write_volume(Volume(inside.astype(np.uint8), np.eye(4)), folder / label / f"case{number}.nii.gz")
    return folder


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
