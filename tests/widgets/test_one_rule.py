"""Panels know a case, and compare embeddings, by the rules of the command line."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from dicom_files import blocks_in_one_folder
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.voxels import RangeThreshold, Recipe

pytestmark = pytest.mark.gui

WAIT_MS = 120_000
SMALL = {"field": 16, "channels": (4, 8), "embedding": 6, "classes": 3}
RECIPE = Recipe(name="small", threshold=RangeThreshold(low=50), field=16)
OTHER = Recipe(name="small", threshold=RangeThreshold(low=60), field=16)
PATIENTS = ("P1", "P2", "P3", "P1")
"""Of the series in one folder, by their numbers from 1."""


def save_model(path: Path, seed: int) -> Path:
    """All of one name: that tells nothing."""
    card = load_model("residual").card.model_copy(
        update={"arguments": SMALL, "classes": ("a", "b", "c"), "recipe": RECIPE, "name": "small"}
    )
    path.parent.mkdir(exist_ok=True)
    Model(build_network("residual", seed=seed, **SMALL), card).save(path)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Four series of three patients in one folder, a scan beside it; two models of one name, and of one file name."""
    blocks_in_one_folder(tmp_path / "scans" / "ct", zip(PATIENTS, (6, 8, 9, 10), strict=True))
    data = np.zeros((12, 12, 12), np.int16)
    data[2:7, 2:9, 2:9] = 100
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "scans" / "a.nii.gz")
    save_model(tmp_path / "one" / "small.safetensors", 1)
    save_model(tmp_path / "two" / "small.safetensors", 2)
    return tmp_path


@pytest.fixture
def panels(make_napari_viewer: Any, one_child: Any, qtbot: Any, place: Path) -> Any:
    """Network and Cohort in one window, the first model chosen."""
    from napari_sparse3d.widgets.cohort.view import CohortPanel
    from napari_sparse3d.widgets.network.view import NetworkPanel

    viewer = make_napari_viewer(show=True)
    network, cohort = NetworkPanel(viewer), CohortPanel(viewer)
    viewer.window.add_dock_widget(network, name="Network")
    viewer.window.add_dock_widget(cohort, name="Cohort")
    network.workbench.add_model_file(str(place / "one" / "small.safetensors"))
    qtbot.waitUntil(lambda: network.model.currentData() == network.workbench.model, timeout=WAIT_MS)
    yield network, cohort
    for work in (cohort.placing, cohort.opening, cohort.saving, network.listing, network.hashing):
        qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.wait(50)  # what has just been shown is laid out
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def choose_model(qtbot: Any, network: Any, path: Path) -> None:
    network.workbench.add_model_file(str(path))
    qtbot.waitUntil(
        lambda: network.model.currentData() == str(path) and str(path) in network.state.models, timeout=WAIT_MS
    )


def embed(qtbot: Any, cohort: Any, source: Path) -> list[dict[str, Any]]:
    """As a person would; the rows of the table that is kept."""
    cohort.set_source(source)
    click(qtbot, cohort.primary)
    qtbot.waitUntil(lambda: not cohort.embedding.running, timeout=WAIT_MS)
    assert cohort.cohort is not None, cohort.message.text()
    return parquet.read_table(cohort.table).to_pylist()


def open_series(viewer: Any, path: Path, row: int, monkeypatch: Any) -> Any:
    """The only scan in the viewer, chosen by its row in the chooser."""
    from qtpy.QtWidgets import QDialog

    from napari_sparse3d.widgets.opening.series_chooser import SeriesChooser

    def answer(chooser: SeriesChooser) -> int:
        chooser.table.setCurrentCell(row, 2)
        return QDialog.DialogCode.Accepted.value

    monkeypatch.setattr(SeriesChooser, "exec", answer)
    viewer.layers.clear()
    return viewer.open(str(path), plugin="napari-sparse3d")[0]


