"""The viewer itself, its camera and its docks, whatever napari hands to a dock widget, old or new."""

from __future__ import annotations

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


def dock_of(widget: QWidget) -> QDockWidget | None:
    """The dock that a widget stands in."""
    parent = widget.parentWidget()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parentWidget()
    return parent
