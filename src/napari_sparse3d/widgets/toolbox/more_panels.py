"""The menu of the panels that other packages bring; ours stand in napari's own menus."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtWidgets import QMenu, QWidget

from napari_sparse3d.catalog import PANELS

_OURS = "napari_sparse3d."


def others_menu(parent: QWidget, show: Callable[[str], None]) -> QMenu | None:
    """An entry for each, greyed with the reason where it cannot be used; None where there are none.

    Parameters
    ----------
    parent : QWidget
        With which the menu ends.
    show : function
        Called with the name of the panel that was chosen.
    """
    others = [part for part in PANELS.values() if not part.home.startswith(_OURS)]
    entries = [(part.title, part.description, part.missing, part.name) for part in others]
    entries += [(name, "", reason, name) for name, reason in PANELS.broken.items()]
    if not entries:
        return None
    menu = QMenu(parent)
    menu.setToolTipsVisible(True)
    for title, description, why_not, name in entries:
        action = menu.addAction(title)
        if action is not None:
            action.setToolTip(why_not or description)
            action.setEnabled(not why_not)
            action.triggered.connect(partial(_chosen, show, name))
    return menu


def _chosen(show: Callable[[str], None], name: str, _checked: bool = False) -> None:
    show(name)
