"""The controls of the Cohort panel, once there are cases: how the map is drawn, who is selected, who is alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_sparse3d.widgets.cohort.colours import Colouring
from napari_sparse3d.widgets.cohort.similar_cases import SimilarCases
from napari_sparse3d.widgets.toolbox.layout import combo, form, small_label, stacked
from napari_sparse3d.widgets.toolbox.plain_text import as_html

if TYPE_CHECKING:
    from napari_sparse3d.widgets.cohort.map_view import MapView

METHODS = {"PCA": "pca", "t-SNE": "tsne"}


class Controls(QWidget):
    """Builds them; what they do is the panel's."""

    def __init__(self) -> None:
        super().__init__()
        self.legend = small_label()
        self.legend.setTextFormat(Qt.TextFormat.RichText)  # its dots are coloured
        self.by = combo("How the map is made", 4)
        self.by.addItems(list(METHODS))
        self.pause = _button("Pause", "Hold t-SNE, and go on later", checkable=True)
        self.stop = _button("Stop", "End t-SNE and keep the map as it is")
        self.pause.setEnabled(False)
        self.stop.setEnabled(False)
        self.colour = combo("Which column gives the colour")
        self.lasso = _button("Lasso", "Draw around cases to select them", checkable=True)
        self.label_button = _button("Label…", "Give the selected cases a label")
        self.export_button = _button("Export…", "Write the selected cases (or all) as a Parquet table")
        self.similar = SimilarCases()
        self._lay_out()

    def _lay_out(self) -> None:
        layout, controls, chosen, top = stacked(self), QHBoxLayout(), QHBoxLayout(), form()
        controls.addWidget(self.by, 1)
        controls.addWidget(self.pause)
        controls.addWidget(self.stop)
        top.addRow("Colour", self.colour)
        for button in (self.lasso, self.label_button, self.export_button):
            chosen.addWidget(button)
        layout.addWidget(self.legend)
        for row in (controls, top, chosen):
            layout.addLayout(row)
        layout.addWidget(self.similar)
        self._column = layout

    def add_map(self, view: MapView) -> None:
        """Put the map above all."""
        self._column.insertWidget(0, view)

    def set_columns(self, names: list[str], chosen: str) -> None:
        """Which columns can give the colour, and which does."""
        self.colour.blockSignals(True)
        self.colour.clear()
        self.colour.addItems(names)
        self.colour.setCurrentIndex(max(self.colour.findText(chosen), 0) if names else -1)
        self.colour.blockSignals(False)

    def set_legend(self, colouring: Colouring) -> None:
        """Say what the colours mean."""
        dots = (f'<span style="color:{colour}">●</span>&nbsp;' if colour else "" for colour, _ in colouring.legend)
        self.legend.setText(
            " &nbsp; ".join(dot + as_html(text) for dot, (_, text) in zip(dots, colouring.legend, strict=True))
        )

    def set_mapping(self, on: bool) -> None:
        """Whether t-SNE is at work, and can be held and stopped."""
        for button in (self.pause, self.stop):
            button.setEnabled(on)
        if not on:
            self.pause.setChecked(False)


def _button(text: str, tip: str, *, checkable: bool = False) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    button.setCheckable(checkable)
    return button
