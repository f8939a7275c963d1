"""The true world in a real window: letters, cursor and places of all layers, against a marker and against the files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import RangeThreshold, Recipe, ToSpacing, voxelize

pytestmark = pytest.mark.gui

MARKER = {"R", "A", "S"}
"""Where the bright block stands: on the patient's right, in front, at the top."""


def marked() -> Volume:
    """A body with a bright block at its right, front, top."""
    data = np.zeros((40, 50, 60), np.int16)
    data[4:36, 5:45, 6:54] = 100
    data[28:36, 36:45, 44:54] = 700
    affine = np.diag([3.0, 2.0, 1.5, 1.0])
    affine[:3, 3] = (-50, -30, -40)
    return Volume(data, affine, "HU", "CT", "marked")


def letters(viewer: Any) -> dict[str, str]:
    """What stands on the canvas."""
    overlays = viewer.canvas.overlays
    names = ("left", "right", "top", "bottom", "convention")
    shown = {name: overlays[f"sparse3d_{name}"] for name in names}
    return {name: " ".join(each.text.split()) if each.visible else "" for name, each in shown.items()}


def bright_quarter(viewer: Any) -> tuple[str, str]:
    """Where on the screen the block is, against the middle of the body: ``("left", "top")``."""
    shown = viewer.screenshot(canvas_only=True, flash=False)[..., :3].mean(axis=-1)
    rows, columns = np.nonzero(shown > 5)
    bright = np.argwhere(shown > 0.8 * shown.max())
    middle = (rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2
    row, column = bright.mean(axis=0)
    return "left" if column < middle[1] else "right", "top" if row < middle[0] else "bottom"


def check_against_picture(viewer: Any) -> None:
    """The marker is at edges that the letters call its own: read from the picture, with the letters taken away."""
    viewer.screenshot(canvas_only=True, flash=False)  # napari reckons the camera's angles anew when it draws
    said = letters(viewer)
    overlays = [viewer.canvas.overlays[f"sparse3d_{name}"] for name in said]
    for overlay in overlays:
        overlay.visible = False
    for edge in bright_quarter(viewer):
        assert said[edge][0] in MARKER, (said, viewer.dims.order)
    for name, overlay in zip(said, overlays, strict=True):
        overlay.visible = bool(said[name])


def test_a_marker_proves_the_letters(make_napari_viewer: Any, add_volume: Any) -> None:
    from napari_sparse3d.widgets.patient_view import show_sides

    viewer = make_napari_viewer(show=True)
    layer = add_volume(viewer, marked())
    show_sides(viewer)
    layer.contrast_limits = (0, 700)
    inside = -(np.array(marked().affine) @ [32, 40, 49, 1])[:3]
    conventions = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0), (1, 0, 2), (2, 1, 0), (0, 2, 1)):
        viewer.dims.order = order
        for axis in range(3):
            viewer.dims.set_point(axis, inside[axis])
        viewer.reset_view()
        check_against_picture(viewer)
        conventions.append(letters(viewer)["convention"])
    assert conventions[0] == "radiological · seen from the feet"
    assert conventions[3] == "radiological · seen from the front"
    viewer.dims.order = (0, 1, 2)
    camera = viewer.scene.camera
    for directions in (("up", "right"), ("down", "left"), ("up", "left"), ("down", "right")):
        camera.orientation2d = directions
        check_against_picture(viewer)
    viewer.dims.ndisplay = 3
    viewer.reset_view()
    check_against_picture(viewer)
    camera.set_view_direction(view_direction=(0.2, 1.0, 0.1), up_direction=(-1.0, 0.0, 0.0))
    assert letters(viewer)["top"] == "S"
    assert letters(viewer)["left"] == "R"
    check_against_picture(viewer)
    camera.orientation = ("away", "down", "right")
    assert "mirrored" in letters(viewer)["convention"]
    check_against_picture(viewer)
    layer.visible = False
    assert set(letters(viewer).values()) == {""}


