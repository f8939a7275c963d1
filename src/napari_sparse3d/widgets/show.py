"""One way to every panel: what menus, the command palette and the buttons that lead on call."""

from __future__ import annotations

from typing import Any

from napari import current_viewer
from napari.viewer import Viewer
from qtpy.QtWidgets import QDockWidget

from napari_sparse3d.catalog import PANELS
from napari_sparse3d.widgets.toolbox.viewers import dock_of, real_viewer


def show_panel(name: str, viewer: Viewer | None = None) -> Any:
    """Open a panel beside those that are open, or bring it to the front.

    Parameters
    ----------
    name : str
        In :data:`napari_sparse3d.catalog.PANELS`.
    viewer : Viewer, optional
        Unless given, the one that is in front.

    Returns
    -------
    QWidget
        The panel; there is one of a kind in a viewer, whoever asked for it.

    Raises
    ------
    CatalogError
        If there is no such panel, or it cannot be loaded.
    RuntimeError
        If there is no window.
    """
    info = PANELS[name]
    viewer = real_viewer(viewer or _front())
    dock = _open_dock(viewer, info.load(), info.dock_title)
    if dock is None:
        dock = viewer.window.add_dock_widget(info.load()(viewer), name=info.dock_title, tabify=True)
    dock.show()
    dock.raise_()
    return dock.widget()


def _open_dock(viewer: Viewer, cls: type, title: str) -> QDockWidget | None:
    """The dock of the panel, whichever way it was opened."""
    for name, widget in viewer.window.dock_widgets.items():
        if type(widget) is cls or name == title:
            return dock_of(widget)
    return None


def _front() -> Viewer:
    viewer = current_viewer()
    if viewer is None:
        raise RuntimeError("this command works in a napari window: open one first")
    return viewer
