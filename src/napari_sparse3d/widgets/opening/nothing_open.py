"""What stands in a panel while there is nothing to work on: why, and two ways on."""

from __future__ import annotations

from napari.viewer import Viewer
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_sparse3d.widgets.opening.scans import Say, open_folder, open_sample
from napari_sparse3d.widgets.toolbox.layout import small_label
from napari_sparse3d.widgets.toolbox.sources import why_no_volume

_SAMPLES = {
    "head_mri": ("Try the sample head MRI", "The MNI152 average, which comes with this plugin"),
    "chest_ct": ("Try the sample chest CT", "A synthetic chest with five nodules: shapes, no patient"),
}
"""What stands on the button, and its tip."""


class NothingOpen(QWidget):
    """One sentence, *Open a folder…* and *Try the sample head MRI*, or the chest CT where a CT is asked for."""

    def __init__(self, viewer: Viewer, panel: QWidget, say: Say, *, sample: str = "head_mri") -> None:
        super().__init__()
        self.viewer = viewer
        self.text = small_label()
        self.folder = QPushButton("Open a folder…")
        self.folder.setToolTip("A DICOM folder, or one with NIfTI, NRRD or MetaImage files")
        self.folder.clicked.connect(lambda: open_folder(viewer, panel, say))
        words, tip = _SAMPLES[sample]
        self.sample = QPushButton(words)
        self.sample.setToolTip(tip)
        self.sample.clicked.connect(lambda: open_sample(viewer, sample, panel, say))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.text, self.folder, self.sample):
            layout.addWidget(widget)

    def say_why(self) -> None:
        """Say why none of the layers that are there is a volume."""
        reasons = [reason for layer in self.viewer.layers if (reason := why_no_volume(layer))]
        self.text.setText(reasons[-1] if reasons else "No volume is open.")
