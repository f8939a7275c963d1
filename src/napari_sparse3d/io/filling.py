"""Voxels from a file straight into the array that is given back: block by block, turned and scaled on the way.

A volume of gigabytes is in memory once, and a block is still in the caches when it is turned.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.deflate import BLOCK, Inflated
from napari_sparse3d.io.limits import MAX_HEADER_BYTES

if TYPE_CHECKING:
    from napari_sparse3d.io.intensity import Scaling
    from napari_sparse3d.io.orientation import Canonical

_PLANES_OF_LINES = 32
"""Planes at a time where the result's lines run across them: whole cache lines are written then."""
_LARGEST_BLOCK = 1 << 24


class ByteSource(Protocol):
    """Bytes in order, of which there are as many as are asked for, or an error."""

    def skip(self, n_bytes: int) -> None:
        """Leave out the next bytes."""

    def read_into(self, out: memoryview) -> None:
        """Fill ``out`` with the next bytes."""

    def verify(self) -> None:
        """Hold what was read against the checksum behind it, where there is one."""


@contextmanager
def source_of(path: Path, offset: int, *, packed: bool) -> Iterator[ByteSource]:
    """The bytes of a file from ``offset`` on, unpacked where it is gzip.

    Its methods raise ``EOFError`` where the file ends too early, and ``zlib.error`` where it is damaged. A checksum
    that lies far behind the bytes that were read (the end of a long series in time) is not looked for.
    """
    with path.open("rb", buffering=0) as file:
        source: ByteSource = _PackedBytes(file) if packed else _PlainBytes(file)
        source.skip(offset)
        yield source


class _PlainBytes:
    def __init__(self, file: Any) -> None:
        self._file = file

    def skip(self, n_bytes: int) -> None:
        self._file.seek(n_bytes, os.SEEK_CUR)

    def read_into(self, out: memoryview) -> None:
        while len(out):
            n_bytes = self._file.readinto(out)
            if not n_bytes:
                raise EOFError("the file ends too early")
            out = out[n_bytes:]

    def verify(self) -> None:
        return


class _PackedBytes:
    def __init__(self, file: BinaryIO) -> None:
        self._inflated = Inflated(file)

    def skip(self, n_bytes: int) -> None:
        while n_bytes:
            n_bytes -= len(self._next(n_bytes))

    def read_into(self, out: memoryview) -> None:
        at = 0
        while at < len(out):
            block = self._next(len(out) - at)
            out[at : at + len(block)] = block
            at += len(block)

    def verify(self) -> None:
        self._inflated.verify(MAX_HEADER_BYTES)

    def _next(self, most: int) -> bytes:
        block = self._inflated.read(min(most, BLOCK))
        if not block and self._inflated.trailing:
            raise zlib.error("what follows the last member is no gzip")
        if not block:
            raise EOFError("the deflated data end too early")
        return block


def fill(
    source: ByteSource,
    out: NDArray[Any],
    dtype: np.dtype[Any],
    convert: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> None:
    """Fill ``out`` with the next voxels of a source.

    Parameters
    ----------
    source : ByteSource
    out : ndarray
        (k, j, i), indexed as stored, the slowest axis first: a view of the result in whatever order that has.
    dtype : numpy.dtype
        As stored, byte order included.
    convert : callable, optional
        Value by value, from a block as stored to one of ``out``'s type. ``None``: they are equal.
    """
    for place in _places(out, dtype, converted=convert is not None):
        part = out[place]
        if convert is None and part.dtype == dtype and part.flags.c_contiguous:
            source.read_into(part.reshape(-1).view(np.uint8).data)
            continue
        block = np.empty(part.shape, dtype)
        source.read_into(block.reshape(-1).view(np.uint8).data)
        part[...] = block if convert is None else convert(block)


def read_volumes(
    source: Callable[[], AbstractContextManager[ByteSource]],
    order: Canonical,
    dtype: np.dtype[Any],
    frames: Sequence[int],
    scaling: Callable[[Callable[[], tuple[int, int]]], Scaling],
) -> NDArray[Any]:
    """(t, s, a, r) of volumes that lie one after the other, each in Fortran order (i, j, k).

    Parameters
    ----------
    source : callable
        Opens the file where the first volume begins. Its errors are let through.
    order : Canonical
        How a volume is turned.
    dtype : numpy.dtype
        As stored.
    frames : sequence of int
        Which volumes, in any order.
    scaling : callable
        How values are scaled; it may ask for the least and the greatest of those that are stored, which takes a pass
        of its own over the file.
    """
    n_items = int(np.prod(order.shape))

    def for_each(read: Callable[[int, ByteSource], None]) -> None:
        with source() as opened:
            after = 0
            for frame in sorted(set(frames)):
                opened.skip((frame - after) * n_items * dtype.itemsize)
                read(frame, opened)
                after = frame + 1
            opened.verify()

    def extremes() -> tuple[int, int]:
        ends: list[int] = []
        for_each(lambda _, opened: ends.extend(_extremes(opened, n_items, dtype)))
        return min(ends), max(ends)

    how = scaling(extremes)
    data = np.empty((len(frames), *order.shape), how.dtype)

    def read(frame: int, opened: ByteSource) -> None:
        first, *others = (t for t, wanted in enumerate(frames) if wanted == frame)
        fill(opened, order.stored_view(data[first]).transpose(2, 1, 0), dtype, how.convert)
        for other in others:
            data[other] = data[first]

    for_each(read)
    return data


def _extremes(source: ByteSource, n_items: int, dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the greatest of the next integers of a source."""
    ends: list[int] = []
    for start in range(0, n_items, BLOCK):
        block = np.empty(min(BLOCK, n_items - start), dtype)
        source.read_into(block.view(np.uint8).data)
        ends += [int(block.min()), int(block.max())]
    return min(ends), max(ends)


def _places(out: NDArray[Any], dtype: np.dtype[Any], *, converted: bool) -> Iterator[tuple[slice, slice]]:
    """Blocks of ``out`` in the order of the file: planes, or lines of one where a plane is large."""
    n_planes, n_lines, n_columns = out.shape
    line, most = n_columns * dtype.itemsize, BLOCK
    across = abs(out.strides[0]) < min(abs(out.strides[1]), abs(out.strides[2]))
    if across:
        # a block may cost a sixteenth of the result beside it, what is computed in float64 on the way included
        weight = 1 + 16 / dtype.itemsize if converted else 1
        most = min(_PLANES_OF_LINES * n_lines * line, max(BLOCK, int(min(_LARGEST_BLOCK, out.nbytes / 16) / weight)))
    planes = most // (n_lines * line)
    if planes >= 1:
        for k in range(0, n_planes, planes):
            yield slice(k, k + planes), slice(None)
        return
    lines = max(1, most // line)
    for k in range(n_planes):
        for j in range(0, n_lines, lines):
            yield slice(k, k + 1), slice(j, j + lines)
