"""From the map to a layer and back; the filter, the table and the thumbnails of the Cohort panel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.cohort import cohort_of, write_rows
from napari_sparse3d.voxels import VoxelSet
from napari_sparse3d.widgets.cohort.case_filter import matching

WAIT_MS = 240_000
N = 40


def rows_in(folder: Path) -> list[dict[str, Any]]:
    random = np.random.default_rng(3)
    indices = np.argwhere(np.ones((3, 4, 5))).astype(np.int32)
    for number in range(2):
        VoxelSet(indices, np.ones((len(indices), 1), np.float32), (8, 9, 10), np.eye(4)).save(folder / f"{number}.npz")
    return [
        {
            "path": str(folder / f"{number}.npz"), "series": None, "name": f"case {number:02d}", "status": "done",
            "error": None, "label": ("benign", "malignant")[number % 2], "patient": f"p{number}", "model": "deepc2",
            "embedding": random.normal(size=8).tolist(), "n_active": np.int64(100 - number),
            "age": None if number == 7 else 30.5 + number, "thumbnail": np.full((48, 48), number, np.uint8).tobytes(),
        }
        for number in range(N)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "text", "expected"),
    [
        ("", "", range(N)),
        ("label", "MALIG", range(1, N, 2)),
        ("label", "=malig", ()),
        ("label", "= benign", range(0, N, 2)),
        ("age", "> 68", (38, 39)),
        ("age", "<=31.5", (0, 1)),
        ("age", "33.5", (3,)),
        ("age", "36..38", (6,)),
        ("age", "38 .. 36.5", (6,)),
        ("age", "=", (7,)),
        ("age", "1", (*range(1, N, 10),)),
        ("n_active", "=93", (7,)),
        ("name", "case 3", range(30, N)),
        ("", "case 07", (7,)),
        ("nothing of this name", "x", ()),
    ],
)
def test_what_a_filter_leaves(tmp_path: Path, column: str, text: str, expected: Any) -> None:
    if (column, text) == ("age", "1"):
        expected = ()  # a number is the number, and no part of a text
    cohort = cohort_of(rows_in(tmp_path))
    assert np.flatnonzero(matching(cohort, column, text)).tolist() == list(expected)


@pytest.mark.gui
def test_map_table_filter_and_layers_are_one(
    make_napari_viewer: Any, one_child: Any, qtbot: Any, tmp_path: Path
) -> None:
    from qtpy.QtCore import QPoint, Qt

    from napari_sparse3d.widgets.cohort.view import CohortPanel

    viewer = make_napari_viewer(show=True)
    panel = CohortPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Cohort")
    write_rows(rows_in(tmp_path), tmp_path / "cohort.parquet")
    panel.set_source(tmp_path / "cohort.parquet")
    places = np.stack([np.arange(N) % 8, np.arange(N) // 8], axis=1).astype(np.float32)
    panel.map.set_positions(places)
    qtbot.wait(300)
    assert panel.map.pictures.shown == []  # too many to be seen

    # thumbnails, once few are in view
    panel.map.box.setRange(xRange=(-0.5, 2.5), yRange=(-0.5, 1.5), padding=0)
    qtbot.waitUntil(lambda: panel.map.pictures.on, timeout=WAIT_MS)
    x, y = panel.map.box.viewRange()
    seen = (places[:, 0] >= x[0]) & (places[:, 0] <= x[1]) & (places[:, 1] >= y[0]) & (places[:, 1] <= y[1])
    assert panel.map.pictures.shown == np.flatnonzero(seen).tolist()
    assert 6 <= seen.sum() < N
    panel.map.box.autoRange()
    qtbot.waitUntil(lambda: not panel.map.pictures.on, timeout=WAIT_MS)

    # a click opens the case, a second one chooses its layer
    def click(index: int) -> None:
        at = panel.map.points.pixels()[index]
        viewport = panel.map.plot.viewport()
        qtbot.mouseClick(viewport, Qt.MouseButton.LeftButton, pos=QPoint(round(at[0]), round(at[1])))

    def ringed() -> list[tuple[float, float]]:
        return [tuple(point) for point in zip(*panel.map.open_ring.getData(), strict=True)]

    for index in (0, 1):
        before = len(viewer.layers)
        click(index)
        click(index)  # while it is being read
        qtbot.waitUntil(lambda before=before: len(viewer.layers) > before, timeout=WAIT_MS)
        qtbot.waitUntil(lambda: not panel.opening.running, timeout=WAIT_MS)
        assert len(viewer.layers) == before + 2  # the case and its voxels
        assert ringed() == [tuple(places[index])]
    n_layers = len(viewer.layers)
    click(0)
    assert len(viewer.layers) == n_layers
    assert viewer.layers.selection.active is panel.open_cases.layer_of(0)
    assert ringed() == [tuple(places[0])]
    # from the layer, and from what was made of it, to the map
    viewer.layers.selection.active = panel.open_cases.layer_of(1)
    assert ringed() == [tuple(places[1])]
    voxels = next(layer for layer in viewer.layers if panel.open_cases.case_of(layer) == 0)
    viewer.layers.selection.active = voxels
    assert ringed() == [tuple(places[0])]
    viewer.layers.selection.active = viewer.add_image(np.zeros((4, 4, 4)), name="of nobody")
    assert ringed() == []

    # the table: numbers sorted as numbers, what is missing last, and the selection is the map's
    panel.cases.heading.click()
    rows = panel.cases.rows

    def column(name: str) -> list[str]:
        names = [rows.headerData(each, Qt.Orientation.Horizontal) for each in range(rows.columnCount())]
        return [rows.data(rows.index(row, names.index(name))) for row in range(rows.rowCount())]

    assert rows.headerData(0, Qt.Orientation.Horizontal) == "name"
    names = [rows.headerData(each, Qt.Orientation.Horizontal) for each in range(rows.columnCount())]
    panel.cases.view.sortByColumn(names.index("n active"), Qt.SortOrder.AscendingOrder)
    assert column("n active") == [str(number) for number in range(61, 101)]
    assert rows.order[0] == 39
    for order in (Qt.SortOrder.DescendingOrder, Qt.SortOrder.AscendingOrder):
        panel.cases.view.sortByColumn(names.index("age"), order)
        assert column("age")[-1] == ""
        assert rows.case(N - 1) == 7
    panel.cases.view.selectRow(2)
    assert panel.state.selected.tolist() == [2]
    assert panel.map.marked.data.size == 1
    assert panel.tag_button.isEnabled()
    panel.selection.select(np.array([4, 9]))
    chosen = {rows.case(index.row()) for index in panel.cases.view.selectionModel().selectedRows()}
    assert chosen == {4, 9}

    # the filter: what is hidden is in neither, and not selected
    panel.filter.column.setCurrentText("label")
    panel.filter.typed.setText("benign")
    qtbot.waitUntil(lambda: rows.rowCount() == N // 2, timeout=WAIT_MS)
    assert panel.filter.text.text() == "20 of 40 cases shown"
    assert set(column("label")) == {"benign"}
    assert panel.state.selected.tolist() == [4]
    assert not panel.map.points.shown[1::2].any()
    assert panel.map.nearest(panel.map.plot.mapFromScene(panel.map.box.mapViewToScene(QPointF_of(places[1])))) is None
    panel.tag_selected("seen")
    assert list(panel.cohort.column("tag")).count("seen") == 1
    panel.filter.typed.clear()
    qtbot.waitUntil(lambda: rows.rowCount() == N, timeout=WAIT_MS)
    assert panel.map.points.shown.all()
    for work in (panel.placing, panel.opening, panel.saving, panel.maker._warming):
        qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)


def QPointF_of(place: Any) -> Any:
    from qtpy.QtCore import QPointF

    return QPointF(*map(float, place))


@pytest.mark.gui
def test_nothing_is_cut_at_twice_the_font(make_napari_viewer: Any, one_child: Any, qtbot: Any, tmp_path: Path) -> None:
    """In a dock of napari's own width, in light and dark, with all that the panel can show."""
    from napari.settings import get_settings
    from qtpy.QtWidgets import QPushButton

    from napari_sparse3d.widgets.show import show_panel
    from napari_sparse3d.widgets.toolbox.viewers import dock_of

    viewer = make_napari_viewer(show=True)
    appearance = get_settings().appearance
    before, theme_before = appearance.font_size, appearance.theme
    panel = show_panel("cohort", viewer)
    write_rows(rows_in(tmp_path), tmp_path / "cohort.parquet")
    panel.set_source(tmp_path / "cohort.parquet")
    panel.cases.heading.setChecked(True)
    panel.colour.setCurrentText("age")
    panel.filter.typed.setText("case")
    dock = dock_of(panel)
    dock.setFloating(True)
    try:
        for theme in ("light", "dark"):
            appearance.theme = theme
            assert viewer.theme == theme
            for size in (before, 2 * before):
                appearance.font_size = size
                dock.resize(270, 900)
                qtbot.waitUntil(lambda: dock.width() == 270, timeout=WAIT_MS)
                qtbot.wait(50)
                inside, room = panel.area.widget(), panel.area.viewport()
                assert inside.minimumSizeHint().width() <= room.width()
                cut = [
                    button.text()
                    for button in panel.findChildren(QPushButton)
                    if button.isVisible() and button.width() < button.sizeHint().width()
                ]
                assert cut == []
    finally:
        appearance.font_size, appearance.theme = before, theme_before
    for work in (panel.placing, panel.opening, panel.saving, panel.maker._warming):
        qtbot.waitUntil(lambda work=work: not work.running, timeout=WAIT_MS)
