"""What drove a class, and the voxels themselves, as they are seen: in a real window, by the pixels of its canvas."""

from __future__ import annotations

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

import napari_sparse3d as ns3
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.voxels import RangeThreshold, Recipe

pytestmark = pytest.mark.gui

WAIT_MS = 120_000
SMALL = {"field": 16, "channels": (4, 8), "embedding": 6, "classes": 3}
RECIPE = Recipe(name="small", threshold=RangeThreshold(low=50), field=16)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A block that no axis can be mistaken in, in a box around it."""
    data = np.zeros((14, 13, 12), np.int16)
    data[2:10, 3:11, 2:9] = 100
    data[4, 5, 6] = 0
    path = tmp_path / "block.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, np.diag([1.5, 1.0, 2.0, 1.0])), path)
    return path


@pytest.fixture
def panel(make_napari_viewer: Any, one_child: Any, qtbot: Any, tmp_path: Path, scan: Path) -> Any:
    """The Network panel with the scan and a model of which every weight counts."""
    from napari_sparse3d.widgets.network.view import NetworkPanel

    card = load_model("residual").card.model_copy(
        update={"arguments": SMALL, "classes": ("a", "-b", "c"), "recipe": RECIPE, "name": "small"}
    )
    network, drawn = build_network("residual", seed=5, **SMALL), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.3 * torch.randn(weight.shape, generator=drawn)
    model = tmp_path / "m.safetensors"
    Model(network, card).save(model)
    viewer = make_napari_viewer(show=True)
    made = NetworkPanel(viewer)
    viewer.window.add_dock_widget(made, name="Network")
    made.workbench.add_model_file(str(model))
    viewer.open(str(scan), plugin="napari-sparse3d")
    qtbot.waitUntil(lambda: made.model.currentData() == str(model), timeout=WAIT_MS)
    made.primary.click()
    qtbot.waitUntil(lambda: made.ran is not None or "⚠" in made.message.text(), timeout=WAIT_MS)
    assert made.ran is not None, made.message.text()
    yield made
    qtbot.waitUntil(lambda: not (made.listing.running or made.hashing.running), timeout=WAIT_MS)


def drawn(panel: Any, role: str) -> Any:
    from napari_sparse3d.widgets.toolbox.layers import ours

    return next(ours(panel.viewer, role), None)


def what_drove(qtbot: Any, panel: Any, method: str, target: int) -> Any:
    panel.method.setCurrentText(method)
    panel.target.setCurrentIndex(target)
    before = panel.state.drove
    panel.attribute_button.click()
    qtbot.waitUntil(lambda: panel.state.drove is not before or "⚠" in panel.message.text(), timeout=WAIT_MS)
    return drawn(panel, "attribution")


def view_of(viewer: Any) -> tuple[Any, ...]:
    from napari_sparse3d.widgets.toolbox.viewers import camera_of

    camera, dims = camera_of(viewer), viewer.dims
    return (*camera.center, camera.zoom, *camera.angles, *dims.point, dims.ndisplay, *dims.order)


def coloured(viewer: Any) -> tuple[int, int]:
    """How many pixels of the canvas are clearly red, and clearly blue."""
    seen = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    red, _, blue = np.moveaxis(seen, -1, 0)
    return int((red - blue > 60).sum()), int((blue - red > 60).sum())


def test_an_attribution_shows_both_signs_where_one_looks(panel: Any, qtbot: Any, scan: Path) -> None:
    from napari_sparse3d.widgets.toolbox.viewers import camera_of

    viewer, camera = panel.viewer, camera_of(panel.viewer)
    # somewhere, as a user has it
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, viewer.dims.range[1].start + 6 * viewer.dims.range[1].step)
    camera.center, camera.zoom = (0, 3.0, 2.0), 9.5
    before = view_of(viewer)
    layer = what_drove(qtbot, panel, "gradient × input", 0)
    assert view_of(viewer) == before
    # masked, and of both signs
    active = ns3.voxelize(ns3.read_volume(scan), RECIPE).mask()
    assert np.isfinite(layer.data).all()
    assert not layer.data[~active].any()
    assert (layer.data[active] != 0).mean() > 0.9
    assert layer.data.min() < 0 < layer.data.max()
    low, high = layer.contrast_limits
    assert low == -high < 0
    # what it is, where it stands
    assert layer.name == "block · gradient × input · what drove a"
    about = layer.metadata["attribution"]
    assert (about["class"], about["method"], about["model"]) == ("a", "gradient × input", "small")
    text = panel.sites_text.text()
    assert "gradient × input for “a” at input" in text
    assert f"{(layer.data > 0).sum()} voxels for it, {(layer.data < 0).sum()} against, in units of its logit" in text
    assert panel.results.colours.isVisible()
    assert panel.results.colours.ends == pytest.approx((low, high))
    # what says nothing hides nothing
    middle, ends = layer.colormap.map([0.5])[0], layer.colormap.map([0.0, 1.0])
    assert middle[3] == 0
    assert (ends[:, 3] == 1).all()
    if hasattr(layer, "colorbar"):
        assert layer.colorbar.visible
        layer.colorbar.visible = False  # it has all colours
    viewer.dims.order = (0, 1, 2)
    camera.center, camera.zoom = tuple(np.mean(layer.extent.world, axis=0)), 12
    plane = int(np.argmax(np.minimum((layer.data > high / 2).sum((1, 2)), (layer.data < low / 2).sum((1, 2)))))
    viewer.dims.set_point(0, layer.data_to_world((plane, 0, 0))[0])
    assert min(coloured(viewer)) > 20
    panel.in_3d.click()
    camera.center, camera.zoom = tuple(np.mean(layer.extent.world, axis=0)), 12
    before = view_of(viewer)
    assert min(coloured(viewer)) > 20
    assert what_drove(qtbot, panel, "class-activation map", 1) is layer  # the same, not another beside it
    assert layer.name.endswith("what drove -b")
    assert view_of(viewer) == before
    # another class of another method has its own scale; and with its result it goes
    assert layer.contrast_limits[1] != high
    panel.workbench.set_model("vessel")
    assert not layer.visible
    assert not panel.results.colours.isVisible()
    assert panel.state.drove is None


def test_the_copied_lines_give_the_attribution_to_the_digit(
    panel: Any, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    from qtpy.QtWidgets import QApplication
    from typer.testing import CliRunner

    from napari_sparse3d.cli import app

    panel.copy_command.click()
    assert len(QApplication.clipboard().text().splitlines()) == 1
    for method, target in (("integrated gradients", 1), ("gradient × input", 0)):
        layer = what_drove(qtbot, panel, method, target)
        panel.copy_command.click()
        first, second = QApplication.clipboard().text().splitlines()
        assert shlex.split(first)[1] == "activations"
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(app, [*shlex.split(second)[1:], "--json"])
        assert done.exit_code == 0, done.output
        record = json.loads(done.stdout)
        assert (record["class_number"], record["method"]) == (target, method)
        np.testing.assert_array_equal(ns3.read_volume(tmp_path / "attribution.nii.gz").data, layer.data)
        panel.copy_python.click()
        space: dict[str, Any] = {}
        exec(QApplication.clipboard().text(), space)
        np.testing.assert_array_equal(space["explanation"].as_voxels().features[:, 0], panel.state.drove.values)
    panel.save_session_to(tmp_path / "session")
    qtbot.waitUntil(lambda: "Saved" in panel.message.text() or "⚠" in panel.message.text(), timeout=WAIT_MS)
    session = json.loads((tmp_path / "session" / "session.json").read_text())
    assert session["attribution"]["method"] == "gradient × input"
    assert "explain" in session["command"]


def test_a_method_that_needs_a_package_is_grey_and_says_which(qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from qtpy.QtCore import Qt

    from napari_sparse3d.widgets.network.results import Results

    monkeypatch.setitem(sys.modules, "captum", None)
    results = Results()
    qtbot.addWidget(results)
    place = results.method.findText("regions left out")
    item = results.method.model().item(place)
    assert not item.isEnabled()
    assert "captum is not installed; pip install captum" in results.method.itemData(place, Qt.ItemDataRole.ToolTipRole)
    assert results.method.model().item(0).isEnabled()


@pytest.mark.parametrize("kind", ["labels", "surface", "points"])
def test_voxels_are_seen_beside_a_bright_scan_in_3d(make_napari_viewer: Any, kind: str) -> None:
    """The scan's volume is white all over, and stays as its user has it."""
    from napari_sparse3d.widgets.toolbox.layers import Mark
    from napari_sparse3d.widgets.toolbox.sources import Placement
    from napari_sparse3d.widgets.toolbox.viewers import camera_of
    from napari_sparse3d.widgets.toolbox.voxel_layer import put_voxels

    viewer = make_napari_viewer(show=True)
    scan = viewer.add_image(np.full((20, 20, 20), 200, np.uint8), contrast_limits=(0, 200), colormap="gray")
    as_it_was = (scan.opacity, scan.blending, scan.rendering, scan.visible, scan.contrast_limits)
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[6:14, 7:13, 5:15] = 1
    picture = np.argwhere(mask).astype(np.int32) if kind == "points" else mask
    linear = np.eye(3)
    place = Placement((1,) * 3, (0,) * 3, linear, linear, np.eye(4), scan.units, scan.axis_labels)
    layer = put_voxels(viewer, "set", picture, kind, place, Mark("voxels", str(scan.unique_id)), 0.5)
    viewer.dims.ndisplay = 3
    camera = camera_of(viewer)
    camera.center, camera.zoom, camera.angles = (9.5, 9.5, 9.5), 12, (10, 35, 60)
    layer.visible = False
    without = viewer.screenshot(canvas_only=True, flash=False).astype(int)
    layer.visible = True
    seen = viewer.screenshot(canvas_only=True, flash=False).astype(int)
    orange = seen[..., 0] - seen[..., 2] > 60
    assert not (without[..., 0] - without[..., 2] > 60).any()
    assert orange.sum() > 5_000
    # lit: a side that turns away is darker, or nothing of its shape would be seen
    if kind == "surface":
        assert np.ptp(seen[..., 0][orange]) > 40
    viewer.dims.ndisplay = 2
    assert layer.opacity == 0.5
    layer.opacity = 0.7
    viewer.dims.ndisplay = 3
    layer.opacity = 0.4  # the user's own
    viewer.dims.ndisplay = 2
    assert layer.opacity == 0.4
    assert (scan.opacity, scan.blending, scan.rendering, scan.visible, scan.contrast_limits) == as_it_was


