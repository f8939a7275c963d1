"""The map of the Cohort panel with its controls: how it is made, what gives the colour, t-SNE while it converges."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QPushButton, QWidget

from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.measure.maps import check_drawn, pca, trustworthiness
from napari_sparse3d.widgets.cohort.case_words import hover_words
from napari_sparse3d.widgets.cohort.colour_bar import ColourBar
from napari_sparse3d.widgets.cohort.colours import Colouring
from napari_sparse3d.widgets.cohort.map_maker import MapMaker, tsne_missing
from napari_sparse3d.widgets.cohort.state import CohortState
from napari_sparse3d.widgets.toolbox.fit import Row
from napari_sparse3d.widgets.toolbox.layout import combo, form, grey_out, small_label, stacked
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.plain_text import as_html
from napari_sparse3d.widgets.toolbox.theme import colours

if TYPE_CHECKING:
    from napari_sparse3d.widgets.cohort.map_view import MapView

METHODS = {"PCA": "pca", "t-SNE": "tsne"}
_FEWEST = 5
"""Cases that t-SNE needs."""
_TRUST_ROWS = 200
"""Of so many cases the trustworthiness of PCA is measured: it is said at once."""


class MapSection(QWidget):
    """Draws the cases that ``state`` holds. What is said of the map stands below it, what went wrong in ``panel``."""

    opened = Signal(int)
    """A case was double-clicked: its number."""
    clicked = Signal(int)
    """A case was clicked."""
    selected = Signal(object, bool)
    """The cases inside a lasso: (K,) numbers; and whether they come to those that are selected."""
    moving = Signal()
    """The map is made anew: places in it are those of another map."""
    settled = Signal()
    """The map stays as it is now."""

    def __init__(self, panel: Panel, state: CohortState) -> None:
        super().__init__()
        self._panel, self._state = panel, state
        self._view: MapView | None = None
        self.maker = MapMaker(self, panel.workbench.map_child)
        self.title = small_label()
        self.text = small_label()
        self.bar = ColourBar()
        self.legend = small_label()
        self.legend.setTextFormat(Qt.TextFormat.RichText)  # its dots are coloured
        self.by = combo("How the map is made", 4)
        self.by.addItems(list(METHODS))
        grey_out(self.by, tsne_missing())  # the last of them
        self.pause = QPushButton("Pause")
        self.pause.setToolTip("Pause t-SNE and continue later")
        self.pause.setCheckable(True)
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("Stop t-SNE and keep the map as it is")
        self.colour = combo("The column that gives the colour")
        self._show_converging(False)
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        converging, chosen = Row(), form()
        converging.add(self.pause, self.stop)
        chosen.addRow("Map by", self.by)
        chosen.addRow(converging)
        chosen.addRow("Colour", self.colour)
        self._column = stacked(self)
        for widget in (self.title, self.text, self.bar, self.legend):
            self._column.addWidget(widget)
        self._column.addLayout(chosen)

    def _connect(self) -> None:
        self.by.activated.connect(lambda _: self.draw())
        self.pause.toggled.connect(self._hold)
        self.stop.clicked.connect(self.maker.stop)
        self.colour.currentIndexChanged.connect(self._recolour)
        self.colour.activated.connect(lambda _: setattr(self._state, "colour_chosen", self.colour.currentText()))
        self.maker.moved.connect(self._moved)
        self.maker.finished.connect(lambda trust: self._say_trust("t-SNE", trust))
        self.maker.failed.connect(self._panel.fail)
        self.maker.ended.connect(self._converging_ended)

    @property
    def view(self) -> MapView:
        """The map. Made when there is one to draw: it imports pyqtgraph, for which an empty panel need not wait."""
        if self._view is None:
            from napari_sparse3d.widgets.cohort.map_view import MapView

            self._view = MapView()
            self._view.opened.connect(self.opened)
            self._view.clicked.connect(self.clicked)
            self._view.selected.connect(self.selected)
            self._view.restyle(colours(self._panel.viewer))
            self._column.insertWidget(1, self._view)
        return self._view

    @property
    def method(self) -> str:
        """How the map is made, as ``measure.maps`` and the command line call it."""
        return METHODS[self.by.currentText()]

    def show_cases(self, cohort: Cohort, *, only_pca: bool = False) -> None:
        """Draw other cases."""
        self.show_columns()
        self.view.set_words(partial(hover_words, cohort))
        self.view.mark([])
        self.draw(only_pca=only_pca)
        self.view.pictures.set_thumbnails(cohort.thumbnails)

    def show_model(self, embedded_by: str, *, chosen: bool) -> None:
        """Whose embeddings these are; dim where that is not the model that is chosen."""
        self.title.setText(embedded_by if chosen else f"⚠ {embedded_by}: not the chosen model")
        self.title.setVisible(bool(embedded_by))
        if self._view is not None:
            self._view.set_dim(not chosen)

    def mark_open(self, index: int | None) -> None:
        """Ring the case whose layer is chosen in napari."""
        if self._view is not None:
            self._view.mark_open(index)

    def forget_open_case(self) -> None:
        """Take away the cross of the open case and the rings around its like; the selected cases keep theirs."""
        if self._view is not None:
            self._view.show_here(None)
            self._view.mark(self._state.selected.tolist())

    def show_columns(self) -> None:
        """Offer the columns that can give the colour; the one that the user chose gives it, where it is among them."""
        names = self._state.columns()
        self.colour.blockSignals(True)
        self.colour.clear()
        self.colour.addItems(names)
        self.colour.setCurrentIndex(max(self.colour.findText(self._state.colour_chosen), 0) if names else -1)
        self.colour.blockSignals(False)

    def colour_by(self, column: str) -> None:
        """Let a column, whose values may be new, give the colour, where it tells anything."""
        if self._state.cohort is not None:
            self.view.set_words(partial(hover_words, self._state.cohort))
        self.show_columns()
        if self.colour.findText(column) >= 0:
            self.colour.setCurrentText(column)
        self._recolour()

    def draw(self, *, only_pca: bool = False) -> None:
        """PCA at once; t-SNE after it, where that is chosen."""
        cohort = self._state.cohort
        self.maker.stop()  # whatever it draws is of other cases
        if cohort is None or not len(cohort):
            return
        self.moving.emit()
        self.view.set_positions(pca(cohort.embeddings))
        self.view.show_only(self._state.shown)
        self.view.show_here(None)
        self._recolour()
        self._say("")
        if only_pca:
            self._say("PCA of the cases so far")
            return
        if self.method == "pca":
            with self._panel.telling():
                check_drawn(cohort.embeddings, self.view.positions)
                trust = trustworthiness(cohort.embeddings, self.view.positions, rows=_TRUST_ROWS)
                self._say_trust("PCA", trust, sampled=len(cohort) > _TRUST_ROWS)
        elif len(cohort) < _FEWEST:
            self._say(f"⚠ t-SNE needs at least {_FEWEST} cases; this is PCA.")
        else:
            self._converge(cohort)
            return
        self.settled.emit()

    def _converge(self, cohort: Cohort) -> None:
        self._show_converging(True)
        self._say(
            "t-SNE: starting its process, a few seconds once per session …"
            if self.maker.preparing
            else "t-SNE: looking for neighbours …"
        )
        self.maker.start(cohort.embeddings)

    def _moved(self, iteration: int, positions: NDArray[np.float32]) -> None:
        self.view.set_positions(positions)
        if iteration >= 0:
            self._say(f"t-SNE, iteration {iteration} …" if iteration else "t-SNE: looking for neighbours …")

    def _hold(self, on: bool) -> None:
        self.maker.hold(on)
        self.pause.setText("Continue" if on else "Pause")

    def _converging_ended(self) -> None:
        self._show_converging(False)
        if self.text.text().endswith("…"):  # stopped, or failed
            self._say("t-SNE, stopped before it had converged")
        self.settled.emit()

    def _show_converging(self, on: bool) -> None:
        """Whether t-SNE is at work, and can be held and stopped."""
        for button in (self.pause, self.stop):
            button.setEnabled(on)
            button.setVisible(on)
        if not on:
            self.pause.setChecked(False)

    def _say(self, text: str) -> None:
        """Of the map, below it: what the panel says of other work stays there."""
        self.text.setText(text)
        self.text.setVisible(bool(text))

    def _say_trust(self, method: str, trust: float, *, sampled: bool = False) -> None:
        if math.isfinite(trust):
            of = f" of {_TRUST_ROWS} cases" if sampled else ""
            self._say(
                f"{method}: trustworthiness{of} {trust:.2f} (1: neighbours on the map are neighbours; 0.5: chance)."
            )
        else:
            self._say(method)

    def _recolour(self, _index: int = 0) -> None:
        colouring = self._state.colouring(self.colour.currentText())
        if colouring is not None:
            self.view.set_colours(colouring.codes, continuous=colouring.continuous)
            self.bar.show_scale(colouring.scale)
            self.legend.setText(legend_words(colouring))
            self.legend.setVisible(bool(colouring.legend))


def legend_words(colouring: Colouring) -> str:
    """What the colours mean, as rich text."""
    dots = (f'<span style="color:{colour}">{sign}</span>&nbsp;' if sign else "" for colour, sign, _ in colouring.legend)
    return " &nbsp; ".join(dot + as_html(text) for dot, (_, _, text) in zip(dots, colouring.legend, strict=True))
