"""The flat map of a cohort: points that can be hovered, clicked, opened and lassoed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QPointF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QSizePolicy, QToolTip, QVBoxLayout, QWidget

from napari_sparse3d.widgets.cohort.lasso import encircled
from napari_sparse3d.widgets.cohort.map_pictures import PICTURE, MapPictures
from napari_sparse3d.widgets.cohort.map_points import MapPoints
from napari_sparse3d.widgets.toolbox.theme import Colours

_REACH = 10
"""Pixels within which the mouse finds a point."""
_DIM = 0.35
"""Of cases that are not by the model that is chosen."""


class MapView(QWidget):
    """Draws positions in colours; says which point is under the mouse, clicked, opened or lassoed."""

    opened = Signal(int)
    """A point was double-clicked."""
    clicked = Signal(int)
    """A point was clicked."""
    selected = Signal(object, bool)
    """The points inside a lasso: (K,) indices; and whether they come to those that are selected (Shift)."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Map of the cohort")
        self.setMinimumHeight(280)
        # not a PlotWidget: its menus are windows of their own that outlive the panel
        self.plot = pg.GraphicsView()
        self.box = pg.ViewBox(enableMenu=False, lockAspect=True)
        self.plot.setCentralItem(self.box)
        self.plot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self.points = MapPoints(self.plot, self.box)
        self.pictures = MapPictures(self, self.box, self.points)
        self.marked = pg.ScatterPlotItem(size=12, brush=None, pxMode=True)
        self.open_ring = pg.ScatterPlotItem(size=18, brush=None, pxMode=True)
        self.here = pg.ScatterPlotItem(size=18, symbol="+", pxMode=True)
        self.lasso_line = pg.PlotCurveItem()
        self.box.addItem(self.here)
        for item in (self.marked, self.open_ring, self.lasso_line):
            # what is drawn about points moves no point: the view stays while a lasso is drawn and when it has selected
            self.box.addItem(item, ignoreBounds=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        self.here_position: tuple[float, float] | None = None
        self._ringed: list[int] = []
        self._open: int | None = None
        self._words: Callable[[int], str] = lambda _index: ""
        self._lassoing = False
        self._path: list[QPointF] = []
        self._pressed: QPointF | None = None
        self._late: NDArray[np.float32] | None = None
        viewport = self.plot.viewport()
        viewport.setMouseTracking(True)
        viewport.installEventFilter(self)

    @property
    def positions(self) -> NDArray[np.float32]:
        """(N, 2) of all cases, hidden ones among them."""
        return self.points.positions

    @property
    def lassoing(self) -> bool:
        """Whether a drag draws a lasso instead of moving the map."""
        return self._lassoing

    @lassoing.setter
    def lassoing(self, on: bool) -> None:
        self._lassoing = on
        self.box.setMouseEnabled(x=not on, y=not on)
        self.plot.setCursor(Qt.CursorShape.CrossCursor if on else Qt.CursorShape.ArrowCursor)

    def restyle(self, look: Colours) -> None:
        """Take the colours of a theme."""
        self.plot.setBackground(look.foreground)
        self.marked.setPen(pg.mkPen(look.text, width=2))
        self.open_ring.setPen(pg.mkPen(look.warning, width=2))
        self.here.setPen(pg.mkPen(look.text, width=2))
        self.here.setBrush(pg.mkBrush(look.accent))
        self.lasso_line.setPen(pg.mkPen(look.text, width=1, style=Qt.PenStyle.DashLine))

    # -- what is drawn -------------------------------------------------------------------------------------------------

    def set_positions(self, positions: NDArray[np.float32]) -> None:
        """Move the points (or show others); while a lasso is drawn around them, once that is closed."""
        if self._path and len(positions) == len(self.positions):
            self._late = np.asarray(positions)
            return
        self._drop_lasso()
        other = self.points.move(positions)
        if other:
            self._open = None
        self.mark([] if other else self._ringed)  # rings go with their points
        self._ring_open()
        self.pictures.refresh()
        self.box.enableAutoRange()  # the map grows by orders of magnitude while it converges

    def set_colours(self, codes: NDArray[np.int64] | NDArray[np.float64], *, continuous: bool) -> None:
        """Colour each point by a class number (-1: none), or by a value from 0 to 1 (not finite: none)."""
        self.points.colour(codes, continuous=continuous)
        self.pictures.refresh()

    def show_only(self, shown: NDArray[np.bool_]) -> None:
        """Hide the other points: (N,)."""
        self.points.show_only(shown)
        self.mark(self._ringed)
        self._ring_open()
        self.pictures.refresh()

    def set_words(self, words: Callable[[int], str]) -> None:
        """What is said of a point under the mouse (rich text), asked for when it is there."""
        self._words = words

    def set_dim(self, on: bool) -> None:
        """Whether the cases are those of another model than the chosen one."""
        self.box.setOpacity(_DIM if on else 1.0)

    def mark(self, indices: Sequence[int]) -> None:
        """Ring these points, and no others."""
        self._ringed = list(indices)
        self._ring(self.marked, self._ringed)

    def mark_open(self, index: int | None) -> None:
        """Ring the point of the case whose layer is chosen in napari; None: it is none of these."""
        self._open = index
        self._ring_open()

    def _ring_open(self) -> None:
        self._ring(self.open_ring, [] if self._open is None else [self._open])

    def _ring(self, rings: pg.ScatterPlotItem, indices: list[int]) -> None:
        drawn = [index for index in indices if index < len(self.positions) and self.points.shown[index]]
        chosen = self.positions[drawn] if drawn else np.empty((0, 2))
        rings.setData(x=chosen[:, 0], y=chosen[:, 1])

    def show_here(self, position: NDArray[np.float32] | None) -> None:
        """Put a cross where the open case lies."""
        self.here_position = None if position is None else (float(position[0]), float(position[1]))
        shown = [] if self.here_position is None else [self.here_position]
        self.here.setData(x=[x for x, _ in shown], y=[y for _, y in shown])

    # -- the mouse -----------------------------------------------------------------------------------------------------

    def nearest(self, point: QPointF) -> int | None:
        """The point that is drawn under a place of the viewport, if there is one."""
        if not self.points.shown.any():
            return None
        away = np.hypot(*(self.points.pixels() - (point.x(), point.y())).T)
        index = int(np.nanargmin(away))
        return index if away[index] <= (PICTURE / 2 if self.pictures.on else _REACH) else None

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Mouse: hover, click, double click, lasso."""
        if isinstance(event, QEvent) and event.type() == QEvent.Type.Wheel and self._path:
            return True  # a lasso is of the map as it is drawn
        if not isinstance(event, QMouseEvent):
            return super().eventFilter(watched, event)
        kind = event.type()
        if kind == QEvent.Type.MouseButtonDblClick:
            self._pressed = None
            found = self.nearest(event.position())
            if found is not None:
                self.opened.emit(found)
                return True
        if kind == QEvent.Type.MouseMove and not event.buttons():
            found = self.nearest(event.position())
            text = "" if found is None else self._words(found)
            QToolTip.showText(event.globalPosition().toPoint(), text, self.plot)
        if self._left(event) and self._follow_left(event):
            return True
        return super().eventFilter(watched, event)

    @staticmethod
    def _left(event: QMouseEvent) -> bool:
        left = Qt.MouseButton.LeftButton
        return bool(event.buttons() & left) if event.type() == QEvent.Type.MouseMove else event.button() == left

    def _follow_left(self, event: QMouseEvent) -> bool:
        """Presses, moves and releases of the left button; gives back whether it is a lasso's, and moves no map."""
        kind, at = event.type(), event.position()
        if kind == QEvent.Type.MouseButtonPress:
            self._pressed = at
            if self._lassoing:
                self._path = [self._within(at)]
        elif kind == QEvent.Type.MouseMove and self._path:
            self._path.append(self._within(at))
            self._draw_lasso()
        elif kind == QEvent.Type.MouseButtonRelease:
            pressed, self._pressed = self._pressed, None
            still = pressed is not None and (at - pressed).manhattanLength() < QApplication.startDragDistance()
            if still and len(self._path) < 3 and (found := self.nearest(at)) is not None:
                self.clicked.emit(found)
            if len(self._path) > 2:
                adding = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
                self.selected.emit(self._inside(), adding)
            self._lasso_ended()
        return self._lassoing

    def _within(self, at: QPointF) -> QPointF:
        """Where the mouse is, or the nearest place of the picture: what lies outside of it is not seen."""
        area = self.plot.viewport().rect()
        return QPointF(min(max(at.x(), 0.0), area.width()), min(max(at.y(), 0.0), area.height()))

    def _draw_lasso(self) -> None:
        to_scene, _ = self.plot.viewportTransform().inverted()
        places = [self.box.mapSceneToView(to_scene.map(point)) for point in [*self._path, self._path[0]]]
        self.lasso_line.setData(x=[place.x() for place in places], y=[place.y() for place in places])

    def _inside(self) -> NDArray[np.int64]:
        line = [(point.x(), point.y()) for point in self._path]
        return np.flatnonzero(encircled(line, self.points.pixels()))

    def _drop_lasso(self) -> None:
        self._path, self._late = [], None
        self.lasso_line.setData(x=[], y=[])

    def _lasso_ended(self) -> None:
        late = self._late
        self._drop_lasso()
        if late is not None:
            self.set_positions(late)
