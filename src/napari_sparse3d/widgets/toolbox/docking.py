"""Where a panel stands, however it was opened: under its one title, as a tab beside the others, in front.

napari opens a widget in three ways, which differ in the title that they give it and in whether it becomes a tab; and
the entry of the Plugins menu shows or hides the dock that is there, in front or not.
"""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_sparse3d.catalog import PANELS
from napari_sparse3d.widgets.toolbox.viewers import dock_of


class Docking(QObject):
    """Follows a panel into its docks."""

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        self._panel = panel
        self._dock: QDockWidget | None = None
        self._arranging, self._raising = QTimer(self), QTimer(self)
        for timer, action in ((self._arranging, self._arrange), (self._raising, self._raise)):
            timer.setSingleShot(True)
            timer.timeout.connect(action)
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """See where the panel is taken, and what becomes of its dock; nothing is stopped."""
        if event is None:
            return False
        if watched is self._panel and event.type() == QEvent.Type.ParentChange:
            self._taken_into(dock_of(self._panel))
        elif watched is self._dock and self._dock is not None:
            if event.type() == QEvent.Type.ShowToParent:
                self._raising.start(0)
            elif event.type() == QEvent.Type.HideToParent and self._is_behind(self._dock):
                # nobody sees it, so nobody wants it away: the Plugins menu takes it for shown
                self._raising.start(0)
        return False

    def _taken_into(self, dock: QDockWidget | None) -> None:
        if dock is self._dock:
            return
        if self._dock is not None:
            self._dock.removeEventFilter(self)
        self._dock = dock
        if dock is None:
            return
        title = title_of(type(self._panel))
        if title:
            # napari is just making the dock, and finds it afterwards by this name
            dock.name = title  # type: ignore[attr-defined]
            dock.setObjectName(title)
            dock.setWindowTitle(title)
        dock.installEventFilter(self)
        self._arranging.start(0)

    def _arrange(self) -> None:
        """The dock is where napari puts it: now beside the other panels, unless it stands there."""
        dock, window = self._dock, self._window()
        if dock is None or window is None:
            return
        others = [other for other in self._docks_of_panels(window) if other is not dock and not other.isFloating()]
        if others and not dock.isFloating() and not set(others) & set(window.tabifiedDockWidgets(dock)):
            window.tabifyDockWidget(others[-1], dock)
        self._raise()

    def _raise(self) -> None:
        if self._dock is not None and self._window() is not None:
            self._dock.show()
            self._dock.raise_()

    def _window(self) -> QMainWindow | None:
        """The main window, as long as the dock stands in it and it is open."""
        window = None if self._dock is None else self._dock.parentWidget()
        return window if isinstance(window, QMainWindow) and window.isVisible() else None

    def _is_behind(self, dock: QDockWidget) -> bool:
        """Whether another tab was in front when it was hidden."""
        return dock.visibleRegion().isEmpty() and self._panel.visibleRegion().isEmpty() and self._was_tab(dock)

    def _was_tab(self, dock: QDockWidget) -> bool:
        window = self._window()
        return window is not None and any(
            not other.isHidden() and not other.visibleRegion().isEmpty() for other in window.tabifiedDockWidgets(dock)
        )

    def _docks_of_panels(self, window: QMainWindow) -> list[QDockWidget]:
        titles = {info.dock_title for info in PANELS.values()}
        return [dock for dock in window.findChildren(QDockWidget) if dock.windowTitle() in titles and dock.isVisible()]


def title_of(cls: type) -> str:
    """Of a panel's dock, by its class; "" where the catalogue has none."""
    home = f"{cls.__module__}:{cls.__qualname__}"
    return next((info.dock_title for info in PANELS.values() if info.home == home), "")
