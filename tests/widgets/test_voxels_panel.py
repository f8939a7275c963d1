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
        expected = voxelize(oblique, panel.form.recipe())
        plane = round(float(preview.world_to_data(panel.viewer.dims.point)[0]))
        assert plane == 0  # the one that is drawn
        to_set = np.linalg.inv(expected.affine) @ oblique.affine
        at = (to_set @ [*panel.layer.world_to_data(panel.viewer.dims.point), 1])[0]
        np.testing.assert_array_equal(preview.data[0] > 0, expected.mask()[round(at)])
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


def test_nothing_of_one_volume_or_time_stands_under_another(
    panel: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sparse3d.widgets.child.records import Cost
    from napari_sparse3d.widgets.voxels import cost_line

    asked, may_answer = Event(), Event()

    def slow(_child: Any, _ready: Any, model: str) -> Any:
        yield None
        asked.set()
        may_answer.wait(30)
        return Cost(model, 10**9, 1.0, "")

    monkeypatch.setattr(cost_line, "reckon_cost", slow)
    data = np.zeros((3, 8, 9, 10), dtype=np.uint8)
    data[0, 2:5, 3:6, 4:7], data[1, 2:4, 3:5, 4:6] = 200, 200
    panel.viewer.add_image(data, name="in time")
    panel.viewer.dims.set_point(0, 0)
    settled(qtbot, panel)
    panel.form.resample.setCurrentIndex(panel.form.resample.findData("none"))
    qtbot.waitUntil(lambda: "27 voxels" in panel.numbers.text() and asked.is_set(), timeout=WAIT_MS)
    panel.viewer.dims.set_point(0, 1)
    assert "27 voxels" not in panel.numbers.text()
    assert "time 1 of 3" in panel.about.text()
    may_answer.set()
    qtbot.waitUntil(lambda: "8 voxels" in panel.numbers.text(), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not panel.costing.running, timeout=WAIT_MS)
    assert "would take" in panel.cost.text()

    asked.clear()
    may_answer.clear()
    panel.form.features["intensity"].setChecked(True)
    qtbot.waitUntil(asked.is_set, timeout=WAIT_MS)
    panel.viewer.add_image(np.zeros((4, 4, 4), dtype=np.uint8), name="empty")
    panel.volume.setCurrentIndex(panel.volume.findText("empty"))
    may_answer.set()
    qtbot.waitUntil(lambda: not panel.costing.running, timeout=WAIT_MS)
    settled(qtbot, panel)
    assert panel.cost.text() == ""


def test_undo_after_another_volume_was_put_in(panel: Any, qtbot: Any) -> None:
    """What comes back is the set of the voxels that were; what the controls make is one of those that are."""
    first, second = np.zeros((2, 6, 7, 8), dtype=np.uint8)
    first[1:3, 1:3, 1:3], second[1:4, 1:4, 1:4] = 200, 200
    layer = panel.viewer.add_image(first, name="one after the other")
    settled(qtbot, panel)
    panel.form.resample.setCurrentIndex(panel.form.resample.findData("none"))

    def shows(count: int) -> bool:
        return any(int(each.data.astype(bool).sum()) == count for each in ours(panel, "voxels"))

    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: shows(8) and not panel.making.running, timeout=WAIT_MS)
    layer.data = second
    qtbot.waitUntil(lambda: shows(27) and not panel.making.running, timeout=WAIT_MS)
    click(qtbot, panel.undo)
    qtbot.waitUntil(lambda: shows(8) and not panel.making.running, timeout=WAIT_MS)
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: shows(27) and not panel.making.running, timeout=WAIT_MS)


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
    assert form.recipe_box.currentText() == "Custom"  # on another grid than that of the preset, which is the scan's own
    choose("range")
    assert form.recipe().threshold == RangeThreshold(high=-30, unit="HU")  # fat, open where the scan ends
    form.histogram.low.setValue(-40)
    assert form.recipe().threshold == RangeThreshold(low=-40, high=-30, unit="HU")
    form.take(Recipe.named("mri-110"))
    assert form.threshold.currentData() == "fraction_of_max"
    assert form.recipe() == Recipe.named("mri-110")


