"""The Train panel: a real training in its child process, and what is shown of its events."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.io.write import write_volume
from napari_sparse3d.volume import Volume
from napari_sparse3d.widgets.toolbox.session_folder import content_hash

pytestmark = pytest.mark.gui

WAIT_MS = 240_000


@pytest.fixture
def panel(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> Any:
    from napari_sparse3d.widgets.train.view import TrainPanel

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
    assert "epoch 2/4 · auc 0.700 · best 0.700 at 2 · 2 min left" in panel.progress_text.text()
    assert [(s.epochs, s.values) for s in panel.loss_plot.series] == [([1, 2], [1.0, 0.5])]
    metrics = {"confusion": [[3, 1], [0, 4]]}
    panel.take_event({"event": "done", "run": "r1", "status": "done", "model": "/m.safetensors", "metrics": metrics})
    assert panel.confusion.item(0, 1).text() == "1"
    assert panel.workbench.model == "/m.safetensors"
    panel.take_event(
        {"event": "error", "message": "patient p is on both sides; split by patient", "kind": "InputError"}
    )
    assert "patient p is on both sides" in panel.message.text()


def test_the_check_of_one_set_does_not_stand_under_another(panel: Any, tmp_path: Path) -> None:
    from napari_sparse3d.widgets.train.state import Started

    first, second = tmp_path / "first", tmp_path / "second"
    panel.set_data(first)
    panel.state.begin(Started(first, panel.settings.chosen()), anew=True)
    panel.take_event({"event": "check", "train": 16, "val": 4, "classes": {"ball": 8, "box": 8}})
    assert panel.check_text.isVisibleTo(panel)
    panel.set_data(second)
    assert not panel.check_text.isVisibleTo(panel)
    panel.set_data(first)
    assert panel.check_text.isVisibleTo(panel)


def test_a_model_is_trained_in_a_child_process(panel: Any, qtbot: Any, shapes: Path, tmp_path: Path) -> None:
    panel.set_data(shapes)
    assert "ball, box" in panel.about.text()
    panel.recipe.setCurrentIndex(panel.recipe.findData("shape-40"))
    panel.epochs.setValue(2)
    click(qtbot, panel.primary)
    assert panel.primary.text() == "Cancel"
    qtbot.waitUntil(lambda: panel.process is None, timeout=WAIT_MS)
    assert panel.model_path is not None, panel.message.text()
    assert panel.model_path.is_file()
    assert len(panel.state.epochs) == 2
    assert panel.workbench.model_files == [str(panel.model_path)]
    assert panel.resume_button.isEnabled()
    assert [row["status"] for row in panel.runs.rows] == ["done"]

    panel.save_session_to(tmp_path / "session")
    qtbot.waitUntil(lambda: "Saved" in panel.message.text() or "⚠" in panel.message.text(), timeout=WAIT_MS)
    record = json.loads((tmp_path / "session" / "session.json").read_text())
    assert record["run"]["run"] == panel.state.run_name
    assert record["input"]["sha256"] == content_hash(shapes)
    assert record["model"]["sha256"] == content_hash(panel.model_path)
    curves = list(csv.DictReader((tmp_path / "session" / "curves.csv").open()))
    assert [float(row["loss"]) for row in curves] == [event["loss"] for event in panel.state.epochs]
    assert (tmp_path / "session" / "curves.png").is_file()


def test_the_copied_python_is_the_training_of_the_copied_line(panel: Any, shapes: Path, tmp_path: Path) -> None:
    """Without the training itself: its settings and its data, as the two hand them over."""
    from napari_sparse3d.cli.settings import settings_of

    panel.set_data(shapes)
    panel.recipe.setCurrentIndex(panel.recipe.findData("shape-40"))
    panel.loss.setCurrentIndex(panel.loss.findData("triplet"))
    for architecture in ("residual", "deepc2"):
        panel.network.setCurrentIndex(panel.network.findData(architecture))
        script, called = panel.python(), re.compile(r"^(outcome|print).*$", re.MULTILINE)
        space: dict[str, Any] = {}
        exec(called.sub("", script) + "\ntraining = Training(**settings)", space)
        named = {"architecture": architecture, "loss.name": "triplet", "epochs": panel.epochs.value()}
        assert space["training"] == settings_of(None, "shape-40", named, None)
        assert space["data"].path == shapes


def test_every_other_setting_is_handed_over(panel: Any, qtbot: Any, shapes: Path) -> None:
    """What is set in the folded forms goes into the copied line and the copied Python, and means the same there."""
    from napari_sparse3d.cli.settings import settings_of

    panel.set_data(shapes)
    plain = panel.arguments()
    click(qtbot, panel.more)
    qtbot.waitUntil(lambda: bool(panel.settings.more.forms), timeout=WAIT_MS)
    assert panel.arguments() == plain
    panel.loss.setCurrentIndex(panel.loss.findData("triplet"))
    forms = panel.settings.more.forms
    assert forms["loss/triplet"].isVisible()
    assert not forms["loss/cross-entropy"].isVisible()
    forms["loss/triplet"].controls["margin"].parts["value"].setValue(0.25)
    forms["arguments/residual"].controls["dropout"].parts["value"].setValue(0.5)
    forms["training"].controls["batch_size"].parts["value"].setValue(4)
    forms["training"].controls["clip"].parts["words"].setCurrentIndex(0)
    forms["augment"].controls["turns"].parts["value"].setCurrentText("all")
    arguments = panel.arguments()
    assignments = [arguments[i + 1] for i, word in enumerate(arguments) if word == "--set"]
    named = {"architecture": "residual", "loss.name": "triplet", "epochs": panel.epochs.value()}
    expected = settings_of(None, "shape-64", named, assignments)
    assert (expected.loss.margin, expected.batch_size, expected.clip, expected.augment.turns) == (0.25, 4, None, "all")
    assert expected.arguments["dropout"] == 0.5
    assert expected.arguments["channels"] == [16, 32, 64, 96]  # the others, which fit each other, are given with it
    space: dict[str, Any] = {}
    exec(re.sub(r"(?m)^(outcome|print).*$", "", panel.python()) + "\ntraining = Training(**settings)", space)
    assert space["training"] == expected
    forms["arguments/residual"].controls["channels"].parts["value"].setText("[16, ")
    click(qtbot, panel.copy_command)
    assert "Channels is written as JSON" in panel.message.text()


def test_runs_are_compared(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    from napari_sparse3d.training.runs import RunStore

    store = RunStore(panel.runs_folder)
    for number, architecture in enumerate(("residual", "deepc2", "residual")):
        history = [{"epoch": k, "loss": 1 / k, "val_auc": 0.5 + 0.1 * number + 0.01 * k} for k in range(1, 5 + number)]
        store.update(
            store.new(f"r{number}"), status="done", architecture=architecture, loss_name="triplet", dataset="shapes",
            selected_by="auc", best=0.6 + 0.1 * number, epoch=4 + number, epochs=8, history=history,
        )  # fmt: skip
    panel.runs.refresh(panel.runs_folder)
    assert "Runs: 3" in panel.runs.heading.text()
    click(qtbot, panel.runs.heading)
    assert panel.runs.table.isVisible()
    for row in (0, 2):
        for column in range(panel.runs.table.columnCount()):
            panel.runs.table.item(row, column).setSelected(True)
    assert len(panel.runs.chosen()) == 2
    assert len(panel.runs.measure.series) == 2
    assert panel.runs.measure.name == "validation auc"
    expected = [[epoch["val_auc"] for epoch in run["history"]] for run in panel.runs.chosen()]
    assert [list(series.values) for series in panel.runs.measure.series] == expected
    assert not panel.runs.use.isVisible()  # of two


def test_a_run_whose_process_is_gone_is_interrupted(panel: Any, qtbot: Any, shapes: Path) -> None:
    from napari_sparse3d.training.runs import RunStore

    def statuses() -> list[str]:
        names = [panel.runs.table.horizontalHeaderItem(k).text() for k in range(panel.runs.table.columnCount())]
        return [panel.runs.table.item(row, names.index("status")).text() for row in range(panel.runs.table.rowCount())]

    panel.set_data(shapes)
    panel.recipe.setCurrentIndex(panel.recipe.findData("shape-40"))
    panel.epochs.setValue(500)
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: bool(panel.state.epochs), timeout=WAIT_MS)
    panel.runs.refresh(panel.runs_folder)
    assert statuses() == ["running"]
    panel.process.kill()  # as a system that runs out of memory does
    qtbot.waitUntil(lambda: panel.process is None, timeout=WAIT_MS)
    assert statuses() == ["interrupted"] == [row["status"] for row in RunStore(panel.runs_folder).rows()]
    click(qtbot, panel.resume_button)
    qtbot.waitUntil(lambda: panel.process is not None and len(panel.state.epochs) > 1, timeout=WAIT_MS)
    click(qtbot, panel.primary)  # Cancel
    assert panel.process is None
    assert statuses() == ["interrupted"]


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


def test_stop_keeps_the_best_and_resume_goes_on(panel: Any, qtbot: Any, shapes: Path) -> None:
    panel.set_data(shapes)
    panel.recipe.setCurrentIndex(panel.recipe.findData("shape-40"))
    panel.epochs.setValue(500)
    click(qtbot, panel.primary)
    qtbot.waitUntil(lambda: bool(panel.state.epochs), timeout=WAIT_MS)
    click(qtbot, panel.stop_button)
    qtbot.waitUntil(lambda: panel.process is None, timeout=WAIT_MS)
    n_first = len(panel.state.epochs)
    assert 1 <= n_first < 500
    assert "Stopped" in panel.message.text()
    assert panel.model_path.is_file()
    click(qtbot, panel.resume_button)
    qtbot.waitUntil(lambda: len(panel.state.epochs) > n_first or panel.process is None, timeout=WAIT_MS)
    assert len(panel.state.epochs) > n_first, panel.message.text()
    click(qtbot, panel.stop_button)
    qtbot.waitUntil(lambda: panel.process is None, timeout=WAIT_MS)
    assert [event["epoch"] for event in panel.state.epochs] == list(range(1, len(panel.state.epochs) + 1))
    assert len(panel.runs.rows) == 1
