"""Thumbnails in place of points, where few are seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QTimer
from qtpy.QtGui import QColor, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QGraphicsPixmapItem, QWidget

from napari_sparse3d.widgets.cohort.case_words import thumbnail_image
from napari_sparse3d.widgets.cohort.map_points import MapPoints
from napari_sparse3d.widgets.toolbox.layout import later

PICTURE = 36
"""Pixels along each side, its frame among them."""
_FRAME = 3
_MOST = 24
"""With more they would lie on each other."""
_SETTLED_MS = 120


class MapPictures:
    """Draws the thumbnails of the points that are seen, framed in their colours, once the view has settled."""

    def __init__(self, parent: QWidget, box: Any, points: MapPoints) -> None:
        self._box, self._points = box, points
        self._thumbnails: NDArray[np.uint8] | None = None
        self._items: dict[int, QGraphicsPixmapItem] = {}
        self._timer: QTimer = later(_SETTLED_MS, parent, self._draw)
        box.sigRangeChanged.connect(lambda *_: self._timer.start())

    @property
    def on(self) -> bool:
        """Whether pictures are shown."""
        return bool(self._items)

    @property
    def shown(self) -> list[int]:
        """Of which cases."""
        return sorted(self._items)

    def set_thumbnails(self, thumbnails: NDArray[np.uint8] | None) -> None:
        """(N, S, S) uint8; None: there are none."""
        self._thumbnails = thumbnails
        self.refresh()

    def refresh(self) -> None:
        """Points have moved, or have other colours: what was drawn of them goes at once."""
        self._clear()
        self._timer.start()

    def _clear(self) -> None:
        for item in self._items.values():
            self._box.removeItem(item)
        self._items = {}

    def _draw(self) -> None:
        points, thumbnails = self._points, self._thumbnails
        if thumbnails is None or len(thumbnails) != len(points.positions):
            self._clear()
            return
        seen = self._box.viewRect()
        x, y = points.positions.T
        near = points.shown & (x >= seen.left()) & (x <= seen.right()) & (y >= seen.top()) & (y <= seen.bottom())
        wanted = np.flatnonzero(near).tolist()
        if len(wanted) > _MOST:
            wanted = []
        for index in set(self._items) - set(wanted):
            self._box.removeItem(self._items.pop(index))
        for index in wanted:
            if index not in self._items:
                self._items[index] = self._picture(index, thumbnails[index])

    def _picture(self, index: int, thumbnail: NDArray[np.uint8]) -> QGraphicsPixmapItem:
        inner = PICTURE - 2 * _FRAME
        whole = QPixmap(PICTURE, PICTURE)
        whole.fill(QColor(self._points.colours[index]))
        painter = QPainter(whole)
        painter.drawImage(_FRAME, _FRAME, thumbnail_image(thumbnail).scaled(inner, inner))
        painter.setPen(QPen(QColor("#000000")))
        painter.drawRect(0, 0, PICTURE - 1, PICTURE - 1)
        painter.end()
        item = QGraphicsPixmapItem(whole)
        item.setFlag(QGraphicsPixmapItem.GraphicsItemFlag.ItemIgnoresTransformations)
        item.setOffset(-PICTURE / 2, -PICTURE / 2)
        place = self._points.positions[index]
        item.setPos(QPointF(float(place[0]), float(place[1])))
        self._box.addItem(item, ignoreBounds=True)
        return item
