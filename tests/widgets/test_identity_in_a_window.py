"""Persons in the tags and in the name of what is opened; then all that a window shows, logs and saves is searched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from persons import BORN, NAME, content, planted_series, traces_in

pytestmark = pytest.mark.gui

WAIT_MS = 900_000
PANELS = ("Sparse voxels", "Network", "Click a nodule", "Cohort", "Window and planes", "Train")


@pytest.fixture
def window(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> Any:
    """A viewer, and its six panels by their names in the menu."""
    from napari_sparse3d.widgets.toolbox.work import Work

    viewer = make_napari_viewer(show=True)
    panels = {name: viewer.window.add_plugin_dock_widget("napari-sparse3d", name, tabify=True)[1] for name in PANELS}
    yield viewer, panels
    panels["Train"].cancel()
    panels["Cohort"].mapping.drop()
    panels["Window and planes"].three.setChecked(False)
    for work in (work for panel in panels.values() for work in vars(panel).values() if isinstance(work, Work)):
        qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)


def shown_by(viewer: Any) -> Iterator[tuple[str, str]]:
    """Every text of the window, hidden ones and tool tips too, with the kind of widget that has it."""
    from qtpy.QtCore import QAbstractListModel
    from qtpy.QtGui import QAction
    from qtpy.QtWidgets import QAbstractItemView, QComboBox, QWidget

    getters = ("text", "toolTip", "statusTip", "whatsThis", "accessibleName", "accessibleDescription", "windowTitle",
               "placeholderText", "toPlainText", "title", "currentText")  # fmt: skip
    main = viewer.window._qt_window
    for thing in [main, *main.findChildren(QWidget), *main.findChildren(QAction)]:
        for getter in getters:
            asked = getattr(thing, getter, None)
            try:
                value = asked() if callable(asked) else None
            except TypeError:  # another method of that name
                continue
            if isinstance(value, str) and value:
                yield f"{type(thing).__name__}.{getter}", value
        if isinstance(thing, QComboBox):
            yield from (
                (type(thing).__name__, f"{thing.itemText(k)} {thing.itemData(k)}") for k in range(thing.count())
            )
        if isinstance(thing, QAbstractItemView) and thing.model() is not None:
            model = thing.model()
            columns = 1 if isinstance(model, QAbstractListModel) else model.columnCount()
            for row in range(model.rowCount()):
                for column in range(columns):
                    for role in (0, 3, 4, 5, 11, 12):  # display, tool tip, status tip, what is this, accessible
                        value = model.data(model.index(row, column), role)
                        if isinstance(value, str):
                            yield type(thing).__name__, value
    yield "status", json.dumps(viewer.status, default=str)
    yield "title", viewer.title


def kept_by(viewer: Any) -> Iterator[tuple[str, str]]:
    """What the layers hold beside pixels and their names."""
    for layer in viewer.layers:
        known = {key: value for key, value in layer.metadata.items() if not key.endswith("path")}
        yield f"metadata of {type(layer).__name__}", json.dumps(known, default=repr)
        yield "properties", repr(getattr(layer, "features", "")) + repr(getattr(layer, "text", ""))


def quiet(qtbot: Any, panels: Any) -> None:
    from napari_sparse3d.widgets.toolbox.work import Work

    works = [work for panel in panels.values() for work in vars(panel).values() if isinstance(work, Work)]
    qtbot.waitUntil(lambda: not any(work.running for work in works), timeout=WAIT_MS)


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def saved(qtbot: Any, panel: Any, folder: Path) -> Path:
    panel.say("")
    panel.save_session_to(folder)
    qtbot.waitUntil(lambda: "Saved" in panel.message.text() or "⚠" in panel.message.text(), timeout=WAIT_MS)
    assert "Saved" in panel.message.text(), panel.message.text()
    return folder


def sessions_of_all_panels(window: Any, qtbot: Any, opened: Path, cases: Path, out: Path) -> None:
    """One scan is opened, looked at, pointed at, made voxels of, run; a folder of cases is embedded and trained on."""
    viewer, panels = window
    voxels, network, pick, cohort, look, train = (panels[name] for name in PANELS)
    network.workbench.set_model("residual")
    (scan,) = viewer.open(str(opened), plugin="napari-sparse3d")
    quiet(qtbot, panels)
    look_at_it(look)
    point_at_it(viewer, scan, pick, qtbot)
    quiet(qtbot, panels)
    click(qtbot, voxels.primary)
    quiet(qtbot, panels)
    own = [k for k in range(network.voxels.count()) if "by the model's recipe" in network.voxels.itemText(k)]
    network.voxels.setCurrentIndex(own[0])
    network.run()
    qtbot.waitUntil(lambda: network.ran is not None or "⚠" in network.message.text(), timeout=WAIT_MS)
    assert network.ran is not None, network.message.text()
    quiet(qtbot, panels)
    saved(qtbot, network, out / "network")
    cohort.set_source(cases)
    click(qtbot, cohort.primary)
    qtbot.waitUntil(lambda: not cohort.embedding.running, timeout=WAIT_MS)
    assert len(cohort.cohort) == 8, cohort.message.text()
    quiet(qtbot, panels)
    saved(qtbot, cohort, out / "cohort")
    train.set_data(cases)
    train.recipe.setCurrentIndex(train.recipe.findData("shape-40"))
    train.epochs.setValue(1)
    train.run()
    qtbot.waitUntil(lambda: train.process is None, timeout=WAIT_MS)
    assert train.model_path is not None, train.message.text()
    saved(qtbot, train, out / "train")


def look_at_it(look: Any) -> None:
    for button in look.buttons:
        button.click()
        assert button.text()
        assert look.text.text()
    look.three.setChecked(True)
    assert look.planes is not None


def point_at_it(viewer: Any, scan: Any, pick: Any, qtbot: Any) -> None:
    """A label is painted on what is bright, and classified."""
    bright = (np.asarray(scan.data) > np.asarray(scan.data).max() / 2).astype(np.uint8)
    viewer.add_labels(bright, name="painted", affine=scan.affine, scale=scan.scale, translate=scan.translate,
                      units=scan.units)  # fmt: skip
    assert pick.primary.text() == "Classify the chosen label"
    click(qtbot, pick.primary)
    qtbot.waitUntil(lambda: pick.answer is not None or "⚠" in pick.message.text(), timeout=WAIT_MS)
    assert pick.answer is not None, pick.message.text()
    viewer.layers.remove("painted")
    viewer.layers.selection.active = scan


def cases_below(root: Path, label: str, case: str) -> Path:
    for kind, radius in (("ball", 3.0), ("large", 4.5)):
        for number in range(4):
            planted_series(root / f"{kind}{label}" / f"{case}{number}", "Zebedaeus, J.", radius, number)
    return root


def check_sessions(out: Path) -> None:
    written = [path for path in out.rglob("*") if path.is_file()]
    assert {"session.json", "layers.csv", "map.svg", "curves.csv"} <= {path.name for path in written}
    for path in written:
        assert not traces_in(str(path.relative_to(out))), path
        assert not traces_in(content(path)), (path.name, traces_in(content(path)))


def test_what_tags_say_of_persons_is_nowhere(
    window: Any, qtbot: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The names of folders and files tell nobody: all that is found comes from the tags."""
    viewer, panels = window
    cases = cases_below(tmp_path / "cases", "", "case")
    for path in cases.rglob("Zebedaeus_*"):
        path.rename(path.with_name(path.name.removeprefix("Zebedaeus_")))
    caplog.clear()
    sessions_of_all_panels(window, qtbot, cases / "ball" / "case0", cases, tmp_path / "out")
    assert len(viewer.layers) > 1
    assert any("T1 ax" in layer.name for layer in viewer.layers)  # what is left of the description
    for where, text in [*shown_by(viewer), *kept_by(viewer), *(("layer", layer.name) for layer in viewer.layers)]:
        assert not traces_in(text), (where, text[:300])
    check_sessions(tmp_path / "out")
    assert not traces_in(caplog.text)
    models = [path for path in panels["Train"].runs_folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".safetensors" for path in models)
    for path in models:
        assert not traces_in(content(path)), path.name


