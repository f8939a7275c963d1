"""The viewer itself, whatever napari hands to a dock widget, in old and in new napari."""

from __future__ import annotations

from typing import Any

from napari.viewer import Viewer


def real_viewer(viewer: Viewer) -> Viewer:
    """The viewer itself: napari hands each dock widget a proxy of its own, and no two of them are the same object."""
    wrapped: Viewer = getattr(viewer, "__wrapped__", viewer)
    return wrapped


def camera_of(viewer: Viewer) -> Any:
    """The viewer's camera, which has belonged to its scene since napari 0.9."""
    scene = getattr(viewer, "scene", None)
    return viewer.camera if scene is None else scene.camera
