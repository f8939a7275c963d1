"""The cubic grid that a network sees."""

from __future__ import annotations

Triple = tuple[int, int, int]


def centre_offset(shape: Triple, field: int) -> Triple:
    """Where voxel (0, 0, 0) of a grid lies in the field that holds it centred: ``(field - size) // 2`` on each axis."""
    z, y, x = ((field - size) // 2 for size in shape)
    return z, y, x
