"""What the Train panel says of its runs: intervals, names, what they were started with, and before a window closes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.gui

WAIT_MS = 240_000


@pytest.fixture
def panel(make_napari_viewer: Any, one_child: Any) -> Any:
    from napari_sparse3d.widgets.show import show_panel

    shown = show_panel("train", make_napari_viewer(show=True))
    yield shown
    shown.training.cancel()


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Named as a labelled set; nothing reads it."""
    for label in ("ball", "box"):
        (tmp_path / "shapes" / label).mkdir(parents=True)
    return tmp_path / "shapes"


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def epoch(number: int, best: int) -> dict[str, Any]:
    return {
        "event": "epoch", "run": "r1", "epoch": number, "epochs": 4, "loss": 1 / number,
        "val": {"auc": 0.5 + 0.1 * number}, "selected_by": "auc", "best": 0.5 + 0.1 * best, "best_epoch": best,
        "seconds_left": 90.0,
    }  # fmt: skip


def test_curves_have_their_interval_and_the_line_of_chance(panel: Any) -> None:
    """The band, the dashed line and the words are those of the events; an epoch without an interval leaves a gap."""
    ends = [{"low": 0.4, "high": 0.8, "chance": 0.5}, {"chance": 0.5}, {"low": 0.6, "high": 0.95, "chance": 0.5}]
    for number, bounds in enumerate(ends, start=1):
        panel.take_event({**epoch(number, number), "bounds": bounds})
    (curve,) = panel.measure_plot.series
    assert curve.band() == [(1, 0.4, 0.8), (3, 0.6, 0.95)]
    assert panel.measure_plot.chance == 0.5
    assert "0.8 [0.60, 0.95] after epoch 3" in panel.measure_plot.toolTip()
    assert "dashed: 0.5" in panel.measure_plot.toolTip()
    assert "auc 0.800 [0.600, 0.950]" in panel.progress_text.text()
    assert panel.loss_plot.chance is None
    panel.measure_plot.resize(240, panel.measure_plot.sizeHint().height())
    without = panel.measure_plot.grab().toImage()
    panel.measure_plot.set_series(panel.measure_plot.series, chance=None)
    assert panel.measure_plot.grab().toImage() != without  # the line is painted
    panel.take_event({**epoch(4, 4), "val": {"auc": None}})  # a validation of one class
    assert panel.measure_plot.series[0].epochs == [1, 2, 3]


@pytest.mark.parametrize(
    ("split", "said"),
    [("drawn", "Split: drawn by seed 7, patients kept together"), ("set", "Split: as the data say · seed 7")],
)
def test_split_and_seed_are_shown(panel: Any, split: str, said: str) -> None:
    event = {"event": "check", "train": 6, "val": 3, "classes": {"a": 4, "b": 2}, "val_classes": {"a": 2, "b": 1}}
    panel.take_event({**event, "split": split, "settings": {"seed": 7}})
    assert said in panel.check_text.text()
    assert "3 to validate (a 2, b 1)" in panel.check_text.text()


def test_the_confusion_table_names_its_axes(panel: Any) -> None:
    panel.take_event(epoch(1, 1))
    panel.state.classes = ["ball", "box"]
    assert not panel.results.matrix.isVisibleTo(panel)
    metrics = {"confusion": [[3, 1], [0, 4]]}
    panel.take_event({"event": "done", "run": "r1", "status": "done", "model": "/m.safetensors", "metrics": metrics})
    matrix = panel.results.matrix
    assert matrix.isVisibleTo(panel)
    assert (matrix.above.text(), matrix.side.text) == ("predicted", "true")
    assert "true ball, predicted box" in panel.confusion.item(0, 1).toolTip()
    panel.confusion.hide()
    assert not matrix.isVisibleTo(panel)


class _Process:
    """Stands for the child process, so that what the panel says while one is there is seen without a training."""

    def kill(self) -> None:
        pass

    waitForFinished = deleteLater = lambda self, *_: None

    def __init__(self) -> None:
        self.finished = self

    def disconnect(self) -> None:
        pass


