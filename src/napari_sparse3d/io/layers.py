"""Volumes as napari's layer data tuples, and back. No napari, no Qt: plain arrays and dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.io.patient_world import DISPLAY_AXES, STORED_AXES, canonical_axes, display_geometry, undrawn
from napari_sparse3d.io.series import VolumeSequence
from napari_sparse3d.text import printable
from napari_sparse3d.volume import Volume, whole_labels

GEOMETRY_KEYS = ("affine", "axes", "unit", "modality", "meta", "drawn", "times_s")
"""What :func:`geometry_metadata` writes into a layer's metadata."""

LayerData = tuple[NDArray[Any], dict[str, Any], str]

_CT_WINDOW = (-160.0, 240.0)
"""Soft tissue, HU: level 40, width 400."""


def layer_of(scan: Volume | VolumeSequence, name: str = "") -> LayerData:
    """A layer for a volume, or one layer with a time axis for a sequence.

    Parameters
    ----------
    scan : Volume or VolumeSequence
    name : str
        Of the layer, such as ``SeriesInfo.title``; unless given, the scan's.

    Returns
    -------
    tuple
        ``(data, kwargs, "image" | "labels")``, placed in the patient's world by
        :func:`~napari_sparse3d.io.patient_world.display_geometry`. ``kwargs["metadata"]`` has the true ``affine``,
        ``unit``, ``modality`` and ``meta``, from which :func:`scan_of` makes the volume again, and ``drawn``: which
        obliqueness napari does not draw, where there is any.

    Raises
    ------
    InputError
        If ``meta`` says that these are labels and they are not whole numbers.
    """
    data, affine = _in_canonical_axes(scan.data, scan.affine)
    in_time = data.ndim == 4
    if in_time and len(data) == 1:
        data, in_time = data[0], False
    geometry = display_geometry(affine)
    kwargs: dict[str, Any] = {
        "name": printable(name or scan.name),
        "scale": (1.0, *geometry["scale"]) if in_time else geometry["scale"],
        "translate": (0.0, *geometry["translate"]) if in_time else geometry["translate"],
        "units": ("pixel", "mm", "mm", "mm") if in_time else ("mm", "mm", "mm"),
        "axis_labels": ("T", *DISPLAY_AXES) if in_time else DISPLAY_AXES,
        "metadata": geometry_metadata(scan, affine, data.shape[-3:]),
    }
    if scan.meta.get("labels"):
        return whole_labels(np.asarray(data)), kwargs, "labels"
    kwargs["contrast_limits"] = contrast_limits(scan)
    return data, kwargs, "image"


def geometry_metadata(
    scan: Volume | VolumeSequence, affine: NDArray[np.float64], shape: tuple[int, ...]
) -> dict[str, Any]:
    """What a layer keeps of its scan, so that :func:`scan_of` makes a volume of it again.

    Parameters
    ----------
    scan : Volume or VolumeSequence
        Where unit, modality and tags come from.
    affine : ndarray
        (4, 4) of the array in the layer: the scan's own, or that of another grid over it.
    shape : tuple of int
        (Z, Y, X) of that array.
    """
    said = undrawn(affine, shape).text
    return {
        "affine": affine,
        "axes": STORED_AXES,
        "unit": scan.unit,
        "modality": scan.modality,
        "meta": dict(scan.meta),
        **({"drawn": said} if said else {}),
        **({"times_s": scan.times_s} if isinstance(scan, VolumeSequence) and scan.times_s else {}),
    }


def _in_canonical_axes(data: NDArray[Any], affine: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The same voxels, as a view, with their axes in the order (S, A, R): napari slices along the axes of an array."""
    order = canonical_axes(affine)
    if order == (0, 1, 2):
        return data, affine
    before = data.ndim - 3
    columns = affine[:, [*order, 3]]
    return data.transpose(*range(before), *(before + axis for axis in order)), columns


def scan_of(data: NDArray[Any], metadata: Mapping[str, Any], name: str) -> Volume | VolumeSequence:
    """The volume of a layer that :func:`layer_of` made (or a sequence, for a layer with a time axis).

    A sequence has its times as long as the layer has as many time points as were read.

    Raises
    ------
    InputError
        If the layer was made by something else: its geometry would be a guess.
    """
    if metadata.get("axes") != STORED_AXES or "affine" not in metadata:
        raise InputError(
            f"the layer {name!r} has no geometry of a scan: open the scan with this plugin and make labels from it"
        )
    parts = (metadata.get("unit", "a.u."), metadata.get("modality", ""), name, metadata.get("meta", {}))
    array = np.asarray(data)
    if array.ndim == 4:
        times_s = metadata.get("times_s")
        if times_s is not None and len(times_s) != len(array):
            times_s = None  # cropped in the viewer: which of the time points these are is not known
        return VolumeSequence(array, metadata["affine"], *parts, times_s=times_s)
    return Volume(array, metadata["affine"], *parts)


def contrast_limits(scan: Volume | VolumeSequence) -> tuple[float, float]:
    """The range of greys to begin with: the file's own window, the modality's, or the bulk of the values."""
    centre, width = scan.meta.get("WindowCenter"), scan.meta.get("WindowWidth")
    if centre is not None and width is not None and width > 0:
        low, high = float(centre) - float(width) / 2, float(centre) + float(width) / 2
        # a window is in the values of the file; after another rescaling (Philips) it may lie outside
        if low < float(np.nanmax(scan.data)) and high > float(np.nanmin(scan.data)):
            return low, high
    if scan.unit == "HU":
        return _CT_WINDOW
    step = max(1, round((scan.data.size / 500_000) ** (1 / 3)))
    sample = scan.data[..., ::step, ::step, ::step]
    sample = sample[np.isfinite(sample)]
    foreground = sample[sample != sample.min()] if sample.size else sample
    low, high = np.percentile(foreground, [1, 99.5]).tolist() if foreground.size else (0.0, 1.0)
    low = min(low, 0.0) if low > 0 else low
    return (low, high) if high > low else (low, low + 1.0)