def choose_recipe(panel: Any, beginning: str) -> None:
    box = panel.form.recipe_box
    place = next(i for i in range(box.count()) if box.itemText(i).startswith(beginning))
    box.setCurrentIndex(place)
    box.activated.emit(place)


def shown_plane(panel: Any, voxels: VoxelSet) -> Any:
    """The plane of a set that lies in the slice that the viewer shows."""
    scan = panel.layer
    to_set = np.linalg.inv(voxels.affine) @ panel.volume_of(scan).affine
    at = (to_set @ [*scan.world_to_data(panel.viewer.dims.point), 1])[0]
    return voxels.mask()[round(at)]


def test_the_preview_is_the_set_and_a_preset_keeps_the_scans_own_grid(
    panel: Any, qtbot: Any, oblique: Volume, add_volume: Any
) -> None:
    data = oblique.data.copy()
    data[15:20, 2:5, 2:5] = 700  # a part of its own
    add_volume(panel.viewer, replace(oblique, data=data))
    settled(qtbot, panel)
    assert panel.form.recipe_box.currentText() == "Bone CT (ct-bone-110), for deepC2"
    choose_recipe(panel, "Bone (CT)")
    recipe = panel.form.recipe()
    assert (recipe.resample.kind, recipe.field, recipe.components.keep) == ("none", None, "all")
    panel.form.keep.setCurrentIndex(1)  # the largest part
    for kind in ("none", "longest_side"):
        panel.form.resample.setCurrentIndex(panel.form.resample.findData(kind))
        settled(qtbot, panel)
        (preview,) = ours(panel, "preview")
        expected = voxelize(panel.volume_of(panel.layer), panel.form.recipe())
        np.testing.assert_array_equal(preview.data[0] > 0, shown_plane(panel, expected))
    assert f"voxels of {90 / 110:.3g} mm" in panel.numbers.text()
    everything = voxelize(panel.volume_of(panel.layer), Recipe(**{**dict(panel.form.recipe()), "components": {}}))
    assert everything.n_active > expected.n_active  # so the largest part was chosen, on the preview too


def test_a_mask_gets_the_recipe_for_shapes_by_itself(panel: Any, qtbot: Any) -> None:
    """So that a bundled model sees it as in its training: `voxelize` of the very array by the model's recipe."""
    from napari_sparse3d.models import load_model

    mask = np.zeros((24, 26, 28), dtype=np.uint8)
    mask[4:20, 5:12, 6:22] = 255
    panel.viewer.add_image(mask, name="a vessel")
    settled(qtbot, panel)
    assert panel.form.recipe() == load_model("vessel").card.recipe
    assert "a mask of 0 and 255" in panel.about.text()
    (preview,) = ours(panel, "preview")
    np.testing.assert_array_equal(preview.data[0] > 0, mask[12] > 0)
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: len(ours(panel, "voxels")) == 1, timeout=WAIT_MS)
    made = ours(panel, "voxels")[0].metadata["napari_sparse3d"].content["made"]
    by_training = voxelize(Volume(mask, np.eye(4)), load_model("vessel").card.recipe)
    np.testing.assert_array_equal(made.voxels.indices, by_training.indices)
    np.testing.assert_array_equal(made.voxels.features, by_training.features)


