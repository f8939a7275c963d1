"""Three linked planes: beside the viewer's own slice the two other ones, with letters and one crosshair in all.

Each further plane is a napari viewer model of its own with napari's own canvas. Its layers are twins of the viewer's
images and labels: they share the arrays, and follow what is done to their looks. Where the sliders stand, all stand.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Vectors
from napari.qt import QtViewer
from napari.viewer import Viewer
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QObject, Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QSplitter, QVBoxLayout, QWidget

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.patient_view import show_sides
from napari_sparse3d.widgets.toolbox.clicks import Clicks
from napari_sparse3d.widgets.toolbox.layers import Mark, mark_of
from napari_sparse3d.widgets.toolbox.sources import OWN

CROSSHAIR = "crosshair"
"""Role of the layer that draws it."""
ORDERS = {0: (0, 1, 2), 1: (1, 0, 2), 2: (2, 0, 1)}
"""The order of the axes (I, P, L) of a plane, by which is sliced: axial, coronal, sagittal; head or front up."""
_FOLLOWED = ("visible", "opacity", "blending", "gamma", "contrast_limits", "colormap", "data", "name")
_PLACED = ("scale", "translate", "rotate", "shear", "affine")
_REDRAWN = ("paint", "labels_update")
_THIN = 0.003
"""Of the largest extent: how wide a line of the crosshair is."""


class LinkedPlanes(QWidget):
    """The two planes that a viewer does not show itself; they go with the widget."""

    closed = Signal()
    """The planes are gone, and the viewer is as it was."""

    def __init__(self, viewer: Viewer) -> None:
        """Of the images and labels that are open.

        Raises
        ------
        InputError
            If no layer has three axes.
        """
        super().__init__()
        if not any(_is_shown(layer) for layer in viewer.layers):
            raise InputError("open a scan first: no image or label map with three axes is in the viewer")
        self._link: _Link | None = _Link(viewer)
        self.setWindowTitle("Three planes")
        split = QSplitter(Qt.Orientation.Vertical)
        for plane in self._link.planes:
            split.addWidget(plane.canvas)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(split)
        self._clicks = [Clicks(each, self, self._link.go_to) for each in self._link.viewers()]
        self.setMinimumSize(220, 300)

    @property
    def planes(self) -> list[Plane]:
        """The two; none after they were closed."""
        return [] if self._link is None else self._link.planes

    def unlink(self) -> None:
        """Let go of the viewer: the crosshair goes, nothing else changes."""
        if self._link is not None:
            link, self._link = self._link, None
            for clicks in self._clicks:
                clicks.stop()
            self._clicks = []
            link.end()
            self.closed.emit()

    def showEvent(self, event: QShowEvent | None) -> None:
        """From now on the window around it is watched: canvases must end before it does."""
        super().showEvent(event)
        window = self.window()
        if window is not None and window is not self:
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """The window closes."""
        if event is not None and event.type() == QEvent.Type.Close:
            self.unlink()
        return super().eventFilter(watched, event)

    def changeEvent(self, event: QEvent | None) -> None:
        """Taken out of its dock, by the cross at its corner or with the window: it is over."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parentWidget() is None:
            self.unlink()
            self.deleteLater()


class Plane:
    """One further plane: a model of a viewer, its canvas, and the twins of the layers."""

    def __init__(self) -> None:
        self.model = ViewerModel()
        self.canvas = QtViewer(self.model)
        self.canvas.setAcceptDrops(False)  # a file dropped here would open here alone
        self.twins: dict[str, Layer] = {}
        show_sides(self.model)

    def slice_along(self, axis: int) -> None:
        """Show the plane in which this axis of (I, P, L) is sliced."""
        before = self.model.dims.ndim - 3
        order = (*range(before), *(before + each for each in ORDERS[axis]))
        if tuple(self.model.dims.order) != order:
            self.model.dims.order = order
            self.model.reset_view()

    def close(self) -> None:
        """End the canvas."""
        self.twins.clear()
        self.model.layers.clear()
        self.canvas.close()


