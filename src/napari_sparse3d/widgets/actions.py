"""What the menus and the command palette call: open a panel, or a scan."""

from __future__ import annotations

from napari import current_viewer
from napari.viewer import Viewer

PLUGIN = "napari-sparse3d"


def show_voxels() -> None:
    """Open the Sparse voxels panel, or bring it to the front."""
    _show("Sparse voxels")


def show_network() -> None:
    """Open the Network panel, or bring it to the front."""
    _show("Network")


def show_cohort() -> None:
    """Open the Cohort panel, or bring it to the front."""
    _show("Cohort")


def show_train() -> None:
    """Open the Train panel, or bring it to the front."""
    _show("Train")


def open_series() -> None:
    """Ask for a folder and open one of its series; what is to be said stands in the Sparse voxels panel."""
    from napari_sparse3d.widgets.opening import open_folder

    viewer = _viewer()
    _, panel = viewer.window.add_plugin_dock_widget(PLUGIN, "Sparse voxels", tabify=True)
    open_folder(viewer, panel, panel.say)


def _show(name: str) -> None:
    _viewer().window.add_plugin_dock_widget(PLUGIN, name, tabify=True)


def _viewer() -> Viewer:
    viewer = current_viewer()
    if viewer is None:
        raise RuntimeError("this command works in a napari window: open one first")
    return viewer
