"""The Network panel, driven as a person would: run, look at every layer, ask what drove it, repeat it elsewhere."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Preset, Recipe, ToLongestSide, VoxelSet, voxelize

pytestmark = pytest.mark.gui

WAIT_MS = 120_000
DEEPC2_SIDES = [126, 125, 62, 61, 30, 29, 14, 13, 6, 5, 2, 1]


@pytest.fixture
def panel(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> Any:
    from napari_sparse3d.widgets.network.view import NetworkPanel

    viewer = make_napari_viewer(show=True)
    made = NetworkPanel(viewer)
    viewer.window.add_dock_widget(made, name="Network")
    qtbot.waitUntil(lambda: made.model.count() > 0, timeout=WAIT_MS)
    return made


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def run(qtbot: Any, panel: Any) -> Any:
    panel.state.ran = None
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: panel.ran is not None or "⚠" in panel.message.text(), timeout=WAIT_MS)
    assert panel.ran is not None, panel.message.text()
    return panel.ran


def ours(panel: Any, role: str) -> list[Any]:
    from napari_sparse3d.widgets.toolbox import layers

    return list(layers.ours(panel.viewer, role))


def in_field(voxels: VoxelSet, field: int) -> np.ndarray[Any, Any]:
    """(field, field, field) bool, by the rule of the design: offset (field - size) // 2."""
    grid = np.zeros((field,) * 3, dtype=bool)
    offset = [(field - n) // 2 for n in voxels.shape]
    grid[tuple((voxels.indices + offset).T)] = True
    return grid


def seen_by_layer() -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]]:
    """For the input and each layer of deepC2: the first and last field voxel that a site sees, and the stride.

    Worked out on one axis with plain slices: a convolution of 2 joins neighbours, a pool of 3 joins three, every other.
    """
    first = last = np.arange(126)
    stride, found = 1, [(first, last, 1)]
    for layer in range(11):
        if layer % 2 == 0:
            first, last = first[:-1], last[1:]
        else:
            count, stride = (len(first) - 3) // 2 + 1, stride * 2
            first, last = first[0::2][:count], last[2::2][:count]
        found.append((first, last, stride))
    return found


def test_random_weights_are_said_and_the_table_is_that_of_python(
    panel: Any, qtbot: Any, oblique: Volume, add_volume: Any
) -> None:
    from napari_sparse3d.models import load_model

    add_volume(panel.viewer, oblique)
    assert "by the model's recipe" in panel.voxels.currentText()
    ran = run(qtbot, panel)
    assert "Random weights" in panel.about.text()
    assert "research use only" in panel.honest.text()
    expected = load_model("deepc2").run(voxelize(oblique, Recipe.named("mri-110")))
    np.testing.assert_array_equal(ran.result.embedding, expected.embedding)
    np.testing.assert_array_equal(ran.result.probabilities, expected.probabilities)
    assert [row.active_sites for row in ran.result.rows[1:]] == [row.active_sites for row in expected.layers]
    shown = [panel.table.item(row, 2).text().replace(",", "") for row in range(panel.table.rowCount())]
    assert shown[1:] == [str(row.active_sites) for row in expected.layers]