def test_the_name_of_a_file_stays_with_who_opened_it(
    window: Any, qtbot: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """It may be a layer's name and stand in the panel; never in what is saved, logged or said of an error."""
    viewer, panels = window
    values = np.zeros((12, 12, 12), np.int16)
    values[3:9, 3:9, 3:9] = 100
    opened = tmp_path / "Zebedaeus_Juergen_19340229.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), opened)
    cases = cases_below(tmp_path / "Zebedaeus", " JUERGEN", "Zebedäus 29.02.1934 ")
    caplog.clear()
    sessions_of_all_panels(window, qtbot, opened, cases, tmp_path / "out")
    assert any(traces_in(layer.name) for layer in viewer.layers)
    for where, text in kept_by(viewer):
        assert not traces_in(text), (where, text[:300])
    check_sessions(tmp_path / "out")
    broken = tmp_path / "Zebedaeus Juergen.nii"
    broken.write_text(f"{NAME} {BORN} " * 40)
    for panel, setter in ((panels["Cohort"], "set_source"), (panels["Train"], "set_data")):
        panel.say("")
        getattr(panel, setter)(broken)
        quiet(qtbot, panels)
        assert not traces_in(panel.message.text()), panel.message.text()
    out, err = capfd.readouterr()
    progress = re.compile(r".*\d+it \[.*")  # on the terminal of the one who opened it, as docs/reading.md says
    assert not traces_in(caplog.text + out + progress.sub("", err.replace("\r", "\n")))
