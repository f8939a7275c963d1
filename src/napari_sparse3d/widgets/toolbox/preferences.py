"""The user's preferences, where napari has a page for them (0.9 and later); otherwise the defaults of the manifest."""

from __future__ import annotations

from typing import Any

_DEFAULTS: dict[str, Any] = {
    "voxels.preview": True,
    "voxels.opacity": 0.5,
    "network.model": "deepc2",
    "network.engine": "auto",
}
"""As in ``napari.yaml``; a test keeps the two equal."""


def preference(name: str) -> Any:
    """The value of a preference such as ``"voxels.preview"``."""
    group, _, key = name.partition(".")
    try:
        from napari.settings import get_plugin_settings

        return getattr(getattr(get_plugin_settings("napari-sparse3d"), group), key)
    # an older napari, or a window in which this plugin is not registered (tests)
    except (ImportError, AttributeError, KeyError, ValueError):
        return _DEFAULTS[name]