def test_every_layer_lies_over_the_scan(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    scan = add_volume(panel.viewer, oblique)
    ran = run(qtbot, panel)
    voxels = ran.made.voxels
    occupied = in_field(voxels, 126)
    offset = np.array([(126 - n) // 2 for n in voxels.shape])
    to_scan = np.linalg.inv(oblique.affine) @ voxels.affine  # voxel of the set -> voxel of the scan, through true mm
    spacing_shown = np.abs(np.diag(to_scan)[:3] * scan.scale)
    assert panel.table.rowCount() == len(DEEPC2_SIDES)
    for row, (first, last, stride) in enumerate(seen_by_layer()):
        panel.state.sites = None
        panel.table.selectRow(row)
        name = panel.table.item(row, 0).text()
        qtbot.waitUntil(lambda name=name: getattr(panel.state.sites, "layer", "") == name, timeout=WAIT_MS)
        (layer,) = ours(panel, "activation")
        assert layer.data.shape == (DEEPC2_SIDES[row],) * 3
        active = np.argwhere(np.isfinite(layer.data))
        assert len(active) == ran.result.rows[row].active_sites
        for site in active[:: max(1, len(active) // 12)]:
            window = tuple(slice(int(first[n]), int(last[n]) + 1) for n in site)
            under = np.argwhere(occupied[window]) + first[site]
            assert len(under), f"{name}: site {site} is active over nothing"
            corners = [first[site], last[site]]
            middle = (to_scan @ [*(np.mean(corners, axis=0) - offset), 1])[:3]
            away = np.abs(np.subtract(layer.data_to_world(site), scan.data_to_world(middle)))
            assert (away < 0.5 * stride * spacing_shown).all(), f"{name}: site {site} is {away} mm off"
            # and exactly, up to rounding: the design's rule leaves no freedom
            np.testing.assert_allclose(away, 0, atol=1e-6)
        np.testing.assert_allclose(np.abs(layer.scale), stride * spacing_shown)
    assert len(ours(panel, "activation")) == 1


def test_channels_are_stepped_through(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    from qtpy.QtCore import Qt

    add_volume(panel.viewer, oblique)
    run(qtbot, panel)
    panel.table.selectRow(6)
    qtbot.waitUntil(lambda: panel.state.sites is not None, timeout=WAIT_MS)
    (layer,) = ours(panel, "activation")
    sites = panel.state.sites
    at = tuple(sites.indices.T)
    np.testing.assert_allclose(layer.data[at], np.linalg.norm(sites.values, axis=1), rtol=1e-6)
    for channel in (2, 3):
        qtbot.keyClick(panel.channel, Qt.Key.Key_Up)
        np.testing.assert_array_equal(layer.data[at], sites.values[:, channel - 1])
        assert f"channel {channel}" in panel.sites_text.text()


@pytest.mark.parametrize("method", ["class-activation map", "gradient × input"])
def test_what_drove_it(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any, method: str) -> None:
    add_volume(panel.viewer, oblique)
    ran = run(qtbot, panel)
    panel.method.setCurrentText(method)
    click(qtbot, panel.attribute_button)
    qtbot.waitUntil(lambda: len(ours(panel, "attribution")) == 1, timeout=WAIT_MS)
    (layer,) = ours(panel, "attribution")
    assert ran.result.label in layer.name
    values = layer.data[np.isfinite(layer.data)]
    assert np.ptp(values) > 0
    assert layer.contrast_limits[0] == -layer.contrast_limits[1]
    assert "Random weights" in panel.sites_text.text()


def test_the_copied_lines_and_the_session_give_the_same_numbers(
    panel: Any, qtbot: Any, oblique: Volume, tmp_path: Path
) -> None:
    from qtpy.QtWidgets import QApplication

    from napari_sparse3d.io.write import write_volume

    path = tmp_path / "scan.nii.gz"
    write_volume(oblique, path)
    (scan,) = panel.viewer.open(str(path), plugin="napari-sparse3d")
    repaired = {**scan.metadata["meta"], "repairs": ["magnitude of complex voxels"]}
    scan.metadata = {**scan.metadata, "meta": repaired}
    ran = run(qtbot, panel)
    assert "repaired: magnitude of complex voxels" in panel.ran_on.text()
    click(qtbot, panel.copy_command)
    words = shlex.split(QApplication.clipboard().text())
    done = subprocess.run(
        [sys.executable, "-c", "from napari_sparse3d.cli import main; main()", *words[1:], "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    np.testing.assert_allclose(record["embedding"], ran.result.embedding, atol=1e-6)
    assert [row["active_sites"] for row in record["layers"]] == [row.active_sites for row in ran.result.rows[1:]]

    panel.save_session_to(tmp_path / "session")
    qtbot.waitUntil(lambda: "Saved" in panel.message.text() or "⚠" in panel.message.text(), timeout=WAIT_MS)
    session = json.loads((tmp_path / "session" / "session.json").read_text())
    assert session["command"].split()[0] == "napari-sparse3d"
    assert session["input_notes"] == ["repaired: magnitude of complex voxels"]
    assert "random weights" in session["note"]
    np.testing.assert_allclose(session["embedding"], ran.result.embedding)
    table = list(csv.DictReader((tmp_path / "session" / "layers.csv").open()))
    assert [int(row["active_sites"]) for row in table] == [row.active_sites for row in ran.result.rows]
    assert (tmp_path / "session" / "layers.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert Recipe.load(tmp_path / "session" / "recipe.toml") == ran.made.recipe


def test_a_volume_without_a_file_cannot_be_repeated_and_says_so(
    panel: Any, qtbot: Any, oblique: Volume, add_volume: Any
) -> None:
    add_volume(panel.viewer, oblique)
    run(qtbot, panel)
    click(qtbot, panel.copy_command)
    assert "not opened from a file" in panel.message.text()


def test_a_set_that_does_not_fit_is_a_sentence(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    from napari_sparse3d.cases.identity import CaseIdentity
    from napari_sparse3d.widgets.toolbox.layers import Mark
    from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
    from napari_sparse3d.widgets.toolbox.sources import OWN

    scan = add_volume(panel.viewer, oblique)
    recipe = Recipe(threshold=Preset(name="bone"), resample=ToLongestSide(voxels=200))
    made = ScanVoxels(voxelize(oblique, recipe), recipe, oblique, 0, CaseIdentity())
    mark = Mark("voxels", str(scan.unique_id), {"made": made})
    panel.viewer.add_labels(made.voxels.mask().astype(np.uint8), metadata={OWN: mark}, name="too large")
    panel.voxels.setCurrentIndex(panel.voxels.findText("too large"))
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: "does not fit" in panel.message.text(), timeout=WAIT_MS)
    assert "Traceback" not in panel.message.text()


def test_cancel_ends_the_process_and_the_next_run_starts_another(
    make_napari_viewer: Any, qtbot: Any, oblique: Volume, add_volume: Any
) -> None:
    from napari_sparse3d.widgets.network.view import NetworkPanel

    viewer = make_napari_viewer(show=True)
    panel = NetworkPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Network")
    qtbot.waitUntil(lambda: panel.model.count() > 0, timeout=WAIT_MS)
    add_volume(viewer, oblique)
    process = panel.workbench.network_child._process
    click(qtbot, panel.primary)
    assert panel.primary.text() == "Cancel"
    click(qtbot, panel.primary)
    assert process.poll() is not None
    assert panel.ran is None
    assert "Cancelled" in panel.message.text()
    run(qtbot, panel)
    running = panel.workbench.network_child._process
    viewer.close()
    qtbot.waitUntil(lambda: running.poll() is not None, timeout=WAIT_MS)


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    """An ellipsoid, which the bundled models of shapes take."""
    from napari_sparse3d.io.write import write_volume

    z, y, x = np.indices((64, 64, 64)) - 31.5
    path = tmp_path / "shape.nii.gz"  # by the name "mask" it would be opened as labels
    write_volume(Volume(((z**2 + y**2 + 2 * x**2) < 15**2).astype(np.uint8), np.eye(4)), path)
    return path


def test_a_trained_model_says_what_it_is_how_good_and_what_for(
    panel: Any, qtbot: Any, shape: Path, tmp_path: Path
) -> None:
    from napari_sparse3d.models import bundled_models, load_model
    from napari_sparse3d.widgets.toolbox.session_folder import content_hash

    panel.viewer.open(str(shape), plugin="napari-sparse3d")
    panel.model.setCurrentIndex(panel.model.findData("nodule"))
    panel.model.activated.emit(panel.model.currentIndex())
    card = load_model("nodule").card
    assert card.description in panel.about.text()
    assert f"{card.metrics['validation']['auc']:.3f}" in panel.about.text()
    assert "(validation)" in panel.about.text()
    ran = run(qtbot, panel)
    assert [name for _, name, _ in panel.bars._rows] == [
        ran.result.model.classes[i] for i in np.argsort(-ran.result.probabilities)
    ]
    assert sum(value for _, _, value in panel.bars._rows) == pytest.approx(1)
    assert "research use only" in panel.honest.text()
    assert "Random weights" not in panel.about.text() + panel.honest.text()
    assert "do not trust" not in panel.honest.text()
    assert f"{ran.result.engine} on {ran.result.device} ({ran.result.reason})" in panel.ran_on.text()
    from napari_sparse3d.widgets.network.layer_table import COLUMNS

    assert panel.table.isColumnHidden(COLUMNS.index("published"))

    panel.save_session_to(tmp_path / "session")
    qtbot.waitUntil(lambda: "Saved" in panel.message.text() or "⚠" in panel.message.text(), timeout=WAIT_MS)
    session = json.loads((tmp_path / "session" / "session.json").read_text())
    assert session["model"]["sha256"] == content_hash(bundled_models()["nodule"])
    assert session["input"]["sha256"] == content_hash(shape)
    assert {"napari-sparse3d", "torch", "numpy"} <= set(session["versions"])
    assert session["note"] == "research use only"


UNLIKE = {
    "a mask that fills its box": (np.ones((40, 40, 40), np.uint8), 1.0, "% of the field is active, in training"),
    "a scan": (np.arange(64**3).reshape(64, 64, 64).astype(np.int16) % 9, 1.0, "it is a scan, in training were masks"),
}
"""Values, spacing in mm, and what is said of them."""


@pytest.mark.parametrize("name", UNLIKE)
def test_an_input_unlike_the_training_is_said_as_everywhere(
    panel: Any, qtbot: Any, tmp_path: Path, capsys: Any, name: str
) -> None:
    from qtpy.QtWidgets import QApplication
    from typer.testing import CliRunner

    from napari_sparse3d.cli import app
    from napari_sparse3d.io.write import write_volume

    values, spacing, said = UNLIKE[name]
    path = tmp_path / "one.nii.gz"
    write_volume(Volume(values, np.diag([spacing, spacing, spacing, 1.0])), path)
    panel.viewer.open(str(path), plugin="napari-sparse3d")
    panel.workbench.set_model("vessel")
    ran = run(qtbot, panel)
    # the command line is the oracle: one sentence for both
    done = CliRunner().invoke(app, ["activations", str(path), "--model", "vessel", "--json"])
    told = json.loads(done.stdout)["outside_training"]
    assert said in told
    assert ran.result.outside_training == told
    assert f"⚠ Unlike what vessel was trained on, do not trust its answer: {told}" in panel.honest.text()
    panel.save_session_to(tmp_path / "session")
    qtbot.waitUntil(lambda: "Saved" in panel.message.text() or "⚠" in panel.message.text(), timeout=WAIT_MS)
    session = json.loads((tmp_path / "session" / "session.json").read_text())
    assert session["outside_training"] == told
    assert len(session["model"]["model_hash"]) == 64
    click(qtbot, panel.copy_python)
    capsys.readouterr()
    exec(QApplication.clipboard().text(), {})
    assert f"do not trust its answer: {told}" in capsys.readouterr().out


def test_nothing_is_said_of_random_weights_and_of_what_training_saw(panel: Any, qtbot: Any, shape: Path) -> None:
    panel.viewer.open(str(shape), plugin="napari-sparse3d")
    assert run(qtbot, panel).result.outside_training is None
    assert "do not trust" not in panel.honest.text()
    panel.workbench.set_model("nodule")
    assert run(qtbot, panel).result.outside_training == ""
    assert "do not trust" not in panel.honest.text()
    assert "takes masks" in panel.about.toolTip()


def test_published_figures_stand_beside_those_of_deepc2(
    panel: Any, qtbot: Any, oblique: Volume, add_volume: Any, tmp_path: Path
) -> None:
    from napari_sparse3d.measure.published import MRI_PUBLISHED
    from napari_sparse3d.widgets.network.layer_table import COLUMNS

    add_volume(panel.viewer, oblique)
    run(qtbot, panel)
    column = COLUMNS.index("published")
    assert not panel.table.isColumnHidden(column)
    shown = [panel.table.item(row, column).text() for row in range(panel.table.rowCount())]
    assert shown == [f"{value:.2f}" for value in MRI_PUBLISHED]
    for name in ("table.csv", "chart.png", "chart.svg"):
        panel.export_to(tmp_path / name)
        qtbot.waitUntil(lambda name=name: f"Wrote {name}" in panel.message.text(), timeout=WAIT_MS)
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "chart.svg").read_text(encoding="utf-8")
    table = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [row["published_percent"] for row in table] == [str(value) for value in MRI_PUBLISHED]


def test_a_model_from_a_file_stands_with_the_others(
    panel: Any, qtbot: Any, shape: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from qtpy.QtWidgets import QFileDialog

    from napari_sparse3d.models import bundled_models

    path = tmp_path / "mine.safetensors"
    path.write_bytes(bundled_models()["vessel"].read_bytes())
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))
    panel.model.setCurrentIndex(panel.model.findText("From a file…"))
    panel.model.activated.emit(panel.model.currentIndex())
    qtbot.waitUntil(lambda: panel.model.currentData() == str(path), timeout=WAIT_MS)
    panel.viewer.open(str(shape), plugin="napari-sparse3d")
    assert run(qtbot, panel).result.model.classes == ("healthy", "aneurysm")


def test_the_scan_removed_while_a_network_runs(panel: Any, qtbot: Any, oblique: Volume, add_volume: Any) -> None:
    scan = add_volume(panel.viewer, oblique)
    panel.state.ran = None
    click(qtbot, panel.primary)
    panel.viewer.layers.remove(scan)
    qtbot.waitUntil(lambda: panel.ran is not None, timeout=WAIT_MS)
    assert panel.empty.isVisible()
    panel.table.selectRow(2)
    qtbot.waitUntil(lambda: "was closed" in panel.sites_text.text(), timeout=WAIT_MS)
    assert ours(panel, "activation") == []
    click(qtbot, panel.copy_command)
    assert "was closed" in panel.message.text()


def test_labels_are_a_shape_to_run_a_network_on(panel: Any) -> None:
    panel.viewer.add_labels(np.ones((4, 5, 6), dtype=np.uint8), name="mask")
    assert panel.voxels.currentText() == "mask, by the model's recipe"
    assert not panel.empty.isVisible()
    assert panel.primary.isEnabled()


def test_volumes_of_nothing_are_sentences(panel: Any, qtbot: Any) -> None:
    for name, values in (("nan", np.full((8, 9, 10), np.nan)), ("zeros", np.zeros((8, 9, 10)))):
        panel.viewer.layers.clear()
        panel.viewer.add_image(values, name=name, contrast_limits=(0, 1))
        panel.state.ran = None
        click(qtbot, panel.primary)
        qtbot.waitUntil(lambda: "⚠" in panel.message.text(), timeout=WAIT_MS)
        assert "Traceback" not in panel.message.text()
        assert panel.ran is None
        assert panel.primary.text() == "Run"
