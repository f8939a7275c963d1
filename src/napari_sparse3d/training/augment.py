"""Varying shapes on their sparse coordinates, without holes.

Moving voxels forward by a matrix and rounding tears holes into solid shapes and lets voxels fall on each other. Here a
turn is made of steps that keep the grid whole:

* mirroring and quarter turns permute the grid exactly;
* a rotation in a plane is three shears; a shear moves whole lines by whole voxels, so it is one to one on the grid
  (Paeth. A Fast Algorithm for General Raster Rotation. Graphics Interface 1986). The surface is rounded by up to two
  voxels; what lies deeper stays solid;
* a scaling of one axis gives each output plane to the nearest input plane, which doubles or drops planes.

All steps work on columns of voxels, with one number for each volume. A batch is varied volume by volume, as the columns
of one stay in the caches from step to step; the numbers are drawn, and slopes made of them, for all at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import pi
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_sparse3d.training.config import Augmentation


@dataclass(frozen=True)
class Rows:
    """Active voxels: ``volume`` (N,) int64, ``zyx`` three columns (N,) float32 of whole numbers; features (N, C)."""

    volume: Tensor
    zyx: tuple[Tensor, Tensor, Tensor]
    features: Tensor

    def __len__(self) -> int:
        return len(self.volume)

    def of_each(self, numbers: Tensor) -> Tensor:
        """One number for each volume -> one for each row, or the number itself where there is one volume alone."""
        return numbers if len(numbers) == 1 else numbers.index_select(0, self.volume)

    def taken(self, rows: Tensor) -> Rows:
        """Some rows: by index, or by a mask."""
        chosen = rows.numpy()
        if chosen.dtype == bool:
            if chosen.all():
                return self
            chosen = np.flatnonzero(chosen)  # found once for all columns, not in each of them
        z, y, x = (_taken(column, chosen) for column in self.zyx)
        return Rows(_taken(self.volume, chosen), (z, y, x), _taken(self.features, chosen))


def augment(
    indices: Tensor, features: Tensor, side: int, batch_size: int, how: Augmentation, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Vary each volume of a batch on its own; what leaves the field is cut off.

    Parameters
    ----------
    indices : Tensor
        (N, 4) int32 [b, z, y, x], inside a cubic field.
    features : Tensor
        (N, C); they move with their voxels.
    side : int
        Side of the field.
    batch_size : int
        B.
    how : Augmentation
    random : torch.Generator
        The only source of chance.

    Returns
    -------
    (Tensor, Tensor)
        (M, 4) int32, unique, and (M, C).
    """

    def uniform(limit: float, *shape: int) -> Tensor:
        return (torch.rand(*shape, batch_size, generator=random) * 2 - 1) * limit

    steps: list[Callable[[Rows, slice], Rows]] = []
    if how.turns != "none":
        which = torch.randint(len(turns(how.turns)), (batch_size,), generator=random)
        steps.append(lambda rows, own: turn(rows, side, which[own], how.turns))
    if how.rotate_degrees:
        rotations = _shears_of(uniform(how.rotate_degrees * pi / 180, 3))
        steps.append(lambda rows, own: _sheared(rows, side, rotations, own))
    if how.scale:
        factors = (1 + how.scale) ** uniform(1.0, 3)
        steps.append(lambda rows, own: scale(rows, side, factors[:, own]))
    if how.shear:
        shears = [(axis, (axis + 1) % 3, slope) for axis, slope in enumerate(uniform(how.shear, 3))]
        steps.append(lambda rows, own: _sheared(rows, side, shears, own))
    if how.shift:
        by = uniform(how.shift * side, 3).round()
        steps.append(lambda rows, own: shift(rows, by[:, own]))

    volumes = []
    for number, rows in enumerate(_volumes(indices, features, batch_size)):
        for step in steps:
            rows = step(rows, slice(number, number + 1))
        volumes.append(rows)
    if how.drop:
        share = torch.rand(batch_size, generator=random) * how.drop
        kept = torch.split(torch.rand(sum(map(len, volumes)), generator=random), list(map(len, volumes)))
        volumes = [rows.taken(own >= least) for rows, own, least in zip(volumes, kept, share, strict=True)]
    if how.jitter:
        volumes = [jitter(_joined(volumes), side, how.jitter, random)]
    volumes = [rows.taken(_is_inside(rows, side)) for rows in volumes]
    placed = torch.empty((sum(map(len, volumes)), 4), dtype=torch.int32, device="cpu")
    for part, rows in zip(torch.split(placed, list(map(len, volumes))), volumes, strict=True):
        for column, values in enumerate((rows.volume, *rows.zyx)):
            part[:, column] = values
    return placed, torch.cat([rows.features for rows in volumes])