def test_scans_and_all_that_is_made_of_them_lie_on_each_other(
    make_napari_viewer: Any, oblique: Volume, add_volume: Any
) -> None:
    """Labels, surface, points, activations, preview, read and made, of two grids of one oblique patient."""
    from napari_sparse3d.widgets.patient_view import show_sides
    from napari_sparse3d.widgets.toolbox.layers import Mark, put_image
    from napari_sparse3d.widgets.toolbox.sources import field_affine, placement
    from napari_sparse3d.widgets.toolbox.voxel_layer import put_voxels
    from napari_sparse3d.widgets.toolbox.voxel_picture import picture_of
    from napari_sparse3d.widgets.viewer import show
    from napari_sparse3d.widgets.voxels.preview import SlicePreview

    crop = replace(oblique, data=oblique.data[5:25, 10:40, 3:50], affine=oblique.affine @ moved(5, 10, 3), name="crop")
    viewer = make_napari_viewer()
    truth: list[tuple[Any, np.ndarray]] = []
    for volume in (oblique, crop):
        scan = add_volume(viewer, volume)
        truth.append((scan, volume.affine))
        recipe = Recipe(resample=ToSpacing(spacing_mm=(2.3, 1.7, 1.9)), threshold=RangeThreshold(low=300))
        voxels = voxelize(volume, recipe)
        place = placement(scan, volume, voxels.affine)
        for kind in ("labels", "surface", "points"):
            mark = Mark(f"voxels {kind}", str(scan.unique_id))
            layer = put_voxels(viewer, kind, picture_of(voxels, kind), kind, place, mark, 0.5)
            truth.append((layer, voxels.affine))
        sites = field_affine(voxels.affine, (9, 8, 7), (2.0, 2.0, 2.0), (1.5, 1.5, 1.5))
        grid = np.ones((6, 7, 8), np.float32)
        mark = Mark("activation", str(scan.unique_id))
        truth.append((put_image(viewer, "sites", grid, placement(scan, volume, sites), mark), sites))
        assert SlicePreview(viewer).draw(scan, volume, 0, 300, 3000)
        preview = next(each for each in viewer.layers if each.name.endswith("preview") and each not in dict(truth))
        truth.append((preview, preview.metadata["affine"]))
    show(oblique, voxelize(oblique, Recipe.named("ct-bone-110")), viewer=viewer)
    truth += [(layer, layer.metadata["affine"]) for layer in viewer.layers[-2:]]
    show_sides(viewer)
    world = np.array([12.0, 25.0, 110.0])
    shown = [layer.data_to_world(np.linalg.solve(affine, [*world, 1])[:3]) for layer, affine in truth]
    np.testing.assert_allclose(shown, np.broadcast_to(shown[0], (len(truth), 3)), rtol=0, atol=1e-3)
    assert "drawn without its 20.0 degrees; up to" in letters(viewer)["convention"]


def moved(*by: int) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


def test_a_layer_in_micrometres_keeps_its_place_and_says_so(
    make_napari_viewer: Any, one_child: Any, add_volume: Any
) -> None:
    """Beside our scan: sliders then stand in um, and neither cursor, preview nor voxel size may take them for mm."""
    from napari_sparse3d.widgets.toolbox.sources import placement, volume_of_layer
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel

    viewer = make_napari_viewer(show=True)
    scan = add_volume(viewer, marked())
    cells = viewer.add_image(
        np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6), name="cells", scale=(2, 0.5, 0.5),
        translate=(7, 8, 9), units=("um", "um", "um"),
    )  # fmt: skip
    panel = VoxelsPanel(viewer)
    viewer.window.add_dock_widget(panel)
    assert "1 of 2 scans: not in the patient's world" in letters(viewer)["convention"]
    volume = volume_of_layer(cells)
    np.testing.assert_allclose(volume.spacing_mm, (0.002, 0.0005, 0.0005))
    place = placement(cells, volume, volume.affine @ np.diag([2, 2, 2, 1.0]))
    assert [str(unit) for unit in place.units] == ["micrometer"] * 3
    assert place.scale == pytest.approx((4, 1, 1))
    assert place.metadata((2, 2, 3), labels=True) == {}

    panel.volume.setCurrentIndex(panel.volume.findData(str(cells.unique_id)))
    assert "not in the patient's world" in panel.about.text()
    assert "taken as mm" not in panel.about.text()
    panel.volume.setCurrentIndex(panel.volume.findData(str(scan.unique_id)))
    assert "patient's world" not in panel.about.text()
    place_mm = (marked().affine @ [32, 40, 49, 1])[:3]  # S, A, R
    viewer.cursor.position = tuple(-1000 * place_mm)
    text = panel.at_cursor.text()
    right, anterior, superior = map(float, re.match(r"R ([-+.\d]+)  A ([-+.\d]+)  S ([-+.\d]+) mm", text).groups())  # type: ignore[union-attr]
    np.testing.assert_allclose((superior, anterior, right), place_mm, atol=0.051)
    assert text.endswith("· 700 HU")
    viewer.cursor.position = (9e6, 9e6, 9e6)
    assert panel.at_cursor.text().endswith("outside the scan")
    viewer.dims.set_point(0, -1000 * place_mm[0])
    assert panel.slice_preview.draw(scan, marked(), 0, 600, 800)
    (preview,) = [each for each in viewer.layers if each.name == "marked · preview"]
    assert preview.data.sum() == 9 * 10


