"""The panels in napari's own window, opened by its menu: what they share, and that none waits for another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.widgets.toolbox.work import Work

pytestmark = pytest.mark.gui

WAIT_MS = 120_000
PANELS = ("Sparse voxels", "Network", "Click a nodule", "Cohort", "Window and planes", "Train")


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
    voxels, network, cohort = (panels[PANELS.index(name)] for name in ("Sparse voxels", "Network", "Cohort"))
    network.workbench.set_model("residual")
    assert cohort.model.currentData() == "residual"
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


MENUS = {
    "napari/file/io_utilities": {"open_series"},
    "napari/layers/measure": {"show_voxels"},
    "napari/layers/classify": {"show_network", "show_pick", "show_cohort", "show_train"},
    "napari/layers/visualize": {"show_layers", "show_look"},
}
ACTIONS = {
    "make_voxels", "run_network", "what_drove_it", "who_is_like_it", "embed_cohort", "start_training", "open_series",
    *(f"show_{name}" for name in ("voxels", "network", "layers", "pick", "cohort", "look", "train")),
}  # fmt: skip


def test_actions_stand_in_the_menus_and_in_the_command_palette(window: Any) -> None:
    from napari._app_model import get_app_model

    app = get_app_model()

    def of(menu: str) -> set[str]:
        commands = [item.command.id for item in app.menus.get_menu(menu) if hasattr(item, "command")]
        return {each.removeprefix("napari-sparse3d.") for each in commands if each.startswith("napari-sparse3d.")}

    for menu, expected in MENUS.items():
        assert of(menu) == expected
    assert of(app.menus.COMMAND_PALETTE_ID) >= ACTIONS


def test_a_command_presses_the_button_or_says_why_not(window: Any, qtbot: Any) -> None:
    from napari._app_model import get_app_model

    viewer, open_panel = window

    def command(name: str) -> None:
        get_app_model().commands.execute_command(f"napari-sparse3d.{name}").result()

    for name in ("make_voxels", "run_network", "what_drove_it", "who_is_like_it", "embed_cohort", "start_training"):
        command(name)
    panels = [open_panel(name) for name in ("Sparse voxels", "Network", "Cohort", "Train")]
    assert len(viewer.window.dock_widgets) == 4
    assert all("⚠" in panel.message.text() for panel in panels)
    viewer.add_image(np.pad(np.full((6, 7, 8), 200, np.uint8), 4), name="scan")
    command("make_voxels")
    qtbot.waitUntil(lambda: len(viewer.layers) > 1 and panels[0].next_button.isVisibleTo(panels[0]), timeout=WAIT_MS)


def test_from_nothing_to_a_layer_in_3d(window: Any, qtbot: Any) -> None:
    """The first look of somebody new: the sample, a network on it, a layer, 3D, what drove it, the line."""
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QApplication

    from napari_sparse3d.measure.published import MRI_PUBLISHED
    from napari_sparse3d.widgets.toolbox.layers import ours

    viewer, open_panel = window

    def click(button: Any) -> None:
        qtbot.waitUntil(button.isEnabled, timeout=WAIT_MS)
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def shown(role: str) -> bool:
        return any(layer.visible for layer in ours(viewer, role))

    voxels = open_panel("Sparse voxels")
    click(voxels.sample_button)
    qtbot.waitUntil(lambda: shown("preview"), timeout=WAIT_MS)
    click(voxels.next_button)
    qtbot.waitUntil(lambda: shown("voxels") and len(viewer.window.dock_widgets) == 2, timeout=WAIT_MS)
    network = open_panel("Network")
    qtbot.waitUntil(lambda: network.ran is not None, timeout=WAIT_MS)
    assert "195,254 voxels" in voxels.numbers.text()
    percent = [row.active_percent for row in network.ran.result.rows]
    # the sample is not the published scan; the design gives its own row
    mni152 = [9.76, 10.80, 12.66, 15.04, 19.74, 26.70, 42.64, 68.27, 99.54, 100.00, 100.00, 100.00]
    np.testing.assert_allclose(percent, mni152, atol=0.05)
    assert len(percent) == len(MRI_PUBLISHED)
    table = network.table
    at = table.visualItemRect(table.item(3, 0)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)
    qtbot.waitUntil(lambda: shown("activation"), timeout=WAIT_MS)
    assert not shown("voxels")
    click(network.in_3d)
    assert viewer.dims.ndisplay == 3
    click(network.in_3d)
    click(network.attribute_button)
    qtbot.waitUntil(lambda: shown("attribution"), timeout=WAIT_MS)
    click(network.copy_command)
    assert QApplication.clipboard().text().startswith("napari-sparse3d activations ")
    assert "mri-110" in QApplication.clipboard().text()


def test_from_a_prediction_to_the_nearest_case_beside_it(window: Any, qtbot: Any, tmp_path: Path) -> None:
    """The Network panel's button opens the cohort and asks; without a cohort it asks as soon as there is one."""
    from qtpy.QtCore import Qt

    from napari_sparse3d.io.write import write_volume
    from napari_sparse3d.volume import Volume

    viewer, open_panel = window
    grid = np.stack(np.indices((40, 40, 40))) - 19.5
    lines = ["path,label,patient"]
    for number in range(6):
        inside = (grid**2).sum(0) < (9 + number) ** 2 if number % 2 else np.abs(grid).max(0) < 7 + number
        write_volume(Volume(inside.astype(np.uint8), np.eye(4)), tmp_path / f"case{number}.nii.gz")
        lines.append(f"case{number}.nii.gz,{['box', 'ball'][number % 2]},p{number // 2}")
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    viewer.open(str(tmp_path / "case3.nii.gz"), plugin="napari-sparse3d")
    network = open_panel("Network")
    qtbot.waitUntil(lambda: network.model.count() > 0, timeout=WAIT_MS)
    network.workbench.set_model("nodule")
    qtbot.mouseClick(network.primary, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: network.ran is not None, timeout=WAIT_MS)
    qtbot.mouseClick(network.like_button, Qt.MouseButton.LeftButton)
    cohort = open_panel("Cohort")
    assert "Similar among which cases?" in cohort.about.text()
    cohort.set_source(tmp_path / "cases.csv")
    qtbot.mouseClick(cohort.primary, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: cohort.similar.list.count() > 0, timeout=WAIT_MS)
    assert sorted(cohort.similar.indices) == [0, 1, 4, 5]  # case 3 is the open one, and case 2 is of its patient
    assert "2 cases left out" in cohort.similar.text.text()
    nearest = cohort.similar.list.item(0)
    cohort.similar.list.itemActivated.emit(nearest)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=WAIT_MS)
    here, there, _titles = viewer.layers
    assert there.extent.world[0][-1] > here.extent.world[1][-1]
    # the next one who asks gets the same cases, which are kept
    cohort.state.cohort = None
    qtbot.mouseClick(network.like_button, Qt.MouseButton.LeftButton)
    assert sorted(cohort.similar.indices) == [0, 1, 4, 5]


