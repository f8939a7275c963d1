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
