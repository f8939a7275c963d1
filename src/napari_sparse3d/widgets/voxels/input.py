"""What the set is made of: the chosen scan at its time point, or the shape of a label."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtWidgets import QComboBox

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import RangeThreshold, Recipe
from napari_sparse3d.voxels.body import Mask
from napari_sparse3d.voxels.plane import Planes, RangePlanes, SetPlanes
from napari_sparse3d.voxels.recipe import Threshold
from napari_sparse3d.voxels.threshold import plain
from napari_sparse3d.widgets.toolbox.layers import Edits, frame_of
from napari_sparse3d.widgets.toolbox.sources import is_labels, volume_of_layer
from napari_sparse3d.widgets.voxels.state import Key, VoxelsState


class Input:
    """Gives the volume of a layer, and a key for what is made of it; notices when its voxels are edited.

    Parameters
    ----------
    viewer : Viewer
        Shows the time point.
    state : VoxelsState
    label : QComboBox
        Chooses among the labels of a label map; no data: all of them.
    edited : callable
        Called when voxels of the followed layer are others: labels are painted, other data can be put into a layer.
    """

    def __init__(self, viewer: Viewer, state: VoxelsState, label: QComboBox, edited: Callable[[], None]) -> None:
        self._viewer, self._state, self._label = viewer, state, label
        self.edits = Edits(edited)

    @property
    def label(self) -> int | None:
        """Which label of a label map is the shape; None: all of them."""
        label = self._label.currentData()
        return int(label) if label is not None else None

    def frame(self, layer: Layer) -> int:
        """The time point."""
        return frame_of(self._viewer, layer)

    def volume(self, layer: Layer) -> Volume:
        """Of a label map the shape, which is made once."""
        if not is_labels(layer):
            return volume_of_layer(layer, self.frame(layer))
        key = (str(layer.unique_id), self.frame(layer), self.label)
        if self._state.volume is None or self._state.volume[0] != key:
            self._state.volume = key, volume_of_layer(layer, key[1], key[2])
        return self._state.volume[1]

    def labels(self, layer: Layer) -> Any:
        """The label map at its time point; None of what is none."""
        if not is_labels(layer):
            return None
        return layer.data[self.frame(layer)] if layer.ndim == 4 else layer.data

    def key(self, layer: Layer, recipe: Recipe) -> Key:
        """Which set a recipe makes of a layer."""
        of_label = f" of label {self.label}" if is_labels(layer) else ""
        return str(layer.unique_id), self.frame(layer), recipe.to_json() + of_label

    # -- its body, and its planes --------------------------------------------------------------------------------------

    def body(self, layer: Layer, recipe: Recipe) -> Mask | None:
        """The body, where it was looked for already by the recipe's rule."""
        known = self._state.body
        return known[1] if known is not None and known[0] == self._body_key(layer, recipe) else None

    def keep_body(self, layer: Layer, recipe: Recipe, body: Mask) -> None:
        """It was looked for."""
        self._state.body = self._body_key(layer, recipe), body

    def planes(self, layer: Layer, recipe: Recipe, shown_low: float) -> Planes:
        """Of the set, where it is there; until then of what is in the range, before the largest parts are chosen.

        ``shown_low``: where the histogram shows the low end, of a threshold that is no range.
        """
        made = self._state.made(self.key(layer, recipe))
        if made is not None:
            return SetPlanes(made.voxels)
        looked = self._state.looked
        all_inside = looked is None or looked.all_inside
        low, high = _active(recipe.threshold, shown_low)
        body = self.body(layer, recipe)
        return RangePlanes(self.volume(layer), recipe.resample, low, high, body=body, all_inside=all_inside)

    def _body_key(self, layer: Layer, recipe: Recipe) -> tuple[str, int, str]:
        return str(layer.unique_id), self.frame(layer), recipe.region.model_dump_json()


def _active(threshold: Threshold, shown_low: float) -> tuple[float, float]:
    """Which values are active: an open end stays open, for resampling may round a value beyond the scan's."""
    rule = plain(threshold)
    if not isinstance(rule, RangeThreshold):
        return shown_low, math.inf
    return -math.inf if rule.low is None else rule.low, math.inf if rule.high is None else rule.high