def test_labels_are_an_input_and_the_last_set_is_undone(panel: Any, qtbot: Any) -> None:
    labels = np.zeros((12, 14, 16), dtype=np.uint16)
    labels[2:9, 3:8, 4:12] = 1
    labels[4:7, 9:12, 2:9] = 7
    layer = panel.viewer.add_labels(labels, name="organs")
    settled(qtbot, panel)
    assert [panel.label.itemText(i) for i in range(panel.label.count())] == ["all labels", "1", "7"]
    assert panel.label.isVisible()
    emitted: list[Any] = []
    panel.workbench.voxels_changed.connect(
        lambda each: emitted.append(each.metadata["napari_sparse3d"].content["made"])
    )

    def make(expected: Any) -> None:
        before = len(emitted)
        click(qtbot, panel.primary)
        qtbot.waitUntil(lambda: len(emitted) > before and not panel.making.running, timeout=WAIT_MS)
        np.testing.assert_array_equal(ours(panel, "voxels")[0].data > 0, expected)

    make(labels > 0)
    assert not panel.undo.isVisible()
    panel.label.setCurrentIndex(2)
    panel.label.activated.emit(2)
    qtbot.waitUntil(lambda: emitted[-1].voxels.n_active == (labels == 7).sum(), timeout=WAIT_MS)  # follows by itself
    settled(qtbot, panel)
    np.testing.assert_array_equal(ours(panel, "voxels")[0].data > 0, labels == 7)
    layer.selected_label = 7
    layer.paint((10, 2, 2), 7)
    qtbot.waitUntil(lambda: emitted[-1].voxels.n_active == (layer.data == 7).sum() > 63, timeout=WAIT_MS)
    settled(qtbot, panel)
    assert panel.undo.isVisible()
    count = emitted[-1].voxels.n_active
    click(qtbot, panel.undo)
    qtbot.waitUntil(lambda: emitted[-1].voxels.n_active != count, timeout=WAIT_MS)
    assert emitted[-1].voxels.n_active == 63
    assert "The previous set is back" in panel.message.text()
    click(qtbot, panel.undo)
    qtbot.waitUntil(lambda: emitted[-1].voxels.n_active == 343, timeout=WAIT_MS)
    assert f"{343:,} voxels" in panel.numbers.text()
    assert not panel.undo.isVisible()


def test_the_couch_goes_from_the_preview_and_the_body_is_looked_for_once(
    panel: Any, qtbot: Any, add_volume: Any, monkeypatch: Any
) -> None:
    from napari_sparse3d.voxels import body
    from napari_sparse3d.widgets.voxels import jobs

    looked: list[int] = []

    def counted(*what: Any) -> Any:
        looked.append(1)
        return body.body_of(*what)

    monkeypatch.setattr(jobs, "body_of", counted)
    data = np.full((8, 60, 60), -1000, dtype=np.int16)
    data[:, 24:52, 10:50] = 40
    data[:, 34:40, 26:34] = 600  # a spine
    data[:, 8:11, 2:58] = 500  # the couch
    add_volume(panel.viewer, Volume(data, np.diag([3.0, 3, 3, 1]), "HU", "CT", "on a couch"))
    settled(qtbot, panel)
    choose_recipe(panel, "Bone (CT)")
    settled(qtbot, panel)
    (preview,) = ours(panel, "preview")
    np.testing.assert_array_equal(preview.data[0] > 0, data[4] > 226)
    panel.form.region.setCurrentIndex(panel.form.region.findData("body"))
    settled(qtbot, panel)
    bone = np.zeros((60, 60), dtype=bool)
    bone[34:40, 26:34] = True
    np.testing.assert_array_equal(preview.data[0] > 0, bone)
    panel.form.histogram.slider.setSliderDown(True)
    panel.form.histogram.slider.setValue((550.0, panel.form.histogram.histogram.high))
    np.testing.assert_array_equal(preview.data[0] > 0, bone)  # while the end moves
    panel.form.histogram.slider.setValue((300.0, panel.form.histogram.histogram.high))
    np.testing.assert_array_equal(preview.data[0] > 0, bone)
    panel.form.histogram.slider.setSliderDown(False)
    panel.form.histogram.slider.sliderReleased.emit()
    settled(qtbot, panel)
    assert f"{8 * bone.sum():,} voxels" in panel.numbers.text()
    assert len(looked) == 1
    mr = Volume(data, np.diag([3.0, 3, 3, 1]), name="an MR")
    scan = add_volume(panel.viewer, mr)
    panel.volume.setCurrentIndex(panel.volume.findData(str(scan.unique_id)))
    item = panel.form.region.model().item(1)
    assert not item.isEnabled()
    assert "needs a volume in HU" in item.toolTip()
