"""One panel of a kind in a window, whoever asks for it.

napari makes a widget for each way to it: its *Plugins* menu and ``Window.add_plugin_dock_widget`` call the same widget
by two names, and neither finds what the other has opened.
"""

from __future__ import annotations

from typing import Any

from napari.viewer import Viewer
from qtpy.QtWidgets import QWidget

from napari_sparse3d.widgets.toolbox.viewers import dock_of, real_viewer
from napari_sparse3d.widgets.workbench import Workbench


class OneInViewer(type(QWidget)):  # type: ignore[misc]  # Qt's metaclass, another one in each binding
    """Makes the first panel of a class in a viewer, and gives back that one afterwards, taken out of its dock."""

    def __call__(cls, napari_viewer: Viewer) -> Any:
        """The panel, ready to be docked."""
        viewer = real_viewer(napari_viewer)
        panels = Workbench.of(viewer).panels
        panel = panels.get(cls)
        if panel is None:
            panel = panels[cls] = super().__call__(viewer)
            panel.destroyed.connect(lambda: panels.pop(cls, None))
        elif (dock := dock_of(panel)) is not None:
            viewer.window.remove_dock_widget(dock)
        return panel
