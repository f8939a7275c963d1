"""The Train panel: a real training in its child process, and what is shown of its events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.io.write import write_volume
from napari_sparse3d.volume import Volume

pytestmark = pytest.mark.gui

WAIT_MS = 240_000


@pytest.fixture
def panel(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> Any:
    from napari_sparse3d.widgets.train_panel import TrainPanel

    viewer = make_napari_viewer(show=True)
    made = TrainPanel(viewer)
    viewer.window.add_dock_widget(made, name="Train")
    yield made
    made.cancel()


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """A folder per class: balls and boxes, ten of each."""
    grid = np.stack(np.meshgrid(*[np.arange(24) - 11.5] * 3, indexing="ij"))
    folder = tmp_path / "shapes"
    for number in range(10):
        for label, inside in {
            "ball": (grid**2).sum(0) < (6 + 0.4 * number) ** 2,
            "box": np.abs(grid).max(0) < 4 + 0.4 * number,
        }.items():
            (folder / label).mkdir(parents=True, exist_ok=True)
            write_volume(Volume(inside.astype(np.uint8), np.eye(4)), folder / label / f"case{number}.nii.gz")
    return folder


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def epoch(number: int, best: int) -> dict[str, Any]:
    return {
        "event": "epoch",
        "run": "r1",
        "epoch": number,
        "epochs": 4,
        "loss": 1 / number,
        "val": {"auc": 0.5 + 0.1 * number},
        "selected_by": "auc",
        "best": 0.5 + 0.1 * best,
        "best_epoch": best,
        "seconds_left": 90.0,
    }


def test_an_empty_panel_says_what_to_do(panel: Any) -> None:
    assert "choose a folder" in panel.about.text()
    assert not panel.primary.isEnabled()


def test_events_become_curves_words_and_a_matrix(panel: Any) -> None:
    problem = {"kind": "unreadable", "case": "x", "message": "x cannot be read; remove it"}
    panel.take_event({"event": "check", "train": 16, "val": 4, "classes": {"ball": 8, "box": 8}, "problems": [problem]})
    assert "16 cases to train on (ball 8, box 8)" in panel.check_text.text()
    assert "x cannot be read" in panel.check_text.text()
    for number in (1, 2):
        panel.take_event(epoch(number, number))
    assert "epoch 2/4 · auc 0.700 · best 0.700 at 2 · 2 min left" in panel.state.text()
    assert panel.loss_plot.points == [(1, 1.0), (2, 0.5)]
    metrics = {"confusion": [[3, 1], [0, 4]]}
    panel.take_event({"event": "done", "run": "r1", "status": "done", "model": "/m.safetensors", "metrics": metrics})
    assert panel.confusion.item(0, 1).text() == "1"
    assert panel.workbench.model == "/m.safetensors"
    panel.take_event(
        {"event": "error", "message": "patient p is on both sides; split by patient", "kind": "InputError"}
    )
    assert "patient p is on both sides" in panel.message.text()


def test_a_model_is_trained_in_a_child_process(panel: Any, qtbot: Any, shapes: Path) -> None:
    panel.set_data(shapes)
    assert "ball, box" in panel.about.text()
    panel.recipe.setCurrentIndex(panel.recipe.findData("shape-40"))
    panel.epochs.setValue(2)
    click(qtbot, panel.primary)
    assert panel.primary.text() == "Cancel"
    qtbot.waitUntil(lambda: panel.process is None, timeout=WAIT_MS)
    assert panel.model_path is not None, panel.message.text()
    assert panel.model_path.is_file()
    assert len(panel._epochs) == 2
    assert panel.workbench.model_files == [str(panel.model_path)]
    assert panel.resume_button.isEnabled()


def test_cancel_ends_the_process(panel: Any, qtbot: Any, shapes: Path) -> None:
    panel.set_data(shapes)
    click(qtbot, panel.primary)
    process = panel.process
    qtbot.waitUntil(lambda: process.processId() > 0, timeout=WAIT_MS)
    click(qtbot, panel.primary)
    assert panel.process is None
    assert panel.primary.text() == "Train"
    assert "Cancelled" in panel.message.text()


def test_what_cannot_be_trained_on_is_a_sentence(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    panel.set_data(tmp_path / "none")
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: panel.process is None, timeout=WAIT_MS)
    assert "⚠" in panel.message.text()
    assert "Traceback" not in panel.message.text()
