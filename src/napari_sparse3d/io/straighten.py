"""An oblique scan on the patient's own axes, so that napari draws it where it is."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.io.patient_world import undrawn
from napari_sparse3d.volume import Volume

_MAX_VOXELS = 2**31
_SLAB_VOXELS = 2_000_000
"""At a time, so that progress is seen and a cancellation heard."""
_LEAST_SHARE = 0.5
"""Of the weight that must be image data; as when a recipe resamples."""


def straightened(volume: Volume) -> Generator[tuple[int, int], None, Volume]:
    """Resample a volume onto a grid along the patient's axes, over the whole of its box, with its own spacing.

    Linear, from image data alone (finite; above ``meta["padding"]`` in a volume of integers); labels by the nearest
    voxel.

    Parameters
    ----------
    volume : Volume
        Oblique or sheared as it may be.

    Yields
    ------
    tuple of int
        Slices that are done, and all of them.

    Returns
    -------
    Volume
        Integers stay integers; only where no integer type holds what is no image data as well (as of most uint64) they
        become float64. What lies outside the scan is no image data: 0 in labels, NaN in floats, and else
        ``meta["padding"]``. What was done stands in ``meta["repairs"]``.

    Raises
    ------
    InputError
        If the grid would have more than 2^31 voxels.
    """
    shape, affine = _grid(volume)
    to_old = np.linalg.inv(volume.affine) @ affine
    is_labels = bool(volume.meta.get("labels"))
    data, inside, padding = _image_data(volume, is_labels=is_labels)
    out = np.empty(shape, dtype=data.dtype)
    values_image = _image(data if is_labels else np.where(inside, data, 0))
    share_image = None if is_labels else _image(inside.astype(np.float32))
    outside = 0 if is_labels else np.nan if padding is None else padding
    step = max(1, _SLAB_VOXELS // (shape[1] * shape[2]))
    for first in range(0, shape[0], step):
        yield first, shape[0]
        size = (min(step, shape[0] - first), *shape[1:])
        place = to_old.copy()
        place[:3, 3] += first * to_old[:3, 0]
        if share_image is None:
            out[first : first + step] = _sampled(values_image, place, size, sitk.sitkNearestNeighbor)
            continue
        share = _sampled(share_image, place, size, sitk.sitkLinear)
        values = _sampled(values_image, place, size, sitk.sitkLinear, sitk.sitkFloat64)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(share >= _LEAST_SHARE, values / share, outside)
        out[first : first + step] = np.rint(mean) if out.dtype.kind in "iu" else mean
    meta = dict(volume.meta)
    how = "nearest voxel" if is_labels else "linear"
    degrees = undrawn(volume.affine, volume.shape).degrees
    meta["repairs"] = [*meta.get("repairs", []), f"resampled onto the patient's axes by {degrees:.1f} degrees ({how})"]
    if padding is not None:
        meta["padding"] = padding
    return replace(volume, data=out, affine=affine, meta=meta)


def _grid(volume: Volume) -> tuple[tuple[int, int, int], NDArray[np.float64]]:
    """Shape and affine of a grid along the world's axes around a volume's box, middle on middle."""
    spacing = np.array(volume.spacing_mm)
    corners = np.array(list(product(*((-0.5, n - 0.5) for n in volume.shape))))
    world = corners @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    low, high = world.min(axis=0), world.max(axis=0)
    z, y, x = (int(n) for n in np.maximum(np.ceil((high - low) / spacing - 1e-6), 1))
    if prod((z, y, x)) > _MAX_VOXELS:
        raise InputError(f"along the patient's axes this scan would need a grid of {z} x {y} x {x}; crop it first")
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (low + high) / 2 - spacing * (np.array([z, y, x]) - 1) / 2
    return (z, y, x), affine


def _image_data(volume: Volume, *, is_labels: bool) -> tuple[NDArray[Any], NDArray[np.bool_], float | None]:
    """The values in a type that can hold what is no image data, which voxels are some, and what the others hold."""
    data = volume.data
    if data.dtype.kind == "b":
        data = data.view(np.uint8)
    if is_labels:
        return data, np.ones(data.shape, dtype=bool), None
    if data.dtype.kind == "f":
        wide = data if data.dtype.itemsize >= 4 else data.astype(np.float32)
        return wide, np.isfinite(data), None
    known = volume.meta.get("padding")
    padding = int(known) if isinstance(known, (int, float)) and not isinstance(known, bool) else int(data.min()) - 1
    inside = data > padding if known is not None else np.ones(data.shape, dtype=bool)
    wide_type = np.result_type(data.dtype, np.min_scalar_type(padding))
    if wide_type.kind not in "iu":  # no integer type holds both: uint64 and -1
        return data.astype(np.float64), inside, None
    return data.astype(wide_type, copy=False), inside, padding


def _image(data: NDArray[Any]) -> sitk.Image:
    """With voxels of size 1 along the axes: so any affine will do, where SimpleITK's images have perpendicular axes."""
    return sitk.GetImageFromArray(np.ascontiguousarray(data))


def _sampled(
    image: sitk.Image,
    to_old: NDArray[np.float64],
    size: tuple[int, ...],
    interpolator: int,
    pixel: int = sitk.sitkUnknown,
) -> NDArray[Any]:
    """Values at the places that ``to_old`` gives to the voxels of a new grid; 0 beyond the outermost voxels' edges."""
    transform = sitk.AffineTransform(3)  # type: ignore[no-untyped-call]
    transform.SetMatrix(np.ascontiguousarray(to_old[2::-1, 2::-1]).ravel().tolist())  # type: ignore[no-untyped-call]
    transform.SetTranslation(to_old[2::-1, 3].tolist())  # type: ignore[no-untyped-call]
    done = sitk.Resample(
        image, list(size[::-1]), transform, interpolator, (0.0,) * 3, (1.0,) * 3, np.eye(3).ravel().tolist(), 0.0, pixel
    )
    return np.asarray(sitk.GetArrayFromImage(done))