def run(qtbot: Any, network: Any) -> Any:
    network.state.ran = None
    click(qtbot, network.primary)
    qtbot.waitUntil(lambda: network.ran is not None or "⚠" in network.message.text(), timeout=WAIT_MS)
    assert network.ran is not None, network.message.text()
    return network.ran


def listed(cohort: Any) -> set[int | None]:
    """The series numbers of the similar cases; None is the scan beside."""
    return {cohort.cohort.row(index)["series_number"] for index in cohort.similar.indices}


def nothing_is_shown(cohort: Any) -> bool:
    return (
        not cohort.similar.indices
        and cohort.similar.list.count() == 0
        and not cohort.similar.list.isVisible()
        and cohort.map.here_position is None
        and cohort.map.marked.data.size == 0
        and not cohort.state.distances
    )


def test_a_case_of_a_folder_is_not_its_own_neighbour_and_is_found_again(
    panels: Any, qtbot: Any, place: Path, monkeypatch: Any
) -> None:
    network, cohort = panels
    viewer = network.viewer
    rows = embed(qtbot, cohort, place / "scans")
    assert len(rows) == 5
    cohort.similar.k.setValue(9)
    by_number = {row["series_number"]: index for index, row in enumerate(rows)}
    # chosen in the folder of all, or in that of its own
    for folder, number in ((place / "scans", 2), (place / "scans" / "ct", 1)):
        layer = open_series(viewer, folder, number - 1, monkeypatch)
        sizes = {1: 3, 2: 5, 3: 6, 4: 7}  # planes with bone: what tells the series apart here
        assert (np.asarray(layer.data) > 50).any(axis=(1, 2)).sum() == sizes[number]
        run(qtbot, network)
        click(qtbot, cohort.similar.button)
        same = {k for k, patient in enumerate(PATIENTS, start=1) if patient == PATIENTS[number - 1]}
        assert listed(cohort) == {1, 2, 3, 4, None} - same
        qtbot.waitUntil(lambda: cohort.map.here_position is not None, timeout=WAIT_MS)
        # the open case's embedding is that of its row, and so is its place
        own = cohort.map.positions[by_number[number]]
        np.testing.assert_allclose(cohort.map.here_position, own, atol=1e-4)
    # a double click opens that very series
    viewer.layers.clear()
    cohort.open_case(by_number[3])
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=WAIT_MS)
    assert (np.asarray(viewer.layers[0].data) > 50).any(axis=(1, 2)).sum() == 6
    assert "⚠" not in cohort.message.text()
    # and it is that case again, also for the question
    run(qtbot, network)
    click(qtbot, cohort.similar.button)
    assert listed(cohort) == {1, 2, 4, None}


def test_a_moved_case_is_known_by_its_content_and_a_changed_file_is_said(panels: Any, qtbot: Any, place: Path) -> None:
    network, cohort = panels
    rows = embed(qtbot, cohort, place / "scans")
    beside = next(index for index, row in enumerate(rows) if row["series_number"] is None)
    cohort.similar.k.setValue(9)
    shutil.move(place / "scans" / "a.nii.gz", place / "moved.nii.gz")
    network.viewer.open(str(place / "moved.nii.gz"), plugin="napari-sparse3d")
    run(qtbot, network)
    click(qtbot, cohort.similar.button)
    assert listed(cohort) == {1, 2, 3, 4}
    # another scan lies where the row says
    data = np.zeros((12, 12, 12), np.int16)
    data[2:5, 2:9, 2:9] = 100
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), place / "scans" / "a.nii.gz")
    network.viewer.layers.clear()
    cohort.open_case(beside)
    qtbot.waitUntil(lambda: len(network.viewer.layers) == 1, timeout=WAIT_MS)
    assert "has changed since it was embedded" in cohort.message.text()
    # a series that came before it moves the numbers of the others: the scan of the row is opened all the same
    for file in (place / "scans" / "ct").glob("1_*"):
        file.unlink()
    third = next(index for index, row in enumerate(rows) if row["series_number"] == 3)
    network.viewer.layers.clear()
    cohort.open_case(third)
    qtbot.waitUntil(lambda: len(network.viewer.layers) == 1, timeout=WAIT_MS)
    assert (np.asarray(network.viewer.layers[0].data) > 50).any(axis=(1, 2)).sum() == 6
    assert "⚠" not in cohort.message.text()


