"""When the preview is drawn: while an end of the range moves, until there is a set to look at, on another slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sparse3d.widgets.toolbox.layers import ours, set_visible
from napari_sparse3d.widgets.voxels.cost_line import CostLine
from napari_sparse3d.widgets.voxels.input import Input
from napari_sparse3d.widgets.voxels.preview import SlicePreview
from napari_sparse3d.widgets.voxels.state import range_words

if TYPE_CHECKING:
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel


class Previewing:
    """Draws what is in the range over the slice that the viewer shows, as ``panel`` has it."""

    def __init__(self, panel: VoxelsPanel, preview: SlicePreview, of: Input, cost_line: CostLine) -> None:
        self._panel, self._preview, self._input, self._cost_line = panel, preview, of, cost_line

    def range_moved(self, low: float, high: float) -> None:
        """An end moves: how much is in the range is said, and drawn."""
        histogram = self._panel.form.histogram.histogram
        if histogram is None:
            return
        self._panel.numbers.setText(range_words(histogram, low, high))
        self._cost_line.forget()
        self.show()

    def show(self) -> None:
        """Draw what is in the range over the slice that the viewer shows."""
        panel, layer = self._panel, self._panel.layer
        if layer is None or not panel.preview.isChecked() or panel.form.histogram.histogram is None:
            return
        with panel.telling():
            planes = self._input.planes(layer, panel.form.recipe(), panel.form.histogram.range[0])
            if self._preview.draw_of(layer, panel.volume_of(layer), planes):
                for result in ours(panel.viewer, "voxels", str(layer.unique_id)):
                    set_visible(result, False)

    def toggled(self, on: bool) -> None:
        """It is wanted, or not."""
        layer = self._panel.layer
        if on:
            self.show()
        elif layer is not None:
            self._preview.hide(str(layer.unique_id))

    def slice_changed(self, _event: object = None) -> None:
        """The viewer shows another slice, or none."""
        layer = self._panel.layer
        if layer is None or not self._preview.shown(layer):
            return
        if self._panel.viewer.dims.ndisplay == 2:
            self.show()
        else:
            self._preview.hide(str(layer.unique_id))
