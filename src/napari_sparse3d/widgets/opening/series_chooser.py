"""Several series are there: a table with a picture, a badge and a description of each, to choose from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari import current_viewer
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QMainWindow,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_sparse3d.io import SeriesInfo
from napari_sparse3d.io.thumbnail import thumbnail
from napari_sparse3d.widgets.toolbox.plain_text import plain_label, plain_tip

_SIDE = 64
_BADGES = {
    "clean": ("✓ clean", "opens as it is"),
    "note": ("i note", "opens as it is"),
    "choice": ("✓ in time", "opens with a slider for its volumes"),
    "repair": ("! repair", "opens resampled onto a true grid, and says so"),
    "refuse": ("✗ refused", "cannot be opened"),
}
_COLUMNS = ("", "", "series", "shape (z, y, x)", "spacing mm", "files")


class SeriesChooser(QDialog):
    """Which of several series is to be opened.

    Parameters
    ----------
    found : sequence of SeriesInfo
        As ``scan`` lists them.
    parent : QWidget, optional
        The window that it belongs to.
    """

    def __init__(self, found: Sequence[SeriesInfo], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Choose a series")
        self.resize(820, 460)
        self._found = list(found)
        self._waiting = list(range(len(self._found)))
        self.table = self._make_table()
        self.reason = plain_label()
        self.reason.setWordWrap(True)
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(plain_label(_question(self._found)))
        layout.addWidget(self.table)
        layout.addWidget(self.reason)
        layout.addWidget(self.buttons)
        self.table.currentCellChanged.connect(lambda *_: self._selected())
        self.table.cellDoubleClicked.connect(lambda *_: self.accept() if self._can_open() else None)
        likely = [k for k, info in enumerate(self._found) if info.readable and not (info.localizer or info.auxiliary)]
        self.table.setCurrentCell(likely[0] if likely else 0, 2)
        self._selected()
        # pictures come one after the other once the table stands, so that it appears at once
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._next_picture)
        self._timer.start(0)

    def chosen(self) -> SeriesInfo:
        """The selected series."""
        return self._found[max(self.table.currentRow(), 0)]

    @property
    def repair(self) -> str | None:
        """The repair that the selected series needs, which choosing it asks for."""
        return needed_repair(self.chosen())

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(len(self._found), len(_COLUMNS))
        table.setHorizontalHeaderLabels(list(_COLUMNS))
        rows_header, header = table.verticalHeader(), table.horizontalHeader()
        if rows_header is None or header is None:
            raise RuntimeError("a table without headers")
        rows_header.hide()
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setIconSize(QSize(_SIDE, _SIDE))
        table.setShowGrid(False)
        table.setStyleSheet("QTableWidget::item { padding: 0 6px; }")
        for row, info in enumerate(self._found):
            for column, text in enumerate(_texts(info)):
                item = QTableWidgetItem(text)
                item.setToolTip(plain_tip(_tooltip(info)))
                if info.status == "refuse":
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
                if column >= 3:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                table.setItem(row, column, item)
            table.setRowHeight(row, _SIDE + 8)
        table.setColumnWidth(0, _SIDE + 12)
        for column in (1, 3, 4, 5):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        return table

    def _can_open(self) -> bool:
        return self.chosen().status != "refuse"

    def _selected(self) -> None:
        info = self.chosen()
        button = self.buttons.button(QDialogButtonBox.StandardButton.Open)
        if button is not None:
            button.setEnabled(self._can_open())
        said = "; ".join(f"{fault.kind.value}: {fault.detail}" for fault in info.faults)
        self.reason.setText(f"{_BADGES[info.status][1].capitalize()}. {said}".strip())

    def _next_picture(self) -> None:
        if not self._waiting:
            self._timer.stop()
            return
        row = self._waiting.pop(0)
        picture = thumbnail(self._found[row], _SIDE)
        item = self.table.item(row, 0)
        if picture is not None and item is not None:
            item.setIcon(_icon(picture))


def ask_for_series(found: Sequence[SeriesInfo]) -> tuple[SeriesInfo, str | None] | None:
    """Let the user choose, in the napari window that is open; ``None`` when nothing was chosen.

    Raises
    ------
    RuntimeError
        If there is no window to ask in.
    """
    viewer = current_viewer()
    if viewer is None or QApplication.instance() is None:
        raise RuntimeError("there is no napari window to ask in")
    chooser = SeriesChooser(found, _main_window())
    if chooser.exec() != QDialog.DialogCode.Accepted:
        return None
    return chooser.chosen(), chooser.repair


def _main_window() -> QWidget | None:
    """The window that the chooser stands over and takes its colours from."""
    shown = (
        widget for widget in QApplication.topLevelWidgets() if isinstance(widget, QMainWindow) and widget.isVisible()
    )
    return QApplication.activeWindow() or next(shown, None)


def _question(found: Sequence[SeriesInfo]) -> str:
    if len(found) != 1:
        return f"{len(found)} series are here. Which one should be opened?"
    if found[0].status == "repair":
        return "One series is here, and it needs a repair. Open it that way?"
    return "One series is here. Open it?"


def needed_repair(info: SeriesInfo) -> str | None:
    """``"resample"`` or ``"magnitude"`` where a series is only read with it; ``None`` where nothing is needed."""
    if info.status != "repair":
        return None
    return "magnitude" if any(fault.kind.value == "complex" for fault in info.faults) else "resample"


def _texts(info: SeriesInfo) -> tuple[str, ...]:
    shape = "–" if info.shape is None else " × ".join(map(str, info.shape))
    if info.n_frames > 1:
        shape += f"\n{info.n_frames} volumes"
    spacing = "–" if info.spacing_mm is None else " × ".join(f"{value:.3g}" for value in info.spacing_mm)
    title = " ".join(part for part in (info.modality, info.title) if part) or info.format
    return "", _BADGES[info.status][0], f"{title}\n{info.orientation}".strip(), shape, spacing, str(info.n_files)


def _tooltip(info: SeriesInfo) -> str:
    return "\n".join(f"{fault.kind.value}: {fault.detail}" for fault in info.faults) or "no faults found"


def _icon(picture: NDArray[np.uint8]) -> QIcon:
    rows, columns = picture.shape
    image = QImage(picture.tobytes(), columns, rows, columns, QImage.Format.Format_Grayscale8)
    pixmap = QPixmap.fromImage(image.copy())
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Disabled)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon
