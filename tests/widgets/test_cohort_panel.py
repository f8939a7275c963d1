"""The Cohort panel, driven as a person would; the cases are embedded beforehand where embedding is not the point."""

from __future__ import annotations

from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from napari_sparse3d.cohort import read_cohort, write_rows
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import VoxelSet

pytestmark = pytest.mark.gui

WAIT_MS = 120_000


@pytest.fixture
def panel(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> Any:
    from napari_sparse3d.widgets.cohort.view import CohortPanel

    viewer = make_napari_viewer(show=True)
    made = CohortPanel(viewer)
    viewer.window.add_dock_widget(made, name="Cohort")
    yield made
    made.mapping.drop()
    for work in (made.placing, made.opening, made.saving):
        qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """60 embedded cases in three groups, two patients each; the paths are voxel sets that exist."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(3, 16))
    rows = []
    for number in range(60):
        group = number % 3
        vector = centres[group] + 0.1 * random.normal(size=16)
        path = tmp_path / f"case{number:02d}.npz"
        indices = np.argwhere(np.ones((3, 4, 5 + group))).astype(np.int32)
        if number < 3:
            VoxelSet(indices, np.ones((len(indices), 1), np.float32), (8, 9, 10), np.eye(4)).save(path)
        rows.append(
            {
                "path": str(path), "series": None, "name": f"case {number}", "status": "done", "error": None,
                "label": "abc"[group], "patient": f"p{number % 6}", "model": "deepc2",
                "embedding": (vector / np.linalg.norm(vector)).tolist(), "n_active": 10 + number,
                "thumbnail": np.full((48, 48), number, np.uint8).tobytes(),
            }
        )  # fmt: skip
    write_rows(rows, tmp_path / "cohort.parquet")
    return tmp_path / "cohort.parquet"


def test_an_empty_panel_says_what_to_do(panel: Any) -> None:
    assert "add a folder" in panel.about.text()
    assert not panel.primary.isEnabled()
    assert not panel.results.isVisible()
    assert "Random weights" in panel.model_text.text()
    panel.workbench.set_model("nodule")
    assert "Random weights" not in panel.model_text.text()
    assert panel.model.currentText() == "nodule"


def test_a_table_that_is_embedded_is_a_map_at_once(panel: Any, table: Path) -> None:
    panel.set_source(table)
    assert panel.about.text() == "60 cases"
    assert panel.map.positions.shape == (60, 2)
    assert panel.colour.currentText() == "label"
    for label in "abc":
        assert label in panel.legend.text()
    assert not panel.drawn.bar.isVisible()
    panel.colour.setCurrentText("n_active")
    assert panel.drawn.bar.isVisible()
    assert panel.drawn.bar.texts == ("10", "39.5", "69")
    assert not panel.legend.isVisible()


def test_tsne_is_drawn_live_held_and_stopped(panel: Any, qtbot: Any, table: Path) -> None:
    panel.set_source(table)
    first = panel.map.positions.copy()
    panel.by.setCurrentText("t-SNE")
    panel.draw_map()
    qtbot.waitUntil(lambda: not np.array_equal(panel.map.positions, first), timeout=WAIT_MS)
    click(qtbot, panel.pause)
    qtbot.wait(300)
    held = panel.map.positions.copy()
    qtbot.wait(300)
    np.testing.assert_array_equal(panel.map.positions, held)
    click(qtbot, panel.stop)
    qtbot.waitUntil(lambda: not panel.mapping.running, timeout=WAIT_MS)
    assert np.isfinite(panel.map.positions).all()
    assert not panel.stop.isEnabled()


def pixel(panel: Any, x: float, y: float) -> Any:
    """Where a place of the map is drawn."""
    from qtpy.QtCore import QPointF

    plot = panel.map.plot
    return plot.mapFromScene(panel.map.box.mapViewToScene(QPointF(float(x), float(y))))


def test_a_lasso_selects_labels_and_exports(panel: Any, qtbot: Any, table: Path, tmp_path: Path) -> None:
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    panel.set_source(table)
    qtbot.wait(200)
    click(qtbot, panel.lasso)
    assert panel.map.lassoing
    # around the points of group a, with the mouse
    group, viewport = panel.map.positions[0::3], panel.map.plot.viewport()
    (left, bottom), (right, top) = group.min(axis=0) - 0.02, group.max(axis=0) + 0.02
    corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
    none = Qt.KeyboardModifier.NoModifier
    qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, none, pixel(panel, *corners[0]))
    for corner in corners[1:]:  # Qt's test moves have no button held down
        at = QPointF(pixel(panel, *corner))
        QApplication.sendEvent(
            viewport,
            QMouseEvent(
                QEvent.Type.MouseMove, at, viewport.mapToGlobal(at),
                Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton, none,
            ),
        )  # fmt: skip
    qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, none, pixel(panel, *corners[-1]))
    assert set(range(0, 60, 3)) <= set(panel.state.selected.tolist())
    expected = len(panel.state.selected)
    assert f"{expected} cases selected" in panel.selection.text.text()
    panel.export_to(tmp_path / "some.parquet")
    assert len(read_cohort(tmp_path / "some.parquet")) == expected
    labels = list(panel.cohort.column("label"))
    panel.tag_selected("checked")
    assert list(panel.cohort.column("tag")).count("checked") == expected
    assert list(panel.cohort.column("label")) == labels
    assert panel.colour.currentText() == "tag"
    assert "checked" in panel.legend.text()


def test_cases_unlike_the_training_are_marked(panel: Any, qtbot: Any, table: Path, tmp_path: Path) -> None:
    """As ``predict`` says of a table, and of each case."""
    rows = parquet.read_table(table).to_pylist()
    for number, row in enumerate(rows):
        row["outside_training"] = ["", "it is a scan, in training were masks", None][min(number % 10, 2)]
    write_rows(rows, tmp_path / "marked.parquet")
    panel.set_source(tmp_path / "marked.parquet")
    assert "6 of 60 cases are unlike what deepc2 was trained on" in panel.about.text()
    assert "Unlike what deepc2 was trained on, do not trust its answer: it is a scan" in panel.map._words(1)
    assert "nlike" not in panel.map._words(0) + panel.map._words(2)
    panel.colour.setCurrentText("outside_training")
    assert "unlike training" in panel.legend.text()
    assert panel.colour.findText("path") < 0
    panel.similar.show_cases(panel.cohort, [0, 1], [0.1, 0.2], "")
    assert "unlike" not in panel.similar.list.item(0).text()
    assert "⚠ unlike training" in panel.similar.list.item(1).text()
    assert "it is a scan" in panel.similar.list.item(1).toolTip()


def test_a_map_of_one_point_is_no_result(panel: Any, table: Path, tmp_path: Path) -> None:
    """As the command ``map`` refuses it."""
    rows = parquet.read_table(table).to_pylist()
    write_rows([{**row, "embedding": rows[0]["embedding"]} for row in rows], tmp_path / "equal.parquet")
    panel.set_source(tmp_path / "equal.parquet")
    assert "⚠" in panel.message.text()
    assert "equal" in panel.message.text()
    assert "trustworthiness" not in panel.drawn.text.text()


def test_the_saved_table_is_that_of_the_cases_shown(
    panel: Any, qtbot: Any, table: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Neither cases that were embedded before it was opened, nor without the tags that were given."""
    from qtpy.QtWidgets import QFileDialog

    panel.state.rows = [{"path": "of the last cohort", "status": "done", "embedding": [1.0], "label": None}]
    panel.set_source(table)
    panel.state.selected = np.array([3])
    panel.tag_selected("checked")
    assert "checked" in panel.map._words(3)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "saved.parquet"), ""))
    click(qtbot, panel.save_table)
    saved = read_cohort(tmp_path / "saved.parquet")
    assert len(saved) == 60
    assert saved.column("tag")[3] == "checked"