CLOSES = """
import os, sys
import napari
from qtpy.QtCore import QTimer

viewer = napari.Viewer(show_welcome_screen=False)
panels = [viewer.window.add_plugin_dock_widget("napari-sparse3d", name, tabify=True)[1] for name in {panels}]
voxels, network, _, cohort, _, train = panels
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


ENDS = """
import napari

viewer = napari.Viewer(show=False)
for name in ("Sparse voxels", "Network", "Cohort"):
    viewer.window.add_plugin_dock_widget("napari-sparse3d", name, tabify=True)
print("ends", flush=True)
"""


def test_a_script_that_ends_at_once_ends_cleanly() -> None:
    """Without an event loop nobody waits for the workers: they still import torch, list models, prepare maps."""
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "ends" in done.stdout
    assert "Traceback" not in done.stderr
    assert "deleted" not in done.stderr


@pytest.mark.parametrize("name", ["voxels", "network", "cohort", "train"])
def test_nothing_is_cut_in_a_dock_of_napari_s_own_width(window: Any, qtbot: Any, name: str) -> None:
    """What a panel's body needs is not wider than what a dock of 270 pixels leaves it."""
    from napari_sparse3d.widgets.show import show_panel
    from napari_sparse3d.widgets.toolbox.viewers import dock_of

    viewer, _ = window
    viewer.add_image(np.pad(np.full((6, 7, 8), 200, np.uint8), 4), name="scan")
    panel = show_panel(name, viewer)
    if name == "train":
        panel.more.setChecked(True)
        qtbot.waitUntil(lambda: bool(panel.settings.more.forms), timeout=WAIT_MS)
    for part in ("results", "filled"):
        if hasattr(panel, part):
            getattr(panel, part).show()
    dock = dock_of(panel)
    dock.setFloating(True)
    dock.resize(270, 600)  # a long panel scrolls, and its bar takes some of the width
    qtbot.waitUntil(lambda: dock.width() == 270, timeout=WAIT_MS)
    inside, room = panel.area.widget(), panel.area.viewport()
    assert panel.width() <= 270
    assert inside.minimumSizeHint().width() <= room.width()
