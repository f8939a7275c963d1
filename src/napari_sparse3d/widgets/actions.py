"""What the menus and the command palette call: open a panel or a scan, and press a panel's buttons."""

from __future__ import annotations

from typing import Any

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

    panel = _panel("Sparse voxels")
    open_folder(panel.viewer, panel, panel.say)


def make_voxels() -> None:
    """Make the voxel set of the chosen volume."""
    _panel("Sparse voxels").press("primary")


def run_network() -> None:
    """Run the chosen network on the chosen voxels."""
    _panel("Network").press("primary")


def what_drove_it() -> None:
    """Show which voxels drove the class of the last run."""
    _panel("Network").press("attribute_button")


def who_is_like_it() -> None:
    """List the cases most like the open one."""
    _panel("Cohort").ask()


def embed_cohort() -> None:
    """Embed the cases of the chosen folder or table."""
    _panel("Cohort").press("primary")


def start_training() -> None:
    """Train on the chosen data."""
    _panel("Train").press("primary")


def _show(name: str) -> None:
    _panel(name)


def _panel(name: str) -> Any:
    """The panel of this name, opened or brought to the front."""
    return _viewer().window.add_plugin_dock_widget(PLUGIN, name, tabify=True)[1]


def _viewer() -> Viewer:
    viewer = current_viewer()
    if viewer is None:
        raise RuntimeError("this command works in a napari window: open one first")
    return viewer
