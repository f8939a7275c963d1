"""A triangle mesh becomes a volume of occupancy, by the centres of its voxels.

The grid covers the mesh: its longest side has as many voxels as are asked for, the others as many as round to the
mesh's extent, all centred on the mesh's box. A voxel is inside where the surface winds around its centre, so volumes
converge to the mesh's own, and the result does not depend on where the mesh lies.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError, ReadError, line_of
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels.resample import MAX_VOXELS

_AT_ONCE = 4_000_000
"""Pairs of a triangle and a voxel that are looked at together."""

_LARGEST_PIECE = 8
"""Voxels along an axis that a triangle may reach over where each voxel of its box is looked at."""

CLOSED = "closed: inside where its surface winds around"
TURNED = "closed, but its triangles face both ways: inside where a line from outside crosses it an odd number of times"
OPEN = "not watertight: the voxels that its surface passes through, and what they enclose"
THIN = "closed, but around the centre of no voxel: the voxels that its surface passes through"
SURFACE = "the voxels that its surface passes through"


def mesh_volume(path: Path, side: int, *, solid: bool, name: str = "mesh") -> Volume:
    """Occupancy of a triangle mesh, 1 inside (``solid``) or on its surface, 0 elsewhere.

    Of surfaces one within another, the space between is solid and the inner one a hollow where they face opposite ways,
    as a hollow is written; where they face the same way all of it is solid (the winding number is not 0).

    Parameters
    ----------
    path : Path
        OFF, STL, PLY or OBJ; axes (x, y, z) = (R, A, S), lengths in mm.
    side : int
        Voxels along the longest side.
    solid : bool
        Whether what the surface encloses is filled. A surface with holes encloses nothing for certain: of it the voxels
        that it passes through are taken, and what they enclose, with a warning.
    name : str
        Of the volume.

    Returns
    -------
    Volume
        ``data`` (Z, Y, X) uint8; ``meta["mesh"]`` says what was made of it.

    Raises
    ------
    ReadError
        If the file holds no triangles.
    InputError
        If the grid would have more than 2^31 voxels.
    """
    triangles = _triangles(path)
    grid = _MeshGrid.over(triangles, side)
    placed = (triangles - grid.corner) / grid.pitch  # in voxels: voxel i reaches from i to i + 1
    state = _how(placed) if solid else SURFACE
    if state in (CLOSED, TURNED):
        inside = _inside(placed, grid.shape, odd=state == TURNED)
        state = state if inside.any() else THIN
    if state in (OPEN, THIN, SURFACE):
        inside = _touched(placed, grid.shape)
    if state == OPEN:
        inside = _filled(inside)
    if state not in (CLOSED, SURFACE):
        warnings.warn(f"a mesh is {state}", stacklevel=2)
    # a mesh has its axes as (x, y, z) = (R, A, S)
    affine = np.diag([grid.pitch, grid.pitch, grid.pitch, 1.0])
    affine[:3, 3] = (grid.corner + grid.pitch / 2)[::-1]
    data = np.ascontiguousarray(inside.transpose(2, 1, 0)).astype(np.uint8)
    return Volume(data, affine, name=name, meta={"mesh": state})


def _triangles(path: Path) -> NDArray[np.float64]:
    """(T, 3, 3) corners (x, y, z) in mm; none twice, none without an area of three corners."""
    import trimesh

    try:
        mesh: Any = trimesh.load(path, force="mesh")
    # trimesh lets through whatever its parsers raise on a damaged file
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
        raise ReadError(f"the file cannot be read as a mesh: {line_of(error, path)}") from error
    faces = np.asarray(getattr(mesh, "faces", ()))
    corners = np.asarray(mesh.vertices, dtype=np.float64)[faces] if len(faces) else np.zeros((0, 3, 3))
    if not len(corners) or not np.isfinite(corners).all() or np.ptp(corners.reshape(-1, 3), axis=0).max() <= 0:
        raise ReadError("the file holds no triangles; a mesh (OFF, STL, PLY, OBJ) with faces is expected")
    # corners at one place are one, whatever else (a normal, a texture) tells them apart in the file
    _, numbers = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    numbers = np.sort(numbers.reshape(-1, 3), axis=1)
    _, once = np.unique(numbers, axis=0, return_index=True)  # some programs write each triangle for both of its sides
    once = once[(np.diff(numbers[once], axis=1) > 0).all(axis=1)]
    if not len(once):
        raise ReadError("the file's triangles have no area; a mesh (OFF, STL, PLY, OBJ) with faces is expected")
    unique: NDArray[np.float64] = corners[np.sort(once)]
    return unique


@dataclass(frozen=True, eq=False)
class _MeshGrid:
    """Cubic voxels over a mesh; axes (x, y, z)."""

    corner: NDArray[np.float64]
    """(3,) where the first voxel begins, in mm."""
    pitch: float
    """Side of a voxel in mm."""
    shape: tuple[int, int, int]

    @classmethod
    def over(cls, triangles: NDArray[np.float64], side: int) -> _MeshGrid:
        points = triangles.reshape(-1, 3)
        low, high = points.min(axis=0), points.max(axis=0)
        pitch = float((high - low).max()) / side
        sizes = np.maximum(np.round((high - low) / pitch), 1)
        if sizes.prod() > MAX_VOXELS:
            raise InputError(
                f"{side} voxels along the longest side of the mesh would make a grid of "
                f"{' x '.join(f'{n:.0f}' for n in sizes)}; choose fewer"
            )
        x, y, z = sizes.astype(int).tolist()
        return cls((low + high - sizes * pitch) / 2, pitch, (x, y, z))


def _how(triangles: NDArray[np.float64]) -> str:
    """Whether the surface is closed, and whether its triangles face one way."""
    _, corners = np.unique(triangles.reshape(-1, 3), axis=0, return_inverse=True)
    first, second = corners.reshape(-1, 3).ravel(), np.roll(corners.reshape(-1, 3), -1, axis=1).ravel()
    pairs = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)
    _, edge, n_faces = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    if (n_faces % 2).any():
        return OPEN
    # along each edge of a surface that faces one way, as many triangles run forth as back
    balance = np.bincount(edge.ravel(), weights=np.where(first < second, 1, -1))
    return TURNED if balance.any() else CLOSED


def _inside(triangles: NDArray[np.float64], shape: tuple[int, int, int], *, odd: bool) -> NDArray[np.bool_]:
    """(X, Y, Z) bool: the voxels whose centre the surface winds around; ``odd``: or crosses an odd number of times.

    A line runs up through the centres of each column. Where it crosses a triangle, and which way, is summed from below.
    """
    n_x, n_y, n_z = shape
    steps = np.zeros((n_x * n_y, n_z + 1), dtype=np.int32)
    for column, height, way in _crossings(triangles, n_x, n_y):
        above = np.clip(np.ceil(height - 0.5), 0, n_z).astype(np.int64)  # the first centre that is not below
        np.add.at(steps, (column, above), 1 if odd else way)
    winding = np.cumsum(steps[:, :n_z], axis=1, out=steps[:, :n_z])
    inside: NDArray[np.bool_] = (winding % 2 if odd else winding) != 0
    return inside.reshape(shape)


def _crossings(
    triangles: NDArray[np.float64], n_x: int, n_y: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]]:
    """Yield (K,) columns, heights and ways (1: downwards through the face) of crossings, some triangles at a time."""
    flat = triangles[:, :, :2]
    first = np.clip(np.ceil(flat.min(axis=1) - 0.5), 0, (n_x, n_y)).astype(np.int64)
    last = np.clip(np.floor(flat.max(axis=1) - 0.5), -1, (n_x - 1, n_y - 1)).astype(np.int64)
    widths = np.maximum(last - first + 1, 0)
    for which, place in _pairs(widths):
        i = first[which, 0] + place // widths[which, 1]
        j = first[which, 1] + place % widths[which, 1]
        corners = triangles[which]
        x, y = i + 0.5, j + 0.5
        a, b, c = corners[:, :, :2].transpose(1, 0, 2)
        way = _passes(a, b, x, y) + _passes(b, c, x, y) + _passes(c, a, x, y)
        hit = way != 0
        corners, i, j, way = corners[hit], i[hit], j[hit], way[hit]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        along = normal[:, 0] * (x[hit] - corners[:, 0, 0]) + normal[:, 1] * (y[hit] - corners[:, 0, 1])
        with np.errstate(divide="ignore", invalid="ignore"):  # a triangle that stands upright, but for rounding
            height = corners[:, 0, 2] - along / normal[:, 2]
        low, high = corners[:, :, 2].min(axis=1), corners[:, :, 2].max(axis=1)
        yield i * n_y + j, np.clip(np.where(np.isfinite(height), height, low), low, high), way


def _passes(
    start: NDArray[np.float64], end: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(K,): 1 or -1 where an edge, seen along z, crosses the ray from (x, y) toward growing x, up or down; else 0.

    Summed over a triangle: whether it covers the point, and with which side. Computed from the same end of an edge in
    both of the triangles that share it, so rounding cannot let a point fall between them, or into both.
    """
    forth = (start[:, 1] < end[:, 1]) | ((start[:, 1] == end[:, 1]) & (start[:, 0] < end[:, 0]))
    low, high = np.where(forth[:, None], start, end), np.where(forth[:, None], end, start)
    reaches = (low[:, 1] <= y) & (y < high[:, 1])
    right = (high[:, 0] - low[:, 0]) * (y - low[:, 1]) > (high[:, 1] - low[:, 1]) * (x - low[:, 0])
    return np.where(reaches & right, np.where(forth, 1, -1), 0)