@pytest.fixture
def runs_a_process(panel: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """*Train* starts nothing, and the panel thinks that it does; gives the arguments of each start."""
    started: list[list[str]] = []

    def start(arguments: Any) -> None:
        started.append(list(arguments))
        panel.training.started.emit("checking every case")
        panel.training.process = _Process()

    monkeypatch.setattr(panel.training, "start", start)
    return started


def copied() -> str:
    from qtpy.QtWidgets import QApplication

    return str(QApplication.clipboard().text())


def test_what_is_said_of_a_run_is_what_it_was_started_with(
    panel: Any, runs_a_process: Any, qtbot: Any, shapes: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "x").mkdir(parents=True)
    panel.set_data(shapes)
    panel.epochs.setValue(7)
    panel.settings.name.setText("first try")
    click(qtbot, panel.primary)
    panel.take_event({**epoch(1, 1), "epochs": 7})
    panel.set_data(other)
    panel.epochs.setValue(9)
    panel.settings.name.setText("second")
    assert "first try: shapes · residual" in panel.results.title.text()
    click(qtbot, panel.copy_command)
    assert str(shapes) in copied()
    assert "--epochs 7" in copied()
    assert "--name 'first try'" in copied()
    click(qtbot, panel.copy_python)
    assert repr(str(shapes)) in copied()
    assert "['epochs'] = 7" in copied()
    assert "name='first try'" in copied()
    panel.take_event({"event": "done", "run": "r1", "status": "done", "model": "/m.safetensors", "metrics": {}})
    panel.training.cancel()

    import napari_sparse3d.widgets.train.view as view

    saved = []
    view.jobs.save_session, before = (lambda *args: saved.append(args) or (lambda: "")), view.jobs.save_session
    try:
        panel.save_session_to(tmp_path / "session")
    finally:
        view.jobs.save_session = before
    ((_, data, _, _, _, lines),) = saved
    assert data == shapes
    assert "--epochs 7" in lines.command
    click(qtbot, panel.resume_button)  # its own data, to the epochs chosen now
    assert runs_a_process[-1][1] == str(shapes)
    assert runs_a_process[-1][runs_a_process[-1].index("--epochs") + 1] == "9"
    panel.training.cancel()
    panel.epochs.setValue(3)  # after its end: the next one is meant, and that is said
    click(qtbot, panel.copy_command)
    assert str(other) in copied()
    assert "differ from those of the run below" in panel.message.text()


def test_done_cancel_and_progress_are_never_beside_each_other(
    panel: Any, runs_a_process: Any, qtbot: Any, shapes: Path
) -> None:
    panel.set_data(shapes)
    click(qtbot, panel.primary)
    assert (panel.primary.text(), panel.progress.isVisible()) == ("Cancel", True)
    panel.take_event(epoch(1, 1))
    panel.take_event({"event": "done", "run": "r1", "status": "done", "model": "/m.safetensors", "metrics": {}})
    assert "Done" not in panel.message.text()  # the process still draws its curves
    assert panel.progress.isVisible()
    panel.training.process = None
    panel.training.ended.emit()
    assert "Done: the model is in the Network panel." in panel.message.text()
    assert (panel.primary.text(), panel.progress.isVisible()) == ("Train", False)
    click(qtbot, panel.primary)
    assert "Done" not in panel.message.text()
    panel.take_event({"event": "error", "message": "patient p is on both sides; split", "kind": "X", "expected": True})
    assert "on both sides" not in panel.message.text()
    panel.training.process = None
    panel.training.ended.emit()
    assert "on both sides" in panel.message.text()
    assert "Details" not in panel.message.text()  # a refusal, which has no traceback


def test_a_run_gets_a_name_of_one_s_own(panel: Any, qtbot: Any) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QLineEdit

    from napari_sparse3d.training.runs import RunStore

    store = RunStore(panel.runs_folder)
    run = store.new()
    history = [{"epoch": 1, "loss": 1.0, "val_auc": 0.6, "val_auc_low": 0.4, "val_auc_high": 0.7}]
    store.update(run, status="done", selected_by="auc", chance=0.5, history=history, seed=3, train_cases=8, val_cases=2)
    panel.runs.refresh(panel.runs_folder)
    click(qtbot, panel.runs.heading)
    table = panel.runs.table
    names = [table.horizontalHeaderItem(k).text() for k in range(table.columnCount())]
    texts = dict(zip(names, [table.item(0, k).text() for k in range(table.columnCount())], strict=True))
    assert (texts["train / val"], texts["seed"]) == ("8 / 2", "3")
    table.selectRow(0)
    assert (panel.runs.measure.chance, panel.runs.measure.series[0].band()) == (0.5, [(1, 0.4, 0.7)])
    click(qtbot, panel.runs.rename)
    editor = table.findChild(QLineEdit)
    qtbot.keyClicks(editor, "../small <b>one</b>")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: store.find(run)["title"] == "../small <b>one</b>", timeout=WAIT_MS)
    assert table.item(0, 0).text() == "../small <b>one</b>"
    assert sorted(path.name for path in panel.runs_folder.iterdir() if path.is_dir()) == [run]
    assert panel.runs.measure.series[0].name == "../small <b>one</b>"
    assert not table.item(0, 1).flags() & Qt.ItemFlag.ItemIsEditable


