"""Names, classes and labels are anybody's: Qt takes text that looks like HTML for HTML unless it is told otherwise."""

from __future__ import annotations

from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel

from napari_sparse3d.text import printable


def plain_label(text: str = "") -> QLabel:
    """A label that shows its text as it is."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setText(text)
    return label


def as_html(text: str) -> str:
    """Text inside what is meant to be HTML; its lines stay lines."""
    return "<br>".join(escape(printable(line), quote=False) for line in text.split("\n"))


def plain_tip(text: str) -> str:
    """A tooltip, which has no text format of its own, for text from outside."""
    return f"<qt>{as_html(text)}</qt>" if "<" in text or "&" in text else text