def _pairs(counts: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (K,) numbers of triangles and of the places in each one's box, some millions at a time."""
    total = counts.prod(axis=1)
    ends = np.cumsum(total)
    start = 0
    while start < len(total):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _AT_ONCE, side="right")))
        which = np.repeat(np.arange(start, stop), total[start:stop])
        yield which, np.arange(len(which)) - (ends[which] - total[which] - before)
        start = stop


def _touched(triangles: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """(X, Y, Z) bool: the voxels that share a point with a triangle (separating axes: Akenine-Moeller 2001)."""
    touched = np.zeros(shape, dtype=bool)
    triangles = _in_pieces(triangles)
    ends = np.array(shape) - 1
    first = np.clip(np.floor(triangles.min(axis=1)), 0, ends).astype(np.int64)
    last = np.clip(np.ceil(triangles.max(axis=1)) - 1, first, ends).astype(np.int64)
    widths = last - first + 1
    axes = np.eye(3)
    for which, place in _pairs(widths):
        cell = first[which] + _unravel(place, widths[which])
        corners = triangles[which] - (cell + 0.5)[:, None]
        edges = np.roll(corners, -1, axis=1) - corners
        meets = np.ones(len(which), dtype=bool)
        directions = [np.cross(edges[:, 0], edges[:, 1])]
        directions += [np.cross(edges[:, edge], axes[axis]) for edge in range(3) for axis in range(3)]
        for direction in directions:
            along = np.einsum("kcd,kd->kc", corners, direction)
            reach = np.abs(direction).sum(axis=1) / 2
            meets &= (along.min(axis=1) <= reach) & (along.max(axis=1) >= -reach)
        touched[tuple(cell[meets].T)] = True
    return touched


def _in_pieces(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same surface, of triangles that reach over a few voxels only: halved along each edge as often as needed."""
    done = []
    while len(triangles):
        large = np.ptp(triangles, axis=1).max(axis=1) > _LARGEST_PIECE
        done.append(triangles[~large])
        a, b, c = triangles[large].transpose(1, 0, 2)
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        quarters = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
        triangles = np.concatenate([np.stack(quarter, axis=1) for quarter in quarters])
    return np.concatenate(done)


def _unravel(place: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(K, 3): the place in a box of these widths, x slowest."""
    rest, z = np.divmod(place, widths[:, 2])
    x, y = np.divmod(rest, widths[:, 1])
    return np.stack([x, y, z], axis=1)


def _filled(shell: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A set of voxels and all that cannot be reached from outside, through faces."""
    import cc3d

    around = np.pad(~shell, 1, constant_values=True)
    labels = cc3d.connected_components(around, connectivity=6)
    outside: NDArray[np.bool_] = labels == labels[0, 0, 0]
    return ~outside[1:-1, 1:-1, 1:-1]
