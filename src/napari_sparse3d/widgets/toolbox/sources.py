"""From layers to volumes, and where what was made of a volume lies in the viewer. Any object with a layer's attributes
will do: no Qt, no napari."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.identity import CASE, CaseIdentity
from napari_sparse3d.errors import InputError
from napari_sparse3d.io.layers import geometry_metadata
from napari_sparse3d.io.patient_world import STORED_AXES, display_geometry
from napari_sparse3d.volume import Volume, mask_of
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.toolbox.length import mm_in

Point = tuple[float, float, float]

LABEL = "label_value"
"""Key of ``layer.metadata``: the label that a layer shows alone, of the label map that its file holds."""
OWN = "napari_sparse3d"
"""Key of ``layer.metadata`` under which our own layers say what they are."""


@dataclass(frozen=True)
class Placement:
    """How a layer's data coordinates lie in the world: arguments of every napari layer.

    Attributes
    ----------
    scale, translate, rotate, shear, affine, units, axis_labels
        As napari has them, for three axes: those of the scan's layer, for another grid over it.
    volume : Volume or None
        The scan's volume with the grid's own affine; None over a scan of which no place in the patient is known.
    """

    scale: tuple[float, ...]
    translate: tuple[float, ...]
    rotate: NDArray[np.float64]
    shear: NDArray[np.float64]
    affine: NDArray[np.float64]
    units: tuple[Any, ...]
    axis_labels: tuple[str, ...]
    volume: Volume | None = field(default=None, repr=False)

    def arguments(self) -> dict[str, Any]:
        """As keyword arguments."""
        return {
            "scale": self.scale,
            "translate": self.translate,
            "rotate": self.rotate,
            "shear": self.shear,
            "affine": self.affine,
            "units": self.units,
            "axis_labels": self.axis_labels,
        }

    def metadata(self, shape: tuple[int, ...], *, labels: bool) -> dict[str, Any]:
        """What the layer keeps, so that it is saved with its geometry; nothing where there is none in the patient.

        Neither the scan's unit nor its modality: what lies over a scan (a mask, activations) is no measurement of it.
        """
        if self.volume is None:
            return {}
        meta: Mapping[str, Any] = {"labels": True} if labels else {}
        if "repairs" in self.volume.meta:
            meta = {**meta, "repairs": self.volume.meta["repairs"]}
        about = replace(self.volume, unit="a.u.", modality="", meta=meta)
        return geometry_metadata(about, about.affine, shape)


def in_patient(layer: Any) -> bool:
    """Whether a layer says where its voxels lie in the patient."""
    return layer.metadata.get("axes") == STORED_AXES and "affine" in layer.metadata


def is_turned(layer: Any) -> bool:
    """Whether a layer that is in the patient was turned or stretched by hand: its axes are then not the patient's."""
    linear, _ = world_of(layer)
    expected = np.diag(display_geometry(layer.metadata["affine"])["scale"])
    return not np.allclose(linear, expected, rtol=0, atol=1e-6 * float(np.abs(expected).max()))


def is_moved(layer: Any) -> bool:
    """Whether a layer that is in the patient was moved, by over a thousandth of a millimetre, from where it belongs."""
    _, origin = world_of(layer)
    return not np.allclose(origin, display_geometry(layer.metadata["affine"])["translate"], rtol=0, atol=1e-3)