class _Link:
    """Keeps two planes as the viewer is, and the sliders of all three together. Holds nothing of Qt's but canvases."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._connected: list[tuple[Any, Callable[..., None]]] = []
        self._moving = False
        self.planes = [Plane(), Plane()]
        self._step = np.array(viewer.layers.extent.step, dtype=np.float64)
        for layer in viewer.layers:
            self._add(layer)
        layers, dims = viewer.layers.events, viewer.dims.events
        self._connect(layers.inserted, self._inserted)
        self._connect(layers.removed, self._removed)
        self._connect(layers.reordered, self._reordered)
        self._connect(dims.point, self._moved)
        self._connect(dims.order, self._turned)
        self._connect(dims.ndisplay, self._turned)
        for plane in self.planes:
            plane.model.dims.events.point.connect(self._moved)
        self._turned()
        self.go_to(np.asarray(viewer.dims.point, dtype=np.float64))

    def viewers(self) -> list[Any]:
        """The viewer itself, and the models of both planes."""
        viewer = self._viewer()
        return ([] if viewer is None else [viewer]) + [plane.model for plane in self.planes]

    def go_to(self, world: NDArray[np.float64]) -> None:
        """Put the sliders of all, and the crosshair, to a place of the world; the last axes are its own."""
        if self._moving:
            return
        self._moving = True
        try:
            for each in self.viewers():
                n = min(each.dims.ndim, len(world))
                axes = tuple(range(each.dims.ndim - n, each.dims.ndim))
                each.dims.set_point(axes, tuple(np.asarray(world, dtype=np.float64)[-n:].tolist()))
            self._cross()
        finally:
            self._moving = False

    def end(self) -> None:
        """Let everything go; the crosshair is taken out of the viewer."""
        for emitter, callback in self._connected:
            with suppress(ValueError, TypeError, RuntimeError):
                emitter.disconnect(callback)
        self._connected = []
        viewer = self._viewer()
        if viewer is not None:
            _take_cross(viewer)
        for plane in self.planes:
            plane.model.dims.events.point.disconnect(self._moved)
            plane.close()
        self.planes = []

    def _connect(self, emitter: Any, callback: Callable[..., None]) -> None:
        emitter.connect(callback)
        self._connected.append((emitter, callback))

    # -- layers --------------------------------------------------------------------------------------------------------

    def _add(self, layer: Layer) -> None:
        if not _is_shown(layer):
            return
        for plane in self.planes:
            twin = Layer.create(*layer.as_layer_data_tuple())
            plane.twins[str(layer.unique_id)] = twin
            plane.model.add_layer(twin)
        for names, callback in (((*_FOLLOWED, *_PLACED), self._copy), (_REDRAWN, self._redraw)):
            for name in names:
                if hasattr(layer.events, name):
                    self._connect(getattr(layer.events, name), callback)

    def _copy(self, event: Any) -> None:
        layer = event.source
        for plane in self.planes:
            twin = plane.twins.get(str(layer.unique_id))
            if twin is not None and hasattr(twin, event.type):
                setattr(twin, event.type, getattr(layer, event.type))

    def _redraw(self, event: Any) -> None:
        for plane in self.planes:
            twin = plane.twins.get(str(event.source.unique_id))
            if twin is not None:
                twin.refresh()

    def _inserted(self, event: Any) -> None:
        viewer = self._viewer()
        if viewer is None or _is_cross(event.value):
            return
        self._add(event.value)
        self._reordered()
        self._cross()

    def _removed(self, event: Any) -> None:
        for plane in self.planes:
            twin = plane.twins.pop(str(event.value.unique_id), None)
            if twin is not None and twin in plane.model.layers:
                plane.model.layers.remove(twin)
        # where all layers are removed, one after the other, a crosshair that came back would be removed for ever
        self._cross(anew=False)

    def _reordered(self, _event: Any = None) -> None:
        viewer = self._viewer()
        if viewer is None:
            return
        for plane in self.planes:
            wanted = [plane.twins[name] for each in viewer.layers if (name := str(each.unique_id)) in plane.twins]
            for place, twin in enumerate(wanted):
                if plane.model.layers.index(twin) != place:
                    plane.model.layers.move(plane.model.layers.index(twin), place)

    # -- planes and sliders --------------------------------------------------------------------------------------------

    def _turned(self, _event: Any = None) -> None:
        """The planes are those that the viewer does not show itself; in 3D the coronal and the sagittal one."""
        viewer = self._viewer()
        if viewer is None:
            return
        dims = viewer.dims
        shown = dims.order[-3] - (dims.ndim - 3) if dims.ndisplay == 2 and dims.ndim >= 3 else 0
        others = [axis for axis in ORDERS if axis != (shown if shown in ORDERS else 0)]
        for plane, axis in zip(self.planes, others, strict=True):
            plane.slice_along(axis)
        self._cross()

    def _moved(self, event: Any) -> None:
        if not self._moving:
            self.go_to(np.asarray(event.source.point, dtype=np.float64))

    def _cross(self, *, anew: bool = True) -> None:
        """Draw the crosshair in all three; ``anew``: also where there is none."""
        viewer = self._viewer()
        if viewer is None:
            return
        shown = [layer for layer in viewer.layers if _is_shown(layer)]
        if not shown:
            for each in self.viewers():
                _take_cross(each)
            return
        low = np.min([layer.extent.world[0][-3:] for layer in shown], axis=0)
        high = np.max([layer.extent.world[1][-3:] for layer in shown], axis=0)
        # a line that ends a rounding error beyond the scans would move the ends of the sliders
        low, high = low + 1e-6 * (high - low), high - 1e-6 * (high - low)
        for each in self.viewers():
            if anew or any(map(_is_cross, each.layers)):
                _put_cross(each, low, high, shown[0])


def _put_cross(viewer: Any, low: NDArray[np.float64], high: NDArray[np.float64], like: Layer) -> None:
    """Two lines through the sliders' point, along the axes of the slice."""
    existing = next((layer for layer in viewer.layers if _is_cross(layer)), None)
    dims = viewer.dims
    point = np.asarray(dims.point, dtype=np.float64)
    # the smallest step of the layers is that of the sliders: with another one here they would move otherwise
    step = np.asarray(like.extent.step if existing is None else existing.scale, dtype=np.float64)[-dims.ndim :]
    if existing is None:
        step = np.concatenate([np.ones(dims.ndim - len(step)), np.abs(step)])
    lines = np.zeros((2, 2, dims.ndim))
    for number, axis in enumerate(dims.order[-2:]):
        spatial = axis - (dims.ndim - 3)
        lines[number, 0] = point
        if spatial >= 0:
            lines[number, 0, axis] = low[spatial]
            lines[number, 1, axis] = high[spatial] - low[spatial]
    lines /= step
    if existing is not None:
        existing.data = lines
        return
    width = _THIN * float((high - low).max()) / float(step[-3:].min())
    units = {"units": tuple(like.units)} if len(like.units) == dims.ndim else {}
    layer = Vectors(
        lines,
        name="crosshair",
        scale=tuple(step),
        edge_width=width,
        edge_color="#E69F00",
        vector_style="line",
        opacity=0.8,
        metadata={OWN: Mark(CROSSHAIR, "")},
        **units,
    )
    _quietly(viewer, lambda: viewer.add_layer(layer))


def _take_cross(viewer: Any) -> None:
    for layer in [each for each in viewer.layers if _is_cross(each)]:
        _quietly(viewer, partial(viewer.layers.remove, layer))


def _quietly(viewer: Any, change: Callable[[], Any]) -> None:
    """Change the list of layers; the selection, the sliders and the camera stay the user's."""
    selected, point = viewer.layers.selection.active, tuple(viewer.dims.point)
    change()
    if selected is not None and selected in viewer.layers:
        viewer.layers.selection.active = selected
    if tuple(viewer.dims.point) != point and len(viewer.dims.point) == len(point):
        viewer.dims.set_point(tuple(range(len(point))), point)


def _is_cross(layer: Layer) -> bool:
    mark = mark_of(layer)
    return mark is not None and mark.role == CROSSHAIR


def _is_shown(layer: Layer) -> bool:
    """Whether a layer has twins: pictures and masks of three axes or more."""
    return isinstance(layer, (Image, Labels)) and layer.ndim >= 3 and not getattr(layer, "rgb", False)
