"""The voxel set of what the controls say: made in a worker, for its numbers alone or as a layer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from numpy.typing import NDArray

from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.layers import Mark, ours, set_visible, volume_layer
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.sources import case_of, placement
from napari_sparse3d.widgets.toolbox.voxel_layer import put_voxels
from napari_sparse3d.widgets.toolbox.voxel_picture import MAX_POINTS
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.voxels.cost_line import CostLine
from napari_sparse3d.widgets.voxels.input import Input
from napari_sparse3d.widgets.voxels.jobs import make_ready
from napari_sparse3d.widgets.voxels.state import ReadySet, short_name
from napari_sparse3d.widgets.voxels.undo import Undo

if TYPE_CHECKING:
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel


class Making:
    """Makes it of the volume and the recipe that stand in ``panel``, and shows what came of it."""

    def __init__(self, panel: VoxelsPanel, work: Work, of: Input, cost_line: CostLine, undo: Undo) -> None:
        self._panel, self._work, self._input, self._cost_line, self._undo = panel, work, of, cost_line, undo
        work.finished.connect(self._show)
        work.failed.connect(self._failed)
        work.ended.connect(undo.ended)

    def start(self, *, wanted: bool) -> None:
        """Make it; ``wanted``: as a layer, and not for its numbers alone."""
        panel, layer = self._panel, self._panel.layer
        if layer is None or (panel.form.histogram.histogram is None and not wanted):
            return
        with panel.telling():
            recipe, volume, frame = panel.form.recipe(), panel.volume_of(layer), panel.frame_of(layer)
            wanted = wanted or (self._work.running and panel.state.asked_for)  # the recipe changed before it was there
            kind = str(panel.show_as.currentData()) if wanted or self.shows_voxels(layer) else None
            key = panel.key_of(layer)
            known = panel.state.made(key)
            if known is not None and kind is None:
                return
            panel.state.asked_for = wanted
            self._undo.ended()
            body = self._input.body(layer, recipe)
            job = partial(make_ready, key, volume, recipe, frame, kind, known, case_of(layer), body)
            self._work.start(job, f"making voxels of {layer.name}")

    def shows_voxels(self, layer: Layer, *, visible: bool = False) -> bool:
        """Whether there is a layer of voxels of this scan."""
        return any(each.visible or not visible for each in ours(self._panel.viewer, "voxels", str(layer.unique_id)))

    def _failed(self, _failure: object) -> None:
        """The numbers that stand there are of another set than was asked for."""
        self._panel.numbers.setText("")
        self._cost_line.forget()

    def _show(self, ready: ReadySet) -> None:
        panel = self._panel
        again = panel.state.made(ready.key) is not None
        panel.state.ready = ready
        layer = volume_layer(panel.viewer, ready.key[0])
        if layer is None:  # removed in the meantime
            return
        if ready.body is not None:
            self._input.keep_body(layer, ready.made.recipe, ready.body)
        panel.numbers.setText(ready.numbers)
        if ready.empty is not None:
            panel.state.run_next = False
            panel.fail(ready.empty)
            self._cost_line.forget()
            return
        if not again:
            self._cost_line.reckon(ready)
        if ready.picture is not None:
            self._show_layer(layer, ready, ready.picture)
        elif panel.slice_preview.shown(layer):
            panel.show_preview()  # the exact set

    def _show_layer(self, layer: Layer, ready: ReadySet, picture: NDArray[Any]) -> None:
        panel, volume_id, made = self._panel, ready.key[0], ready.made
        self._undo.replacing(volume_id, made)
        mark = Mark("voxels", volume_id, {"made": made, "key": "|".join(map(str, ready.key))})
        place = placement(layer, made.volume, made.voxels.affine)
        name = f"{layer.name} · {short_name(made.recipe)}"
        opacity = float(preference("voxels.opacity"))
        shown = put_voxels(panel.viewer, name, picture, ready.kind, place, mark, opacity)
        set_visible(shown, True)
        panel.slice_preview.hide(volume_id)
        if ready.kind != panel.show_as.currentData():
            panel.say(
                f"{words.count(made.voxels.n_active, 'voxels')} are too many for points ({MAX_POINTS:,} at most): "
                f"shown as {ready.kind}.",
                warning=True,
            )
        panel.workbench.voxels_changed.emit(shown)
        if panel.state.run_next:
            panel.state.run_next = False
            panel.show_panel("network").run_on(shown)
