"""The points of a map as they are drawn: an item for each look, since a brush for each point takes far longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF

from napari_sparse3d.pictures.palette import CLASS_COLOURS, CLASS_SYMBOLS

_SHADES = 64
UNKNOWN = "#8a8f98"
"""What has no class and no number."""
_SIZE = 7


class MapPoints:
    """Draws positions into ``box``; what is hidden is neither drawn nor near anything.

    Attributes
    ----------
    positions : ndarray
        (N, 2) x, y in the map.
    shown : ndarray
        (N,) bool: which are drawn.
    """

    def __init__(self, plot: Any, box: Any) -> None:
        self._plot, self._box = plot, box
        self._items: list[tuple[Any, NDArray[np.int64]]] = []
        self.positions = np.empty((0, 2), dtype=np.float32)
        self.shown = np.zeros(0, dtype=bool)
        self.colours: list[str] = []

    def move(self, positions: NDArray[np.float32]) -> bool:
        """Other places; gives back whether these are other points."""
        other = len(positions) != len(self.positions)
        self.positions = np.asarray(positions)
        if other:
            self.shown = np.ones(len(positions), dtype=bool)
            self._group(np.full(len(positions), -1, dtype=np.int64), [], [])
        else:
            self._draw()
        return other

    def show_only(self, shown: NDArray[np.bool_]) -> None:
        """Hide the others."""
        if len(shown) == len(self.positions):
            self.shown = np.asarray(shown, dtype=bool)
            self._draw()

    def colour(self, codes: NDArray[np.int64] | NDArray[np.float64], *, continuous: bool) -> None:
        """By a class number (-1: none), or by a value from 0 to 1 (not finite: none)."""
        if len(codes) != len(self.positions):
            return
        if continuous:
            values = np.asarray(codes, dtype=np.float64)
            known = np.isfinite(values)
            numbers = np.full(len(values), -1, dtype=np.int64)
            numbers[known] = np.clip(values[known] * _SHADES, 0, _SHADES - 1).astype(np.int64)
            self._group(numbers, viridis(_SHADES), ["o"] * _SHADES)
            return
        n_looks = len(CLASS_COLOURS) * len(CLASS_SYMBOLS)
        numbers = np.where(codes >= 0, codes % n_looks, -1).astype(np.int64)
        self._group(
            numbers,
            [colour for _ in CLASS_SYMBOLS for colour in CLASS_COLOURS],
            [symbol for symbol in CLASS_SYMBOLS for _ in CLASS_COLOURS],
        )

    def _group(self, numbers: NDArray[np.int64], colours: Sequence[str], symbols: Sequence[str]) -> None:
        for item, _ in self._items:
            self._box.removeItem(item)
        self._items = []
        self.colours = [UNKNOWN if number < 0 else colours[number] for number in numbers.tolist()]
        for number in np.unique(numbers).tolist():
            brush = pg.mkBrush(UNKNOWN if number < 0 else colours[number])
            symbol = "o" if number < 0 else symbols[number]
            item = pg.ScatterPlotItem(size=_SIZE, pen=None, pxMode=True, brush=brush, symbol=symbol)
            item.setZValue(-1)  # below pictures, rings, cross and lasso
            self._box.addItem(item)
            self._items.append((item, np.flatnonzero(numbers == number)))
        self._draw()

    def _draw(self) -> None:
        for item, members in self._items:
            drawn = members[self.shown[members]]
            item.setData(x=self.positions[drawn, 0], y=self.positions[drawn, 1])

    def pixels(self) -> NDArray[np.float64]:
        """Where each point is drawn: (N, 2) x, y in pixels of the viewport; nan where it is hidden."""
        seen = self._box.viewRect()
        corners = (seen.topLeft(), seen.topRight(), seen.bottomLeft())
        origin, along_x, along_y = (self._pixel(corner) for corner in corners)
        # from the corner of what is seen, so that neither a tiny map nor one far from 0 loses digits
        away = self.positions.astype(np.float64) - (seen.left(), seen.top())
        steps = np.stack([(along_x - origin) / seen.width(), (along_y - origin) / seen.height()])
        places = origin + away @ steps
        places[~self.shown] = np.nan
        return np.asarray(places)

    def _pixel(self, place: QPointF) -> NDArray[np.float64]:
        at = self._plot.viewportTransform().map(self._box.mapViewToScene(place))
        return np.array([at.x(), at.y()])


def viridis(n: int) -> list[str]:
    """``n`` colours from dark to bright, as ``#rrggbb``."""
    shades = pg.colormap.get("viridis").getLookupTable(0, 1, n)
    return [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in shades[:, :3].tolist()]
