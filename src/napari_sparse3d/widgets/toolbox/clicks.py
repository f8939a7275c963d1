"""Clicks on the canvas, told from drags, which move the picture."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QObject

_STILL = 3.0
"""Screen pixels that the mouse may move in a click."""


class Clicks(QObject):
    """Calls ``clicked`` with the place of a click (not of a drag) on the canvas of a viewer, in its world."""

    def __init__(self, viewer: Viewer, parent: QObject, clicked: Callable[[NDArray[np.float64]], None]) -> None:
        super().__init__(parent)

        def follow(viewer: Any, event: Any) -> Generator[None, None, None]:
            if event.button != 1 or event.modifiers or not _moves(viewer):
                return
            begin, place = np.array(event.pos, dtype=np.float64), np.array(event.position, dtype=np.float64)
            furthest = 0.0
            yield
            while event.type == "mouse_move":
                furthest = max(furthest, float(np.abs(np.asarray(event.pos) - begin).max()))
                yield
            if max(furthest, float(np.abs(np.asarray(event.pos) - begin).max())) <= _STILL:
                clicked(place)

        viewer.mouse_drag_callbacks.append(follow)

        def leave() -> None:  # the viewer outlives the panel
            if follow in viewer.mouse_drag_callbacks:
                viewer.mouse_drag_callbacks.remove(follow)

        self.stop = leave
        """No click counts any more."""
        self.destroyed.connect(leave)


def _moves(viewer: Viewer) -> bool:
    """Whether the mouse moves the picture now, and does not draw."""
    active = viewer.layers.selection.active
    return active is None or str(getattr(active.mode, "value", active.mode)) in ("pan_zoom", "move")
