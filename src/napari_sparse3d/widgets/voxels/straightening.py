"""An oblique scan along the patient's axes, as a layer of its own."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from napari.layers import Layer

from napari_sparse3d.widgets.toolbox.layers import volume_layer
from napari_sparse3d.widgets.toolbox.sources import case_of
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.voxels.jobs import straighten

if TYPE_CHECKING:
    from napari_sparse3d.io.layers import LayerData
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel


class Straightening:
    """Resamples the chosen volume in a worker, and chooses what came of it."""

    def __init__(self, panel: VoxelsPanel, work: Work) -> None:
        self._panel, self._work = panel, work
        self._of = ""
        work.finished.connect(self._show)

    def start(self) -> None:
        """Resample the chosen volume onto the patient's axes, as a layer of its own."""
        panel, layer = self._panel, self._panel.layer
        if layer is None:
            return
        with panel.telling():
            volume, limits = panel.volume_of(layer), tuple(layer.contrast_limits)
            time = f" · time {panel.frame_of(layer)}" if layer.ndim == 4 else ""
            name = f"{layer.name}{time} · straightened"
            job = partial(straighten, volume, name, limits, case_of(layer))
            self._of = str(layer.unique_id)
            self._work.start(job, f"straightening {layer.name}")

    def _show(self, data: LayerData) -> None:
        panel = self._panel
        if volume_layer(panel.viewer, self._of) is None:
            panel.say("The scan was closed in the meantime; nothing was added.")
            return
        was_chosen = panel.volume.currentData() == self._of
        layer = Layer.create(*data)
        panel.viewer.add_layer(layer)
        if was_chosen:
            panel.volume.setCurrentIndex(panel.volume.findData(str(layer.unique_id)))
