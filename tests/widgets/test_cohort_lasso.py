"""The lasso selects what it encircles as it is drawn; tags are one's own; a class keeps its colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from pyarrow import parquet

from napari_sparse3d.cohort import read_cohort, write_rows
from napari_sparse3d.widgets.cohort.lasso import encircled

WAIT_MS = 120_000


def rows_of(n: int, size: int = 8, **columns: Any) -> list[dict[str, Any]]:
    random = np.random.default_rng(7)
    return [
        {
            "path": f"/nowhere/{number}.npz", "series": None, "name": f"case {number}", "status": "done", "error": None,
            "label": "ab"[number % 2], "patient": f"p{number}", "model": "deepc2", "n_active": number,
            "embedding": random.normal(size=size).tolist(), **{name: each[number] for name, each in columns.items()},
        }
        for number in range(n)
    ]  # fmt: skip


@pytest.fixture
def panel(make_napari_viewer: Any, one_child: Any, qtbot: Any) -> Any:
    from napari_sparse3d.widgets.cohort.view import CohortPanel

    viewer = make_napari_viewer(show=True)
    made = CohortPanel(viewer)
    viewer.window.add_dock_widget(made, name="Cohort")
    yield made
    made.mapping.drop()
    for work in (made.placing, made.opening, made.saving, made.maker._warming):
        qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)


coordinate = st.integers(-40, 40).map(lambda n: n / 4)  # on a quarter grid, so that points lie on lines and corners too


@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=12), st.integers(0, 2**32 - 1))
def test_what_a_line_encircles_is_what_matplotlib_says(line: list[tuple[float, float]], seed: int) -> None:
    """Of any line, crossing itself as it may: on which side of it a point lies that is not on it."""
    points = np.random.default_rng(seed).uniform(-12, 12, (40, 2))
    outline = Outline([*line, line[0]], closed=True)
    np.testing.assert_array_equal(encircled(line, points), outline.contains_points(points))


def test_what_has_no_place_is_encircled_by_nothing() -> None:
    square = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]
    inside = encircled(square, np.array([[1, 1], [np.nan, 1], [1, np.inf], [5, 5], [1, 1]]))
    assert inside.tolist() == [True, False, False, False, True]
    assert encircled(square, np.empty((0, 2))).shape == (0,)


def drag(panel: Any, line: list[tuple[float, float]], modifiers: Any = None) -> None:
    """The left button over pixels of the map; the window is told what a real mouse tells it."""
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    viewport, left, none = panel.map.plot.viewport(), Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    keys = Qt.KeyboardModifier.NoModifier if modifiers is None else modifiers
    steps = [(QEvent.Type.MouseButtonPress, line[0], left, left)]
    steps += [(QEvent.Type.MouseMove, place, none, left) for place in line[1:]]
    steps += [(QEvent.Type.MouseButtonRelease, line[-1], left, none)]
    for kind, place, button, held in steps:
        at = QPointF(*place)
        QApplication.sendEvent(viewport, QMouseEvent(kind, at, QPointF(viewport.mapToGlobal(at)), button, held, keys))


def drawn_at(panel: Any, index: int) -> tuple[float, float]:
    """The pixel of a point, by pyqtgraph."""
    from qtpy.QtCore import QPointF

    place = panel.map.box.mapViewToScene(QPointF(*map(float, panel.map.positions[index])))
    at = panel.map.plot.viewportTransform().map(place)
    return at.x(), at.y()


@pytest.mark.gui
def test_the_lasso_selects_exactly_what_it_encircles(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    """Zoomed, moved by t-SNE, at any scale, with points on each other, with points hidden or out of the picture."""
    from qtpy.QtCore import Qt

    n = 60
    write_rows(rows_of(n), tmp_path / "cohort.parquet")
    panel.set_source(tmp_path / "cohort.parquet")
    qtbot.waitUntil(lambda: panel.map.plot.viewport().width() > 100, timeout=WAIT_MS)
    qtbot.mouseClick(panel.lasso, Qt.MouseButton.LeftButton)
    random = np.random.default_rng(11)
    n_selected = 0
    for turn, scale in enumerate((1e-6, 1e-2, 1.0, 50.0, 1e5, 1.0, 1.0, 1.0)):
        positions = (scale * random.normal(size=(n, 2))).astype(np.float32) + np.float32(3 * scale * (turn % 2))
        positions[1:9] = positions[0]  # on top of each other
        panel.map.set_positions(positions)
        qtbot.wait(20)
        shown = random.random(n) < (0.6 if turn % 3 == 2 else 1.1)
        panel.map.show_only(shown)
        if turn % 2:
            panel.map.box.scaleBy((0.4, 0.4))
        qtbot.wait(20)
        pixels = np.array([drawn_at(panel, index) for index in range(n)])
        width, height = panel.map.plot.viewport().width(), panel.map.plot.viewport().height()
        # a wild line, which crosses itself and leaves the picture
        line = [(float(x), float(y)) for x, y in random.uniform((-40, -40), (width + 40, height + 40), size=(9, 2))]
        drag(panel, line)
        inner = np.clip(line, 0, (width, height))
        outline = Outline([*inner, inner[0]], closed=True)
        expected = np.flatnonzero(outline.contains_points(pixels) & shown)
        assert panel.state.selected.tolist() == expected.tolist()
        assert panel.map.marked.data.size == len(expected)
        n_selected += len(expected)
    assert n_selected > 40

    # t-SNE moves the points while a line is drawn around them: it selects what it was drawn around
    panel.map.show_only(np.ones(n, dtype=bool))
    before = random.normal(size=(n, 2)).astype(np.float32)
    panel.map.set_positions(before)
    qtbot.wait(20)
    x, y = drawn_at(panel, 5)
    expected = [index for index in range(n) if np.abs(np.subtract(drawn_at(panel, index), (x, y))).max() < 15]
    panel.map._path = []
    moved = np.roll(before, 7, axis=0)
    corners = [(x - 15, y - 15), (x + 15, y - 15), (x + 15, y + 15), (x - 15, y + 15)]
    draw_lasso = panel.map._draw_lasso
    panel.map._draw_lasso = lambda: (panel.map.set_positions(moved), draw_lasso())
    drag(panel, corners)
    panel.map._draw_lasso = draw_lasso
    assert panel.state.selected.tolist() == expected
    np.testing.assert_array_equal(panel.map.positions, moved)
    # with Shift these come to those
    qtbot.wait(20)
    x, y = drawn_at(panel, 30)
    drag(panel, [(x - 2, y - 2), (x + 2, y - 2), (x + 2, y + 2), (x - 2, y + 2)], Qt.KeyboardModifier.ShiftModifier)
    assert {30, *expected} <= set(panel.state.selected.tolist())
    # another button draws none
    chosen = panel.state.selected.tolist()
    qtbot.mousePress(panel.map.plot.viewport(), Qt.MouseButton.RightButton)
    qtbot.mouseRelease(panel.map.plot.viewport(), Qt.MouseButton.RightButton)
    assert panel.state.selected.tolist() == chosen


@pytest.mark.gui
def test_a_tag_is_one_s_own_can_be_undone_and_is_read_back(
    panel: Any, qtbot: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QFileDialog, QInputDialog

    write_rows(rows_of(12), tmp_path / "cohort.parquet")
    panel.set_source(tmp_path / "cohort.parquet")
    labels = list(panel.cohort.column("label"))
    assert not panel.tag_button.isEnabled()
    assert not panel.undo_button.isEnabled()

    def tag(indices: list[int], word: str) -> None:
        panel.selection.select(np.array(indices))
        monkeypatch.setattr(QInputDialog, "getItem", lambda *_, **__: (word, True))
        qtbot.mouseClick(panel.tag_button, Qt.MouseButton.LeftButton)

    def tags() -> dict[int, str]:
        return {index: each for index, each in enumerate(panel.cohort.column("tag")) if each}

    tag([1, 2], "look again")
    tag([2, 3], '=odd, "quoted"')
    assert tags() == {1: "look again", 2: '=odd, "quoted"', 3: '=odd, "quoted"'}
    assert panel.colour.currentText() == "tag"
    assert "look again" in panel.legend.text()
    assert "look again" in panel.map._words(1)
    qtbot.mouseClick(panel.undo_button, Qt.MouseButton.LeftButton)
    assert tags() == {1: "look again", 2: "look again"}
    tag([1], "")
    assert tags() == {2: "look again"}
    panel.window().activateWindow()
    qtbot.waitUntil(panel.window().isActiveWindow, timeout=WAIT_MS)
    panel.colour.setFocus()
    qtbot.keyClick(panel.colour, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert tags() == {1: "look again", 2: "look again"}
    tag([4], "-12")
    qtbot.mouseClick(panel.undo_button, Qt.MouseButton.LeftButton)
    tag([4], "-12")
    expected = tags()
    for name in ("saved.parquet", "saved.csv"):
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, name=name: (str(tmp_path / name), ""))
        qtbot.mouseClick(panel.save_table, Qt.MouseButton.LeftButton)
        assert name in panel.message.text()
    assert panel.table == tmp_path / "saved.parquet"
    # the truth is what it was, in the window and in the file
    assert list(panel.cohort.column("label")) == labels
    kept = parquet.read_table(tmp_path / "saved.parquet").to_pylist()
    assert [row["label"] for row in kept] == labels
    panel.set_source(tmp_path / "saved.parquet")
    assert tags() == expected
    assert not panel.undo_button.isEnabled()  # those were steps of other cases
    panel.colour.setCurrentText("tag")
    assert "-12" in panel.legend.text()
    assert not panel.drawn.bar.isVisible()
    # and a table of text, whose cases are embedded anew
    from napari_sparse3d.cohort import find_cases

    cases = find_cases(tmp_path / "saved.csv")
    assert {number: case.about["tag"] for number, case in enumerate(cases) if case.about.get("tag")} == expected
    assert [case.label for case in cases] == labels


@pytest.mark.gui
def test_a_class_keeps_its_colour(panel: Any, qtbot: Any, tmp_path: Path) -> None:
    """Through other cases, tags, a filter, a saved table in another window; and numbers are no classes."""
    from napari_sparse3d.widgets.cohort.colours import colouring
    from napari_sparse3d.widgets.cohort.state import CohortState

    def looks(state: Any, column: str) -> dict[str, tuple[str, str]]:
        return {name: (colour, sign) for colour, sign, name in state.colouring(column).legend if sign}

    n = 12
    write_rows(rows_of(n, label=["m", "z"] * 6), tmp_path / "first.parquet")
    panel.set_source(tmp_path / "first.parquet")
    before = looks(panel.state, "label")
    assert set(before) == {"m", "z"}
    # more cases, of classes that come before the others by name
    write_rows(rows_of(n, label=["a", "m", "z"] * 4), tmp_path / "more.parquet")
    panel.set_source(tmp_path / "more.parquet")
    after = looks(panel.state, "label")
    assert {name: after[name] for name in before} == before
    assert after["a"] not in before.values()
    for index, word in ((5, "second by name"), (1, "first by name")):
        panel.selection.select(np.array([index]))
        panel.tag_selected(word)
    tagged = looks(panel.state, "tag")
    panel.selection.undo()
    assert looks(panel.state, "tag") == {"second by name": tagged["second by name"]}
    panel.tag_selected("first by name")
    assert looks(panel.state, "tag") == tagged
    panel.save_to(tmp_path / "saved.parquet")
    # in a window that has seen nothing
    fresh = CohortState()
    fresh.show(read_cohort(tmp_path / "saved.parquet"))
    assert looks(fresh, "label") == after
    assert looks(fresh, "tag") == tagged
    # other kinds of cases begin with the first colour again
    write_rows(rows_of(n, label=["cat", "dog"] * 6), tmp_path / "other.parquet")
    fresh.show(read_cohort(tmp_path / "other.parquet"))
    assert looks(fresh, "label")["cat"] == looks(panel.state, "label")["m"]
    # twenty classes have twenty looks
    write_rows(rows_of(40, label=[f"c{number % 20:02d}" for number in range(40)]), tmp_path / "many.parquet")
    fresh.show(read_cohort(tmp_path / "many.parquet"))
    assert len(set(looks(fresh, "label").values())) == 20
    assert colouring(fresh.cohort, "", fresh.class_numbers).legend == []


def test_numbers_are_numbers_and_places_are_no_colours(tmp_path: Path) -> None:
    """Whether a table has them as numbers or as text; codes, yes and no, and labels are classes."""
    from napari_sparse3d.widgets.cohort.state import CohortState

    n = 24
    columns: dict[str, list[Any]] = {
        "age": [str(30 + number) for number in range(n)],
        "dose": [None, *(0.5 * number for number in range(n - 2)), float("nan")],
        "code": [f"{number % 3:03d}" for number in range(n)],
        "smoker": [number % 3 == 0 for number in range(n)],
        "fold": [number % 5 for number in range(n)],
        "label": [str(number % 2) for number in range(n)],
        "site": ["A", "B", *[None] * (n - 2)],
        "File": [f"scan{number % 7}.nii" for number in range(n)],
        "remark": [f"text {number}" for number in range(n)],
        "all alike": [3.0] * n,
        "wide": [(-1.7e308, 1.7e308, 0.0)[number % 3] for number in range(n)],
    }
    write_rows(rows_of(n, **columns), tmp_path / "cohort.parquet")
    state = CohortState()
    state.show(read_cohort(tmp_path / "cohort.parquet"))
    offered = {name: state.colouring(name).continuous for name in state.columns()}
    assert offered == {
        "label": False, "n_active": True, "age": True, "dose": True, "code": False, "smoker": False, "fold": True,
        "site": False, "wide": True,
    }  # fmt: skip
    age = state.colouring("age")
    assert (age.scale.low, age.scale.high) == (30, 53)
    np.testing.assert_allclose(age.codes, np.linspace(0, 1, n))
    assert [text for _, _, text in state.colouring("dose").legend] == ["grey: 2 without"]
    assert sorted(set(state.colouring("wide").codes.round(6))) == [0, 0.5, 1]
