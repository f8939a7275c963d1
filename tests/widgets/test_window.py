"""The panels in napari's own window, opened by its menu: what they share, and that none waits for another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from napari_sparse3d.widgets.toolbox.work import Work

pytestmark = pytest.mark.gui

WAIT_MS = 120_000
PANELS = ("Sparse voxels", "Network", "Cohort", "Train")


@pytest.fixture
def window(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> Any:
    """A viewer, and a function that opens a panel of it by the name in the menu."""
    viewer = make_napari_viewer(show=True)

    def open_panel(name: str) -> Any:
        _, panel = viewer.window.add_plugin_dock_widget("napari-sparse3d", name, tabify=True)
        return panel

    yield viewer, open_panel
    # the process of all tests goes on after this window, and so would what waits for it
    works = [work for panel in viewer.window.dock_widgets.values() for work in vars(panel).values()]
    for work in works:
        if isinstance(work, Work):
            qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)


def test_panels_of_one_window_share_a_workbench(window: Any, make_napari_viewer: Any) -> None:
    """napari gives each of them a viewer proxy of its own; they have to meet all the same."""
    _, open_panel = window
    panels = [open_panel(name) for name in PANELS]
    assert len({id(panel.workbench) for panel in panels}) == 1
    assert all(panel.viewer is panels[0].viewer for panel in panels)
    voxels, network, cohort, _ = panels
    network.workbench.set_model("residual")
    assert "residual" in cohort.model_text.text()
    other = make_napari_viewer(show=True)
    _, elsewhere = other.window.add_plugin_dock_widget("napari-sparse3d", "Cohort")
    assert elsewhere.workbench is not voxels.workbench


def test_jobs_that_wait_do_not_keep_others_waiting(window: Any, qtbot: Any) -> None:
    """More jobs wait than there are processor cores, and still one more is done."""
    from qtpy.QtCore import QThreadPool
    from qtpy.QtWidgets import QWidget

    _, open_panel = window
    open_panel("Cohort")
    parent = QWidget()
    qtbot.addWidget(parent)
    gate, threads = Event(), QThreadPool.globalInstance().maxThreadCount()

    def waits() -> Any:
        yield
        gate.wait(60)

    def works() -> Any:
        yield
        return "done"

    waiting = [Work(parent) for _ in range(threads + 1)]
    try:
        for work in waiting:
            work.start(waits, "waiting")
        said: list[str] = []
        quick = Work(parent)
        quick.finished.connect(said.append)
        quick.start(works, "working")
        qtbot.waitUntil(lambda: said == ["done"], timeout=20_000)
        assert all(work.running for work in waiting)
    finally:
        gate.set()
    qtbot.waitUntil(lambda: not any(work.running for work in waiting), timeout=WAIT_MS)
    assert QThreadPool.globalInstance().maxThreadCount() == threads


CLOSES = """
import os, sys
import napari
from qtpy.QtCore import QTimer

viewer = napari.Viewer(show_welcome_screen=False)
panels = [viewer.window.add_plugin_dock_widget("napari-sparse3d", name, tabify=True)[1] for name in {panels}]
voxels, network, cohort, train = panels
viewer.open_sample("napari-sparse3d", "head_mri")

def close():
    {begin}
    QTimer.singleShot({after_ms}, viewer.close)

QTimer.singleShot(200, close)
napari.run()
print("closed", flush=True)
"""


@pytest.mark.parametrize(
    ("begin", "after_ms"),
    [
        ("voxels.run()", 0),  # models are being listed, values counted
        ("network.run(); cohort.set_source(folder); cohort.run(); train.set_data(folder); train.run()", 1500),
    ],
    ids=["opening", "everything"],
)
def test_napari_closed_in_the_middle_ends_cleanly(begin: str, after_ms: int, tmp_path: Path) -> None:
    """In a process of its own, as a user closes it: no traceback, no crash, no process left behind."""
    script = f"from pathlib import Path\nfolder = Path({str(tmp_path)!r})\n"
    script += CLOSES.format(panels=PANELS, begin=begin, after_ms=after_ms)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "closed" in done.stdout
    assert "Traceback" not in done.stderr