def test_the_cursor_is_true_where_obliqueness_is_not_drawn_and_straighten_draws_it(
    make_napari_viewer: Any, one_child: Any, qtbot: Any, oblique: Volume, add_volume: Any
) -> None:
    from qtpy.QtCore import Qt

    from napari_sparse3d.cases.identity import CASE, CaseIdentity
    from napari_sparse3d.io.layers import layer_of
    from napari_sparse3d.io.series import VolumeSequence
    from napari_sparse3d.widgets.toolbox.sources import case_of, source_path
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel

    viewer = make_napari_viewer(show=True)
    panel = VoxelsPanel(viewer)
    viewer.window.add_dock_widget(panel)
    layer = add_volume(viewer, oblique)
    case = CaseIdentity(Path("a scan"), 3, "a patient's hash")
    layer.metadata = {**layer.metadata, CASE: case}
    assert layer.metadata["drawn"] in panel.about.text()
    index = (20, 22, 40)
    viewer.cursor.position = tuple(layer.data_to_world(index))
    s, a, r = (oblique.affine @ [*index, 1])[:3]
    assert panel.at_cursor.text() == f"R {r:+.1f}  A {a:+.1f}  S {s:+.1f} mm · {oblique.data[index]} HU"
    qtbot.mouseClick(panel.straighten, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: any(each.name.endswith("straightened") for each in viewer.layers), timeout=90_000)
    straight = viewer.layers["dented ellipsoid · straightened"]
    assert panel.layer is straight
    assert not panel.straighten.isVisibleTo(panel)
    assert "repaired: resampled onto the patient's axes" in panel.about.text()
    shown = straight.data[tuple(np.rint(straight.world_to_data((-s, -a, -r))).astype(int))]
    assert shown == oblique.data[index]
    assert case_of(straight) == case
    assert source_path(straight) is None  # what stands there is not what was shown

    data, about, _ = layer_of(VolumeSequence(np.stack([oblique.data, oblique.data + 1]), oblique.affine, "HU", "CT"))
    in_time = viewer.add_image(data, **{**about, "name": "in time"})
    viewer.dims.set_point(0, 1)
    panel.volume.setCurrentIndex(panel.volume.findData(str(in_time.unique_id)))
    qtbot.mouseClick(panel.straighten, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "in time · time 1 · straightened" in viewer.layers, timeout=90_000)
    shown = viewer.layers["in time · time 1 · straightened"].data
    assert shown.max() == oblique.data.max() + 1


def test_a_scan_that_is_dropped_has_its_letters_without_a_panel(make_napari_viewer: Any, tmp_path: Path) -> None:
    from napari_sparse3d.io.write import write_volume

    write_volume(marked(), tmp_path / "marker_right_anterior.nii.gz")
    viewer = make_napari_viewer()
    (layer,) = viewer.open(str(tmp_path / "marker_right_anterior.nii.gz"), plugin="napari-sparse3d")
    assert layer.name == "marker_right_anterior"
    assert letters(viewer)["left"] == "R"
    assert tuple(viewer.dims.axis_labels) == ("I", "P", "L")
    before = letters(viewer)["convention"]
    drawn_by_hand = [viewer._new_labels() or viewer.layers[-1], viewer.add_points(ndim=3), viewer.add_shapes(ndim=3)]
    assert len(viewer.layers) == 4
    assert letters(viewer)["convention"] == before
    for each in drawn_by_hand:
        viewer.layers.remove(each)
    layer.translate = np.array(layer.translate) + 3
    assert "moved from its place" in letters(viewer)["convention"]
    layer.rotate = 30
    assert letters(viewer)["left"] == ""
