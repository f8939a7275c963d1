"""What the panels are laid out with: forms, boxes that shrink, muted text, tables as high as their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QStandardItemModel
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QTableWidget, QVBoxLayout, QWidget

from napari_sparse3d.widgets.toolbox.plain_text import plain_label
from napari_sparse3d.widgets.toolbox.theme import Colours

SPACE = 8
"""Pixels between things."""
NARROW = 64
"""Pixels to which a control beside another one shrinks."""
LABEL_WIDTH = 64
"""Pixels of the widest label of a control: Resample."""


class Form(QFormLayout):
    """Its labels are as wide as those of every other form, so that all controls of a panel begin in one line."""

    def addRow(self, *row: Any) -> None:
        """As Qt's: a label and a control, or one thing over the whole width."""
        if len(row) == 2 and isinstance(row[0], str):
            label = plain_label(row[0])
            label.setMinimumWidth(LABEL_WIDTH)
            if isinstance(row[1], QWidget):
                label.setBuddy(row[1])
            super().addRow(label, row[1])
        else:
            super().addRow(*row)


def form() -> Form:
    """Labels in one column, controls beside them that take the rest of the width."""
    layout = Form()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setHorizontalSpacing(SPACE)
    layout.setVerticalSpacing(SPACE)
    layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    # with large letters a control goes below its label; otherwise Qt lays it over the label
    layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    return layout


def stacked(parent: QWidget | None = None) -> QVBoxLayout:
    """Things below each other, without a margin."""
    layout = QVBoxLayout() if parent is None else QVBoxLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(SPACE)
    return layout


def combo(tip: str, minimum: int = 8) -> QComboBox:
    """A combo box that shrinks with its panel instead of widening it."""
    box = QComboBox()
    box.setToolTip(tip)
    shrink(box, minimum)
    return box


def shrink(box: QComboBox, minimum: int = 8) -> None:
    """Let a combo box shrink to so many letters."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(minimum)


def grey_out(box: QComboBox, reason: str) -> None:
    """Let the last item of a combo box not be chosen, with the reason on hover; ``""``: it can be."""
    model = box.model()
    item = model.item(box.count() - 1) if isinstance(model, QStandardItemModel) else None
    if item is not None:
        item.setEnabled(not reason)
        item.setToolTip(reason)


def small_label(text: str = "") -> QLabel:
    """A wrapping line of muted text."""
    label = plain_label(text)
    label.setWordWrap(True)
    label.setObjectName("sparse3d-small")
    return label


def later(milliseconds: int, parent: QWidget, action: Callable[[], None]) -> QTimer:
    """A timer that calls ``action`` once, that long after its last ``start()``."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(action)
    return timer


def fit_height(table: QTableWidget, rows: int) -> None:
    """As high as its rows, at most ``rows`` of them, with its header and the scroll bar that it needs."""
    header, side, bar = table.horizontalHeader(), table.verticalHeader(), table.horizontalScrollBar()
    if header is None or side is None or bar is None:
        return
    wide = header.length() > table.maximumViewportSize().width()
    height = header.sizeHint().height() + side.defaultSectionSize() * min(max(table.rowCount(), 1), rows)
    table.setFixedHeight(height + (bar.sizeHint().height() if wide else 0) + 2)


def table_style(look: Colours) -> str:
    """Tables in the colours of the theme, without a frame."""
    return (
        f"QTableWidget {{ background: {look.background}; color: {look.text}; border: none; }}"
        f"QTableWidget::item:selected {{ background: {look.accent}; color: {look.accent_text}; }}"
        f"QHeaderView {{ background: {look.background}; }}"
        f"QHeaderView::section {{ background: {look.foreground}; color: {look.text}; border: none; padding: 3px; }}"
        f"QTableCornerButton::section {{ background: {look.foreground}; border: none; }}"
    )
