"""A 3D scan with its geometry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D array with its geometry and intensity unit.

    Parameters
    ----------
    data : ndarray
        (Z, Y, X) = (S, A, R): axis 0 grows toward Superior, 1 toward Anterior, 2 toward Right. Any real dtype.
    affine : ndarray
        (4, 4) float64, maps index (s, a, r, 1) to world millimetres, components in the same order (S, A, R).
    unit : str
        ``"HU"`` for CT, ``"a.u."`` for MR and everything without a physical unit.
    modality : str
        DICOM modality (``"CT"``, ``"MR"``, ``"PT"``) or ``""`` where it is not known.
    name : str
        A short name that holds no patient identity; used for layers and tables.
    meta : mapping
        Safe tags only: no patient identity.

    Raises
    ------
    InputError
        If ``data`` is not 3D, empty, or not of real numbers, or ``affine`` is not an invertible (4, 4) matrix of finite
        numbers.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    unit: str = "a.u."
    modality: str = ""
    name: str = "volume"
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.data.dtype.kind not in "biuf":
            raise InputError(
                f"a volume holds real numbers, one a voxel, got {self.data.dtype}; take the magnitude or one channel"
            )
        if self.data.ndim != 3 or 0 in self.data.shape:
            raise InputError(
                f"a volume must be 3D (Z, Y, X) with at least one voxel, got shape {self.data.shape}; "
                "choose one volume of a series in time, or one channel of a colour image"
            )
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise InputError(
                f"a volume's affine must be an invertible (4, 4) matrix of finite numbers, got {affine.tolist()}"
            )
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Z, Y, X) in voxels."""
        z, y, x = self.data.shape
        return z, y, x

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along (z, y, x), in mm."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return z, y, x


def two_values(data: NDArray[Any]) -> tuple[float, float] | None:
    """The lowest and the highest value of an array that holds no others, as a mask does; equal where all are one."""
    flat = data.reshape(-1)
    if len(np.unique(flat[:: max(1, flat.size // _SAMPLED)])) > 2:
        return None
    low, high = flat.min(), flat.max()
    for start in range(0, flat.size, _BLOCK):  # a whole volume's comparisons are as large as the volume
        block = flat[start : start + _BLOCK]
        if not bool(((block == low) | (block == high)).all()):
            return None
    return float(low), float(high)


_SAMPLED = 100_000
"""So many values tell most scans from a mask."""
_BLOCK = 1 << 20

LABEL_TOLERANCE = 1e-3
"""A label that is so near to a whole number is one, after a resampling or a scaling in floating point."""


def whole_labels(data: NDArray[Any]) -> NDArray[Any]:
    """The values of a label map as integers.

    Parameters
    ----------
    data : ndarray
        Any shape and real dtype. Integers are given back as they are.

    Returns
    -------
    ndarray
        Floats rounded to the nearest integer, in the smallest type that holds them.

    Raises
    ------
    InputError
        If a value is further than ``LABEL_TOLERANCE`` from a whole number, not finite, or beyond 32 bits: cut to an
        integer it would be another label.
    """
    if data.dtype.kind in "iu":
        return data
    if data.dtype.kind == "b":
        return data.astype(np.uint8)
    if data.dtype.kind != "f":
        raise InputError(f"labels must be integers, one a voxel, got {data.dtype}; take the map of the labels alone")
    rounded: NDArray[Any] = np.rint(data)
    with np.errstate(invalid="ignore"):  # infinity less itself
        # one step of the type more: 1.999 in float32 is a little further from 2
        whole = np.abs(data - rounded) <= LABEL_TOLERANCE + np.spacing(np.abs(data))
    if not whole.all():
        others = data[~whole]
        raise InputError(
            f"labels must be integers (or within {LABEL_TOLERANCE:g} of one), got {float(others[0]):g} and "
            f"{others.size} such values in all; threshold probabilities, or resample labels by nearest neighbour"
        )
    if not data.size:
        return rounded.astype(np.uint8)
    low, high = int(rounded.min()), int(rounded.max())
    if max(-low, high) >= 2**32:
        raise InputError(f"labels must be integers of at most 32 bits, got {low:g} to {high:g}; is this a label map?")
    smallest: np.dtype[Any] = np.result_type(np.min_scalar_type(low), np.min_scalar_type(high))
    return rounded.astype(smallest)


def mask_of(labels: Volume, label: int | None = None, *, must_occur: bool = True) -> Volume:
    """The shape that a label map draws: where it has a label, or any at all.

    Parameters
    ----------
    labels : Volume
        Of whole numbers.
    label : int, optional
        Which one; all that are above zero, unless given.
    must_occur : bool
        Whether a label that is nowhere in the map is an error; else it draws an empty shape.

    Returns
    -------
    Volume
        uint8, 0 and 1, in ``"a.u."``, on the same grid.

    Raises
    ------
    InputError
        If these are no labels, this one is not among them though it must, or it is 0: the background.
    """
    values = whole_labels(labels.data)
    if label == 0:
        raise InputError("label 0 is the background; choose another")
    inside = values > 0 if label is None else values == label
    if label is not None and must_occur and not inside.any():
        there = [str(number) for number in labels_in(values)[:_LISTED]]
        raise InputError(
            f"the label map has no label {label}; it has {', '.join(there) or 'none'}"
            f"{', ...' if len(there) == _LISTED else ''}"
        )
    return Volume(inside.view(np.uint8), labels.affine, name=labels.name)


_LISTED = 20


def labels_in(values: NDArray[Any]) -> list[int]:
    """The labels of a map of whole numbers: what is in it and above zero, in their order."""
    highest = int(values.max(initial=0))
    if highest >= 2**16:
        return [int(each) for each in np.unique(values) if each > 0]
    counts = np.zeros(highest + 1, dtype=np.intp)
    for plane in values:  # not all at once: numpy counts in 64 bits
        counts += np.bincount(plane[plane > 0].ravel(), minlength=highest + 1)
    return [int(each) for each in np.flatnonzero(counts)]