def test_a_run_of_the_list_goes_on_with_its_own_settings(
    panel: Any, runs_a_process: Any, qtbot: Any, shapes: Path
) -> None:
    from napari_sparse3d.training.runs import RunStore

    store = RunStore(panel.runs_folder)
    run = store.new("yesterday")  # nobody trains it now: interrupted
    store.update(run, selected_by="auc", epochs=12, architecture="deepc2", history=[{"epoch": 1, "loss": 1.0}])
    panel.runs.refresh(panel.runs_folder)
    click(qtbot, panel.runs.heading)
    panel.runs.table.selectRow(0)
    click(qtbot, panel.runs.go_on)
    assert "choose the data" in panel.message.text()
    assert runs_a_process == []
    panel.set_data(shapes)
    click(qtbot, panel.runs.go_on)
    assert runs_a_process == [["train", str(shapes), "--resume", run, "--runs", str(panel.runs_folder), "--json-lines"]]
    assert "yesterday: shapes · continuing to 12 epochs" in panel.results.title.text()
    click(qtbot, panel.copy_python)
    compile(copied(), "script", "exec")
    assert f"run = RunStore(Path({str(panel.runs_folder)!r})), {run!r}" in copied()


@pytest.mark.parametrize("answer", ["Cancel", "Close and end it"])
def test_a_window_with_a_running_training_asks_before_it_closes(
    panel: Any, runs_a_process: Any, qtbot: Any, shapes: Path, answer: str
) -> None:
    from qtpy.QtCore import QTimer
    from qtpy.QtGui import QCloseEvent
    from qtpy.QtWidgets import QMessageBox

    panel.set_data(shapes)
    click(qtbot, panel.primary)
    panel.take_event(epoch(1, 1))
    window, process = panel.viewer.window._qt_window, panel.process
    asked: list[str] = []

    def respond() -> None:
        (box,) = window.findChildren(QMessageBox)
        asked.append(f"{box.text()} {box.informativeText()}")
        next(button for button in box.buttons() if button.text().replace("&", "") == answer).click()

    QTimer.singleShot(200, respond)
    if answer == "Cancel":
        window.close()
        assert window.isVisible()
        assert panel.process is process
    else:  # the window itself is left to the fixture
        event = QCloseEvent()
        assert not panel.guard.eventFilter(window, event)
        assert event.isAccepted()
        assert panel.process is None
    assert "1 of 4 epochs" in asked[0]
    assert "train DATA --resume r1" in asked[0]
    panel.training.cancel()
    assert not panel.guard.eventFilter(window, QCloseEvent())  # nothing runs: nobody is asked
    assert len(asked) == 1


def test_closing_the_panel_ends_no_training(panel: Any, runs_a_process: Any, qtbot: Any, shapes: Path) -> None:
    from napari_sparse3d.widgets.show import show_panel
    from napari_sparse3d.widgets.toolbox.viewers import dock_of

    viewer, training = panel.viewer, panel.training
    panel.set_data(shapes)
    click(qtbot, panel.primary)
    dock_of(panel).destroyOnClose()
    qtbot.wait(50)
    assert training.running
    again = show_panel("train", viewer)
    assert again.training is training
    assert again.primary.text() == "Cancel"
    again.training.cancel()
