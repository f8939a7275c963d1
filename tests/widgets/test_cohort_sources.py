"""Folders come to the cases that are there; by another model they are embedded anew, and never compared with these."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.voxels import RangeThreshold, Recipe, VoxelSet

pytestmark = pytest.mark.gui

WAIT_MS = 240_000
SMALL = {"field": 16, "channels": (4, 8), "embedding": 6, "classes": 3}


def save_model(path: Path, seed: int) -> Path:
    recipe = Recipe(name="small", threshold=RangeThreshold(low=50), field=16)
    card = load_model("residual").card.model_copy(
        update={"arguments": SMALL, "classes": ("a", "b", "c"), "recipe": recipe, "name": "small"}
    )
    path.parent.mkdir(exist_ok=True)
    Model(build_network("residual", seed=seed, **SMALL), card).save(path)
    return path


def make_sets(folder: Path, *sizes: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for size in sizes:
        indices = np.argwhere(np.ones((size, 4, 5))).astype(np.int32)
        VoxelSet(indices, np.ones((len(indices), 1), np.float32), (12, 12, 12), np.eye(4)).save(folder / f"{size}.npz")
    return folder


@pytest.fixture
def panel(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> Any:
    from napari_sparse3d.widgets.cohort.view import CohortPanel

    viewer = make_napari_viewer(show=True)
    made = CohortPanel(viewer)
    viewer.window.add_dock_widget(made, name="Cohort")
    yield made
    for work in (made.placing, made.opening, made.saving, made.maker._warming):
        qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)


def test_a_folder_comes_to_the_cases_that_are_there(panel: Any, qtbot: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QFileDialog

    one, two = (save_model(tmp_path / name / "small.safetensors", seed) for seed, name in enumerate(("one", "two")))
    first, second = make_sets(tmp_path / "all" / "first", 3, 4, 5), make_sets(tmp_path / "all" / "second", 6, 7)

    def add(folder: Path) -> None:
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
        qtbot.mouseClick(panel.add_folder, Qt.MouseButton.LeftButton)

    def embed() -> str:
        qtbot.mouseClick(panel.primary, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: not panel.embedding.running, timeout=WAIT_MS)
        return panel.message.text()

    def names() -> list[str]:
        return [Path(path).name for path in panel.cohort.column("path")]

    def choose(path: Path) -> None:
        panel.model.setCurrentIndex(panel.model.findData(str(path)))
        panel.model.activated.emit(panel.model.currentIndex())

    for path in (two, one):
        panel.workbench.add_model_file(str(path))
    assert [panel.model.itemText(panel.model.findData(str(path))) for path in (one, two)] == [
        "small (one)",
        "small (two)",
    ]
    add(first)
    assert "first: press Embed" in panel.about.text()
    embed()
    assert names() == ["3.npz", "4.npz", "5.npz"]
    before, first_table = panel.cohort.embeddings.copy(), panel.table
    panel.selection.select(np.array([1]))
    panel.tag_selected("mine")
    # the others come to them, and nothing of these changes
    add(second)
    assert "to add its cases to these" in panel.about.text()
    assert "2 cases added" in embed()
    assert names() == ["3.npz", "4.npz", "5.npz", "6.npz", "7.npz"]
    np.testing.assert_array_equal(panel.cohort.embeddings[:3], before)
    assert list(panel.cohort.column("tag")) == [None, "mine", None, None, None]
    assert panel.state.selected.tolist() == [1]
    assert panel.undo_button.isEnabled()
    assert len(parquet.read_table(panel.table)) == 5
    # the same cases, by another way, are no new ones
    add(tmp_path / "all")
    assert "No new cases: 5 cases found" in embed()
    assert len(names()) == 5
    assert panel.about.text() == "5 cases"
    # the lines embed all of them again
    space: dict[str, Any] = {}
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    exec(panel.lines().python, space)
    np.testing.assert_allclose(space["cohort"].embeddings, panel.cohort.embeddings, atol=1e-6)

    # another model: what becomes of these is said, then all are embedded anew; they keep their tags
    by_one = panel.cohort.embeddings.copy()
    choose(two)
    assert "The 5 cases shown were embedded by small" in panel.model_text.text()
    assert "embeds all of them again" in panel.model_text.text()
    make_sets(second, 8)
    add(second)
    embed()
    assert len(names()) == 6
    assert len(set(panel.cohort.column("model_hash"))) == 1
    assert not np.allclose(panel.cohort.embeddings[:5], by_one, atol=1e-3)
    assert list(panel.cohort.column("tag"))[:3] == [None, "mine", None]
    assert panel.model_text.text() == ""
    assert "⚠" not in panel.drawn.title.text()
    choose(one)
    assert "⚠ The 6 cases shown were embedded by small; Embed embeds" in panel.model_text.text()
    assert "not the chosen model" in panel.drawn.title.text()
    assert panel.map.box.opacity() < 1
    # cancelled: nothing was changed
    shown = panel.cohort
    qtbot.mouseClick(panel.primary, Qt.MouseButton.LeftButton)
    assert not panel.model.isEnabled()
    qtbot.mouseClick(panel.primary, Qt.MouseButton.LeftButton)
    assert panel.cohort is shown
    assert panel.model.isEnabled()
    # a table that is embedded already: others come to it
    panel.set_source(first_table)
    assert panel.map.box.opacity() == 1
    add(second)
    assert "3 cases added" in embed()
    assert names() == ["3.npz", "4.npz", "5.npz", "6.npz", "7.npz", "8.npz"]
    assert first_table.is_file()
