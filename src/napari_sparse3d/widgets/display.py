"""Whether there is a display. Imports neither napari nor Qt."""

from __future__ import annotations

import os
import sys


def display_name() -> str | None:
    """The display on which a window would open; None where there is none."""
    if sys.platform in {"win32", "darwin"}:
        return "desktop"
    return os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or None
