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
from napari_sparse3d.widgets.toolbox.layout import fit_height, later, small_label, stacked, table_style
from napari_sparse3d.widgets.toolbox.plain_text import plain_tip
from napari_sparse3d.widgets.toolbox.theme import Colours
from napari_sparse3d.widgets.train.curve import Curve, NamedCurve

_COLUMNS = ("name", "started", "status", "loss", "best", "epochs", "network", "data", "train / val", "split", "seed")
_NAME = 0
_RESUMABLE = ("interrupted", "stopped", "failed")
_SHOWN = 5


class RunsView(QWidget):
    """Lists the runs of a folder, the newest first; one whose process is gone is ``interrupted``.

    Choose two or more to see their curves over each other. A double click on a name, or F2, renames a run.
    """

    used = Signal(str)
    """The model file of a run is wanted in the Network panel."""

    resumed = Signal(str)
    """A run that ended early is to go on."""
    renamed = Signal(str, str)
    """A run, and what it is called from now on."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[dict[str, Any]] = []
        self.heading = QPushButton()
        self.heading.setCheckable(True)
        self.heading.setFlat(True)
        self.heading.setObjectName("sparse3d-link")
        self.heading.setToolTip("Show or hide the trainings so far")
        self.heading.toggled.connect(self._fold)
        self.hint = small_label("Choose two or more to compare them; double-click a name to change it.")
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setAccessibleName("Runs")
        self.table.setHorizontalHeaderLabels(list(_COLUMNS))
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        triggers = QAbstractItemView.EditTrigger
        self.table.setEditTriggers(triggers.DoubleClicked | triggers.EditKeyPressed)  # the name alone, by its flags
        self.table.setTabKeyNavigation(False)
        self.table.setShowGrid(False)
        self.table.setWordWrap(False)
        self.table.itemSelectionChanged.connect(self._selected)
        self.table.itemChanged.connect(self._edited)
        side, top = self.table.verticalHeader(), self.table.horizontalHeader()
        if side is not None:
            side.hide()
            side.setDefaultSectionSize(self.fontMetrics().height() + 6)
        if top is not None:
            top.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.loss = Curve("training loss")
        self.measure = Curve("validation")
        self.use = QPushButton("Use its model in Network")
        self.use.setToolTip("Choose the model of this run in the Network panel")
        self.use.clicked.connect(self._use)
        self.rename = QPushButton("Rename…")
        self.rename.setToolTip("Give this run a name of your own; its folder keeps its name")
        self.rename.clicked.connect(self._rename)
        self.go_on = QPushButton("Resume this run")
        self.go_on.setToolTip("Continue from its last checkpoint, with its own settings, on the data chosen above")
        self.go_on.clicked.connect(self._go_on)
        self._new_name = ("", "")
        self._renaming = later(0, self, lambda: self.renamed.emit(*self._new_name))
        layout = stacked(self)
        layout.addWidget(self.heading, 0, Qt.AlignmentFlag.AlignLeft)
        for widget in (self.hint, self.table, self.loss, self.measure, self.use, self.go_on, self.rename):
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
                item.setToolTip(plain_tip(f"{row['run']}: {row['status']}{chr(10)}{_COLUMNS[column]}: {text}"))
                if column != _NAME:
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
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
        one = self.chosen() if self.heading.isChecked() and len(self.chosen()) == 1 else []
        self.rename.setVisible(bool(one))
        self.go_on.setVisible(bool(one) and one[0]["status"] in _RESUMABLE and bool(one[0].get("history")))
        self.use.setVisible(len(chosen) == 1 and self._model(chosen[0]).is_file())
        names = {row["run"]: _name(row) for row in chosen}
        self.loss.set_series([_series(names[row["run"]], row, "loss") for row in chosen])
        measures = sorted({str(row["selected_by"]) for row in chosen})
        shared = next((each for each in measures if all(f"val_{each}" in row["history"][-1] for row in chosen)), "loss")
        chances = {row.get("chance") if row["selected_by"] == shared else None for row in chosen}
        self.measure.set_series(
            [_series(names[row["run"]], row, f"val_{shared}") for row in chosen],
            f"validation {shared}",
            chance=chances.pop() if len(chances) == 1 else None,
        )

    def _model(self, row: dict[str, Any]) -> Path:
        return Path(row["folder"]) / MODEL

    def _rename(self) -> None:
        """Begin to write in the cell of the name."""
        numbers = sorted({item.row() for item in self.table.selectedItems()})
        item = self.table.item(numbers[0], _NAME) if numbers else None
        if item is not None:
            self.table.scrollToItem(item)
            self.table.setCurrentItem(item)
            self.table.editItem(item)

    def _edited(self, item: QTableWidgetItem) -> None:
        row = self.rows[item.row()] if item.row() < len(self.rows) else None
        if row is not None and item.column() == _NAME and item.text() != (row.get("title") or ""):
            self._new_name = (str(row["run"]), item.text())
            self._renaming.start()  # after the cell has been left: what follows fills the table anew

    def _go_on(self) -> None:
        chosen = self.chosen()
        if chosen:
            self.resumed.emit(str(chosen[0]["run"]))

    def _use(self) -> None:
        chosen = self.chosen()
        if chosen:
            self.used.emit(str(self._model(chosen[0])))


def _series(name: str, row: dict[str, Any], column: str) -> NamedCurve:
    epochs = [epoch for epoch in row["history"] if epoch.get(column) is not None]
    return NamedCurve(
        name,
        [epoch["epoch"] for epoch in epochs],
        [epoch[column] for epoch in epochs],
        [epoch.get(f"{column}_low") for epoch in epochs],
        [epoch.get(f"{column}_high") for epoch in epochs],
    )


def _name(row: dict[str, Any]) -> str:
    return row.get("title") or f"{_started(row)} · {row['architecture']} · {row['loss_name']}"


def _started(row: dict[str, Any]) -> str:
    return str(row.get("started") or "")[5:16].replace("T", " ")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    best, measure = row.get("best"), row.get("selected_by")
    train, val = row.get("train_cases"), row.get("val_cases")
    return (
        str(row.get("title") or ""),
        _started(row),
        str(row.get("status") or ""),
        str(row.get("loss_name") or ""),
        "" if best is None else f"{measure} {best:.3f}",
        f"{row.get('epoch') or 0}/{row.get('epochs') or '?'}",
        str(row.get("architecture") or ""),
        Path(str(row.get("dataset") or "")).name,
        "" if train is None else f"{train} / {val}",
        {"set": "by the data", "drawn": "drawn", "both": "partly drawn"}.get(str(row.get("split")), ""),
        "" if row.get("seed") is None else str(row["seed"]),
    )
