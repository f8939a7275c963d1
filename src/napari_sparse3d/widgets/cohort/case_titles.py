"""Titles over cases that stand side by side: a layer of text, above the picture of each in whatever view."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from napari.layers import Layer, Points
from napari.viewer import Viewer

from napari_sparse3d.widgets.toolbox.layers import Mark, ours
from napari_sparse3d.widgets.toolbox.sources import OWN

_ROLE = "titles"
_ABOVE = 0.04
"""Of the height of what stands below it."""


def put_titles(viewer: Viewer, titles: Mapping[Layer, str]) -> Points:
    """Let a title stand over each of these layers, and over no others."""
    for old in list(ours(viewer, _ROLE)):
        viewer.layers.remove(old)
    active = viewer.layers.selection.active
    extents = [layer.extent.world[:, -3:] for layer in titles]
    layer = Points(
        _places(viewer, extents),
        name="titles",
        size=2 * max(float(np.ptp(extent, axis=0).max()) for extent in extents),  # seen from every slice
        out_of_slice_display=True,
        face_color="transparent",
        border_color="transparent",
        text={"string": list(titles.values()), "size": 11, "color": "white", "anchor": "center"},
        units=next(iter(titles)).units[-3:],
        metadata={OWN: Mark(_ROLE, "")},
    )
    layer.editable = False
    viewer.add_layer(layer)
    viewer.layers.selection.active = active

    def move(_event: object = None) -> None:
        layer.data = _places(viewer, extents)

    viewer.dims.events.order.connect(move)
    viewer.layers.events.removed.connect(
        lambda event: event.value is layer and viewer.dims.events.order.disconnect(move)
    )
    return layer


def _places(viewer: Viewer, extents: list[np.ndarray]) -> np.ndarray:
    """Above the middle of each, as the axes are shown now."""
    down = viewer.dims.displayed[-2] - (viewer.dims.ndim - 3)
    places = [extent.mean(axis=0) for extent in extents]
    for place, extent in zip(places, extents, strict=True):
        if down >= 0:
            place[down] = extent[0, down] - _ABOVE * (extent[1, down] - extent[0, down])
    return np.array(places)
