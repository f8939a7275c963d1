"""Pixels that are no image data (PS3.3, C.7.5.1.1.2): where they are, and what a volume holds there.

A volume of floats holds NaN. One of integers has no such number, so it holds one below every real value: what the
header's padding value is mapped to where that lies below them, else one less than the lowest of them; in a wider type
only where the volume's own has no room for it. ``meta["padding"]`` names it: no voxel at or below it is image data.

Lossy compression scatters padded pixels around their value. Where that is a low one, it stays as it is and bounds the
image data from below; only a range in the header could tell all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom.values import exact_integer
from napari_sparse3d.io.faults import Fault, FaultKind

Place = tuple[int, int]
"""Volume of a series in time, slice."""


@dataclass
class Padding:
    """The padded pixels of a series that is being decoded.

    Until :meth:`settle` a padded pixel of an integer volume holds the lowest real value of its slice.
    """

    masks: dict[Place, NDArray[np.uint8]] = field(default_factory=dict)
    """By place, packed eight to a byte; places without padding are absent."""
    empty: set[Place] = field(default_factory=set)
    """Slices that are padding from end to end."""
    declared: float = np.inf
    """The lowest value that the header's padding is mapped to."""
    count: int = 0
    lossy: bool = False

    def add(self, place: Place, mask: NDArray[np.bool_], value: float = np.inf, *, lossy: bool = False) -> None:
        """Note the padded pixels (rows, columns) of one slice, and the value that they were mapped to."""
        n = int(np.count_nonzero(mask))
        if n == 0:
            return
        self.masks[place] = np.packbits(mask)
        self.count += n
        self.declared = min(self.declared, value)
        self.lossy |= lossy
        if n == mask.size:
            self.empty.add(place)

    def mask(self, place: Place, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
        """(rows, columns) bool of one slice; ``None`` where nothing of it is padded."""
        packed = self.masks.get(place)
        if packed is None:
            return None
        return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).view(np.bool_)

    def settle(
        self, data: NDArray[Any], slices_of: Callable[[NDArray[Any], int], NDArray[Any]]
    ) -> tuple[NDArray[Any], int | None]:
        """Give the padded pixels of a whole series their value.

        Parameters
        ----------
        data : ndarray
            (T, ...), changed in place, or widened.
        slices_of : callable
            ``slices_of(data, t)`` is volume ``t`` as (slices, rows, columns), a view.

        Returns
        -------
        data : ndarray
            The same, or a wider copy.
        value : int or None
            What padded voxels hold; ``None`` where they are NaN or there are none.

        Raises
        ------
        ReadError
            If there is nothing but padding.
        """
        if not self.masks:
            return data, None
        if self.count == data.size:
            raise ReadError("every pixel is padding: there is nothing to see; check how the files were written")
        if data.dtype.kind == "f":
            self._write(data, slices_of, np.nan)
            return data, None
        lowest = min(
            int(one.min())
            for t in range(len(data))
            for k, one in enumerate(slices_of(data, t))
            if (t, k) not in self.empty
        )
        value = lowest - 1
        low_end = self.declared < lowest or (self.lossy and self.declared < float(data.mean()))
        if low_end and self.declared >= np.iinfo(data.dtype).min:
            value = int(self.declared)
        if value < np.iinfo(data.dtype).min:
            data = data.astype(exact_integer(value, int(data.max())) or np.float64)
        self._write(data, slices_of, value)
        return data, value

    def _write(self, data: NDArray[Any], slices_of: Callable[[NDArray[Any], int], NDArray[Any]], value: float) -> None:
        for (t, k), packed in self.masks.items():
            one = slices_of(data, t)[k]
            one[np.unpackbits(packed, count=one.size).reshape(one.shape).view(np.bool_)] = value

    def faults(self, size: int, value: int | None) -> list[Fault]:
        """What to know about it, with the count."""
        if not self.masks:
            return []
        holds = "NaN" if value is None else f"{value}, below every real value,"
        detail = f"{self.count} of {size} voxels are no image data; they hold {holds} and are never active"
        return [Fault.of(FaultKind.PADDING, detail)]
