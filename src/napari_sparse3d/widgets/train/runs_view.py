"""The trainings so far: a table, the curves of those that are chosen over each other, and their models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_sparse3d.training.runs import MODEL
from napari_sparse3d.widgets.toolbox.layout import fit_height, small_label, stacked, table_style
from napari_sparse3d.widgets.toolbox.plain_text import plain_tip
from napari_sparse3d.widgets.toolbox.theme import Colours
from napari_sparse3d.widgets.train.curve import Curve, NamedCurve

_COLUMNS = ("started", "status", "loss", "best", "epochs", "network", "data")
_ROW = 22
_SHOWN = 5


class RunsView(QWidget):
    """Lists the runs of a folder, the newest first; one whose process is gone is ``interrupted``.

    Choose two or more to see their curves over each other.
    """

    used = Signal(str)
    """The model file of a run is wanted in the Network panel."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.heading = QPushButton()
        self.heading.setCheckable(True)
        self.heading.setFlat(True)
        self.heading.setObjectName("sparse3d-link")
        self.heading.setToolTip("Show or hide the trainings so far")
        self.heading.toggled.connect(self._fold)
        self.hint = small_label("Choose two or more to compare them.")
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setAccessibleName("Runs")
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setTabKeyNavigation(False)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        self.table.itemSelectionChanged.connect(self._selected)
        side, top = self.table.verticalHeader(), self.table.horizontalHeader()
        if side is not None:
            side.hide()
            side.setDefaultSectionSize(_ROW)
        if top is not None:
            top.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.loss = Curve("training loss")
        self.measure = Curve("validation")
        self.use = QPushButton("Use its model in Network")
        self.use.setToolTip("Choose the model of this run in the Network panel")
        self.use.clicked.connect(self._use)
        layout = stacked(self)
        layout.addWidget(self.heading, 0, Qt.AlignmentFlag.AlignLeft)
        for widget in (self.hint, self.table, self.loss, self.measure, self.use):
            layout.addWidget(widget)
        self._fold(False)

    def restyle(self, look: Colours) -> None:
        """Follow the theme."""
        self.table.setStyleSheet(table_style(look))

    def refresh(self, folder: Path) -> None:
        """Read the table of runs anew; those that are chosen stay so."""
        from napari_sparse3d.training.runs import RunStore

        chosen = {row["run"] for row in self.chosen()}
        self.rows = RunStore(folder).rows()
        self.setVisible(bool(self.rows))
        self.table.blockSignals(True)
        self.table.clearSelection()
        self.table.setRowCount(len(self.rows))
        for number, row in enumerate(self.rows):
            for column, text in enumerate(_cells(row)):
                item = QTableWidgetItem(text)
                item.setToolTip(plain_tip(f"{row['run']}: {row['status']}"))
                self.table.setItem(number, column, item)
                if row["run"] in chosen:
                    item.setSelected(True)
        self.table.blockSignals(False)
        self._fold(self.heading.isChecked())
        self._selected()

    def chosen(self) -> list[dict[str, Any]]:
        """The runs of the chosen rows, in the order of the table."""
        numbers = sorted({item.row() for item in self.table.selectedItems()})
        return [self.rows[number] for number in numbers if number < len(self.rows)]

    def _fold(self, open_: bool) -> None:
        self.heading.setText(f"{'▾' if open_ else '▸'} Runs: {len(self.rows)} · compare, use in Network")
        for widget in (self.hint, self.table):
            widget.setVisible(open_)
        fit_height(self.table, _SHOWN)
        self._selected()

    def _selected(self) -> None:
        chosen = [row for row in self.chosen() if row.get("history")] if self.heading.isChecked() else []
        for widget in (self.loss, self.measure):
            widget.setVisible(bool(chosen))
        self.use.setVisible(len(chosen) == 1 and self._model(chosen[0]).is_file())
        names = {row["run"]: _name(row) for row in chosen}
        self.loss.set_series([_series(names[row["run"]], row, "loss") for row in chosen])
        measures = sorted({str(row["selected_by"]) for row in chosen})
        shared = next((each for each in measures if all(f"val_{each}" in row["history"][-1] for row in chosen)), "loss")
        self.measure.set_series(
            [_series(names[row["run"]], row, f"val_{shared}") for row in chosen], f"validation {shared}"
        )

    def _model(self, row: dict[str, Any]) -> Path:
        return Path(row["folder"]) / MODEL

    def _use(self) -> None:
        chosen = self.chosen()
        if chosen:
            self.used.emit(str(self._model(chosen[0])))


def _series(name: str, row: dict[str, Any], column: str) -> NamedCurve:
    found = [(epoch["epoch"], epoch[column]) for epoch in row["history"] if epoch.get(column) is not None]
    return NamedCurve(name, [epoch for epoch, _ in found], [value for _, value in found])


def _name(row: dict[str, Any]) -> str:
    return f"{_cells(row)[0]} · {row['architecture']} · {row['loss_name']}"


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    best, measure = row.get("best"), row.get("selected_by")
    return (
        str(row.get("started") or "")[5:16].replace("T", " "),
        str(row.get("status") or ""),
        str(row.get("loss_name") or ""),
        "" if best is None else f"{measure} {best:.3f}",
        f"{row.get('epoch') or 0}/{row.get('epochs') or '?'}",
        str(row.get("architecture") or ""),
        Path(str(row.get("dataset") or "")).name,
    )
