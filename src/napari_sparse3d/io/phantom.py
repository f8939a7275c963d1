"""A synthetic chest CT: shapes with the densities of tissues, for trying things out where no real CT may be shipped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.volume import Volume

SHAPE = (80, 128, 160)
SPACING_MM = (3.0, 2.0, 2.0)
NODULES_MM: tuple[tuple[tuple[float, float, float], float], ...] = (
    ((30.0, 15.0, 70.0), 4.0),
    ((-20.0, -30.0, 85.0), 7.0),
    ((55.0, 25.0, -65.0), 5.0),
    ((-45.0, 5.0, -80.0), 10.0),
    ((0.0, -45.0, -60.0), 3.5),
)
"""Centre (s, a, r) from the middle of the chest, and radius; mm."""

_AIR, _FAT, _SOFT, _LUNG, _HEART, _BONE, _MARROW, _NODULE = -1000, -90, 45, -850, 60, 700, 250, 35


def chest_phantom() -> Volume:
    """A chest of ellipsoids, in HU: body, lungs, heart, spine, ribs, five nodules. It says that it is synthetic."""
    s, a, r = _grid()
    hu = np.full(SHAPE, _AIR, dtype=np.int16)
    body = (a / 105) ** 2 + (r / 145) ** 2 <= 1
    inner = (a / 95) ** 2 + (r / 135) ** 2 <= 1
    hu[np.broadcast_to(body, SHAPE)] = _FAT
    hu[np.broadcast_to(inner, SHAPE)] = _SOFT
    _ribs(hu, s, a, r)
    for side in (-1, 1):
        hu[((s - 5) / 105) ** 2 + ((a - 5) / 72) ** 2 + ((r - side * 68) / 52) ** 2 <= 1] = _LUNG
    hu[((s + 30) / 55) ** 2 + ((a - 25) / 45) ** 2 + ((r + 12) / 48) ** 2 <= 1] = _HEART
    spine = ((a + 72) / 20) ** 2 + (r / 20) ** 2
    hu[np.broadcast_to(spine <= 1, SHAPE)] = _BONE
    hu[(spine <= 0.6) & (np.mod(s, 30) < 24)] = _MARROW
    hu[nodule_labels() > 0] = _NODULE
    meta = {"synthetic": "an analytic phantom, no patient", "format": "phantom"}
    return Volume(hu, _affine(), "HU", "CT", "CT phantom (synthetic chest)", meta)


def nodule_labels() -> NDArray[np.uint8]:
    """(Z, Y, X): 1 to 5 inside the phantom's nodules, 0 elsewhere."""
    s, a, r = _grid()
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for number, ((cs, ca, cr), radius) in enumerate(NODULES_MM, start=1):
        labels[(s - cs) ** 2 + (a - ca) ** 2 + (r - cr) ** 2 <= radius**2] = number
    return labels


def nodules_phantom() -> Volume:
    """The nodules of :func:`chest_phantom` as a label volume on the same grid."""
    meta = {"synthetic": "an analytic phantom, no patient", "format": "phantom", "labels": True}
    return Volume(nodule_labels(), _affine(), "label", "", "nodules (synthetic)", meta)


def _ribs(hu: NDArray[np.int16], s: NDArray[np.float64], a: NDArray[np.float64], r: NDArray[np.float64]) -> None:
    """Slanted rings in the wall of the chest."""
    shell = (a / 92) ** 2 + (r / 130) ** 2
    wall = (shell <= 1) & (shell >= 0.87)
    hu[wall & (np.mod(s + 0.35 * a, 26) < 9)] = _BONE


def _grid() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Open (s, a, r) coordinates in mm from the middle."""
    s, a, r = (
        np.asarray(spacing * (np.arange(n) - (n - 1) / 2), dtype=np.float64)
        for n, spacing in zip(SHAPE, SPACING_MM, strict=True)
    )
    return s[:, None, None], a[None, :, None], r[None, None, :]


def _affine() -> NDArray[np.float64]:
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = [-spacing * (n - 1) / 2 for n, spacing in zip(SHAPE, SPACING_MM, strict=True)]
    return affine
