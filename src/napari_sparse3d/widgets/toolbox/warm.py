"""What napari imports with its first Labels layer, ahead of time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from importlib import import_module

BEHIND_LABELS = ("pandas", "scipy.linalg", "skimage.color")
"""A Labels or Points layer has a table of features and random colours; napari imports these when it makes the first."""


def import_behind_labels() -> Generator[None, None, None]:
    """A job for a worker: seconds of import that would otherwise stand between a click and its layer."""
    for name in BEHIND_LABELS:
        with suppress(ImportError):  # another napari may do without
            import_module(name)
        yield
