"""Windows of greys in one click, and three linked planes, in the real window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.io.layers import layer_of
from napari_sparse3d.volume import Volume

pytestmark = pytest.mark.gui


def scan(unit: str = "HU", modality: str = "CT", name: str = "chest") -> Volume:
    """Values by place, so that each voxel is known; anisotropic, not about the origin."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in (14, 18, 22)), indexing="ij")
    affine = np.diag([3.0, 2.0, 1.5, 1.0])
    affine[:3, 3] = (-20.0, 10.0, 30.0)
    return Volume((100 * z + 10 * y + x).astype(np.int16), affine, unit, modality, name)


@pytest.fixture
def window(make_napari_viewer: Any, one_child: Any) -> Any:
    from napari_sparse3d.widgets.show import show_panel

    viewer = make_napari_viewer(show=True)

    def add(volume: Volume) -> Any:
        data, about, _ = layer_of(volume)
        return viewer.add_image(data, **about)

    return viewer, add, lambda: show_panel("look", viewer)


def test_windows_set_the_greys_of_the_chosen_scan_alone(window: Any) -> None:
    viewer, add, open_panel = window
    other, mr, ct = add(scan(name="other")), add(scan("a.u.", "MR", "head")), add(scan())
    before = tuple(other.contrast_limits), tuple(mr.contrast_limits), tuple(ct.contrast_limits)
    panel = open_panel()
    assert [button.text() for button in panel.buttons] == ["Bone", "Lung", "Brain", "Soft tissue"]
    expected = [(-500, 1300), (-1350, 150), (0, 80), (-150, 250)]
    for button, limits in zip(panel.buttons, expected, strict=True):
        button.click()
        assert tuple(ct.contrast_limits) == limits
        assert f"{limits[0]} to {limits[1]} HU" in panel.text.text()
    assert (tuple(other.contrast_limits), tuple(mr.contrast_limits)) == before[:2]
    panel.primary.click()
    assert tuple(ct.contrast_limits) == before[2]

    viewer.layers.selection.active = mr
    assert panel.scan.currentText() == "head"
    assert "Not in HU" in panel.text.text()
    panel.buttons[2].click()
    assert tuple(mr.contrast_limits) == pytest.approx(np.percentile(mr.data, (5, 95)).tolist())
    assert "5 to 95 %" in panel.text.text()
    assert tuple(ct.contrast_limits) == before[2]


def letters(viewer: Any) -> dict[str, str]:
    return {side: viewer.canvas.overlays[f"sparse3d_{side}"].text for side in ("left", "right", "top", "bottom")}


AXIAL = {"left": "R", "right": "L", "top": "A", "bottom": "P"}
CORONAL = {"left": "R", "right": "L", "top": "S", "bottom": "I"}
SAGITTAL = {"left": "A", "right": "P", "top": "S", "bottom": "I"}


def test_three_planes_have_one_place_and_right_letters_and_leave_nothing(window: Any, qtbot: Any) -> None:
    viewer, add, open_panel = window
    ct = add(scan())
    second = add(replace(scan(name="later"), affine=scan().affine + np.outer([5, -3, 4, 0], [0, 0, 0, 1])))
    panel = open_panel()
    viewer.layers.selection.active = ct
    steps = [tuple(each) for each in viewer.dims.range]
    panel.three.click()
    planes = panel.planes.planes
    assert [letters(each) for each in (viewer, *(plane.model for plane in planes))] == [AXIAL, CORONAL, SAGITTAL]
    assert viewer.layers.selection.active is ct
    assert [tuple(each) for each in viewer.dims.range] == steps

    # whichever is moved, all stand at the same place of the world; sliders snap to slices of 3, 2 and 1.5 mm
    every = [viewer, *(plane.model for plane in planes)]
    for number, (axis, there) in enumerate([(0, 2.0), (1, -22.0), (2, -45.0)]):
        every[(number + 1) % 3].dims.set_point(axis, there)
        assert viewer.dims.point[axis] == pytest.approx(there, abs=1.5)
        assert len({tuple(each.dims.point) for each in every}) == 1
    for each in (viewer, *(plane.model for plane in planes)):
        cross = next(layer for layer in each.layers if layer.name == "crosshair")
        begins, directions = np.asarray(cross.data)[:, 0] * cross.scale, np.asarray(cross.data)[:, 1] * cross.scale
        for begin, direction in zip(begins, directions, strict=True):
            still = direction == 0
            np.testing.assert_allclose(begin[still], np.array(each.dims.point)[still], atol=1e-6)

    # looks follow; a scan that is closed goes from all; the viewer's own plane is not shown twice
    ct.contrast_limits, second.visible = (5, 900), False
    for plane in planes:
        assert [tuple(plane.model.layers[0].contrast_limits), plane.model.layers[1].visible] == [(5, 900), False]
    viewer.layers.remove(second)
    assert all(len(plane.model.layers) == 2 for plane in planes)  # the scan, and the crosshair
    viewer.dims.order = (1, 0, 2)
    assert [letters(each) for each in (viewer, *(plane.model for plane in planes))] == [CORONAL, AXIAL, SAGITTAL]

    viewer.dims.order = (0, 1, 2)
    panel.three.click()
    assert panel.planes is None
    assert list(viewer.layers) == [ct]
    assert "Three planes" not in viewer.window.dock_widgets
    ct.contrast_limits = (1, 2)  # nobody follows any more


