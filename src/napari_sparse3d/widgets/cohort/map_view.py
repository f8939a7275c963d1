"""The flat map of a cohort: points that can be hovered, opened and lassoed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, QPointF, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor, QMouseEvent, QPainterPath, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QVBoxLayout, QWidget

from napari_sparse3d.pictures.palette import CLASS_COLOURS
from napari_sparse3d.widgets.toolbox.theme import Colours

_REACH = 10
"""Pixels within which the mouse finds a point."""
_SHADES = 32
_UNKNOWN = "#8a8f98"


class MapView(QWidget):
    """Draws positions in colours; says which point is under the mouse, opened or lassoed."""

    opened = Signal(int)
    """A point was double-clicked."""
    selected = Signal(object)
    """The points inside a lasso: (K,) indices."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Map of the cohort")
        self.setMinimumHeight(280)
        # not a PlotWidget: its menus are windows of their own that outlive the panel
        self.plot = pg.GraphicsView()
        self.box = pg.ViewBox(enableMenu=False, lockAspect=True)
        self.plot.setCentralItem(self.box)
        self.plot.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self._groups: list[tuple[Any, NDArray[np.int64]]] = []
        self.marked = pg.ScatterPlotItem(size=12, brush=None, pxMode=True)
        self.here = pg.ScatterPlotItem(size=18, symbol="+", pxMode=True)
        self.lasso_line = pg.PlotCurveItem()
        for item in (self.marked, self.here, self.lasso_line):
            self.box.addItem(item)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        self.positions = np.empty((0, 2), dtype=np.float32)
        self.here_position: tuple[float, float] | None = None
        self._ringed: list[int] = []
        self._words: Callable[[int], str] = lambda _index: ""
        self._look: Colours | None = None
        self._lassoing = False
        self._path: list[QPointF] = []
        viewport = self.plot.viewport()
        viewport.setMouseTracking(True)
        viewport.installEventFilter(self)

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
        self._look = look
        self.plot.setBackground(look.foreground)
        self.marked.setPen(pg.mkPen(look.text, width=2))
        self.here.setPen(pg.mkPen(look.text, width=2))
        self.here.setBrush(pg.mkBrush(look.accent))
        self.lasso_line.setPen(pg.mkPen(look.text, width=1, style=Qt.PenStyle.DashLine))

    def set_positions(self, positions: NDArray[np.float32]) -> None:
        """Move the points (or show others)."""
        positions = np.asarray(positions)
        other = len(positions) != len(self.positions)
        self.positions = positions
        if other:
            self._group(np.full(len(positions), -1, dtype=np.int64), [])
        for item, members in self._groups:
            item.setData(x=positions[members, 0], y=positions[members, 1])
        self.mark([] if other else self._ringed)  # rings go with their points
        self.box.enableAutoRange()  # the map grows by orders of magnitude while it converges

    def set_colours(self, codes: NDArray[np.int64] | NDArray[np.float64], *, continuous: bool) -> None:
        """Colour each point by a class number, or by a value from 0 to 1 (not finite: grey)."""
        if continuous:
            shades = pg.colormap.get("viridis").getLookupTable(0, 1, _SHADES)
            values = np.asarray(codes, dtype=np.float64)
            known = np.isfinite(values)
            numbers = np.full(len(values), -1, dtype=np.int64)
            numbers[known] = np.clip(values[known] * _SHADES, 0, _SHADES - 1).astype(np.int64)
            colours = [QColor(*shade) for shade in shades]
        else:
            numbers = np.where(codes >= 0, codes % len(CLASS_COLOURS), -1).astype(np.int64)
            colours = [QColor(colour) for colour in CLASS_COLOURS]
        if len(numbers) == len(self.positions):
            self._group(numbers, colours)

    def _group(self, numbers: NDArray[np.int64], colours: Sequence[QColor]) -> None:
        """One item for each colour: with a brush of its own for each point, 20,000 points take a tenth of a second."""
        for item, _ in self._groups:
            self.box.removeItem(item)
        self._groups = []
        for number in np.unique(numbers):
            members = np.flatnonzero(numbers == number)
            brush = pg.mkBrush(_UNKNOWN if number < 0 else colours[number])
            item = pg.ScatterPlotItem(size=7, pen=None, pxMode=True, brush=brush)
            item.setZValue(-1)  # below rings, cross and lasso
            self.box.addItem(item)
            item.setData(x=self.positions[members, 0], y=self.positions[members, 1])
            self._groups.append((item, members))

    def set_words(self, words: Callable[[int], str]) -> None:
        """What is said of a point under the mouse (rich text), asked for when it is there."""
        self._words = words

    def mark(self, indices: Sequence[int]) -> None:
        """Ring these points, and no others."""
        self._ringed = list(indices)
        chosen = self.positions[self._ringed] if self._ringed else np.empty((0, 2))
        self.marked.setData(x=chosen[:, 0], y=chosen[:, 1])

    def show_here(self, position: NDArray[np.float32] | None) -> None:
        """Put a cross where the open case lies."""
        self.here_position = None if position is None else (float(position[0]), float(position[1]))
        shown = [] if self.here_position is None else [self.here_position]
        self.here.setData(x=[x for x, _ in shown], y=[y for _, y in shown])

    def nearest(self, point: QPointF) -> int | None:
        """The point that is drawn under a place of the viewport, if there is one."""
        if not len(self.positions):
            return None
        box = self.box
        place = box.mapSceneToView(self.plot.mapToScene(point.toPoint()))
        size_x, size_y = box.viewPixelSize()
        away = np.hypot((self.positions[:, 0] - place.x()) / size_x, (self.positions[:, 1] - place.y()) / size_y)
        found = int(away.argmin())
        return found if away[found] <= _REACH else None

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Mouse: hover, double click, lasso."""
        if not isinstance(event, QMouseEvent):
            return super().eventFilter(watched, event)
        kind = event.type()
        if kind == QEvent.Type.MouseButtonDblClick:
            found = self.nearest(event.position())
            if found is not None:
                self.opened.emit(found)
                return True
        if self._lassoing and self._draw_lasso(event):
            return True
        if kind == QEvent.Type.MouseMove and not event.buttons():
            found = self.nearest(event.position())
            text = "" if found is None else self._words(found)
            QToolTip.showText(event.globalPosition().toPoint(), text, self.plot)
        return super().eventFilter(watched, event)

    def _draw_lasso(self, event: QMouseEvent) -> bool:
        kind = event.type()
        if kind == QEvent.Type.MouseButtonPress:
            self._path = [event.position()]
        elif kind == QEvent.Type.MouseMove and event.buttons() & Qt.MouseButton.LeftButton:
            self._path.append(event.position())
        elif kind == QEvent.Type.MouseButtonRelease and len(self._path) > 2:
            self.selected.emit(self._inside())
            self._path = []
        else:
            return False
        box = self.box
        places = [box.mapSceneToView(self.plot.mapToScene(point.toPoint())) for point in self._path]
        self.lasso_line.setData(x=[place.x() for place in places], y=[place.y() for place in places])
        return True

    def _inside(self) -> NDArray[np.int64]:
        box = self.box
        corners = [box.mapSceneToView(self.plot.mapToScene(point.toPoint())) for point in self._path]
        path = QPainterPath()
        path.addPolygon(QPolygonF([*corners, corners[0]]))
        bounds = path.boundingRect()
        x, y = self.positions[:, 0], self.positions[:, 1]
        near = (x >= bounds.left()) & (x <= bounds.right()) & (y >= bounds.top()) & (y <= bounds.bottom())
        candidates = np.flatnonzero(near)
        return np.array([i for i in candidates if path.contains(QPointF(float(x[i]), float(y[i])))], dtype=np.int64)
