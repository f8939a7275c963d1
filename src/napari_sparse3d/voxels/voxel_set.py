"""The active voxels of one volume."""

from __future__ import annotations

import io
import os
import re
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.files import replacing

_FORMAT = 1
"""Version of the ``.npz`` layout, stored as ``format``."""
_LARGEST_GRID = 4096**3
_MOST_CHANNELS = 64
_STRETCH = 1_000_000
"""Rows of indices that are read before they are looked at."""
_BEFORE_HEADER = npy.MAGIC_LEN + 2
"""Bytes of an array's magic and the length of its header, in version 1.0."""
_PLAIN_HEADER = re.compile(
    rb"\{'descr': '([<>|][biuf]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, ?)*(?:\d{1,18})?)\), \} *\n"
)
"""As numpy writes it of numbers; it reads a header as a Python expression, whatever it may be, in half of our time."""


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
        voxels = object.__new__(cls)
        for name, value in (("indices", indices), ("features", features), ("shape", shape), ("affine", affine)):
            object.__setattr__(voxels, name, value)
        return voxels

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
                indices=np.ascontiguousarray(self.indices),
                features=np.ascontiguousarray(self.features),
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
        try:
            with zipfile.ZipFile(path) as archive:
                version = int(_array(archive, "format", "iu", 0))
                if version != _FORMAT:
                    raise ReadError(f"the voxel set is of format {version}, this version reads {_FORMAT}; update")
                z, y, x = (int(side) for side in _array(archive, "shape", "iu", 1))
                if min(z, y, x) < 1 or z * y * x > _LARGEST_GRID:
                    raise ReadError(
                        f"a grid of {z} x {y} x {x} was never made: 1 to {_LARGEST_GRID} voxels are expected"
                    )
                indices, affine = _indices(archive, (z, y, x)), _array(archive, "affine", "f", 2)
                features = _array(archive, "features", "f", 2, at_most=len(indices) * _MOST_CHANNELS)
            return cls(indices, features, (z, y, x), affine)
        except FileNotFoundError:
            raise
        # whatever zipfile, zlib and numpy raise on what is no .npz, or on one that was cut short or made by hand
        except (
            *(
                ValueError,
                TypeError,
                AttributeError,
                EOFError,
                KeyError,
                SyntaxError,
                RuntimeError,
                NotImplementedError,
            ),
            *(OverflowError, MemoryError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
        ) as error:
            what = str(error) if isinstance(error, (InputError, zipfile.BadZipFile)) else type(error).__name__
            raise ReadError(f"the file is no voxel set: {what}; make one with `voxelize`") from error


def _array(archive: zipfile.ZipFile, name: str, kinds: str, n_axes: int, *, at_most: int = 64) -> NDArray[Any]:
    """One array of the archive, looked at before it is read; nothing is unpickled."""
    with _member(archive, name) as stored:
        shape, dtype, in_columns = _header(archive, stored, name)
        if dtype.kind not in kinds or len(shape) != n_axes or prod(shape) > at_most:
            raise ReadError(f"its array {name!r} is {shape} {dtype}")
        # a copy: what is made of bytes cannot be written to
        return np.frombuffer(stored.read(), dtype=dtype).reshape(shape, order="F" if in_columns else "C").copy("C")


def _indices(archive: zipfile.ZipFile, grid: tuple[int, int, int]) -> NDArray[np.int32]:
    """The indices, in stretches: what only claims to be many is known by the first that is out of order."""
    with _member(archive, "indices") as stored:
        shape, dtype, in_columns = _header(archive, stored, "indices")
        if len(shape) != 2 or shape[1] != 3 or dtype != np.int32 or shape[0] > prod(grid):
            raise ReadError(f"its array 'indices' is {shape} {dtype}, in a grid of {prod(grid)} voxels")
        indices = np.empty(shape, dtype=np.int32)
        for start in range(0, shape[0], _STRETCH):
            rows = indices[start : start + _STRETCH]
            if in_columns:  # by other programs: all at once
                return np.frombuffer(stored.read(), dtype=np.int32).reshape(shape, order="F").copy("C")
            rows[...] = np.frombuffer(stored.read(rows.nbytes), dtype=np.int32).reshape(-1, 3)
            if shape[0] > _STRETCH:
                _check_indices(rows, grid)
        return indices


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    if f"{name}.npy" not in archive.namelist():
        raise ReadError(f"{name} is missing")
    return archive.open(f"{name}.npy")


def _header(archive: zipfile.ZipFile, stored: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, dtype and whether columns lie together, as the array's header claims, where its bytes are as many."""
    begin = stored.read(_BEFORE_HEADER)
    version = npy.read_magic(io.BytesIO(begin))
    if version not in ((1, 0), (2, 0)):
        raise ReadError(f"its array {name!r} has a header of version {version}")
    if version == (1, 0):
        length = begin[npy.MAGIC_LEN :]
        text = stored.read(int.from_bytes(length, "little"))
        plain = _PLAIN_HEADER.fullmatch(text)
        if plain is not None:
            shape = tuple(map(int, plain[3].rstrip(b", ").split(b","))) if plain[3] else ()
            in_columns, dtype = plain[2] == b"True", np.dtype(plain[1].decode())
        else:
            shape, in_columns, dtype = npy.read_array_header_1_0(io.BytesIO(length + text))
    else:
        stored.seek(npy.MAGIC_LEN)
        shape, in_columns, dtype = npy.read_array_header_2_0(stored)
    if dtype.hasobject:
        raise ReadError(f"its array {name!r} holds objects")
    if prod(shape) * dtype.itemsize != archive.getinfo(f"{name}.npy").file_size - stored.tell():
        raise ReadError(f"its array {name!r} claims {shape} {dtype}, which its bytes are not")
    return shape, dtype, bool(in_columns)


def _check_rows(indices: NDArray[np.int32], features: NDArray[np.float32], shape: tuple[int, int, int]) -> None:
    if indices.ndim != 2 or indices.shape[1] != 3 or indices.dtype != np.int32:
        raise InputError(f"indices must be (N, 3) int32 [z, y, x], got {indices.shape} {indices.dtype}")
    if features.ndim != 2 or features.shape[0] != len(indices) or features.dtype != np.float32:
        raise InputError(
            f"features must be (N, C) float32 with N = {len(indices)}, got {features.shape} {features.dtype}"
        )
    _check_indices(indices, shape)


def _check_indices(indices: NDArray[np.int32], shape: tuple[int, int, int]) -> None:
    if len(indices) == 0:
        return
    last = [int(column.max()) for column in indices.T]
    if indices.min() < 0 or any(end >= side for end, side in zip(last, shape, strict=True)):
        raise InputError(f"indices must lie inside the grid {shape}, got {indices.min(axis=0).tolist()} to {last}")
    raster = np.ravel_multi_index(tuple(indices.T), shape)
    if (np.diff(raster) <= 0).any():
        raise InputError("indices must be unique and in raster order (x fastest); sort them with numpy.unique(axis=0)")
