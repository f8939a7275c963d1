"""What the menus and the command palette call: open a panel or a scan, and press a panel's buttons."""

from __future__ import annotations

from napari_sparse3d.widgets.show import show_panel


def show_voxels() -> None:
    """Open the Sparse voxels panel, or bring it to the front."""
    show_panel("voxels")


def show_network() -> None:
    """Open the Network panel, or bring it to the front."""
    show_panel("network")


def show_pick() -> None:
    """Open the panel in which a nodule is clicked, or bring it to the front."""
    show_panel("pick")


def show_cohort() -> None:
    """Open the Cohort panel, or bring it to the front."""
    show_panel("cohort")


def show_look() -> None:
    """Open the panel with windows of greys and three planes, or bring it to the front."""
    show_panel("look")


def show_train() -> None:
    """Open the Train panel, or bring it to the front."""
    show_panel("train")


def open_series() -> None:
    """Ask for a folder and open one of its series; what is to be said stands in the Sparse voxels panel."""
    from napari_sparse3d.widgets.opening.scans import open_folder

    panel = show_panel("voxels")
    open_folder(panel.viewer, panel, panel.say)


def make_voxels() -> None:
    """Make the voxel set of the chosen volume."""
    show_panel("voxels").press("primary")


def run_network() -> None:
    """Run the chosen network on the chosen voxels."""
    show_panel("network").press("primary")


def what_drove_it() -> None:
    """Show which voxels drove the class of the last run."""
    show_panel("network").press("attribute_button")


def who_is_like_it() -> None:
    """List the cases most like the open one."""
    show_panel("cohort").ask()


def embed_cohort() -> None:
    """Embed the cases of the chosen folder or table."""
    show_panel("cohort").press("primary")


def start_training() -> None:
    """Train on the chosen data."""
    show_panel("train").press("primary")