@pytest.fixture
def few_at_a_time(panel: Any, table: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Embedding, of which a test says how many of eight cases there are by now; nine: it is done."""
    rows = [{**row, "path": f"new{number}.npz", "model_hash": "f" * 64} for number, row in
            enumerate(parquet.read_table(table).to_pylist()[:8])]  # fmt: skip
    rows[2] = {**rows[2], "status": "failed", "error": "it is broken", "embedding": None}
    until = {"n": 0}

    def embed(job: str, **_: Any) -> Any:
        assert job == "network.embed"
        for number, row in enumerate(rows):
            while until["n"] <= number:
                sleep(0.01)
                yield None
            yield number + 1, len(rows), row
        while until["n"] <= len(rows):
            sleep(0.01)
            yield None
        return [dict(row) for row in rows]

    monkeypatch.setattr(panel.workbench.cohort_child, "call", embed)
    monkeypatch.setattr("napari_sparse3d.widgets.cohort.embedder._REDRAW_S", 0.0)
    return until


def test_the_cases_shown_are_their_own_while_others_are_embedded(
    panel: Any, qtbot: Any, table: Path, tmp_path: Path, few_at_a_time: dict[str, int], monkeypatch: Any
) -> None:
    """Too few for a map, then cancelled: labels, table and lines are those of the cases shown."""
    from qtpy.QtWidgets import QFileDialog

    panel.set_source(table)
    panel.set_source(tmp_path)
    click(qtbot, panel.primary)
    few_at_a_time["n"] = 3
    qtbot.waitUntil(lambda: panel.progress.value() == 3, timeout=WAIT_MS)
    for index in (1, 10):
        panel.state.selected = np.array([index])
        panel.tag_selected("checked")
    assert "embed_cases" not in panel.lines().python
    click(qtbot, panel.primary)
    assert "nothing was changed" in panel.message.text()
    assert panel.table == table
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "saved.parquet"), ""))
    click(qtbot, panel.save_table)
    saved = read_cohort(tmp_path / "saved.parquet")
    assert len(saved) == 60
    assert [n for n, label in enumerate(saved.column("tag")) if label == "checked"] == [1, 10]

    # once the map shows what was embedded, that is what there is: no table, and no lines that embed the rest
    click(qtbot, panel.primary)
    few_at_a_time["n"] = 6
    qtbot.waitUntil(lambda: len(panel.cohort) == 5, timeout=WAIT_MS)
    click(qtbot, panel.primary)
    assert "5 cases embedded so far" in panel.message.text()
    assert panel.table is None
    click(qtbot, panel.save_table)
    assert len(read_cohort(tmp_path / "saved.parquet")) == 5
    assert "embed_cases" not in panel.lines().python


def test_what_is_being_embedded_is_not_lost(
    panel: Any, qtbot: Any, table: Path, tmp_path: Path, few_at_a_time: dict[str, int], monkeypatch: Any
) -> None:
    """To a table that is opened meanwhile, to a disk that is full."""
    from qtpy.QtWidgets import QFileDialog

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    panel.set_source(tmp_path)
    click(qtbot, panel.primary)
    assert not panel.add_folder.isEnabled()
    assert not panel.open_table.isEnabled()
    assert "cancel" in panel.open_table.toolTip()
    panel.set_source(table)
    assert "wait or cancel" in panel.message.text()
    few_at_a_time["n"] = 6
    qtbot.waitUntil(lambda: panel.cohort is not None and len(panel.cohort) == 5, timeout=WAIT_MS)
    panel.state.selected = np.array([4])
    panel.tag_selected("checked")
    with monkeypatch.context() as patch:
        patch.setattr("napari_sparse3d.widgets.cohort.embedder.write_rows", full)
        few_at_a_time["n"] = 9
        qtbot.waitUntil(lambda: not panel.embedding.running, timeout=WAIT_MS)
    assert "No space left" in panel.message.text()
    assert panel.table is None
    assert panel.add_folder.isEnabled()
    assert list(panel.cohort.column("path")) == [f"new{number}.npz" for number in (0, 1, 3, 4, 5, 6, 7)]
    assert panel.cohort.column("tag")[4] == "checked"

    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: not panel.embedding.running, timeout=WAIT_MS)
    assert len(parquet.read_table(panel.table)) == 8
    assert f"find_cases(Path({str(tmp_path)!r}))" in panel.lines().python
    # a table of the user's has labels, which embedding into it would undo
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine.parquet"), ""))
    click(qtbot, panel.save_table)
    assert len(parquet.read_table(tmp_path / "mine.parquet")) == 8
    assert "embed_cases" not in panel.lines().python
    assert "mine.parquet" in panel.lines().python


def test_a_double_click_opens_the_case(panel: Any, qtbot: Any, table: Path) -> None:
    from qtpy.QtCore import Qt

    panel.set_source(table)
    qtbot.wait(200)
    panel.map.set_positions(np.array([[0, 0], [9, 9], [0, 9], *[[9, 0]] * 57], dtype=np.float32))
    qtbot.wait(200)
    place = pixel(panel, 9, 9)
    qtbot.mouseDClick(panel.map.plot.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, place)
    qtbot.waitUntil(lambda: len(panel.viewer.layers) == 2, timeout=WAIT_MS)
    scan, voxels = panel.viewer.layers
    assert scan.name == "case01"
    # a saved set is what networks get, as it is; and it is known where it is from
    expected = VoxelSet.load(table.parent / "case01.npz")
    np.testing.assert_array_equal(np.argwhere(voxels.data), expected.indices)
    assert scan.source.path == str(table.parent / "case01.npz")
    assert "Opened case01" in panel.message.text()


def test_a_row_of_a_thing_in_a_label_map_opens_that_thing(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    """Two nodules of one scan: each is opened alone, known again, and read again by the copied line."""
    from napari_sparse3d.cases.sources import find_cases
    from napari_sparse3d.cohort.embed import embed_cases
    from napari_sparse3d.io.write import write_volume
    from napari_sparse3d.models import load_model
    from napari_sparse3d.widgets.toolbox.sources import source_of, volume_of_layer

    labels = np.zeros((9, 10, 11), dtype=np.uint8)
    labels[1:4, 1:5, 1:3], labels[5:8, 6:9, 2:9] = 1, 2
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    write_volume(Volume(labels, affine, meta={"labels": True}), tmp_path / "nodules.nii.gz")
    write_volume(Volume(labels.astype(np.int16) * 100, affine, "HU", "CT"), tmp_path / "chest.nii.gz")
    rows = "".join(f"chest.nii.gz,nodules.nii.gz,{value}\n" for value in (1, 2))
    (tmp_path / "two.csv").write_text(f"path,mask,value\n{rows}")
    embedded = list(embed_cases(find_cases(tmp_path / "two.csv"), load_model("nodule")))
    assert [row["status"] for row in embedded] == ["done", "done"]
    write_rows(embedded, tmp_path / "two.parquet")
    panel.set_source(tmp_path / "two.parquet")

    for index, value in ((1, 2), (0, 1)):
        panel.open_case(index)
        qtbot.waitUntil(lambda: not panel.opening.running, timeout=WAIT_MS)
        layer = panel.viewer.layers[-1]
        np.testing.assert_array_equal(volume_of_layer(layer).data, labels == value)
        assert layer.name == f"chest · label {value}"
        assert "changed" not in panel.message.text()
        source = source_of(layer, 0)
        assert (source.path, source.label) == (tmp_path / "nodules.nii.gz", str(value))
        assert panel.open_cases.case_of(layer) == index
    assert len(panel.viewer.layers) == 2
    panel.open_case(1)
    assert panel.viewer.layers.selection.active is panel.viewer.layers[0]
    assert not panel.opening.running
    # the scan itself is neither of them
    scan = panel.viewer.open(tmp_path / "chest.nii.gz", plugin="napari-sparse3d")[0]
    assert panel.open_cases.case_of(scan) is None
    # and what is here is not added again
    from napari_sparse3d.cohort.gather import gather, places_of

    assert gather([tmp_path / "two.csv"], places_of(embedded, tmp_path / "two.parquet")).n_known == 2


def test_hover_finds_the_point_under_the_mouse(panel: Any, qtbot: Any, table: Path) -> None:
    from qtpy.QtCore import QPointF

    panel.set_source(table)
    qtbot.wait(100)
    place = panel.map.box.mapViewToScene(QPointF(*map(float, panel.map.positions[7])))
    assert panel.map.nearest(QPointF(panel.map.plot.mapFromScene(place))) is not None
    assert panel.map.nearest(QPointF(-500, -500)) is None
    assert "case 7" in panel.map._words(7)


def test_who_is_like_it(panel: Any, qtbot: Any, table: Path, oblique: Volume, add_volume: Any) -> None:
    from napari_sparse3d.cases.identity import CaseIdentity
    from napari_sparse3d.voxels import Recipe, voxelize
    from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels

    scan = add_volume(panel.viewer, oblique)
    panel.set_source(table)
    cohort, recipe = panel.cohort, Recipe.named("mri-110")
    made = ScanVoxels(voxelize(oblique, recipe), recipe, oblique, 0, CaseIdentity(patient="p1"))
    model = SimpleNamespace(name="deepc2", recipe=recipe)
    request = SimpleNamespace(model="deepc2")
    result = SimpleNamespace(embedding=cohort.embeddings[1], model=model, model_hash="", request=request)
    ran = SimpleNamespace(result=result, made=made, volume_id=str(scan.unique_id))
    assert not panel.similar.button.isEnabled()
    panel.workbench.set_result(ran)
    assert panel.similar.button.isEnabled()
    click(qtbot, panel.similar.button)
    assert panel.similar.list.count() == 5
    patients, labels = cohort.column("patient"), cohort.column("label")
    assert all(patients[index] != "p1" for index in panel.similar.indices)
    assert all(labels[index] == "b" for index in panel.similar.indices)
    before = panel.map.positions.copy()
    qtbot.waitUntil(lambda: panel.map.here.data.size > 0, timeout=WAIT_MS)
    # the case is on the map, the map as it was; this embedding is that of case 1, and so is its place
    np.testing.assert_array_equal(panel.map.positions, before)
    np.testing.assert_allclose(panel.map.here_position, panel.map.positions[1], atol=1e-4)
    item = panel.similar.list.item(0)
    assert "b · distance" in item.text()
    assert not item.icon().isNull()
    # what belongs to the open case goes with it
    panel.workbench.set_result(None)
    assert panel.similar.list.count() == 0
    assert panel.map.here_position is None
    assert panel.map.marked.data.size == 0
    panel.workbench.set_result(ran)
    panel.open_case(1)
    qtbot.waitUntil(lambda: len(panel.viewer.layers) == 4, timeout=WAIT_MS)
    opened, titles = panel.viewer.layers["case01"], panel.viewer.layers["titles"]
    # beside the scan and not over it
    assert opened.extent.world[0][-1] >= scan.extent.world[1][-1]
    # a title over each, in every slice and however the axes are rolled; the layer that is chosen is the case's
    assert list(titles.text.values) == [scan.name, "case 1 · b"]
    for order in ((0, 1, 2), (1, 0, 2), (2, 0, 1)):
        panel.viewer.dims.order = order
        down, across = order[1:]
        for place, layer in zip(titles.data, (scan, opened), strict=True):
            low, high = layer.extent.world
            assert place[down] < low[down]
            assert low[across] < place[across] < high[across]
    for step in (0, 3):
        panel.viewer.dims.set_current_step(2, step)
        np.testing.assert_allclose(titles.data[:, 2], panel.viewer.dims.point[2])  # in the slice that is shown
    assert panel.viewer.layers.selection.active is opened


def test_a_folder_is_embedded_and_can_be_cancelled(make_napari_viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    from napari_sparse3d.widgets.cohort.view import CohortPanel

    folder = tmp_path / "sets"
    for number in range(6):
        indices = np.argwhere(np.ones((3 + number, 4, 5))).astype(np.int32)
        label = folder / "ab"[number % 2]
        label.mkdir(parents=True, exist_ok=True)
        VoxelSet(indices, np.ones((len(indices), 1), np.float32), (20, 20, 20), np.eye(4)).save(label / f"{number}.npz")
    (folder / "a" / "broken.npz").write_bytes(b"no set")
    viewer = make_napari_viewer(show=True)
    panel = CohortPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Cohort")
    panel.set_source(folder)
    click(qtbot, panel.primary)
    assert panel.primary.text() == "Cancel"
    click(qtbot, panel.primary)
    assert not panel.embedding.running
    assert panel.cohort is None
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: not panel.embedding.running, timeout=WAIT_MS)
    assert len(panel.cohort) == 6
    assert panel.cohort.n_failed == 1
    assert "row 3) because: the file is no voxel set" in panel.message.text()
    assert sorted(panel.cohort.column("label")) == ["a", "a", "a", "b", "b", "b"]
    assert panel.table is not None
    assert len(read_cohort(panel.table)) == 6


def test_a_table_without_embeddings_or_that_is_no_table_is_a_sentence(panel: Any, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    panel.set_source(tmp_path / "x.parquet")
    assert "no Parquet table" in panel.message.text()


def test_the_map_is_repeated_by_its_lines_and_kept_in_a_session(
    panel: Any, qtbot: Any, table: Path, tmp_path: Path
) -> None:
    import json
    import shlex
    import subprocess
    import sys

    from qtpy.QtWidgets import QApplication

    panel.set_source(table)
    click(qtbot, panel.copy_python)
    space: dict[str, Any] = {}
    exec(QApplication.clipboard().text(), space)
    np.testing.assert_allclose(space["positions"], panel.map.positions)
    click(qtbot, panel.copy_command)
    words = shlex.split(QApplication.clipboard().text())
    done = subprocess.run(
        [sys.executable, "-c", "from napari_sparse3d.cli import main; main()", *words[1:], "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout)["positions"], panel.map.positions, atol=1e-5)

    panel.save_session_to(tmp_path / "session")
    qtbot.waitUntil(lambda: "Saved" in panel.message.text() or "⚠" in panel.message.text(), timeout=WAIT_MS)
    record = json.loads((tmp_path / "session" / "session.json").read_text())
    assert record["n_cases"] == 60
    assert set(record["table"]) == {"sha256"}
    assert not {"path", "name"} & set(read_cohort(tmp_path / "session" / "cohort.parquet").columns)
    assert record["command"].startswith("napari-sparse3d map ")
    kept = read_cohort(tmp_path / "session" / "cohort.parquet")
    np.testing.assert_allclose(kept.column("x"), panel.map.positions[:, 0])
    assert (tmp_path / "session" / "map.svg").is_file()


def test_stop_ends_the_map_at_once_and_closing_the_viewer_too(
    make_napari_viewer: Any, one_child: Any, qtbot: Any, table: Path
) -> None:
    from napari_sparse3d.widgets.cohort.view import CohortPanel

    viewer = make_napari_viewer(show=True)
    panel = CohortPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Cohort")
    panel.set_source(table)
    panel.by.setCurrentText("t-SNE")
    panel.draw_map()
    assert panel.mapping.running
    click(qtbot, panel.stop)
    assert not panel.mapping.running
    assert not panel.stop.isEnabled()
    panel.draw_map()
    panel.draw_map()  # a second start replaces the first
    assert panel.mapping.running
    viewer.close()
    qtbot.wait(300)  # what the worker still sends must reach nobody


def test_cases_that_all_fail_are_a_sentence(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.npz").write_bytes(b"no set")
    panel.set_source(tmp_path)
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: not panel.embedding.running, timeout=WAIT_MS)
    assert "none of 7 cases has an embedding" in panel.message.text().lower()
    assert "Traceback" not in panel.message.text()
    assert panel.cohort is None