def test_a_real_click_in_a_further_plane(window: Any, qtbot: Any) -> None:
    from qtpy.QtCore import QPoint, Qt

    viewer, add, open_panel = window
    add(scan())
    panel = open_panel()
    panel.three.click()
    sagittal = panel.planes.planes[1]
    qtbot.wait(300)
    height, width = sagittal.canvas.canvas.size
    before, zoom, centre = viewer.dims.point, sagittal.model.camera.zoom, sagittal.model.camera.center[-2:]
    off = np.array([-6.0, 8.0])  # along I and P, in mm
    y, x = np.array([height, width]) / 2 + off * zoom
    qtbot.mouseClick(sagittal.canvas.canvas.native, Qt.MouseButton.LeftButton, pos=QPoint(round(x), round(y)))
    np.testing.assert_allclose(viewer.dims.point[:2], np.array(centre) + off, atol=1.5 + 2 / zoom)
    assert viewer.dims.point[2] == before[2]
    # closed by the cross of its dock
    viewer.window.remove_dock_widget(viewer.window.dock_widgets["Three planes"])
    assert panel.planes is None
    assert not panel.three.isChecked()


def test_all_layers_can_be_removed_while_the_planes_are_open(window: Any) -> None:
    viewer, add, open_panel = window
    add(scan())
    add(scan(name="later"))
    panel = open_panel()
    panel.three.click()
    assert any(layer.name == "crosshair" for layer in viewer.layers)
    viewer.layers.clear()
    assert not viewer.layers


def test_labels_have_no_greys_and_a_scan_keeps_its_new_name(window: Any) -> None:
    viewer, add, open_panel = window
    add(scan())
    panel = open_panel()
    chosen = panel.scan.currentData()
    labels = viewer.add_labels(np.ones((4, 5, 6), dtype=np.uint8), name="organs")
    viewer.layers.selection.active = labels
    assert panel.scan.findText("organs") < 0
    assert panel.scan.currentData() == chosen
    viewer.layers[0].name = "as it is called now"
    assert panel.scan.currentText() == "as it is called now"


def test_labels_are_no_scan(window: Any) -> None:
    """Neither their greys are set nor are clicks theirs: those that lie above a scan, and those that come later."""
    from napari_sparse3d.widgets.show import show_panel

    viewer, add, open_panel = window
    chest = add(scan())
    viewer.add_labels(np.asarray(chest.data) // 500, name="before")
    look, pick = open_panel(), show_panel("pick", viewer)
    viewer.add_labels(np.asarray(chest.data) // 700, name="after")
    viewer.layers.selection.active = viewer.layers["before"]
    for panel in (look, pick):
        assert [panel.scan.itemText(k) for k in range(panel.scan.count())] == ["chest"]
        assert panel.scan.currentText() == "chest"
    look.buttons[0].click()
    assert tuple(chest.contrast_limits) == (-500, 1300)


def test_planes_need_a_scan(window: Any) -> None:
    from napari_sparse3d.errors import InputError
    from napari_sparse3d.widgets.look.planes import LinkedPlanes

    with pytest.raises(InputError, match="open a scan first"):
        LinkedPlanes(window[0])
