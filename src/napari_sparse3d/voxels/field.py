"""The cubic grid that a network sees."""

from __future__ import annotations

from napari_sparse3d.errors import InputError

Triple = tuple[int, int, int]


def centre_offset(shape: Triple, field: int) -> Triple:
    """Where voxel (0, 0, 0) of a grid lies in the field that holds it centred: ``(field - size) // 2`` on each axis."""
    z, y, x = ((field - size) // 2 for size in shape)
    return z, y, x


def offset_within(shape: Triple, field: int) -> Triple:
    """:func:`centre_offset` of a voxel set that must fit.

    Raises
    ------
    InputError
        If the grid is larger than the field.
    """
    offset = centre_offset(shape, field)
    if min(offset) < 0:
        raise InputError(
            f"a voxel set of {shape} does not fit into the network's field of {(field,) * 3}; "
            "resample it to fewer voxels in its recipe"
        )
    return offset
