"""Where an (S, A, R) array lies in napari: in the patient's world, seen radiologically.

napari's axes are (I, P, L) in mm, that is (-S, -A, -R): with napari's own directions (rows grow downwards, columns to
the right) superior is up, anterior is up in axial planes, and the patient's right is on the viewer's left. A placement
is the volume's affine with its signs turned, about the *world's* origin: two scans of one patient lie on each other.

napari slices along the axes of an array, so it draws no oblique one. Its directions are therefore turned onto the axes,
about the world's origin: a point that all arrays share, so that those of one orientation still lie on each other,
whatever their boxes and spacings. How far a corner is then from where it belongs is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

DISPLAY_AXES = ("I", "P", "L")
"""napari's axes, by the side toward which each grows."""
STORED_AXES = "SAR"
"""What a layer of ours says in ``metadata["axes"]``: the order and the directions of its array and its affine."""

_SAID_FROM_MM = 0.05
"""Less is no more than the rounding of direction cosines in a header."""
_CLEARLY_ANOTHER_AXIS = 0.75
"""Cosine, over that of 45 degrees: an axis so near to another one is that other one by every rule."""


@dataclass(frozen=True)
class Undrawn:
    """What of an array's directions napari does not draw.

    Attributes
    ----------
    degrees : float
        The angle by which the array is turned against the patient's axes.
    shear_degrees : float
        By how much its axes miss being perpendicular.
    off_mm : float
        The largest distance of a corner of its box from where it belongs.
    """

    degrees: float
    shear_degrees: float
    off_mm: float

    @property
    def text(self) -> str:
        """``"drawn without its 12.3 degrees; up to 21 mm off at the corners"``; ``""`` where nothing is to be said."""
        if self.off_mm < _SAID_FROM_MM:
            return ""
        what = [f"{self.degrees:.1f} degrees"] if self.degrees >= 0.05 or self.shear_degrees < 0.05 else []
        if self.shear_degrees >= 0.05:
            what.append(f"shear of {self.shear_degrees:.1f} degrees")
        digits = 1 if self.off_mm < 10 else 0
        upper = np.ceil(self.off_mm * 10**digits - 1e-9) / 10**digits
        return f"drawn without its {' and its '.join(what)}; up to {upper:.{digits}f} mm off at the corners"


def display_geometry(affine: NDArray[np.float64]) -> dict[str, tuple[float, ...]]:
    """Scale and translation that place an (S, A, R) array in napari's world, axes (I, P, L) in mm.

    Parameters
    ----------
    affine : ndarray
        (4, 4), index (s, a, r, 1) to world mm (S, A, R), as ``Volume.affine``.

    Returns
    -------
    dict
        ``scale`` and ``translate``, each of three numbers in mm. Voxel ``i`` is drawn at ``scale * i + translate``,
        which is ``-(affine @ i)`` where the array is not oblique.
    """
    signed_mm = _signs(affine) * np.linalg.norm(affine[:3, :3], axis=0)
    origin = np.linalg.solve(_turn(affine), affine[:3, 3])
    return {"scale": tuple((-signed_mm).tolist()), "translate": tuple((0.0 - origin).tolist())}


def undrawn(affine: NDArray[np.float64], shape: Sequence[int]) -> Undrawn:
    """What :func:`display_geometry` leaves out of an affine, and how far it puts the corners of the box off.

    Parameters
    ----------
    affine : ndarray
        (4, 4), as ``Volume.affine``.
    shape : sequence of int
        (Z, Y, X) of the array.
    """
    geometry = display_geometry(affine)
    corners = np.array(list(product(*((-0.5, n - 0.5) for n in shape))))
    drawn = -(corners * geometry["scale"] + geometry["translate"])
    true = corners @ affine[:3, :3].T + affine[:3, 3]
    left, _, right = np.linalg.svd(_turn(affine))
    rotation = left @ right
    # by both sine and cosine: the arc cosine alone knows small angles to 1e-8 at best, and not those near 180
    sine = np.linalg.norm(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    angle = float(np.degrees(np.arctan2(sine / 2, (np.trace(rotation) - 1) / 2)))
    return Undrawn(angle, shear_degrees(affine), float(np.linalg.norm(drawn - true, axis=1).max()))


def canonical_axes(affine: NDArray[np.float64]) -> tuple[int, int, int]:
    """The array axes that run along S, A and R: (0, 1, 2) for whatever was read by this package.

    Another order only where each axis clearly runs along another one than its place says. About 45 degrees of
    obliqueness the order of the array stands.
    """
    cosines = np.abs(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    for order in permutations(range(3)):
        if all(cosines[world, axis] > _CLEARLY_ANOTHER_AXIS for world, axis in enumerate(order)):
            return order[0], order[1], order[2]
    return 0, 1, 2


def shear_degrees(affine: NDArray[np.float64]) -> float:
    """The largest angle by which two axes miss being perpendicular, in degrees."""
    linear = np.asarray(affine, dtype=np.float64)[:3, :3]
    unit = linear / np.linalg.norm(linear, axis=0)
    cosines = np.abs(unit.T @ unit)[np.triu_indices(3, 1)]
    return float(np.degrees(np.arcsin(min(1.0, float(cosines.max())))))


def _signs(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where an array's axis grows with the world's of its place, -1 where it grows against it."""
    return np.where(np.diag(affine)[:3] < 0, -1.0, 1.0)


def _turn(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The directions of the array's axes, (3, 3) in columns, each with the world axis of its place: what is dropped."""
    linear = affine[:3, :3]
    return np.asarray(linear / np.linalg.norm(linear, axis=0) * _signs(affine))
