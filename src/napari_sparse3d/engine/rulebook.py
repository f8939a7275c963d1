"""Site sets and rulebooks by torch alone: exact integers, the same code on every device.

A site [b, z, y, x] becomes one number, its place in raster order over the whole batch; a sorted list of these numbers
with a binary search in it is the coordinate index. Nothing is scattered to, so nothing depends on the order in which a
card runs its threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.window import Geometry, Triple


@dataclass(frozen=True)
class Rulebook:
    """Which input row meets which kernel offset for which output row.

    Attributes
    ----------
    table : Tensor
        (K, M) int32: the input row, or -1 where that site is not active.
    met : Tensor or None
        (K, M) bool: whether the offset meets the output row at all. None: all do (any geometry but a transposed one
        with a stride).
    inputs : int
        N, the number of input rows.
    """

    table: Tensor
    met: Tensor | None
    inputs: int

    @property
    def outputs(self) -> int:
        """M, the number of output rows."""
        return self.table.shape[1]

    @property
    def volume(self) -> int:
        """K, the number of kernel offsets."""
        return self.table.shape[0]

    @property
    def missing(self) -> Tensor:
        """(K, M) bool: the offset is met, and the background stands there."""
        absent = self.table < 0
        return absent if self.met is None else absent & self.met

    @cached_property
    def pairs(self) -> list[tuple[Tensor, ...]]:
        """For each offset the input rows and the output rows that meet, (P,) and (P,) int32.

        No row occurs twice in one list: what is added by them needs no atomics.
        """
        active = self.table >= 0
        rows_out = active.nonzero()[:, 1].int()
        sizes: list[int] = active.sum(1).tolist()
        return list(zip(torch.split(self.table[active], sizes), torch.split(rows_out, sizes), strict=True))

    @cached_property
    def reversed_table(self) -> Tensor:
        """(K, N) int32: the output row that each input row meets through each offset, or -1."""
        table = self.table.new_full((self.volume, self.inputs), -1)
        active = self.table >= 0
        offsets, rows_out = active.nonzero().unbind(1)
        table[offsets, self.table[active].long()] = rows_out.int()
        return table


def check_sites(indices: Tensor, batch_size: int, shape: Triple) -> None:
    """Raise ``InputError`` if a site lies outside the grid or the batch, or occurs twice."""
    limits = torch.tensor([batch_size, *shape], device=indices.device)
    outside = ((indices < 0) | (indices >= limits)).any(1)
    if outside.any():
        first = indices[outside][0].tolist()
        raise InputError(f"site [b, z, y, x] = {first} lies outside the batch of {batch_size} and grid {shape}")
    places = raster_places(indices, shape).sort().values
    again = places[1:] == places[:-1]
    if again.any():
        first = sites_at(places[1:][again][:1], shape)[0].tolist()
        raise InputError(f"site [b, z, y, x] = {first} occurs twice; keep one row for each site")


def raster_places(indices: Tensor, shape: Triple) -> Tensor:
    """(N, 4) [b, z, y, x] -> (N,) int64: the place in raster order over (batch, grid)."""
    b, z, y, x = indices.long().unbind(1)
    return ((b * shape[0] + z) * shape[1] + y) * shape[2] + x


def sites_at(places: Tensor, shape: Triple) -> Tensor:
    """The inverse of :func:`raster_places`: (N,) -> (N, 4) int64 [b, z, y, x]."""
    rest, x = places // shape[2], places % shape[2]
    rest, y = rest // shape[1], rest % shape[1]
    return torch.stack([rest // shape[0], rest % shape[0], y, x], 1)


def output_sites(indices: Tensor, geometry: Geometry) -> Tensor:
    """(M, 4) int32, raster order: every output site with an active input in its window.

    A window is a product of three intervals, so the sites are spread along one axis after the other.
    """
    shape = list(geometry.in_shape)
    places = raster_places(indices, geometry.in_shape)
    for axis in range(3):
        sites = sites_at(places, (shape[0], shape[1], shape[2]))
        shape[axis] = geometry.out_shape[axis]
        reached = []
        for offset in range(geometry.window.kernel[axis]):
            spread = sites.clone()
            spread[:, 1 + axis], whole = _reached(sites[:, 1 + axis], axis, offset, geometry)
            inside = (spread[:, 1 + axis] >= 0) & (spread[:, 1 + axis] < shape[axis])
            reached.append(raster_places(spread[whole & inside], (shape[0], shape[1], shape[2])))
        places = torch.unique(torch.cat(reached))
    return sites_at(places, geometry.out_shape).int().contiguous()


def rulebook(in_indices: Tensor, out_indices: Tensor, geometry: Geometry) -> Rulebook:
    """The rulebook from one site set to another, rows in any order."""
    kernel = geometry.window.kernel
    places, rows = raster_places(in_indices, geometry.in_shape).sort()
    batch = out_indices[:, 0].long()
    # for each axis and offset along it: the input coordinate of every output row, and whether there is one
    met_on = [
        [_met(out_indices[:, 1 + axis].long(), axis, offset, geometry) for offset in range(kernel[axis])]
        for axis in range(3)
    ]
    strided = geometry.transposed and geometry.window.stride != (1, 1, 1)
    size = (geometry.window.volume, len(out_indices))
    table = torch.full(size, -1, dtype=torch.int32, device=in_indices.device)
    met = torch.zeros(size, dtype=torch.bool, device=in_indices.device) if strided else None
    for number, offset in enumerate(geometry.window.offsets()):
        (z, whole_z), (y, whole_y), (x, whole_x) = (met_on[axis][offset[axis]] for axis in range(3))
        whole = whole_z & whole_y & whole_x
        if met is not None:
            met[number] = whole
        if not len(places) or not len(out_indices):
            continue
        inside = whole
        for coordinate, limit in zip((z, y, x), geometry.in_shape, strict=True):
            inside = inside & (coordinate >= 0) & (coordinate < limit)
        wanted = raster_places(torch.stack([batch, z, y, x], 1), geometry.in_shape)
        nearest = torch.searchsorted(places, wanted).clamp(max=len(places) - 1)
        table[number] = torch.where(inside & (places[nearest] == wanted), rows[nearest], -1)
    return Rulebook(table, met, len(in_indices))


def _met(out: Tensor, axis: int, offset: int, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Along one axis: the input coordinate that an output meets, and whether it is a whole number."""
    w = geometry.window
    if not geometry.transposed:
        coordinate = out * w.stride[axis] + offset * w.dilation[axis] - w.padding[axis]
        return coordinate, torch.ones_like(coordinate, dtype=torch.bool)
    return _divided(out + w.padding[axis] - offset * w.dilation[axis], w.stride[axis])


def _reached(taken: Tensor, axis: int, offset: int, geometry: Geometry) -> tuple[Tensor, Tensor]:
    """Along one axis: the output coordinate that an input reaches, and whether it is a whole number."""
    w = geometry.window
    if geometry.transposed:
        coordinate = taken * w.stride[axis] + offset * w.dilation[axis] - w.padding[axis]
        return coordinate, torch.ones_like(coordinate, dtype=torch.bool)
    return _divided(taken + w.padding[axis] - offset * w.dilation[axis], w.stride[axis])


def _divided(number: Tensor, by: int) -> tuple[Tensor, Tensor]:
    return number // by, number % by == 0
