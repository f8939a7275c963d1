"""The Sparse voxels panel, driven as a person would."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import RangeThreshold, Recipe, VoxelSet, voxelize

pytestmark = pytest.mark.gui

WAIT_MS = 90_000


@pytest.fixture
def panel(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> Any:
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel

    viewer = make_napari_viewer(show=True)
    made = VoxelsPanel(viewer)
    viewer.window.add_dock_widget(made, name="Sparse voxels")
    yield made
    for work in (made.counting, made.making, made.costing, made.warming):
        if work.running:
            qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def settled(qtbot: Any, panel: Any) -> None:
    """Wait until the numbers of the chosen volume are there."""
    qtbot.waitUntil(
        lambda: (
            not (panel.counting.running or panel.making.running or panel._settle.isActive())
            and bool(panel.numbers.text() or panel.message.text())
        ),
        timeout=WAIT_MS,
    )


def ours(panel: Any, role: str) -> list[Any]:
    from napari_sparse3d.widgets.toolbox import layers

    return list(layers.ours(panel.viewer, role))


def test_an_empty_panel_says_what_to_do(panel: Any) -> None:
    assert panel.empty.isVisible()
    assert "No volume" in panel.empty_text.text()
    assert panel.open_button.isVisible()
    assert panel.sample_button.isVisible()
    assert not panel.primary.isVisible()


def test_voxels_as_a_layer_at_the_right_place(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    scan = add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    assert panel.form.recipe_box.currentText().startswith("Bone")
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: len(ours(panel, "voxels")) == 1, timeout=WAIT_MS)
    (layer,) = ours(panel, "voxels")
    expected = voxelize(oblique, Recipe.named("ct-bone-110"))
    np.testing.assert_array_equal(np.argwhere(layer.data), expected.indices)
    assert f"{expected.n_active:,} voxels" in panel.numbers.text()
    # through the true affines, then by the scan's own layer: the same place as by the new layer
    to_scan = np.linalg.inv(oblique.affine) @ expected.affine
    for index in expected.indices[:: expected.n_active // 7]:
        by_scan = scan.data_to_world((to_scan @ [*index, 1])[:3])
        np.testing.assert_allclose(layer.data_to_world(index), by_scan, atol=1e-6)
    assert panel.viewer.layers.index(layer) == panel.viewer.layers.index(scan) + 1


def test_a_layer_is_reused_and_the_users_own_are_left(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    scan = add_volume(panel.viewer, oblique)
    own = panel.viewer.add_points([[0, 0, 0]], name="mine")
    settled(qtbot, panel)
    for side in (40, 30):
        panel.form.resample_to.setValue(side)
        click(qtbot, panel.primary)
        qtbot.waitUntil(
            lambda side=side: any(max(each.data.shape) == side for each in ours(panel, "voxels")), timeout=WAIT_MS
        )
    assert len(ours(panel, "voxels")) == 1
    assert scan in panel.viewer.layers
    assert own in panel.viewer.layers


def test_the_preview_follows_the_slider(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    panel.form.histogram.slider.setSliderDown(True)
    for low in (0.0, 800.0):
        panel.form.histogram.slider.setValue((low, panel.form.histogram.histogram.high))
        (preview,) = ours(panel, "preview")
        plane = round(float(panel.layer.world_to_data(panel.viewer.dims.point)[0]))
        low_now, high_now = panel.form.histogram.range
        expected = (oblique.data[plane] >= low_now) & (oblique.data[plane] <= high_now)
        np.testing.assert_array_equal(preview.data[0] > 0, expected)
    panel.form.histogram.slider.setSliderDown(False)


def test_typing_a_range_makes_a_custom_recipe(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    panel.form.histogram.low.setValue(100)
    assert panel.form.recipe().threshold == RangeThreshold(low=100, unit="HU")
    assert panel.form.recipe_box.currentText() == "Custom"


def test_an_empty_threshold_is_a_sentence_and_leaves_things_as_they_were(
    panel: Any, qtbot: Any, oblique: Volume, add_volume: Any
) -> None:
    add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    panel.form.resample.setCurrentIndex(panel.form.resample.findData("none"))
    panel.form.histogram.low.setValue(100)
    panel.form.histogram.high.setValue(101)
    assert panel.form.recipe().threshold == RangeThreshold(low=100, high=101, unit="HU")
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: "leaves no voxel" in panel.message.text(), timeout=WAIT_MS)
    assert "-50" in panel.message.text()  # the range of values that there is
    assert ours(panel, "voxels") == []


def held_back(monkeypatch: Any) -> tuple[Event, list[int]]:
    """Voxel sets are made only once the event is set; the list grows with each that was begun."""
    gate = Event()
    started: list[int] = []

    def slow(volume: Volume, recipe: Recipe) -> VoxelSet:
        started.append(1)
        gate.wait(60)
        return voxelize(volume, recipe)

    monkeypatch.setattr("napari_sparse3d.widgets.voxels.jobs.voxelize", slow)
    return gate, started


def test_cancel_and_double_start(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any, monkeypatch: Any) -> None:
    add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    gate, started = held_back(monkeypatch)
    panel.form.resample_to.setValue(50)
    panel._settle.stop()
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: bool(started), timeout=WAIT_MS)
    assert panel.primary.text() == "Cancel"
    click(qtbot, panel.primary)
    assert panel.primary.text() == "Make voxel set"
    assert "Cancelled" in panel.message.text()
    panel.run()
    panel.run()  # a second start replaces the first
    gate.set()
    qtbot.waitUntil(lambda: len(ours(panel, "voxels")) == 1, timeout=WAIT_MS)
    qtbot.wait(200)
    assert len(ours(panel, "voxels")) == 1


def test_the_button_does_what_it_says_while_numbers_are_reckoned(
    panel: Any, qtbot: Any, oblique: Volume, add_volume: Any, monkeypatch: Any
) -> None:
    """The numbers of a changed recipe are made in the background, which must not turn the button into Cancel."""
    add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    gate, started = held_back(monkeypatch)
    panel.form.resample_to.setValue(50)
    qtbot.waitUntil(lambda: bool(started), timeout=WAIT_MS)
    assert panel.primary.text() == "Make voxel set"
    click(qtbot, panel.primary)
    assert panel.primary.text() == "Cancel"
    panel.form.resample_to.setValue(45)  # the recipe changes once more: what was asked for is still wanted
    qtbot.waitUntil(lambda: len(started) >= 3, timeout=WAIT_MS)
    gate.set()
    qtbot.waitUntil(lambda: len(ours(panel, "voxels")) == 1, timeout=WAIT_MS)
    (layer,) = ours(panel, "voxels")
    assert max(layer.data.shape) == 45


def test_the_volume_removed_while_it_is_worked_on(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    scan = add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    panel.form.resample_to.setValue(64)
    click(qtbot, panel.primary)
    panel.viewer.layers.remove(scan)
    qtbot.wait(300)
    assert panel.empty.isVisible()
    assert ours(panel, "voxels") == []


def test_the_viewer_closed_while_it_is_worked_on(
    make_napari_viewer: Any, one_child: Any, qtbot: Any, oblique: Volume, add_volume: Any
) -> None:
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel

    viewer = make_napari_viewer(show=True)
    panel = VoxelsPanel(viewer)
    viewer.window.add_dock_widget(panel)
    add_volume(viewer, oblique)
    panel.run()
    viewer.close()
    qtbot.wait(300)  # what the worker still sends must reach nobody


def test_a_volume_of_nan_and_a_picture(panel: Any, qtbot: Any) -> None:
    panel.viewer.add_image(np.zeros((20, 20)), name="a picture")
    assert "three axes" in panel.empty_text.text()
    panel.viewer.add_image(np.full((4, 5, 6), np.nan), name="nothing", contrast_limits=(0, 1))
    qtbot.waitUntil(lambda: "finite" in panel.message.text(), timeout=WAIT_MS)


def test_time_goes_by_what_the_viewer_shows(panel: Any, qtbot: Any) -> None:
    data = np.zeros((3, 8, 9, 10), dtype=np.uint8)
    data[1, 2:5, 3:6, 4:7] = 200
    panel.viewer.add_image(data, name="in time", scale=(1, 2, 1, 1))
    panel.viewer.dims.set_point(0, 1)
    panel._volume_chosen()
    settled(qtbot, panel)
    panel.form.resample.setCurrentIndex(panel.form.resample.findData("none"))
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: len(ours(panel, "voxels")) == 1, timeout=WAIT_MS)
    (layer,) = ours(panel, "voxels")
    np.testing.assert_array_equal(layer.data > 0, data[1] > 0)


def test_two_volumes_keep_their_own_places(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = 500
    other = replace(oblique, affine=affine, name="the other")
    scans = [add_volume(panel.viewer, volume) for volume in (oblique, other)]
    settled(qtbot, panel)
    for volume, scan in zip((oblique, other), scans, strict=True):
        panel.volume.setCurrentIndex(panel.volume.findData(str(scan.unique_id)))
        settled(qtbot, panel)
        panel.form.resample.setCurrentIndex(panel.form.resample.findData("none"))
        before = len(ours(panel, "voxels"))
        click(qtbot, panel.primary)
        qtbot.waitUntil(lambda before=before: len(ours(panel, "voxels")) == before + 1, timeout=WAIT_MS)
        layer = next(each for each in ours(panel, "voxels") if each.name.startswith(volume.name))
        np.testing.assert_allclose(layer.scale, scan.scale)
        np.testing.assert_allclose(layer.translate, scan.translate)


def test_the_copied_command_gives_the_same_voxels(panel: Any, qtbot: Any, oblique: Volume, tmp_path: Path) -> None:
    from qtpy.QtWidgets import QApplication

    from napari_sparse3d.io.write import write_volume

    path = tmp_path / "scan.nii.gz"
    write_volume(oblique, path)
    panel.viewer.open(str(path), plugin="napari-sparse3d")
    settled(qtbot, panel)
    panel.form.keep.setCurrentIndex(1)
    panel.form.resample_to.setValue(60)
    panel.form.histogram.low.setValue(300)
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: len(ours(panel, "voxels")) == 1, timeout=WAIT_MS)
    (layer,) = ours(panel, "voxels")
    click(qtbot, panel.copy_command)
    line = QApplication.clipboard().text()
    assert line.startswith("napari-sparse3d voxelize ")
    words = __import__("shlex").split(line)
    done = subprocess.run(
        [sys.executable, "-c", "from napari_sparse3d.cli import main; main()", *words[1:], "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_active"] == int((layer.data > 0).sum())
    np.testing.assert_array_equal(VoxelSet.load(tmp_path / "voxels.npz").indices, np.argwhere(layer.data))
    click(qtbot, panel.copy_python)
    space: dict[str, Any] = {}
    exec(QApplication.clipboard().text(), space)
    np.testing.assert_array_equal(space["voxels"].indices, np.argwhere(layer.data))


def test_what_still_comes_reaches_no_window_that_is_gone(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> None:
    from threading import Event

    from qtpy.QtWidgets import QWidget

    from napari_sparse3d.widgets.toolbox.work import Work

    make_napari_viewer(show=True)
    window = QWidget()
    go_on, ended = Event(), Event()

    def job() -> Any:
        try:
            yield "begun"
            go_on.wait(60)
            yield "too late"
            yield "not even sent"
        finally:
            ended.set()

    work = Work(window)
    seen: list[Any] = []
    work.stepped.connect(seen.append)
    work.start(job, "a job")
    qtbot.waitUntil(lambda: "begun" in seen, timeout=WAIT_MS)
    window.deleteLater()
    qtbot.wait(100)
    go_on.set()
    qtbot.waitUntil(ended.is_set, timeout=WAIT_MS)
    qtbot.wait(100)
    assert "too late" not in seen


def test_a_set_is_drawn_as_labels_as_a_surface_or_as_points(
    panel: Any, qtbot: Any, oblique: Volume, add_volume: Any, monkeypatch: Any
) -> None:
    from napari.layers import Image, Labels, Points

    scan = add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    expected = voxelize(oblique, Recipe.named("ct-bone-110"))
    click(qtbot, panel.primary)
    for kind, cls in (("labels", Labels), ("surface", Image), ("points", Points)):
        panel.show_as.setCurrentIndex(panel.show_as.findData(kind))
        panel.show_as.activated.emit(panel.show_as.currentIndex())
        qtbot.waitUntil(
            lambda cls=cls: [type(each) for each in ours(panel, "voxels")] == [cls] and not panel.making.running,
            timeout=WAIT_MS,
        )
        (layer,) = ours(panel, "voxels")
        indices = layer.data if kind == "points" else np.argwhere(layer.data)
        np.testing.assert_array_equal(indices, expected.indices)
        to_scan = np.linalg.inv(oblique.affine) @ expected.affine
        for index in expected.indices[:: expected.n_active // 5]:
            by_scan = scan.data_to_world((to_scan @ [*index, 1])[:3])
            np.testing.assert_allclose(layer.data_to_world(index), by_scan, atol=1e-6)
    monkeypatch.setattr("napari_sparse3d.widgets.toolbox.voxel_picture.MAX_POINTS", 100)
    panel.form.resample_to.setValue(60)
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: isinstance(ours(panel, "voxels")[0], Labels), timeout=WAIT_MS)
    assert "too many for points" in panel.message.text()


def test_what_the_controls_cannot_show_stays_in_the_recipe(
    panel: Any, qtbot: Any, oblique: Volume, add_volume: Any
) -> None:
    from napari_sparse3d.voxels import Components, OtsuThreshold, ToSpacing

    add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    given = Recipe(
        name="mine", resample=ToSpacing(spacing_mm=(3.0, 1.25, 1.7)), threshold=OtsuThreshold(),
        components=Components(keep=2, connectivity=6), features=("depth", "occupancy"), field=64,
    )  # fmt: skip
    panel.form.take(given)
    assert panel.form.recipe() == given
    panel.form.keep_n.setValue(3)
    expected = given.model_copy(update={"name": "custom", "components": Components(keep=3, connectivity=6)})
    assert panel.form.recipe() == expected
    panel.form.features["intensity"].setChecked(True)
    assert panel.form.recipe().features == ("depth", "occupancy", "intensity")
    for box in panel.form.features.values():
        box.setChecked(False)
    panel._settle.stop()
    click(qtbot, panel.primary)
    assert "at least one feature" in panel.message.text()


def test_the_work_of_the_chosen_model_and_a_warning_where_it_was_trained_on_less(panel: Any, qtbot: Any) -> None:
    block = np.zeros((48, 48, 48), dtype=np.uint8)
    block[4:44, 4:44, 4:44] = 1
    panel.viewer.add_image(block, name="a block")
    panel.workbench.set_model("nodule")
    settled(qtbot, panel)
    shape = next(i for i in range(panel.form.recipe_box.count()) if "shape-64" in panel.form.recipe_box.itemText(i))
    panel.form.recipe_box.setCurrentIndex(shape)
    panel.form.recipe_box.activated.emit(shape)
    panel.form.features["depth"].setChecked(True)
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: "nodule would take" in panel.cost.text(), timeout=WAIT_MS)
    assert "GMAC" in panel.cost.text() or "MMAC" in panel.cost.text()
    assert "24.4 % of the field is active, in training" in panel.cost.text()
    assert "64,000 voxels" in panel.numbers.text()
    assert "box 40³ in a grid of 48³" in panel.numbers.text()


def test_the_kind_of_threshold_shows_its_number(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    from napari_sparse3d.voxels import FractionOfMax, OtsuThreshold, PercentileThreshold, Preset

    add_volume(panel.viewer, oblique)
    settled(qtbot, panel)
    form = panel.form
    assert form.threshold.currentData() == "preset"  # of ct-bone-110

    def choose(kind: str) -> dict[str, Any]:
        form.threshold.setCurrentIndex(form.threshold.findData(kind))
        return form._threshold.controls[kind]

    choose("percentile")["percentile"].parts["value"].setValue(97.5)
    assert form.recipe().threshold == PercentileThreshold(percentile=97.5)
    assert form.recipe_box.currentText() == "Custom"
    choose("fraction_of_max")["fraction"].parts["value"].setValue(0.25)
    assert form.recipe().threshold == FractionOfMax(fraction=0.25)
    low, high = form.histogram.range
    assert (low, high) == (pytest.approx(0.25 * 700, rel=1e-12), 700)  # the histogram shows where it lies on the scan
    choose("otsu")
    assert form.recipe().threshold == OtsuThreshold()
    box = choose("preset")["name"].parts["value"]
    box.setCurrentIndex(box.findData("fat"))
    assert (form.recipe().threshold, form.recipe().name) == (Preset(name="fat"), "fat")
    assert form.recipe_box.currentText() == "Fat (CT)"
    choose("range")
    assert form.recipe().threshold == RangeThreshold(high=-30, unit="HU")  # fat, open where the scan ends
    form.histogram.low.setValue(-40)
    assert form.recipe().threshold == RangeThreshold(low=-40, high=-30, unit="HU")
    form.take(Recipe.named("mri-110"))
    assert form.threshold.currentData() == "fraction_of_max"
    assert form.recipe() == Recipe.named("mri-110")
