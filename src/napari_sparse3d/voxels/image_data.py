"""Which voxels of a volume are image data at all.

Not are: values that are not finite, and in a volume of integers what lies at or below ``meta["padding"]`` (pixel
padding of DICOM, see :mod:`napari_sparse3d.io.dicom.padding`). Such a voxel is never active, sets no threshold and no
scale, and nothing is interpolated from it.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.arrays import NUMPY, Array, Arrays


def padding_of(volume: Volume) -> float | None:
    """What padded voxels of a volume of integers hold; ``None`` where it has none."""
    padding = volume.meta.get("padding")
    known = isinstance(padding, (int, float)) and not isinstance(padding, bool) and math.isfinite(padding)
    return padding if known and volume.data.dtype.kind in "iu" else None


def image_data(volume: Volume, data: Array, arrays: Arrays = NUMPY) -> Array | None:
    """(Z, Y, X) bool: which voxels are image data; ``None`` where all are, which costs a volume of integers nothing.

    Parameters
    ----------
    volume : Volume
    data : array
        Its values, of the kind of ``arrays``.
    arrays : Arrays

    Raises
    ------
    InputError
        If none is.
    """
    if volume.data.dtype.kind == "f":
        finite = arrays.is_finite(data)
        n_bad = volume.data.size - arrays.count(finite)
        if n_bad == 0:
            return None
        _say_not_finite(volume, n_bad)
        return finite
    padding = padding_of(volume)
    if padding is None:
        return None
    inside = volume.data > padding  # by numpy: torch compares integers with a number as float32
    n_inside = int(np.count_nonzero(inside))
    if n_inside == 0:
        raise InputError(f"all {inside.size:,} values of {volume.name!r} are padding; there is nothing to see")
    return None if n_inside == inside.size else arrays.of(inside)


def _say_not_finite(volume: Volume, n_bad: int) -> None:
    """Warn that ``n_bad`` values are no image data.

    Raises
    ------
    InputError
        If that is all of them.
    """
    size = volume.data.size
    if n_bad == size:
        raise InputError(f"none of the {size:,} values of {volume.name!r} is a finite number; the scan is damaged")
    warnings.warn(
        f"{n_bad:,} of {size:,} values of {volume.name!r} are not finite; they are no image data and never active",
        stacklevel=5,
    )


def values_inside(data: Array, inside: Array | None) -> Array:
    """The values that are image data: the array itself where all are, else (K,)."""
    return data if inside is None else data[inside]
