"""A nodule is clicked in the real window, boxed, or chosen by its label; the copied line gives the same numbers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.io.phantom import NODULES_MM, chest_phantom, nodules_phantom
from napari_sparse3d.io.write import write_volume

pytestmark = pytest.mark.gui

WAIT_MS = 300_000
"""The first answer imports torch in the child and pyarrow here: minutes where the processor is shared."""


@pytest.fixture
def window(make_napari_viewer: Any, one_child: Any, qtbot: Any, tmp_path: Path) -> Any:
    """The synthetic chest and its labels from files, and the panel."""
    from napari_sparse3d.widgets.show import show_panel

    write_volume(chest_phantom(), tmp_path / "chest.nii.gz")
    write_volume(nodules_phantom(), tmp_path / "nodules.nii.gz")
    viewer = make_napari_viewer(show=True)
    viewer.open(tmp_path / "chest.nii.gz", plugin="napari-sparse3d")
    panel = show_panel("pick", viewer)
    return viewer, panel, viewer.layers[0]


def world_of(s: float, a: float, r: float) -> np.ndarray[Any, Any]:
    """napari's world is (I, P, L)."""
    return -np.array([s, a, r])


def click_at(viewer: Any, qtbot: Any, place: tuple[float, float, float], *, drag: int = 0) -> None:
    """Go to the slice, and press and release the mouse over the place on the canvas."""
    from qtpy.QtCore import QPoint, Qt

    world = world_of(*place)
    viewer.dims.set_point(0, world[0])
    canvas = viewer.window._qt_viewer.canvas
    height, width = canvas.size
    centre, zoom = np.array(viewer.camera.center[-2:]), viewer.camera.zoom
    y, x = np.array([height, width]) / 2 + (world[1:] - centre) * zoom
    pixel = QPoint(round(x), round(y))
    qtbot.mouseMove(canvas.native, pixel)
    qtbot.mousePress(canvas.native, Qt.MouseButton.LeftButton, pos=pixel)
    if drag:
        pixel = QPoint(round(x) + drag, round(y))
        qtbot.mouseMove(canvas.native, pixel)
    qtbot.mouseRelease(canvas.native, Qt.MouseButton.LeftButton, pos=pixel)


def answered(panel: Any, qtbot: Any) -> Any:
    qtbot.waitUntil(lambda: panel.answer is not None or "⚠" in panel.message.text(), timeout=WAIT_MS)
    assert panel.answer is not None, panel.message.text()
    return panel.answer


def same_as_the_line(panel: Any, qtbot: Any, answer: Any) -> None:
    from qtpy.QtWidgets import QApplication

    panel.copy_command.click()
    words = shlex.split(QApplication.clipboard().text())
    assert words[0] == "napari-sparse3d", panel.message.text()
    said = CliRunner().invoke(app, [*words[1:], "--json"])
    assert said.exit_code == 0, said.output
    record = json.loads(said.stdout)
    assert record["probabilities"] == answer.result.probabilities.tolist()
    assert record["embedding"] == answer.result.embedding.tolist()
    assert [(row["name"], row["distance"]) for row in record["like"]] == [
        (row["name"], row["distance"]) for row in answer.like
    ]


