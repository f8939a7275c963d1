"""Titles over cases that stand side by side: a layer of text, above the picture of each in whatever view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from napari.layers import Layer, Points
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QTimer

from napari_sparse3d.widgets.toolbox.layers import Mark, ours
from napari_sparse3d.widgets.toolbox.length import in_units_of
from napari_sparse3d.widgets.toolbox.sources import OWN

_ROLE = "titles"
_ABOVE = 0.04
"""Of the height of what stands below it."""


def put_titles(viewer: Viewer, titles: Mapping[Layer, str]) -> None:
    """Let a title stand over each of these layers, and over no others; the layer that is chosen stays so.

    When one of them is closed the titles go: nothing stands beside the other any more.
    """
    for old in list(ours(viewer, _ROLE)):
        viewer.layers.remove(old)
    active = viewer.layers.selection.active
    titled = {str(layer.unique_id) for layer in titles}
    extents = [np.asarray(layer.extent.world[:, -3:], dtype=np.float64) for layer in titles]
    units = next(iter(titles)).units[-3:]
    layer = Points(
        np.zeros((len(extents), 3)),
        name="titles",
        size=1,
        face_color="transparent",
        border_color="transparent",
        text={"string": list(titles.values()), "size": 11, "color": "white", "anchor": "center"},
        units=units,
        metadata={OWN: Mark(_ROLE, "")},
    )
    layer.editable = False
    layer.data = _places(viewer, layer, extents)
    viewer.add_layer(layer)
    viewer.layers.selection.active = active

    def move(_event: object = None) -> None:
        """Into the slice that is shown, above the scans as the axes are rolled."""
        layer.data = _places(viewer, layer, extents)

    def take_away() -> None:
        if layer in viewer.layers:
            viewer.layers.remove(layer)

    def leave(event: Any) -> None:
        if str(event.value.unique_id) in titled:
            QTimer.singleShot(0, take_away)  # napari is still taking the other layer away
        if event.value is layer:
            for changed in (viewer.dims.events.order, viewer.dims.events.current_step):
                changed.disconnect(move)
            viewer.layers.events.removed.disconnect(leave)

    for changed in (viewer.dims.events.order, viewer.dims.events.current_step):
        changed.connect(move)
    viewer.layers.events.removed.connect(leave)


def _places(viewer: Viewer, layer: Layer, extents: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Above the middle of each, as the axes are shown now, in the slice that is shown: (N, 3)."""
    dims = viewer.dims
    shown = [axis - (dims.ndim - 3) for axis in dims.displayed]
    point = np.asarray(in_units_of(viewer, layer, np.asarray(dims.point)))[-3:]
    places = np.array([extent.mean(axis=0) for extent in extents])
    hidden = [axis for axis in range(3) if axis not in shown]
    places[:, hidden] = point[hidden]
    down = shown[-2]
    if down >= 0:
        places[:, down] = [extent[0, down] - _ABOVE * (extent[1, down] - extent[0, down]) for extent in extents]
    return places
