"""Where the user points: the mouse on the canvas, a point, a rectangle, a label."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels, Layer, Points, Shapes
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.widgets.pick.state import Target
from napari_sparse3d.widgets.repeat import Pointed
from napari_sparse3d.widgets.toolbox.layers import frame_of
from napari_sparse3d.widgets.toolbox.length import converted, in_units_of, mm_in
from napari_sparse3d.widgets.toolbox.sources import OWN, case_of, in_patient, label_volume, place_of, volume_of_layer


def is_drawn(layer: Layer | None) -> bool:
    """Whether a layer is one that says where: points, shapes or labels of the user's, or labels that were read."""
    return isinstance(layer, (Points, Shapes, Labels)) and OWN not in layer.metadata


def at_place(viewer: Viewer, scan: Layer, world: NDArray[np.float64]) -> Target:
    """What a place of the viewer's world is in a scan.

    Raises
    ------
    InputError
        In 3D, where the mouse is over no voxel.
    """
    if viewer.dims.ndisplay == 3:
        raise InputError("in 3D the mouse is over no voxel; go back to slices (the square at the lower left) and click")
    point = in_units_of(viewer, scan, world)
    if len(point) < scan.ndim:
        raise InputError("the viewer shows fewer axes than the scan has")
    return _target(viewer, scan, np.asarray(scan.world_to_data(point), dtype=np.float64), None)


def by_drawing(viewer: Viewer, scan: Layer | None, drawn: Layer) -> Target:
    """What the chosen point, rectangle or label of a layer means.

    Raises
    ------
    InputError
        If nothing is drawn in it, or there is no scan.
    """
    if isinstance(drawn, Labels):
        frame = frame_of(viewer, drawn)
        pointed = Pointed(label=int(drawn.selected_label))
        return _of_layer(drawn, label_volume(drawn, frame), frame, pointed)
    if scan is None:
        raise InputError("open a CT, and choose it above")
    if drawn.ndim < 3:
        raise InputError(
            f"“{drawn.name}” has {drawn.ndim} axes, so it is at no depth; draw in a layer made while the scan was open"
        )
    if not len(drawn.data):
        raise InputError(f"“{drawn.name}” is empty; draw in it first")
    number = max(drawn.selected_data, default=len(drawn.data) - 1)
    if isinstance(drawn, Points):
        return _target(viewer, scan, _index_in(scan, drawn, np.asarray(drawn.data[number])), None)
    corners = np.array([_index_in(scan, drawn, corner) for corner in np.asarray(drawn.data[number])])
    low, high = corners.min(axis=0), corners.max(axis=0)
    spacing = np.array(volume_of_layer(scan, frame_of(viewer, scan)).spacing_mm)
    box = (high - low)[-3:] * spacing
    flat = box < 1e-3
    if flat.sum() > 1:
        raise InputError("the shape is a line; draw a rectangle around what is meant")
    box[flat] = box[~flat].mean()  # a rectangle in one slice: as deep as it is wide
    s, a, r = box.tolist()
    return _target(viewer, scan, (low + high) / 2, (s, a, r))


def _target(
    viewer: Viewer, scan: Layer, index: NDArray[np.float64], box_mm: tuple[float, float, float] | None
) -> Target:
    frame = frame_of(viewer, scan)
    pointed = Pointed(place_of(scan, frame, index), box_mm)
    return _of_layer(scan, volume_of_layer(scan, frame), frame, pointed)


def _of_layer(layer: Layer, volume: Volume, frame: int, pointed: Pointed) -> Target:
    known = in_patient(layer)
    measured = known or None not in [mm_in(unit) for unit in tuple(layer.units)[-3:]]
    own_mm = volume.spacing_mm if measured else None
    return Target(volume, str(layer.unique_id), layer.name, frame, pointed, case_of(layer), own_mm, known)


def _index_in(scan: Layer, drawn: Layer, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """A point of another layer as an index of the scan, its last three axes."""
    world = np.asarray(drawn.data_to_world(point), dtype=np.float64)[-3:]
    here = np.zeros(scan.ndim)
    here[-3:] = converted(world, tuple(drawn.units)[-3:], tuple(scan.units)[-3:])
    return np.asarray(scan.world_to_data(here), dtype=np.float64)[-3:]
