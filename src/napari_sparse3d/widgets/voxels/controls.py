"""The controls of the Sparse voxels panel, while a volume is open."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QWidget

from napari_sparse3d.widgets.toolbox.layout import combo, form, small_label, stacked
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.voxel_picture import KINDS, MAX_POINTS
from napari_sparse3d.widgets.voxels.recipe_form import RecipeForm


class Controls(QWidget):
    """Builds them; what they do is the panel's."""

    def __init__(self, at_cursor: QLabel) -> None:
        super().__init__()
        self.volume = combo("The scan or label map to make voxels of")
        self.label = combo("Which label to use")
        self.about = small_label()
        self.about.setAccessibleName("About the scan")
        self.at_cursor = at_cursor
        self.straighten = QPushButton("Straighten")
        self.straighten.setToolTip("Resample the scan onto the patient's axes, as a new layer in its true place")
        self.form = RecipeForm()
        self.show_as = combo(f"How the set is drawn. Points: up to {MAX_POINTS:,} voxels; above that it is labels.")
        for kind, title in KINDS.items():
            self.show_as.addItem(title, kind)
        self.preview = QCheckBox("Preview")
        self.preview.setToolTip(
            "Show the set's voxels in the current slice; while you drag the range, smaller parts are still in it"
        )
        self.preview.setChecked(bool(preference("voxels.preview")))
        self.numbers = small_label()
        self.numbers.setAccessibleName("Numbers of the voxel set")
        self.cost = small_label()
        self.next_button = QPushButton("Run a network ▸")
        self.next_button.setToolTip("Make the voxel set, open the Network panel and run the chosen model on it")
        self.next_button.hide()
        self._lay_out()

    def _lay_out(self) -> None:
        layout, top, below = stacked(self), form(), form()
        self._top = top
        top.addRow("Volume", self.volume)
        top.addRow("Label", self.label)
        top.addRow(self.about)
        top.addRow(self.straighten)
        top.addRow(self.at_cursor)
        self.offer_straighten(False)
        below.addRow("Show as", self.show_as)
        layout.addLayout(top)
        layout.addWidget(self.form)
        layout.addLayout(below)
        for widget in (self.preview, self.numbers, self.cost, self.next_button):
            layout.addWidget(widget)

    def offer_straighten(self, on: bool) -> None:
        """Whether the scan is drawn without an obliqueness that it has."""
        self._top.setRowVisible(self.straighten, on)

    def offer_labels(self, labels: Sequence[int], chosen: int | None) -> None:
        """Offer the labels of a label map; of anything else, none."""
        self.label.clear()
        self.label.addItem("all labels", None)
        for label in labels:
            self.label.addItem(str(label), label)
        self.label.setCurrentIndex(max(self.label.findData(chosen), 0) if chosen is not None else 0)
        self._top.setRowVisible(self.label, bool(labels))

    def forget(self) -> None:
        """Another volume: nothing is said of the last one."""
        self.next_button.hide()
        self.numbers.setText("")
