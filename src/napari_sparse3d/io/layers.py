"""Volumes as napari's layer data tuples, and back. No napari, no Qt: plain arrays and dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.io.series import VolumeSequence
from napari_sparse3d.text import printable
from napari_sparse3d.volume import Volume, whole_labels

LayerData = tuple[NDArray[Any], dict[str, Any], str]

_CT_WINDOW = (-160.0, 240.0)
"""Soft tissue, HU: level 40, width 400."""


def display_geometry(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> dict[str, tuple[float, ...]]:
    """Scale and translation: an (S, A, R) array is shown superior up and the patient's right on the left.

    Obliqueness is dropped for display, as napari draws oblique planes wrongly; the layer's metadata keeps the affine.
    It is the convention of the plugin napari-nifti, so a volume opened by either lies in the same place.

    Parameters
    ----------
    affine : ndarray
        (4, 4), as ``Volume.affine``.
    shape : tuple of int
        (Z, Y, X) of the array that is shown.

    Returns
    -------
    dict
        ``scale`` and ``translate``, each (z, y, x), in mm.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    far = affine[:3, 3] + (np.asarray(shape) - 1) * spacing
    return {"scale": tuple((-spacing).tolist()), "translate": tuple(far.tolist())}


def display_geometry_within(
    affine: NDArray[np.float64], scan_affine: NDArray[np.float64], scan_shape: tuple[int, int, int]
) -> dict[str, tuple[float, ...]]:
    """Scale and translation that show another grid over its scan: a voxel set, the sites of a layer.

    Parameters
    ----------
    affine : ndarray
        (4, 4) of the grid that is shown; its axes run along the scan's.
    scan_affine : ndarray
        (4, 4) of the scan.
    scan_shape : tuple of int
        (Z, Y, X) of the scan: the display is mirrored about the scan's box, not about this grid's own.

    Returns
    -------
    dict
        ``scale`` and ``translate``, each (z, y, x), in mm.
    """
    scan = display_geometry(scan_affine, scan_shape)
    first = np.linalg.solve(scan_affine, affine[:, 3])[:3]  # this grid's voxel (0, 0, 0), in voxels of the scan
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    translate = np.array(scan["translate"]) + np.array(scan["scale"]) * first
    return {"scale": tuple((-spacing).tolist()), "translate": tuple(translate.tolist())}


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
        ``(data, kwargs, "image" | "labels")``; ``kwargs["metadata"]`` has ``affine``, ``unit``, ``modality`` and
        ``meta``, from which :func:`scan_of` makes the volume again.

    Raises
    ------
    InputError
        If ``meta`` says that these are labels and they are not whole numbers.
    """
    data, in_time = scan.data, False
    if isinstance(scan, VolumeSequence):
        in_time = len(scan) > 1
        data = data if in_time else data[0]
    z, y, x = data.shape[-3:]
    geometry = display_geometry(scan.affine, (z, y, x))
    kwargs: dict[str, Any] = {
        "name": printable(name or scan.name),
        "scale": (1.0, *geometry["scale"]) if in_time else geometry["scale"],
        "translate": (0.0, *geometry["translate"]) if in_time else geometry["translate"],
        "units": ("pixel", "mm", "mm", "mm") if in_time else ("mm", "mm", "mm"),
        "axis_labels": ("T", "S", "A", "R") if in_time else ("S", "A", "R"),
        "metadata": {
            "affine": scan.affine,
            "axes": "SAR",
            "unit": scan.unit,
            "modality": scan.modality,
            "meta": dict(scan.meta),
        },
    }
    if scan.meta.get("labels"):
        return whole_labels(np.asarray(data)), kwargs, "labels"
    kwargs["contrast_limits"] = contrast_limits(scan)
    return data, kwargs, "image"


def scan_of(data: NDArray[Any], metadata: Mapping[str, Any], name: str) -> Volume | VolumeSequence:
    """The volume of a layer that :func:`layer_of` made (or a sequence, for a layer with a time axis).

    Raises
    ------
    InputError
        If the layer was made by something else: its geometry would be a guess.
    """
    if metadata.get("axes") != "SAR" or "affine" not in metadata:
        raise InputError(
            f"the layer {name!r} has no geometry of a scan: open the scan with this plugin and make labels from it"
        )
    parts = (metadata.get("unit", "a.u."), metadata.get("modality", ""), name, metadata.get("meta", {}))
    array = np.asarray(data)
    if array.ndim == 4:
        return VolumeSequence(array, metadata["affine"], *parts)
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