def _volumes(indices: Tensor, features: Tensor, batch_size: int) -> Iterator[Rows]:
    """The rows of each volume of a batch."""
    volume = indices[:, 0].long()
    if bool((volume[1:] < volume[:-1]).any()):
        order = volume.argsort(stable=True)
        volume, indices, features = volume[order], indices[order], features[order]
    sizes = torch.bincount(volume, minlength=batch_size).tolist()
    for own, part, values in zip(
        torch.split(volume, sizes), torch.split(indices, sizes), torch.split(features, sizes), strict=True
    ):
        _, z, y, x = (column.float() for column in part.unbind(1))
        yield Rows(own, (z, y, x), values)


def _joined(volumes: Sequence[Rows]) -> Rows:
    """The rows of a batch, from those of its volumes."""
    z, y, x = (torch.cat([rows.zyx[axis] for rows in volumes]) for axis in range(3))
    return Rows(torch.cat([rows.volume for rows in volumes]), (z, y, x), torch.cat([rows.features for rows in volumes]))


def _is_inside(rows: Rows, side: int) -> Tensor:
    z, y, x = (column == column.clamp(0, side - 1) for column in rows.zyx)
    return z & y & x


Turn = tuple[tuple[int, int, int], tuple[bool, bool, bool]]


def turns(kind: str) -> list[Turn]:
    """Symmetries of the cubic grid as (which axis each axis is taken from, whether it is reversed); identity first.

    ``mirror``: 8; ``upright``: the 8 that leave axis 0 as it is; ``rotate``: the 24 proper ones; ``all``: 48;
    ``none``: the identity.
    """
    every: list[Turn] = [
        ((a, b, c), (p, q, r)) for (a, b, c) in permutations(range(3)) for p, q, r in product((False, True), repeat=3)
    ]
    if kind == "none":
        return every[:1]
    if kind == "mirror":
        return [one for one in every if one[0] == (0, 1, 2)]
    if kind == "upright":
        return [one for one in every if one[0][0] == 0 and not one[1][0]]
    return [one for one in every if kind == "all" or _is_proper(one)]


def turn(rows: Rows, side: int, which: Tensor, kind: str) -> Rows:
    """Turn volume b by the symmetry number ``which[b]`` of ``turns(kind)``."""
    table = turns(kind)
    if len(which) == 1:
        axes, signs = table[int(which)]
        z, y, x = (
            side - 1 - rows.zyx[axis] if is_reversed else rows.zyx[axis]
            for axis, is_reversed in zip(axes, signs, strict=True)
        )
        return Rows(rows.volume, (z, y, x), rows.features)
    source = torch.tensor([axes for axes, _ in table])[which]  # (B, 3)
    reversed_ = torch.tensor([signs for _, signs in table])[which]
    columns = torch.stack(rows.zyx, 1)
    moved = columns.gather(1, source[rows.volume])
    moved = torch.where(reversed_[rows.volume], side - 1 - moved, moved)
    z, y, x = moved.unbind(1)
    return Rows(rows.volume, (z, y, x), rows.features)


def rotate(rows: Rows, side: int, angles: Tensor) -> Rows:
    """Rotate volume b in the planes (z, y), (y, x), (z, x) by ``angles[:, b]`` radians, each up to a quarter of pi."""
    return _sheared(rows, side, _shears_of(angles), slice(None))