def test_nothing_is_done_beside_a_cancel(panel: Any, qtbot: Any) -> None:
    """While one thing is at work nothing else begins; what ends of another does not end its Cancel."""
    links = (panel.copy_command, panel.copy_python, panel.export, panel.session, panel.attribute_button)
    assert all(link.isEnabled() for link in links)
    panel.attribute_button.click()
    assert panel.primary.text() == "Cancel"
    assert panel.progress.isVisible()
    assert not any(link.isEnabled() for link in links)
    panel.saving.ended.emit()
    assert panel.primary.text() == "Cancel"
    assert panel.progress.isVisible()
    qtbot.waitUntil(lambda: panel.state.drove is not None, timeout=WAIT_MS)
    assert panel.primary.text() == "Run"
    assert not panel.progress.isVisible()
    assert "…" not in panel.message.text()
    assert all(link.isEnabled() for link in links)
    if find_spec("captum") is None:  # a refusal is a sentence, with nothing behind it; what is shown stays
        drove, place = panel.state.drove, panel.method.findText("regions left out")
        panel.method.setCurrentIndex(place)
        panel.attribute_button.click()
        qtbot.waitUntil(lambda: "⚠" in panel.message.text(), timeout=WAIT_MS)
        assert "captum is not installed; pip install captum" in panel.message.text()
        assert "Details" not in panel.message.text()
        assert panel.primary.text() == "Run"
        assert panel.state.drove is drove
        assert drawn(panel, "attribution").visible


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_cut_with_letters_of_twice_the_size(panel: Any, qtbot: Any, theme: str) -> None:
    """In a dock of napari's own width, by napari's own preference; with an attribution and its scale."""
    from napari.settings import get_settings
    from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QPushButton

    from napari_sparse3d.widgets.toolbox.viewers import dock_of

    what_drove(qtbot, panel, "gradient × input", 0)
    appearance = get_settings().appearance
    before = appearance.font_size
    dock = dock_of(panel)
    dock.setFloating(True)
    small = panel.message.font().pointSizeF(), panel.bars.height(), panel.results.colours.height()
    panel.viewer.theme = theme
    try:
        appearance.font_size = 2 * before
        qtbot.waitUntil(lambda: panel.primary.font().pointSizeF() > 1.8 * small[0], timeout=WAIT_MS)
        dock.resize(270, 1800)
        qtbot.waitUntil(lambda: dock.width() == 270, timeout=WAIT_MS)
        qtbot.wait(100)
        body = panel.area.widget()
        assert body.minimumSizeHint().width() <= panel.area.viewport().width()
        for part in (panel.bars, panel.table, panel.results.colours, panel.chart):
            assert part.font().pointSizeF() == panel.message.font().pointSizeF() > 1.8 * small[0]
        assert panel.bars.height() > 1.3 * small[1]
        assert panel.results.colours.height() > 1.3 * small[2]
        for button in panel.findChildren(QPushButton):
            if button.isVisible():
                assert button.width() >= button.minimumSizeHint().width(), button.text()
                assert button.parentWidget().width() >= button.geometry().right(), button.text()
        for label in panel.findChildren(QLabel):
            if label.isVisible() and label.wordWrap():
                assert label.height() >= label.heightForWidth(label.width()), label.text()
        for layout in panel.findChildren(QFormLayout):
            for row in range(layout.rowCount()):
                label, field = (layout.itemAt(row, role) for role in (QFormLayout.LabelRole, QFormLayout.FieldRole))
                if label is not None and field is not None and label.widget().isVisible():
                    assert not label.geometry().intersects(field.geometry()), label.widget().text()
                    assert label.widget().width() >= label.widget().minimumSizeHint().width()
        for box in (panel.colour_by, panel.engine):
            assert isinstance(box, QComboBox)
            assert box.width() > box.fontMetrics().horizontalAdvance(box.currentText()) + 20
    finally:
        appearance.font_size = before
