"""All panels of the catalogue at napari's own dock width, with its font and with twice that, in both themes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.catalog import PANELS

pytestmark = pytest.mark.gui

DOCK_WIDTH = 270


def texts_cut(panel: Any) -> Iterator[str]:
    """What of a panel does not show its whole text, and does not say it on hover either."""
    from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLabel, QLineEdit, QWidget

    inside, port = panel.area.widget(), panel.area.viewport()
    if inside.minimumSizeHint().width() > port.width():
        yield f"the body needs {inside.minimumSizeHint().width()} of {port.width()} pixels"
    for widget in panel.findChildren(QWidget):
        if not widget.isVisibleTo(panel) or isinstance(widget.parentWidget(), QAbstractSpinBox | QComboBox):
            continue
        text, metrics = "", widget.fontMetrics()
        if isinstance(widget, QLabel) and widget.text() and not widget.pixmap():
            text = widget.text()
            fits = widget.sizeHint().width() <= widget.width()
            if widget.wordWrap():
                plain = text if "<" not in text else ""
                words = [metrics.horizontalAdvance(word) for word in plain.split()]
                fits = max(words, default=0) <= widget.width()
                fits &= widget.heightForWidth(widget.width()) <= widget.height() + 1
        elif isinstance(widget, QAbstractButton) and widget.text():
            text, hint = widget.text(), widget.sizeHint()
            fits = hint.width() <= widget.width() and hint.height() <= widget.height() + 1
        elif isinstance(widget, QComboBox) and widget.currentText():
            text = widget.currentText()
            fits = metrics.horizontalAdvance(text) + 20 <= widget.width()
        elif isinstance(widget, QAbstractSpinBox):
            text = widget.text()
            edit = widget.findChild(QLineEdit)
            fits = metrics.horizontalAdvance(text) <= edit.width()
        if text and not fits and text not in widget.toolTip():
            where = f"{widget.width()} x {widget.height()} of {widget.sizeHint().width()}"
            yield f"{type(widget).__name__} {text!r} ({where})"
        right = widget.mapTo(panel, widget.rect().topRight()).x() if text else 0
        if right > panel.width():
            yield f"{type(widget).__name__} {text!r} ends at {right} of {panel.width()}"


def result_of(job: Any) -> Any:
    """What a job comes to."""
    try:
        while True:
            next(job)
    except StopIteration as end:
        return end.value


@pytest.fixture
def font_size() -> Iterator[Any]:
    from napari.settings import get_settings

    appearance = get_settings().appearance
    before, theme = appearance.font_size, appearance.theme
    yield lambda times: setattr(appearance, "font_size", before * times)
    appearance.font_size, appearance.theme = before, theme


def test_nothing_is_cut_at_270_pixels_with_twice_the_font_in_both_themes(
    make_napari_viewer: Any, one_child: Any, qtbot: Any, font_size: Any, add_volume: Any, oblique: Any
) -> None:
    from napari.settings import get_settings
    from qtpy.QtWidgets import QApplication

    from napari_sparse3d.widgets.child.jobs.settings import training
    from napari_sparse3d.widgets.show import show_panel
    from napari_sparse3d.widgets.toolbox.viewers import dock_of

    viewer = make_napari_viewer(show=True)
    add_volume(viewer, oblique)
    viewer.add_image(np.zeros((4, 5, 6)), name="a scan with a rather long name of two series")
    panels = {name: show_panel(name, viewer) for name in PANELS}
    train = panels["train"]
    train.describing.start = lambda *_: None
    train.more.setChecked(True)
    train.set_data(Path("shapes"))
    train.results.setVisible(True)
    train.results.title.setText("shapes · residual · shape-64 · cross-entropy · 30 epochs")
    train.confusion.set_matrix([[3, 1], [0, 4]], ["healthy", "aneurysm"])
    train.settings.more.show_fields(result_of(training()))  # here, and not in the process that would take its time
    for panel in panels.values():
        for part in ("results", "filled"):
            if hasattr(panel, part):
                getattr(panel, part).show()
        panel.say("What is said here may be a sentence of more than one line, and is not cut.")
    shots = os.environ.get("NAPARI_SPARSE3D_SHOTS")  # pictures to look at
    cut: list[str] = []
    for theme in ("dark", "light"):
        get_settings().appearance.theme = theme
        for times in (1, 2):
            font_size(times)
            for name, panel in panels.items():
                dock = dock_of(show_panel(name, viewer))
                dock.setFloating(True)
                dock.resize(DOCK_WIDTH, 900)
                for _ in range(6):  # folding a row moves others
                    qtbot.wait(30)
                assert panel.width() <= DOCK_WIDTH
                if shots:
                    QApplication.processEvents()
                    dock.grab().save(f"{shots}/{name}-{theme}-{times}.png")
                cut += [f"{name}, {theme}, font x {times}: {each}" for each in texts_cut(panel)]
                dock.setFloating(False)
    assert cut == [], "\n".join(cut)