def world_of(layer: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A layer's last three axes in the viewer's world, in the layer's own units.

    Returns
    -------
    ndarray, ndarray
        (3, 3), by which an index is turned and stretched; (3,), where voxel 0 lies.
    """
    before = layer.ndim - 3
    zero = np.zeros(layer.ndim)
    origin = np.asarray(layer.data_to_world(zero), dtype=np.float64)
    steps = [np.asarray(layer.data_to_world(zero + np.eye(layer.ndim)[before + axis])) - origin for axis in range(3)]
    return np.array(steps).T[before:], origin[before:]


def is_volume(layer: Any) -> bool:
    """Whether a layer can be a scan: an image or labels with three axes, or time and three, not made by us."""
    return (
        type(layer).__name__ in ("Image", "Labels")
        and not getattr(layer, "rgb", False)
        and getattr(layer, "ndim", 0) in (3, 4)
        and OWN not in layer.metadata
    )


def why_no_volume(layer: Any) -> str:
    """Why a layer is not offered as a volume; ``""`` where there is nothing to say."""
    if OWN in layer.metadata:
        return ""
    if type(layer).__name__ not in ("Image", "Labels"):
        return ""
    if getattr(layer, "rgb", False):
        return f"“{layer.name}” is a colour picture; a volume has one value a voxel."
    if layer.ndim < 3:
        return f"“{layer.name}” is a single picture; a volume has three axes. Open the whole series."
    if layer.ndim > 4:
        return f"“{layer.name}” has {layer.ndim} axes; choose one volume of it first."
    return ""


def is_labels(layer: Any) -> bool:
    """Whether a layer holds labels, of which a shape is made: of one of them, or of all."""
    return type(layer).__name__ == "Labels"


def volume_of_layer(layer: Any, frame: int = 0, label: int | None = None) -> Volume:
    """The volume that a layer shows, without a copy; of labels their shape, which is one.

    Parameters
    ----------
    layer : napari.layers.Image
        Opened by this plugin (with the scan's true geometry), or any other image: its grid is then measured in the
        layer's own units, and stands nowhere in a patient.
    frame : int
        Which time point, where the layer has four axes.
    label : int, optional
        Which label, of a layer of labels; all of them, unless given.

    Raises
    ------
    InputError
        If the layer is no volume, or has no such label.
    """
    reason = why_no_volume(layer)
    if reason or layer.ndim not in (3, 4):
        raise InputError(reason or f"“{layer.name}” is no volume")
    data = np.asarray(layer.data[frame] if layer.ndim == 4 else layer.data)
    if is_labels(layer):
        affine = layer.metadata["affine"] if in_patient(layer) else _affine_by_layer(layer)
        return mask_of(Volume(data, affine, name=layer.name), label)
    if in_patient(layer):
        about = layer.metadata
        return Volume(
            data,
            about["affine"],
            about.get("unit", "a.u."),
            about.get("modality", ""),
            layer.name,
            about.get("meta", {}),
        )
    return Volume(data, _affine_by_layer(layer), "a.u.", "", layer.name)


def _affine_by_layer(layer: Any) -> NDArray[np.float64]:
    """The spacing of a layer, in mm where its units are lengths: where it lies in a patient is not known."""
    linear, _ = world_of(layer)
    spacing = np.linalg.norm(linear * np.array([mm_in(unit) or 1.0 for unit in layer.units[-3:]])[:, None], axis=0)
    return np.diag([*spacing, 1.0])


def label_volume(layer: Any, frame: int = 0) -> Volume:
    """The label map that a Labels layer shows, without a copy.

    One that was read with its geometry lies where that says. Any other lies where it is drawn: (I, P, L) of the
    viewer's world are (-S, -A, -R).

    Raises
    ------
    InputError
        If it is no Labels layer of three axes, or four of which the first is time.
    """
    if type(layer).__name__ != "Labels" or layer.ndim not in (3, 4):
        raise InputError(f"“{layer.name}” is no label map of a volume; choose a Labels layer with three axes")
    data = np.asarray(layer.data[frame] if layer.ndim == 4 else layer.data)
    if in_patient(layer):
        return Volume(data, layer.metadata["affine"], "a.u.", "", layer.name)
    linear, origin = world_of(layer)
    mm = np.array([mm_in(unit) or 1.0 for unit in layer.units[-3:]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = -linear * mm[:, None], -origin * mm
    return Volume(data, affine, "a.u.", "", layer.name)


def place_of(layer: Any, frame: int, index: NDArray[np.float64]) -> Point:
    """Where an index of a scan's layer lies, (s, a, r) in mm of the affine of :func:`volume_of_layer`."""
    s, a, r = (volume_of_layer(layer, frame).affine @ [*index[-3:], 1.0])[:3].tolist()
    return s, a, r


def source_path(layer: Any) -> Path | None:
    """The file or folder that a layer was opened from; None where there is none (or only a sample)."""
    source = getattr(layer, "source", None)
    if source is None:
        return None
    if source.path:
        return Path(source.path)
    if source.sample is not None and tuple(source.sample) == ("napari-sparse3d", "head_mri"):
        from napari_sparse3d.io.samples import sample_head_mri_path

        return sample_head_mri_path()
    return None


def case_of(layer: Any) -> CaseIdentity:
    """Which case of tables a layer shows, as far as whoever opened it has said."""
    known = layer.metadata.get(CASE)
    if isinstance(known, CaseIdentity):
        return known
    return CaseIdentity(source_path(layer), layer.metadata.get("series"))


def source_of(layer: Any, frame: int, label: int | None = None) -> repeat.Source:
    """What reads the layer's volume again.

    Raises
    ------
    InputError
        If it was not opened from a file.
    """
    path = source_path(layer)
    series, repair = layer.metadata.get("series"), layer.metadata.get("repair")
    shown = layer.metadata.get(LABEL, "all")
    of_labels = (shown if label is None or shown != "all" else str(label)) if is_labels(layer) else None
    time = frame if layer.ndim == 4 else None
    found = None if path is None else repeat.Source(path, series, time, repair, of_labels)
    return repeat.require_source(found)


def placement(layer: Any, volume: Volume, affine: NDArray[np.float64]) -> Placement:
    """Where a grid over the same scan lies in the viewer.

    Parameters
    ----------
    layer : napari.layers.Image
        The scan, wherever the user has it.
    volume : Volume
        The volume that was made from it.
    affine : ndarray
        (4, 4), index of the other grid to world mm, as ``VoxelSet.affine``: along the scan's axes, in any order.

    Returns
    -------
    Placement
        For a layer of three axes.
    """
    to_scan = np.linalg.inv(volume.affine) @ affine
    ratio, first = np.diag(to_scan)[:3], to_scan[:3, 3]
    in_place = replace(volume, affine=affine) if in_patient(layer) else None
    if not np.allclose(to_scan[:3, :3], np.diag(np.abs(ratio)), rtol=0, atol=1e-6 * float(np.abs(to_scan).max())):
        return _by_matrix(layer, to_scan, in_place)
    scale = np.asarray(layer.scale, dtype=np.float64)[-3:]
    rotate = np.asarray(layer.rotate, dtype=np.float64)[-3:, -3:]
    shear = _shear_matrix(layer)
    translate = np.asarray(layer.translate, dtype=np.float64)[-3:] + rotate @ shear @ (scale * first)
    world = np.eye(4)
    given = np.asarray(layer.affine.affine_matrix, dtype=np.float64)
    world[:3, :3], world[:3, 3] = given[-4:-1, -4:-1], given[-4:-1, -1]
    return Placement(
        tuple((scale * ratio).tolist()),
        tuple(translate.tolist()),
        rotate,
        shear,
        world,
        tuple(layer.units)[-3:],
        tuple(layer.axis_labels)[-3:],
        in_place,
    )


def _by_matrix(layer: Any, to_scan: NDArray[np.float64], volume: Volume | None) -> Placement:
    """Of a grid whose axes are the layer's in another order or direction: napari's scale and shear cannot say that."""
    linear, origin = world_of(layer)
    scan = np.eye(4)
    scan[:3, :3], scan[:3, 3] = linear, origin
    unit, still = np.eye(3), (0.0, 0.0, 0.0)
    names = tuple(layer.axis_labels)[-3:]
    return Placement((1.0, 1.0, 1.0), still, unit, unit, scan @ to_scan, tuple(layer.units)[-3:], names, volume)


def _shear_matrix(layer: Any) -> NDArray[np.float64]:
    """The layer's shear, which napari keeps as the entries above the diagonal, for its last three axes."""
    given = np.asarray(layer.shear, dtype=np.float64)
    if given.ndim == 2:
        return given[-3:, -3:]
    matrix = np.eye(layer.ndim)
    matrix[np.triu_indices(layer.ndim, 1)] = given
    return matrix[-3:, -3:]


def field_affine(
    voxels_affine: NDArray[np.float64], offset: tuple[int, int, int], step: Point, centre: Point
) -> NDArray[np.float64]:
    """Index of a layer's site to world mm.

    Parameters
    ----------
    voxels_affine : ndarray
        (4, 4) of the voxel set.
    offset : tuple of int
        Where voxel (0, 0, 0) of the set lies in the network's field, (z, y, x).
    step, centre : tuple of float
        Site ``o`` of the layer is centred on field voxel ``o * step + centre``, on every axis.
    """
    to_voxels = np.eye(4)
    to_voxels[:3, :3] = np.diag(step)
    to_voxels[:3, 3] = np.asarray(centre) - np.asarray(offset, dtype=np.float64)
    return np.asarray(voxels_affine @ to_voxels)


def slice_shown(layer: Any, point: NDArray[np.float64], displayed: tuple[int, ...]) -> tuple[int, float] | None:
    """Which slice of a scan the viewer shows.

    Parameters
    ----------
    layer : napari.layers.Image
        The scan.
    point : ndarray
        Where the viewer's sliders stand, in the world and in the layer's units; the last axes are the layer's.
    displayed : tuple of int
        The two axes on the screen, counted among the last three.

    Returns
    -------
    axis, position
        The third axis, and where the slice lies on it, in voxels; None where the viewer stands outside the scan.
    """
    (axis,) = set(range(3)) - set(displayed)
    at = float(layer.world_to_data(np.asarray(point)[-layer.ndim :])[layer.ndim - 3 + axis])
    return (axis, at) if 0 <= round(at) < layer.data.shape[layer.ndim - 3 + axis] else None
