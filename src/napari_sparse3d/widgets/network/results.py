"""What the Network panel shows of a run: probabilities, layers as table and chart, their colours, attribution."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGraphicsOpacityEffect, QPushButton, QSpinBox, QTabWidget, QWidget

from napari_sparse3d.catalog import ATTRIBUTIONS
from napari_sparse3d.widgets.child.records import NetworkResult
from napari_sparse3d.widgets.network.bars import ProbabilityBars
from napari_sparse3d.widgets.network.colour_bar import ColourBar
from napari_sparse3d.widgets.network.layer_chart import LayerChart
from napari_sparse3d.widgets.network.layer_table import LayerTable
from napari_sparse3d.widgets.network.model_words import honest_words
from napari_sparse3d.widgets.toolbox.layout import NARROW, combo, form, grey_out, small_label, stacked

_DIM = 0.35
CLICK_A_ROW = "Click a row to see that layer over the scan."


class Results(QWidget):
    """Builds and fills; what the controls do is the panel's."""

    def __init__(self) -> None:
        super().__init__()
        self.title = small_label()
        self.looks = QWidget()
        self.bars = ProbabilityBars()
        self.honest = small_label()
        self.table = LayerTable()
        self.chart = LayerChart()
        self.in_3d = QPushButton("3D")
        self.in_3d.setCheckable(True)
        self.in_3d.setToolTip("See the layers in 3D, or by slices")
        self.colour_by = combo("What the colour of a site shows")
        self.colour_by.addItem("norm", "norm")
        self.colour_by.addItem("channel", "channel")
        self.channel = _channel()
        self.sites_text = small_label(CLICK_A_ROW)
        self.colours = ColourBar()
        self.target = combo("The class to explain")
        self.bars.chosen.connect(self.target.setCurrentIndex)
        self.method = combo("How the attribution is computed")
        for each in ATTRIBUTIONS.values():
            self.method.addItem(each.title, each.name)
            grey_out(self.method, each.missing)
        self.attribute_button = QPushButton("What drove it?")
        self.attribute_button.setToolTip("Which voxels spoke for the class (red) and which against it (blue)")
        self.like_button = QPushButton("Similar cases ▸")
        self.like_button.setToolTip("Open the Cohort panel and list the most similar cases of a cohort")
        self._lay_out()

    def _lay_out(self) -> None:
        whole, layout = stacked(self), stacked(self.looks)
        whole.addWidget(self.title)
        whole.addWidget(self.looks)
        self._dimmed = QGraphicsOpacityEffect(self.looks)
        self._dimmed.setOpacity(_DIM)
        self._dimmed.setEnabled(False)
        self.looks.setGraphicsEffect(self._dimmed)
        layout.addWidget(self.bars)
        layout.addWidget(self.honest)
        tabs = QTabWidget()
        tabs.addTab(self.table, "Table")
        tabs.addTab(self.chart, "Chart")
        tabs.setDocumentMode(True)
        bar = tabs.tabBar()
        if bar is not None:
            bar.setDrawBase(False)
        tabs.setCornerWidget(self.in_3d)
        layout.addWidget(tabs)
        colour, drove = form(), form()
        colour.addRow("Colour", self.colour_by)
        colour.addRow("Channel", self.channel)
        layout.addLayout(colour)
        layout.addWidget(self.sites_text)
        layout.addWidget(self.colours)
        drove.addRow("Class", self.target)
        drove.addRow("Method", self.method)
        drove.addRow(self.attribute_button)
        layout.addLayout(drove)
        layout.addWidget(self.like_button)

    def show_result(self, result: NetworkResult) -> None:
        """Show another result."""
        model = result.model
        self.bars.set_probabilities(model.classes, result.probabilities.tolist(), trained=model.trained)
        self.honest.setText(honest_words(result))
        self.table.set_result(result)
        self.chart.set_result(result)
        self.target.clear()
        self.target.addItems(list(model.classes))
        self.target.setCurrentIndex(int(result.probabilities.argmax()))
        self.say_of_picture(CLICK_A_ROW)

    def show_owner(self, title: str, *, stale: bool) -> None:
        """Say whose result it is; one that is not of what is chosen is dim, and leads to nothing."""
        self.title.setText(f"⚠ Not for the current selection: {title}" if stale else title)
        self._dimmed.setEnabled(stale)
        self.looks.setEnabled(not stale)
        if stale:
            self.forget_row()

    def forget_row(self) -> None:
        """The layer of the chosen row is not shown: a click on it asks for it again."""
        self.table.clearSelection()
        self.say_of_picture(CLICK_A_ROW)

    def say_of_picture(self, text: str) -> None:
        """What is drawn over the scan; its colours are then said by :attr:`colours`."""
        self.sites_text.setText(text)
        self.colours.clear()

    def set_channels(self, count: int) -> None:
        """The channels of another layer; the chosen one stays where there is one of its number."""
        self.channel.blockSignals(True)
        channel = min(self.channel.value(), count)  # it wraps around, which must not happen here
        self.channel.setRange(1, count)
        self.channel.setValue(channel)
        self.channel.setSuffix(f" / {count}")
        self.channel.blockSignals(False)

    @property
    def chosen_channel(self) -> int | None:
        """Which channel gives the colour, from 0; None: the norm of all."""
        return None if self.colour_by.currentData() == "norm" else self.channel.value() - 1


def _channel() -> QSpinBox:
    box = QSpinBox()
    box.setToolTip("Step through the channels (− and +, arrow keys, or the wheel)")
    box.setAccessibleName("Channel")
    box.setRange(1, 1)
    box.setMinimumWidth(NARROW)
    box.setWrapping(True)
    box.setAlignment(Qt.AlignmentFlag.AlignCenter)
    return box
