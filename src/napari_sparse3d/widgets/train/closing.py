"""Nobody loses a training by closing its window: before that it is asked, and the panel's own tab may be closed."""

from __future__ import annotations

from typing import Any

from napari.utils.notifications import show_info
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

from napari_sparse3d.widgets.toolbox.viewers import dock_of

GOES_ON = "The training continues in the background; open Train to see it."


class ClosingGuard(QObject):
    """Watches the window of a panel while a training goes on in it.

    A user who closes the window (its button, Ctrl+W, Ctrl+Q) is asked first. A program that closes the viewer is not:
    by then napari has taken it apart. The panel itself is held as long as the training goes on: its tab can be closed,
    and opening it again shows the same training.
    """

    def __init__(self, panel: Any) -> None:
        super().__init__(panel)
        self._panel: Any = panel
        self._window: QMainWindow | None = None

    def watch(self) -> None:
        """A training begins."""
        self._panel.workbench.hold(self._panel)
        dock = dock_of(self._panel)
        window = None if dock is None else dock.parentWidget()
        if isinstance(window, QMainWindow):
            self._window = window
            window.installEventFilter(self)
        self._panel.installEventFilter(self)

    def rest(self) -> None:
        """It has ended."""
        self._panel.removeEventFilter(self)
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window = None
        self._panel.workbench.let_go(self._panel)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Stop the event that closes the window, where the user wants it to stay."""
        if event is None or not self._panel.training.running:
            return False
        panel = self._panel
        if watched is panel and event.type() == QEvent.Type.ParentChange:
            if self._panel.parentWidget() is None and self._window is not None and self._window.isVisible():
                show_info(GOES_ON)
        elif watched is self._window and event.type() == QEvent.Type.Close:
            if self._by_user() and not self._ask():
                event.ignore()
                return True
            self._panel.training.cancel()
        return False

    def _by_user(self) -> bool:
        """Whether the viewer is still whole: ``viewer.close()`` closes what is inside first."""
        inside = None if self._window is None else self._window.centralWidget()
        return inside is not None and not _is_closed(inside)

    def _ask(self) -> bool:
        state = self._panel.state
        done = state.epochs[-1]["epoch"] if state.epochs else 0
        planned = state.epochs[-1]["epochs"] if state.epochs else state.started.planned
        stays = (
            f"What is trained so far stays as a checkpoint: open Train again, choose the same data and the run under "
            f"Runs, and Resume this run. Or in a terminal:\nnapari-sparse3d train DATA --resume {state.run_name}"
            if state.run_name
            else "There is no checkpoint yet: what was done so far is lost."
        )
        box = QMessageBox(
            QMessageBox.Icon.Warning,
            "A training is running",
            f"A training is running: {done} of {planned} epochs are done.",
            parent=self._window,
        )
        box.setInformativeText(f"Closing the window ends it. {stays}")
        close = box.addButton("Close and end it", QMessageBox.ButtonRole.DestructiveRole)
        stay = box.addButton(QMessageBox.StandardButton.Cancel)
        if stay is not None:
            box.setDefaultButton(stay)
        box.exec()
        return box.clickedButton() is close


def _is_closed(inside: QWidget) -> bool:
    """Whether the central widget, or what fills it, has been closed by itself."""
    parts = inside.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly)
    return inside.isHidden() or any(part.isHidden() for part in parts)
