"""The viewer itself, its camera and its docks, whatever napari hands to a dock widget, old or new."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from napari.viewer import Viewer
from qtpy.QtWidgets import QDockWidget, QWidget


def real_viewer(viewer: Viewer) -> Viewer:
    """The viewer itself: napari hands each dock widget a proxy of its own, and no two of them are the same object."""
    wrapped: Viewer = getattr(viewer, "__wrapped__", viewer)
    return wrapped


def camera_of(viewer: Viewer) -> Any:
    """The viewer's camera, which has belonged to its scene since napari 0.9."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera


@contextmanager
def view_stays(viewer: Viewer) -> Iterator[None]:
    """Whatever is drawn meanwhile: camera, sliders and the number of dimensions are afterwards what they were."""
    camera, dims = camera_of(viewer), viewer.dims
    looked = {name: getattr(camera, name) for name in _OF_CAMERA}
    shape, point, order, ndisplay = dims.ndim, dims.point, dims.order, dims.ndisplay
    yield
    if dims.ndisplay != ndisplay:
        dims.ndisplay = ndisplay
    if dims.ndim == shape:
        if dims.order != order:
            dims.order = order
        if dims.point != point:
            dims.point = point
    for name, value in looked.items():
        if getattr(camera, name) != value:
            setattr(camera, name, value)


_OF_CAMERA = ("center", "zoom", "angles", "perspective")


def dock_of(widget: QWidget) -> QDockWidget | None:
    """The dock that a widget stands in."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent
