"""How a training goes: two curves, a line of numbers, the confusion matrix, and the buttons that end or resume it."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton, QWidget

from napari_sparse3d.pictures.palette import CLASS_COLOURS
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layout import small_label, stacked
from napari_sparse3d.widgets.train.confusion import Confusion
from napari_sparse3d.widgets.train.curve import Curve


class Progress(QWidget):
    """Builds them; what the buttons do is the panel's."""

    def __init__(self) -> None:
        super().__init__()
        self.loss_plot = Curve("training loss", CLASS_COLOURS[1])
        self.measure_plot = Curve("validation", CLASS_COLOURS[2])
        self.text = small_label()
        self.title = small_label()
        self.matrix = Confusion()
        self.confusion = self.matrix.table
        self.stop_button = QPushButton("Stop, keep best")
        self.stop_button.setToolTip("End after this epoch; the model of the best epoch is kept")
        self.resume_button = QPushButton("Resume")
        self.resume_button.setToolTip("Continue where the last run stopped")
        row = Row()
        row.add(self.stop_button, self.resume_button)
        layout = stacked(self)
        for widget in (self.title, self.loss_plot, self.measure_plot, self.text, self.matrix):
            layout.addWidget(widget)
        layout.addLayout(row)

    def begin(self, title: str) -> None:
        """Another training, of this name: nothing of the last one stands here."""
        self.title.setText(title)
        self.confusion.hide()
        self.text.setText("")
