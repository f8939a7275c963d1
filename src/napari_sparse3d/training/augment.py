"""Varying shapes on their sparse coordinates, without holes.

Moving voxels forward by a matrix and rounding tears holes into solid shapes and lets voxels fall on each other. Here a
turn is made of steps that keep the grid whole:

* mirroring and quarter turns permute the grid exactly;
* a rotation in a plane is three shears; a shear moves whole lines by whole voxels, so it is one to one on the grid
  (Paeth. A Fast Algorithm for General Raster Rotation. Graphics Interface 1986). The surface is rounded by up to two
  voxels; what lies deeper stays solid;
* a scaling of one axis gives each output plane to the nearest input plane, which doubles or drops planes.

All steps work on the columns of a whole batch at once, with one number for each volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product
from math import pi

import torch
from torch import Tensor

from napari_sparse3d.training.config import Augmentation


@dataclass(frozen=True)
class Rows:
    """Active voxels: ``volume`` (N,) int64, ``zyx`` three columns (N,) float32 of whole numbers; features (N, C)."""

    volume: Tensor
    zyx: tuple[Tensor, Tensor, Tensor]
    features: Tensor

    def taken(self, rows: Tensor) -> Rows:
        """Some rows: by index, or by a mask."""
        z, y, x = self.zyx
        return Rows(self.volume[rows], (z[rows], y[rows], x[rows]), self.features[rows])


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
    batch, z, y, x = indices.long().unbind(1)
    rows = Rows(batch, (z.float(), y.float(), x.float()), features)

    def uniform(limit: float, *shape: int) -> Tensor:
        return (torch.rand(*shape, batch_size, generator=random) * 2 - 1) * limit

    if how.turns != "none":
        count = len(turns(how.turns))
        rows = turn(rows, side, torch.randint(count, (batch_size,), generator=random), how.turns)
    if how.rotate_degrees:
        rows = rotate(rows, side, uniform(how.rotate_degrees * pi / 180, 3))
    if how.scale:
        rows = scale(rows, side, (1 + how.scale) ** uniform(1.0, 3))
    if how.shear:
        for axis, slope in enumerate(uniform(how.shear, 3)):
            rows = shear(rows, side, axis, (axis + 1) % 3, slope)
    if how.shift:
        rows = shift(rows, uniform(how.shift * side, 3).round())
    if how.drop:
        share = torch.rand(batch_size, generator=random) * how.drop
        rows = rows.taken(torch.rand(len(rows.volume), generator=random) >= share[rows.volume])
    if how.jitter:
        rows = jitter(rows, side, how.jitter, random)
    placed = torch.stack([rows.volume.float(), *rows.zyx], 1)
    inside = ((placed[:, 1:] >= 0) & (placed[:, 1:] < side)).all(1)
    return placed[inside].int().contiguous(), rows.features[inside]


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
    source = torch.tensor([axes for axes, _ in table])[which]  # (B, 3)
    reversed_ = torch.tensor([signs for _, signs in table])[which]
    columns = torch.stack(rows.zyx, 1)
    moved = columns.gather(1, source[rows.volume])
    moved = torch.where(reversed_[rows.volume], side - 1 - moved, moved)
    z, y, x = moved.unbind(1)
    return Rows(rows.volume, (z, y, x), rows.features)


def rotate(rows: Rows, side: int, angles: Tensor) -> Rows:
    """Rotate volume b in the planes (z, y), (y, x), (z, x) by ``angles[:, b]`` radians, each up to a quarter of pi."""
    for (first, second), angle in zip(((0, 1), (1, 2), (0, 2)), angles, strict=True):
        for axis, other, slope in (
            (first, second, -torch.tan(angle / 2)),
            (second, first, torch.sin(angle)),
            (first, second, -torch.tan(angle / 2)),
        ):
            rows = shear(rows, side, axis, other, slope)
    return rows


def shear(rows: Rows, side: int, axis: int, other: int, slope: Tensor) -> Rows:
    """Move each voxel along ``axis`` by ``slope[b]`` times its distance from the middle along ``other``, rounded."""
    columns = list(rows.zyx)
    columns[axis] = columns[axis] + torch.round(slope[rows.volume] * (columns[other] - (side - 1) / 2))
    return Rows(rows.volume, (columns[0], columns[1], columns[2]), rows.features)


def scale(rows: Rows, side: int, factors: Tensor) -> Rows:
    """Stretch volume b about the middle by ``factors[axis, b]`` along each axis."""
    middle = (side - 1) / 2
    for axis in range(3):
        factor = factors[axis][rows.volume]
        place = rows.zyx[axis] - middle
        # the output planes whose nearest input plane is this one: they tile the axis, none twice and none left out
        first = torch.ceil((place - 0.5) * factor + middle)
        count = (torch.ceil((place + 0.5) * factor + middle) - first).long()
        source = torch.repeat_interleave(torch.arange(len(count)), count)
        nth = torch.arange(len(source)) - torch.repeat_interleave(count.cumsum(0) - count, count)
        rows = rows.taken(source)
        columns = list(rows.zyx)
        columns[axis] = first[source] + nth
        rows = Rows(rows.volume, (columns[0], columns[1], columns[2]), rows.features)
    return rows


def shift(rows: Rows, by: Tensor) -> Rows:
    """Move volume b by ``by[axis, b]`` voxels, whole numbers."""
    z, y, x = (column + step[rows.volume] for column, step in zip(rows.zyx, by, strict=True))
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


def _is_proper(one: Turn) -> bool:
    (a, b, c), reversed_ = one
    odd_permutation = (a > b) + (a > c) + (b > c)
    return (odd_permutation + sum(reversed_)) % 2 == 0
