"""Undo: the set that stood over the scan before comes back, with its recipe."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QPushButton

from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.layers import made_of, ours
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.voxels.history import History
from napari_sparse3d.widgets.voxels.jobs import make_ready
from napari_sparse3d.widgets.voxels.state import short_name

if TYPE_CHECKING:
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel


class Undo:
    """Keeps what is replaced, and brings it back; its link is there while there is something to bring back."""

    def __init__(self, panel: VoxelsPanel) -> None:
        self._panel, self._history, self._undoing = panel, History(), False
        self.link: QPushButton = panel.add_link("Undo", "Restore the previous voxel set", self.undo)
        self.link.hide()

    def forget_all_but(self, volume_ids: set[str]) -> None:
        """Other scans were closed."""
        self._history.forget(volume_ids)
        self.offer()

    def replacing(self, volume_id: str, made: ScanVoxels) -> None:
        """A set is about to stand over a scan, in the place of the one that does."""
        shown = next(ours(self._panel.viewer, "voxels", volume_id), None)
        earlier = None if shown is None else made_of(shown)
        if self._undoing:
            self._history.take(volume_id)
            self._panel.say(f"The previous set is back: {_named(made)}.")
        elif earlier is not None and not earlier.same_as(made):
            self._history.replaced(volume_id, earlier)
        self.offer()

    def ended(self) -> None:
        """The work has ended, or another set is made instead."""
        self._undoing = False

    def offer(self) -> None:
        """Show the link where there is something to bring back to the chosen scan."""
        earlier = self._earlier()
        self.link.setVisible(earlier is not None)
        if earlier is not None:
            self.link.setToolTip(f"Restore the previous voxel set: {_named(earlier)}")

    def undo(self) -> None:
        """Bring it back."""
        panel, layer, earlier = self._panel, self._panel.layer, self._earlier()
        if layer is None or earlier is None:
            return
        if earlier.frame != panel.frame_of(layer):
            panel.say(f"The previous set belongs to time {earlier.frame}: go there, then undo.", warning=True)
            return
        panel.stop_settling()
        panel.form.take(earlier.recipe)
        panel.state.run_next, panel.state.asked_for, self._undoing = False, True, True
        key = panel.key_of(layer)
        if not np.may_share_memory(earlier.volume.data, panel.volume_of(layer).data):
            # of another label, or edited since: the controls would make another set of what is there now
            key = (*key[:2], f"{key[2]} as it was")
        kind = str(panel.show_as.currentData())
        job = partial(make_ready, key, earlier.volume, earlier.recipe, earlier.frame, kind, earlier, earlier.case)
        panel.making.start(job, "restoring the previous set")

    def _earlier(self) -> ScanVoxels | None:
        layer = self._panel.layer
        return None if layer is None else self._history.last(str(layer.unique_id))


def _named(made: ScanVoxels) -> str:
    return f"{short_name(made.recipe)}, {words.count(made.voxels.n_active, 'voxels')}"