Shear = tuple[int, int, Tensor]
"""The axis that is moved along, the one that it is moved by, the slope of each volume."""


def _shears_of(angles: Tensor) -> list[Shear]:
    """The shears that rotations are made of."""
    shears = []
    for (first, second), angle in zip(((0, 1), (1, 2), (0, 2)), angles, strict=True):
        aside = -torch.tan(angle / 2)
        shears += [(first, second, aside), (second, first, torch.sin(angle)), (first, second, aside)]
    return shears


def _sheared(rows: Rows, side: int, shears: Sequence[Shear], own: slice) -> Rows:
    """Shears one after the other, by the slopes of these volumes."""
    for axis, other, slope in shears:
        rows = shear(rows, side, axis, other, slope[own])
    return rows


def shear(rows: Rows, side: int, axis: int, other: int, slope: Tensor) -> Rows:
    """Move each voxel along ``axis`` by ``slope[b]`` times its distance from the middle along ``other``, rounded."""
    columns = list(rows.zyx)
    columns[axis] = columns[axis] + _apart(np.rint, rows.of_each(slope) * (columns[other] - (side - 1) / 2))
    return Rows(rows.volume, (columns[0], columns[1], columns[2]), rows.features)


def scale(rows: Rows, side: int, factors: Tensor) -> Rows:
    """Stretch volume b about the middle by ``factors[axis, b]`` along each axis."""
    middle = (side - 1) / 2
    for axis in range(3):
        factor = rows.of_each(factors[axis])
        place = rows.zyx[axis] - middle
        # the output planes whose nearest input plane is this one: they tile the axis, none twice and none left out
        first = _apart(np.ceil, (place - 0.5) * factor + middle)
        count = (_apart(np.ceil, (place + 0.5) * factor + middle) - first).long()
        source = np.repeat(np.arange(len(count)), count.numpy())
        nth = torch.arange(len(source)) - _taken(count.cumsum(0) - count, source)
        rows = rows.taken(torch.from_numpy(source))
        columns = list(rows.zyx)
        columns[axis] = _taken(first, source) + nth
        rows = Rows(rows.volume, (columns[0], columns[1], columns[2]), rows.features)
    return rows


def shift(rows: Rows, by: Tensor) -> Rows:
    """Move volume b by ``by[axis, b]`` voxels, whole numbers."""
    z, y, x = (column + rows.of_each(step) for column, step in zip(rows.zyx, by, strict=True))
    return Rows(rows.volume, (z, y, x), rows.features)


def jitter(rows: Rows, side: int, share: float, random: torch.Generator) -> Rows:
    """Move a share of the voxels by one along one axis; of voxels that meet, the first stays."""
    count = len(rows.volume)
    moves = torch.rand(count, generator=random) < share
    axis = torch.randint(3, (count,), generator=random)
    step = torch.randint(2, (count,), generator=random).float() * 2 - 1
    z, y, x = (column + step * (moves & (axis == number)) for number, column in enumerate(rows.zyx))
    wide = 3 * side  # voxels may lie outside the field for now
    key = ((rows.volume * wide + (z + side).long()) * wide + (y + side).long()) * wide + (x + side).long()
    order = key.argsort(stable=True)
    first = torch.ones(count, dtype=torch.bool)
    first[1:] = key[order][1:] != key[order][:-1]
    return Rows(rows.volume, (z, y, x), rows.features).taken(order[first].sort().values)


def _apart(function: Callable[..., Any], values: Tensor) -> Tensor:
    """A function of numpy's: for some of its own torch wakes its threads, however little there is."""
    return torch.from_numpy(function(values.numpy()))


def _taken(values: Tensor, rows: NDArray[np.intp]) -> Tensor:
    """By numpy: torch's own indexing takes five to forty times as long for a volume's rows, and wakes its threads."""
    return torch.from_numpy(values.numpy().take(rows, 0))


def _is_proper(one: Turn) -> bool:
    (a, b, c), reversed_ = one
    odd_permutation = (a > b) + (a > c) + (b > c)
    return (odd_permutation + sum(reversed_)) % 2 == 0
