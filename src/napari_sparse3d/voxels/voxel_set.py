"""The active voxels of one volume."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.files import replacing

_FORMAT = 1
"""Version of the ``.npz`` layout, stored as ``format``."""


@dataclass(frozen=True, eq=False)
class VoxelSet:
    """The active voxels of one volume: where they are, what they hold, and where the grid lies in the world.

    Parameters
    ----------
    indices : ndarray
        (N, 3) int32 [z, y, x], in raster order, unique, inside ``shape``. N may be 0.
    features : ndarray
        (N, C) float32, one row a voxel.
    shape : tuple of int
        (Z, Y, X) of the grid, in voxels.
    affine : ndarray
        (4, 4) float64, maps (z, y, x, 1) of this grid to world millimetres (S, A, R), as in ``Volume``.

    Raises
    ------
    InputError
        If an array has another shape or dtype, an index lies outside the grid, or the rows are not in raster order.
    """

    indices: NDArray[np.int32]
    features: NDArray[np.float32]
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"shape must be (Z, Y, X) with at least one voxel on each axis, got {self.shape}")
        object.__setattr__(self, "shape", shape)
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError(f"affine must be (4, 4) with finite numbers, got shape {affine.shape}")
        object.__setattr__(self, "affine", affine)
        _check_rows(self.indices, self.features, self.shape)

    @classmethod
    def of_found(
        cls,
        indices: NDArray[np.int32],
        features: NDArray[np.float32],
        shape: tuple[int, int, int],
        affine: NDArray[np.float64],
    ) -> VoxelSet:
        """Of voxels that a search over the grid has found, in its order: so they are not checked once more."""
        made = object.__new__(cls)
        for name, value in (("indices", indices), ("features", features), ("shape", shape), ("affine", affine)):
            object.__setattr__(made, name, value)
        return made

    @property
    def n_active(self) -> int:
        """Number of active voxels N."""
        return len(self.indices)

    @property
    def active_percent(self) -> float:
        """Active voxels in percent of the whole grid."""
        return 100.0 * self.n_active / prod(self.shape)

    def mask(self) -> NDArray[np.bool_]:
        """(Z, Y, X) bool: True at the active voxels."""
        dense = np.zeros(prod(self.shape), dtype=bool)
        dense[np.ravel_multi_index(tuple(self.indices.T), self.shape)] = True
        return dense.reshape(self.shape)

    def box(self) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
        """The first and the last (z, y, x) of the box around the active voxels; None if there is none."""
        if not self.n_active:
            return None
        # column by column: along axis 0 numpy takes fourteen times as long
        z, y, x = self.indices.T
        return (int(z[0]), int(y.min()), int(x.min())), (int(z[-1]), int(y.max()), int(x.max()))

    def save(self, path: str | os.PathLike[str], *, durable: bool = True) -> None:
        """Write a compressed ``.npz`` without pickle; the file appears whole or not at all.

        ``durable``: after power loss as well, see :func:`~napari_sparse3d.files.replacing`.

        Raises
        ------
        InputError
            If ``path`` does not end in ``.npz``.
        """
        if Path(path).suffix != ".npz":
            raise InputError(f"a voxel set is written as .npz, got {Path(path).name!r}; end the name in .npz")
        with replacing(path, durable=durable) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                format=np.int32(_FORMAT),
                indices=self.indices,
                features=self.features,
                shape=np.array(self.shape, dtype=np.int32),
                affine=self.affine,
            )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VoxelSet:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ReadError
            If the file is no ``.npz``, lacks an array, or its arrays are no valid voxel set.
        FileNotFoundError
            If there is no such file.
        """
        name = Path(path).name
        try:
            # opened here: numpy leaves the file open when it is no zip
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                version = int(arrays["format"])
                if version != _FORMAT:
                    raise ReadError(f"{name} is a voxel set of format {version}, this version reads {_FORMAT}; update")
                indices, features, affine = (arrays[key] for key in ("indices", "features", "affine"))
                z, y, x = arrays["shape"].tolist()
            return cls(indices, features, (z, y, x), affine)
        except KeyError as error:
            raise ReadError(f"{name} is no voxel set: {error.args[0]}; make one with `voxelize`") from error
        except ReadError:
            raise
        # numpy raises ValueError and EOFError for what is no .npz, zipfile its own for one that is cut short
        except (ValueError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
            raise ReadError(f"{name} is no voxel set: {error}; make one with `voxelize`") from error


def _check_rows(indices: NDArray[np.int32], features: NDArray[np.float32], shape: tuple[int, int, int]) -> None:
    if indices.ndim != 2 or indices.shape[1] != 3 or indices.dtype != np.int32:
        raise InputError(f"indices must be (N, 3) int32 [z, y, x], got {indices.shape} {indices.dtype}")
    if features.ndim != 2 or features.shape[0] != len(indices) or features.dtype != np.float32:
        raise InputError(
            f"features must be (N, C) float32 with N = {len(indices)}, got {features.shape} {features.dtype}"
        )
    if len(indices) == 0:
        return
    last = [int(column.max()) for column in indices.T]
    if indices.min() < 0 or any(end >= side for end, side in zip(last, shape, strict=True)):
        raise InputError(f"indices must lie inside the grid {shape}, got {indices.min(axis=0).tolist()} to {last}")
    raster = np.ravel_multi_index(tuple(indices.T), shape)
    if (np.diff(raster) <= 0).any():
        raise InputError("indices must be unique and in raster order (x fastest); sort them with numpy.unique(axis=0)")