def test_embeddings_of_another_model_or_recipe_are_refused_as_by_the_command(
    panels: Any, qtbot: Any, place: Path
) -> None:
    network, cohort = panels
    first = embed(qtbot, cohort, place / "scans") and cohort.table
    layer = network.viewer.open(str(place / "scans" / "a.nii.gz"), plugin="napari-sparse3d")[0]
    run(qtbot, network)
    click(qtbot, cohort.similar.button)
    assert len(cohort.similar.indices) == 4
    qtbot.waitUntil(lambda: cohort.map.here_position is not None, timeout=WAIT_MS)
    assert cohort.map.marked.data.size == 4
    # of the same name, length and file name
    choose_model(qtbot, network, place / "two" / "small.safetensors")
    run(qtbot, network)
    assert nothing_is_shown(cohort)
    click(qtbot, cohort.similar.button)
    assert "embedded by another model (small)" in cohort.message.text()
    assert "Model in Network" in cohort.message.text()
    assert nothing_is_shown(cohort)
    # by the right model, of voxels made otherwise
    from napari_sparse3d.voxels import voxelize
    from napari_sparse3d.widgets.toolbox.layers import Mark
    from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
    from napari_sparse3d.widgets.toolbox.sources import OWN, case_of, volume_of_layer

    choose_model(qtbot, network, place / "one" / "small.safetensors")
    volume = volume_of_layer(layer)
    made = ScanVoxels(voxelize(volume, OTHER), OTHER, volume, 0, case_of(layer))
    mark = Mark("voxels", str(layer.unique_id), {"made": made})
    network.viewer.add_labels(made.voxels.mask().astype(np.uint8), metadata={OWN: mark}, name="otherwise")
    network.voxels.setCurrentIndex(network.voxels.findText("otherwise"))
    run(qtbot, network)
    click(qtbot, cohort.similar.button)
    assert "embedded by another recipe" in cohort.message.text()
    assert "Sparse voxels" in cohort.message.text()
    assert nothing_is_shown(cohort)
    # embedded by the other model: kept apart, and found by whose it is
    choose_model(qtbot, network, place / "two" / "small.safetensors")
    embed(qtbot, cohort, place / "scans")
    second = cohort.table
    assert second != first
    assert first.is_file()
    network.voxels.setCurrentIndex(network.voxels.findText("a, by the model's recipe"))
    for model, table in (("one", first), ("two", second)):
        choose_model(qtbot, network, place / model / "small.safetensors")
        run(qtbot, network)
        cohort.state.cohort = None
        click(qtbot, network.like_button)
        assert cohort.table == table
        assert len(cohort.similar.indices) == 4


def test_a_mixture_is_refused_and_an_old_table_is_said(panels: Any, qtbot: Any, place: Path) -> None:
    network, cohort = panels
    embed(qtbot, cohort, place / "scans")
    one = parquet.read_table(cohort.table)
    choose_model(qtbot, network, place / "two" / "small.safetensors")
    embed(qtbot, cohort, place / "scans")
    parquet.write_table(pa.concat_tables([one, parquet.read_table(cohort.table)]), place / "both.parquet")
    cohort.set_source(place / "both.parquet")
    assert "embedded by 2 models" in cohort.message.text()
    assert len(cohort.cohort) == 5
    parquet.write_table(one.drop_columns(["model_hash", "recipe_hash"]), place / "before.parquet")
    cohort.set_source(place / "before.parquet")
    network.viewer.open(str(place / "scans" / "a.nii.gz"), plugin="napari-sparse3d")
    run(qtbot, network)
    click(qtbot, cohort.similar.button)
    assert len(cohort.similar.indices) == 4
    assert "hash of its model and recipe" in cohort.similar.text.text()
    assert "not certain" in cohort.similar.text.text()