def it_is_a_voxel_set_of_its_own(viewer: Any, panel: Any, qtbot: Any, answer: Any, layer: Any) -> None:
    """The Network panel runs on it as on any other, and what drove the class lies where it does."""
    network = panel.show_panel("network")
    assert layer.name == answer.target.title
    assert network.voxels.findText(layer.name) >= 0
    qtbot.waitUntil(lambda: bool(network.state.models), timeout=WAIT_MS)
    network.workbench.set_model("vessel")
    panel.results.inside_button.click()
    qtbot.waitUntil(lambda: network.ran is not None, timeout=WAIT_MS)
    assert network.voxels.currentText() == layer.name
    assert network.ran.title.startswith(layer.name)
    np.testing.assert_array_equal(network.ran.result.probabilities, answer.result.probabilities)
    assert network.workbench.result is network.ran
    network.method.setCurrentIndex(network.method.findData("gradient"))
    network.attribute()
    qtbot.waitUntil(lambda: network.state.drove is not None, timeout=WAIT_MS)
    drawn = next(each for each in viewer.layers if "what drove" in each.name)
    for index in answer.made.voxels.indices[:: answer.made.voxels.n_active // 5]:
        np.testing.assert_allclose(drawn.data_to_world(index), layer.data_to_world(index), atol=1e-6)
    assert not layer.visible
    network.copy_command.click()
    assert "cut out of a scan" in network.message.text()
    layer.visible = True


def it_has_a_session(panel: Any, qtbot: Any, answer: Any, folder: Path) -> None:
    from napari_sparse3d.io import read_volume
    from napari_sparse3d.voxels import VoxelSet

    panel.save_session_to(folder)
    qtbot.waitUntil(lambda: "Saved" in panel.message.text(), timeout=WAIT_MS)
    record = json.loads((folder / "session.json").read_text())
    assert record["probabilities"] == pytest.approx(answer.result.probabilities.tolist())
    assert record["command"].startswith("napari-sparse3d pick SCAN.nii.gz --at=")
    assert not any("chest" in (folder / name).read_text() for name in ("session.json", "repeat.txt", "repeat.py"))
    saved = VoxelSet.load(folder / "finding.npz")
    np.testing.assert_array_equal(saved.indices, answer.made.voxels.indices)
    mask = read_volume(folder / "finding.nii.gz")
    middle = mask.affine @ [*np.argwhere(mask.data).mean(axis=0), 1.0]
    np.testing.assert_allclose(middle[:3], answer.finding.centre_mm, atol=1e-3)
    assert len((folder / "similar.csv").read_text().splitlines()) == 6
    assert (folder / "map.svg").is_file()


def test_a_click_on_a_nodule_says_its_class_and_its_like(window: Any, qtbot: Any, tmp_path: Path) -> None:
    viewer, panel, scan = window
    centre, radius = NODULES_MM[3]
    click_at(viewer, qtbot, centre)
    answer = answered(panel, qtbot)
    np.testing.assert_allclose(answer.finding.centre_mm, centre, atol=1.0)
    assert abs(max(answer.finding.extent_mm) - 2 * radius) <= 2
    assert panel.results.table.rowCount() == 5
    assert panel.results.map.here_position is not None
    assert len(panel.results.map.positions) == 2043
    assert "CC BY 3.0" in panel.results.source.text()
    # what was cut out lies on the nodule: the same world point to 1e-3 mm
    layer = next(each for each in viewer.layers if each is not scan)
    middle = np.argwhere(np.asarray(layer.data)).mean(axis=0)
    np.testing.assert_allclose(layer.data_to_world(middle), world_of(*answer.finding.centre_mm), atol=1e-3)
    same_as_the_line(panel, qtbot, answer)
    panel.copy_python.click()
    from qtpy.QtWidgets import QApplication

    run: dict[str, Any] = {}
    exec(QApplication.clipboard().text(), run)
    assert run["picked"].result.embedding.tolist() == answer.result.embedding.tolist()

    it_is_a_voxel_set_of_its_own(viewer, panel, qtbot, answer, layer)
    it_has_a_session(panel, qtbot, answer, tmp_path / "session")
    panel.show_panel("pick")

    # in air: said, and the last answer stays
    click_at(viewer, qtbot, (10.0, 110.0, 150.0))
    qtbot.waitUntil(lambda: "only air" in panel.message.text(), timeout=WAIT_MS)
    # a wide click away from the scan
    click_at(viewer, qtbot, (10.0, 150.0, 0.0))
    qtbot.waitUntil(lambda: "outside the scan" in panel.message.text(), timeout=WAIT_MS)
    assert panel.answer is answer
    click_at(viewer, qtbot, centre, drag=40)
    assert not panel.classifying.running  # a drag moves the picture
    viewer.layers.remove(scan)
    assert "Not for the current selection" in panel.results.title.text()
    panel.copy_command.click()
    assert "closed" in panel.message.text()


def test_points_boxes_and_labels_are_ways_in_too(window: Any, qtbot: Any, tmp_path: Path) -> None:
    viewer, panel, _scan = window
    centre, radius = NODULES_MM[1]
    world = world_of(*centre)
    assert not panel.primary.isEnabled()
    viewer.add_points(world[None], units=("mm",) * 3)
    assert panel.primary.text() == "Classify the point"
    panel.primary.click()
    by_point = answered(panel, qtbot)
    np.testing.assert_allclose(by_point.finding.centre_mm, centre, atol=1.0)

    panel.answer = None
    side = radius + 2
    corners = world + np.array([[0, -side, -side], [0, -side, side], [0, side, side], [0, side, -side]])
    viewer.add_shapes([corners], shape_type="rectangle", units=("mm",) * 3)
    assert panel.primary.text() == "Classify the box"
    panel.primary.click()
    by_box = answered(panel, qtbot)
    np.testing.assert_allclose(by_box.target.pointed.box_mm, (2 * side,) * 3, rtol=1e-6)
    np.testing.assert_array_equal(by_box.finding.mask.data, by_point.finding.mask.data)
    same_as_the_line(panel, qtbot, by_box)

    panel.answer = None
    viewer.open(tmp_path / "nodules.nii.gz", plugin="napari-sparse3d", layer_type="labels")
    labels = viewer.layers.selection.active
    labels.selected_label = 2
    assert panel.primary.text() == "Classify the chosen label"
    panel.primary.click()
    by_label = answered(panel, qtbot)
    np.testing.assert_allclose(by_label.finding.centre_mm, centre, atol=1.0)
    same_as_the_line(panel, qtbot, by_label)
    assert "Not for the current" not in panel.results.title.text()

    # a model that was trained without millimetres asks how large its voxels are
    panel.answer = None
    qtbot.waitUntil(lambda: panel.model.findData("vessel") >= 0, timeout=WAIT_MS)
    assert not panel.voxel_size.isVisibleTo(panel)
    panel.model.setCurrentIndex(panel.model.findData("vessel"))
    assert panel.voxel_size.isVisibleTo(panel)
    assert "vessel was trained without millimetres" in panel.voxel_hint.text()
    panel.primary.click()
    qtbot.waitUntil(lambda: "give the size of a voxel in mm" in panel.message.text(), timeout=WAIT_MS)
    assert panel.answer is None
    words, number = panel.choice._size.parts["words"], panel.choice._size.parts["value"]
    words.setCurrentIndex(1)
    number.setValue(0.9)
    panel.say("")
    panel.primary.click()
    of_vessel = answered(panel, qtbot)
    np.testing.assert_allclose(of_vessel.finding.mask.spacing_mm, 0.9)
    assert "No known cases come with vessel" in panel.results.source.text()
    same_as_the_line(panel, qtbot, of_vessel)
    number.setValue(1.1)
    assert "Not for the current" in panel.results.title.text()
    number.setValue(0.9)
    assert "Not for the current" not in panel.results.title.text()

    labels.paint(np.argwhere(labels.data == 2)[0], 0)
    assert "Not for the current" in panel.results.title.text()
    panel.copy_command.click()
    assert "were changed since they were opened" in panel.message.text()
