"""A small picture of a series: its middle slice alone, decoded as stored."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.io.dicom.pixels import decode, dtype_of
from napari_sparse3d.io.dicom.series import DicomStack
from napari_sparse3d.io.series import SeriesInfo


def thumbnail(info: SeriesInfo, side: int = 64) -> NDArray[np.uint8] | None:
    """The middle slice of a DICOM series as a square grey picture, ``None`` where there is none to be had cheaply.

    Parameters
    ----------
    info : SeriesInfo
        A series that ``scan`` found on disk.
    side : int
        Rows and columns of the picture, in pixels; the shorter side is filled up with black.

    Returns
    -------
    ndarray or None
        (side, side) uint8.
    """
    if not isinstance(info.loader, DicomStack) or not info.loader.stack.frames[0]:
        return None
    planes = info.loader.stack.frames[0]
    plane = planes[len(planes) // 2]
    try:
        image = decode([plane], np.empty((1, plane.kind.rows, plane.kind.columns), dtype_of([plane])))[0]
    except InputError:
        return None
    values = image.astype(np.float32)
    low, high = np.percentile(values[np.isfinite(values)], [2, 99]) if np.isfinite(values).any() else (0.0, 1.0)
    grey = (np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    rows, columns = grey.shape
    longest = max(rows, columns)
    # nearest neighbours, centred
    take = (np.arange(side) + 0.5) * longest / side
    down, right = take - (longest - rows) / 2, take - (longest - columns) / 2
    picture = np.zeros((side, side), np.uint8)
    inside = np.ix_((down >= 0) & (down < rows), (right >= 0) & (right < columns))
    picture[inside] = grey[
        np.ix_(down[(down >= 0) & (down < rows)].astype(int), right[(right >= 0) & (right < columns)].astype(int))
    ]
    return picture
