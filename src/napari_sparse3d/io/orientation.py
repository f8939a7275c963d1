"""The one orientation rule: every array leaves this package as (S, A, R), its affine in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from napari_sparse3d.errors import ReadError

# nibabel and ITK count axes (x, y, z); everything inside this project counts (z, y, x).
_REVERSE = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float64)


@dataclass(frozen=True)
class Canonical:
    """How a stored array (i, j, k) turns into (S, A, R): a permutation and flips of its axes, never a resampling.

    Parameters
    ----------
    axes : tuple of int
        Stored axis that becomes S, A and R.
    flips : tuple of bool
        Whether S, A and R run against the stored axis.
    shape : tuple of int
        (S, A, R) sizes.
    affine : ndarray
        (4, 4), index (s, a, r, 1) to world mm in the order (S, A, R).
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def apply(self, stored: NDArray[Any]) -> NDArray[Any]:
        """The stored array (i, j, k) as an (S, A, R) view."""
        view = stored.transpose(self.axes)
        return view[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]

    def stored_view(self, canonical: NDArray[Any]) -> NDArray[Any]:
        """The inverse of :meth:`apply`: an (S, A, R) array seen as (i, j, k), so that a reader can fill it in place."""
        view = canonical[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]
        return view.transpose(tuple(np.argsort(self.axes)))


def canonical(shape: tuple[int, int, int], affine_ras: NDArray[np.float64]) -> Canonical:
    """The closest canonical reorientation of a stored array.

    Parameters
    ----------
    shape : tuple of int
        (i, j, k) sizes as stored.
    affine_ras : ndarray
        (4, 4), stored index (i, j, k, 1) to world mm, +x right, +y anterior, +z superior.

    Raises
    ------
    ReadError
        If the affine is not finite or not invertible: no axis can then be named.
    """
    affine_ras = np.asarray(affine_ras, dtype=np.float64)
    linear = affine_ras[:3, :3]
    if not np.isfinite(affine_ras).all() or abs(np.linalg.det(linear)) < 1e-12:
        raise ReadError(
            f"the geometry in the header is not usable: axes {np.round(linear, 6).tolist()} mm are not three "
            "independent directions; repair the header with the program that wrote it"
        )
    orientation = _orientation(affine_ras)
    if np.isnan(orientation).any():
        raise ReadError(
            f"the geometry in the header is not usable: axes {np.round(linear, 6).tolist()} mm cannot be told apart; "
            "repair the header with the program that wrote it"
        )
    to_ras = affine_ras @ inv_ornt_aff(orientation, shape)  # type: ignore[no-untyped-call]
    # orientation[i] = (world axis of stored axis i, sign); find the stored axis of S, A and R.
    world = [int(axis) for axis in orientation[:, 0]]
    axes = (world.index(2), world.index(1), world.index(0))
    flips = (orientation[axes[0], 1] < 0, orientation[axes[1], 1] < 0, orientation[axes[2], 1] < 0)
    sizes = (shape[axes[0]], shape[axes[1]], shape[axes[2]])
    return Canonical(
        axes,
        (bool(flips[0]), bool(flips[1]), bool(flips[2])),
        sizes,
        sar_from_ras(np.asarray(to_ras, dtype=np.float64)),
    )


def _orientation(affine_ras: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each stored axis its world axis and sign, as nibabel finds them."""
    return np.asarray(io_orientation(np.asarray(affine_ras, dtype=np.float64)))  # type: ignore[no-untyped-call]


def sar_from_ras(affine_ras: NDArray[np.float64]) -> NDArray[np.float64]:
    """An affine over (x, y, z) indices and RAS millimetres, as one over (z, y, x) indices and SAR millimetres."""
    return np.asarray(_REVERSE @ affine_ras @ _REVERSE)


def ras_from_sar(affine_sar: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of :func:`sar_from_ras` (the reversal is its own inverse)."""
    return sar_from_ras(affine_sar)


def axis_codes(affine_ras: NDArray[np.float64]) -> str:
    """The directions in which the stored axes grow, such as ``"LPS"``; ``"?"`` where an axis has none."""
    orientation = _orientation(affine_ras)
    letters = ("LR", "PA", "IS")
    return "".join("?" if np.isnan(axis) else letters[int(axis)][int(sign > 0)] for axis, sign in orientation)
