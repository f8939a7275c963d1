"""Where the mouse is in the patient, and what the scan holds there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Layer
from napari.viewer import Viewer
from qtpy.QtWidgets import QLabel

from napari_sparse3d.widgets.toolbox import words
from napari_sparse3d.widgets.toolbox.layout import small_label
from napari_sparse3d.widgets.toolbox.length import in_units_of
from napari_sparse3d.widgets.toolbox.sources import in_patient


def cursor_line(viewer: Viewer, layer: Callable[[], Layer | None]) -> QLabel:
    """A line that follows the mouse over a layer; empty in 3D, where the mouse is over no voxel.

    Parameters
    ----------
    viewer : Viewer
    layer : callable
        Gives the scan that is meant, or None.
    """
    label = small_label()
    label.setAccessibleName("Cursor in the patient")
    label.setToolTip("Millimetres toward the patient's right, front and head, by the scan's own header")

    def follow(_event: Any = None) -> None:
        scan = layer()
        label.setText("" if scan is None or viewer.dims.ndisplay == 3 else words_at(viewer, scan))

    cursor = viewer.cursor.events.position
    cursor.connect(follow)
    viewer.dims.events.ndisplay.connect(follow)

    def leave() -> None:  # the viewer outlives the label
        cursor.disconnect(follow)
        viewer.dims.events.ndisplay.disconnect(follow)

    label.destroyed.connect(leave)
    return label


def words_at(viewer: Viewer, layer: Layer) -> str:
    """``R +12.3  A -4.0  S +55.1 mm · 812 HU``: by the layer's true affine, so also where obliqueness is not drawn."""
    point = in_units_of(viewer, layer, np.asarray(viewer.cursor.position, dtype=np.float64))
    if len(point) < layer.ndim:
        return ""
    index = np.asarray(layer.world_to_data(point), dtype=np.float64)
    text = _place(layer, index[-3:])
    nearest = np.floor(index + 0.5).astype(int)
    if not all(0 <= at < size for at, size in zip(nearest, layer.data.shape, strict=True)):
        return f"{text} · outside the scan"
    number = np.asarray(layer.data[tuple(nearest)]).item()
    shown = f"{number:,}" if isinstance(number, int) else f"{number:.4g}"
    return f"{text} · {shown} {layer.metadata.get('unit', 'a.u.') if in_patient(layer) else 'a.u.'}"


def _place(layer: Layer, index: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    if not in_patient(layer):
        return f"voxel {words.grid(np.floor(index + 0.5).astype(int).tolist())} (z, y, x)"
    superior, anterior, right = (layer.metadata["affine"] @ [*index, 1.0])[:3]
    return f"R {right:+.1f}  A {anterior:+.1f}  S {superior:+.1f} mm"