def test_the_lines_find_the_same_cases(
    panels: Any, qtbot: Any, place: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    import json
    import shlex

    from qtpy.QtWidgets import QApplication
    from typer.testing import CliRunner

    from napari_sparse3d.cli import app

    network, cohort = panels
    embed(qtbot, cohort, place / "scans")
    cohort.similar.k.setValue(9)
    open_series(network.viewer, place / "scans", 0, monkeypatch)
    run(qtbot, network)
    click(qtbot, cohort.similar.button)
    assert listed(cohort) == {2, 3, None}
    click(qtbot, cohort.copy_command)
    words = shlex.split(QApplication.clipboard().text())
    done = CliRunner().invoke(app, [*words[1:], "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["cases"]
    assert [case["series_number"] for case in found] == [
        cohort.cohort.row(index)["series_number"] for index in cohort.similar.indices
    ]
    np.testing.assert_allclose([case["distance"] for case in found], cohort.state.distances, atol=1e-6)
    click(qtbot, cohort.copy_python)
    space: dict[str, Any] = {}
    exec(QApplication.clipboard().text(), space)
    assert [index for index in space["indices"][0] if index >= 0] == cohort.similar.indices
    # the other model of this name is refused by the lines as well
    text = QApplication.clipboard().text().rpartition("write_rows(")[2].partition("\n")[2]
    with pytest.raises(ValueError, match="another model"):
        exec(text.replace(f"{place}/one", f"{place}/two"), {})


def test_a_saved_voxel_set_is_a_case_as_the_others(panels: Any, qtbot: Any, place: Path) -> None:
    from napari_sparse3d.voxels import VoxelSet

    network, cohort = panels
    for number in range(6):
        indices = np.argwhere(np.ones((3 + number, 4, 5))).astype(np.int32)
        (place / "sets").mkdir(exist_ok=True)
        made = VoxelSet(indices, np.ones((len(indices), 1), np.float32), (12, 12, 12), np.eye(4))
        made.save(place / "sets" / f"{number}.npz")
    embed(qtbot, cohort, place / "sets")
    cohort.similar.k.setValue(9)
    cohort.open_case(2)
    qtbot.waitUntil(lambda: len(network.viewer.layers) == 2, timeout=WAIT_MS)
    ran = run(qtbot, network)
    np.testing.assert_allclose(ran.result.embedding, cohort.cohort.embeddings[2], atol=1e-6)
    click(qtbot, cohort.similar.button)
    assert sorted(cohort.similar.indices) == [0, 1, 3, 4, 5]


def table_by(ran: Any, folder: Path) -> Path:
    """Six cases as if this model had embedded them."""
    from napari_sparse3d.cohort import write_rows

    random, size = np.random.default_rng(3), len(ran.result.embedding)
    of = {"model": "small", "model_hash": ran.result.model_hash, "recipe_hash": ran.made.recipe_hash(RECIPE)}
    rows = [
        {"path": f"{folder}/{n}.npz", "status": "done", "embedding": random.normal(size=size).tolist(), **of}
        for n in range(6)
    ]
    write_rows(rows, folder / "six.parquet")
    return folder / "six.parquet"


def test_a_result_goes_with_its_case_voxels_time_and_model(panels: Any, qtbot: Any, place: Path) -> None:
    """Whatever changes is changed as the window changes it; all that was shown is looked at after each step."""
    from napari_sparse3d.voxels import voxelize
    from napari_sparse3d.widgets.toolbox.layers import Mark, ours
    from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
    from napari_sparse3d.widgets.toolbox.sources import OWN, case_of, volume_of_layer

    network, cohort = panels
    viewer, links = network.viewer, (network.copy_command, network.copy_python, network.export, network.session)
    first = viewer.open(str(place / "scans" / "a.nii.gz"), plugin="napari-sparse3d")[0]
    time = np.stack([np.roll(np.asarray(first.data), shift, axis=2) for shift in range(3)])
    viewer.add_image(time, name="in time")
    viewer.add_image(np.zeros((8, 8, 8), np.uint8), name="empty")

    def choose(name: str) -> None:
        network.voxels.setCurrentIndex(network.voxels.findText(name))

    def is_shown(title: str) -> None:
        """The result with everything that leads on from it."""
        assert network.results.isVisible()
        assert network.results.title.text() == title
        assert network.bars.isEnabled()
        assert network.table.isEnabled()
        assert network.like_button.isEnabled()
        assert all(link.isEnabled() for link in links)
        assert network.workbench.result is network.ran
        assert cohort.similar.button.isEnabled()

    def ask() -> None:
        click(qtbot, cohort.similar.button)
        assert len(cohort.similar.indices) == 5, cohort.message.text()
        qtbot.waitUntil(lambda: cohort.map.here_position is not None, timeout=WAIT_MS)
        network.table.selectRow(1)
        qtbot.waitUntil(lambda: any(each.visible for each in ours(viewer, "activation")), timeout=WAIT_MS)

    def is_gone(title: str) -> None:
        """Dim, with a title that says so; nothing of it is elsewhere."""
        assert network.results.title.text() == f"⚠ Not for the current selection: {title}"
        for part in (network.bars, network.honest, network.table, network.chart, network.like_button, network.target):
            assert not part.isEnabled()
        assert network.results.looks.graphicsEffect().isEnabled()
        assert not any(link.isEnabled() for link in links)
        assert network.workbench.result is None
        assert not cohort.similar.button.isEnabled()
        assert nothing_is_shown(cohort)
        assert not any(each.visible for role in ("activation", "attribution") for each in ours(viewer, role))

    choose("a, by the model's recipe")
    cohort.set_source(table_by(run(qtbot, network), place))
    title = "a · small · small"
    is_shown(title)
    ask()
    choose("empty, by the model's recipe")
    is_gone(title)
    choose("a, by the model's recipe")
    is_shown(title)
    ask()
    network.workbench.set_model("vessel")
    is_gone(title)
    network.workbench.set_model(str(place / "one" / "small.safetensors"))
    is_shown(title)

    # voxels that are made anew in the same layer, as the Sparse voxels panel does
    volume = volume_of_layer(first)
    sets = [ScanVoxels(voxelize(volume, recipe), recipe, volume, 0, case_of(first)) for recipe in (RECIPE, OTHER)]
    marks = [Mark("voxels", str(first.unique_id), {"made": made}) for made in sets]
    layer = viewer.add_labels(sets[0].voxels.mask().astype(np.uint8), metadata={OWN: marks[0]}, name="set")
    network.workbench.voxels_changed.emit(layer)
    is_shown(title)  # by the model's own recipe as well: it is the same set
    run(qtbot, network)
    is_shown(title)
    layer.metadata = {OWN: marks[1]}
    network.workbench.voxels_changed.emit(layer)
    is_gone(title)
    # the first recipe again gives the first set again, unless the scan is another by now
    moved = replace(volume, data=np.roll(volume.data, 1, axis=2))
    for remade_of, shown in ((volume, is_shown), (moved, is_gone), (volume, is_shown)):
        remade = ScanVoxels(voxelize(remade_of, RECIPE), RECIPE, remade_of, 0, case_of(first))
        layer.metadata = {OWN: Mark("voxels", str(first.unique_id), {"made": remade})}
        network.workbench.voxels_changed.emit(layer)
        shown(title)

    # another time point
    choose("in time, by the model's recipe")
    viewer.dims.set_current_step(0, 1)
    ran = run(qtbot, network)
    assert ran.made.frame == 1
    is_shown("in time · small · small")
    viewer.dims.set_current_step(0, 2)
    is_gone("in time · small · small")
    viewer.dims.set_current_step(0, 1)
    is_shown("in time · small · small")

    # a run that is cancelled: the layer that is shown can still be coloured, one that was on its way be asked for again
    choose("a, by the model's recipe")
    ran = run(qtbot, network)
    network.table.selectRow(1)
    qtbot.waitUntil(lambda: network.state.sites is not None, timeout=WAIT_MS)
    network.run()
    network.primary.click()  # before anything of the run can arrive
    assert "Cancelled" in network.message.text()
    network.colour_by.setCurrentIndex(network.colour_by.findData("channel"))
    assert "by channel 1" in network.sites_text.text()
    network.table.selectRow(2)
    network.run()
    network.primary.click()
    assert "Fetching" not in network.sites_text.text()
    before = network.state.sites
    network.table.selectRow(2)
    qtbot.waitUntil(lambda: network.state.sites is not before, timeout=WAIT_MS)
    assert network.ran is ran
    is_shown(title)

    # a run that fails, one that comes while a layer of the last is fetched, and a class that is changed meanwhile
    network.table.selectRow(2)
    click(qtbot, network.primary)
    qtbot.waitUntil(lambda: network.ran is not ran, timeout=WAIT_MS)
    assert not list(ours(viewer, "activation"))
    network.target.setCurrentIndex(0)
    click(qtbot, network.attribute_button)
    network.target.setCurrentIndex(1)
    qtbot.waitUntil(lambda: bool(list(ours(viewer, "attribution"))), timeout=WAIT_MS)
    (drawn,) = ours(viewer, "attribution")
    assert drawn.name.endswith("what drove a")
    assert "for “a” at" in network.sites_text.text()
    choose("empty, by the model's recipe")
    click(qtbot, network.primary)
    qtbot.waitUntil(lambda: "⚠" in network.message.text(), timeout=WAIT_MS)
    assert not network.results.isVisible()
    assert network.workbench.result is None
    assert network.ran is None


def test_a_result_goes_with_an_undo_too(panels: Any, qtbot: Any, place: Path) -> None:
    """The set before comes back in the same layer: a result of the other one is dim, one of itself is not."""
    from napari_sparse3d.voxels import NoResampling
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel

    network, cohort = panels
    voxels = VoxelsPanel(network.viewer)
    network.viewer.window.add_dock_widget(voxels, name="Sparse voxels", tabify=False)
    network.viewer.open(str(place / "scans" / "a.nii.gz"), plugin="napari-sparse3d")
    emitted: list[Any] = []
    voxels.workbench.voxels_changed.connect(emitted.append)

    def wait_for(count: int) -> None:
        qtbot.waitUntil(lambda: len(emitted) == count and not voxels.making.running, timeout=WAIT_MS)

    def make(low: float) -> None:
        qtbot.waitUntil(lambda: voxels.form.histogram.histogram is not None, timeout=WAIT_MS)
        voxels.form.take(
            Recipe(name=f"from {low:g}", resample=NoResampling(), threshold=RangeThreshold(low=low), field=16)
        )
        count = len(emitted)
        voxels.run()
        wait_for(count + 1)

    make(50)
    first = run(qtbot, network)
    assert network.workbench.result is first
    make(0)
    assert network.workbench.result is None
    assert network.results.title.text().startswith("⚠ Not for the current selection: a · from 50")
    second = run(qtbot, network)
    assert network.workbench.result is second
    assert cohort.workbench.result is second
    count = len(emitted)
    click(qtbot, voxels.undo)
    wait_for(count + 1)
    assert network.workbench.result is None
    assert network.results.title.text().startswith("⚠ Not for the current selection: a · from 0")
    assert network.results.looks.graphicsEffect().isEnabled()
    assert not network.copy_command.isEnabled()
    # and the result of a set that comes back is one again
    network.state.show(first)
    network._check_owner()
    assert network.workbench.result is first
    assert not network.results.looks.graphicsEffect().isEnabled()
    for work in (voxels.counting, voxels.making, voxels.costing, voxels.warming):
        qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)
