"""Siemens mosaics and United Imaging grids: all slices of one volume tiled into one image, placed by private tags."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom.header import PARSE_ERRORS, FileHeader, as_number, as_numbers, value_of
from napari_sparse3d.io.dicom.private import SIEMENS_CSA_IMAGE, SIEMENS_MOSAIC_COUNT, UIH_GRID_COUNT, UIH_GRID_SLICES

MAX_TILES = 4096
"""No image holds more slices than this."""


@dataclass(frozen=True)
class MosaicLayout:
    """Where the tiles of a mosaic lie."""

    rows: int
    columns: int
    orientation: tuple[float, ...]
    positions: tuple[tuple[float, float, float], ...]
    """Centre of the first pixel of each tile in raster order, LPS mm."""


def mosaic_layout(header: FileHeader) -> MosaicLayout | None:
    """The layout of a mosaic or grid, ``None`` for any other image.

    Raises
    ------
    ReadError
        If the image says that it is one but its geometry is not there: guessing would misplace the slices.
    """
    if as_number(header.private(UIH_GRID_COUNT)):
        return _united_imaging(header)
    return _siemens(header)


def _united_imaging(header: FileHeader) -> MosaicLayout:
    """Each slice has its own position in a private sequence.

    ``ceil(sqrt(n))`` tiles beside each other and as many rows of tiles as they need (UIH's description of the format,
    kept with dcm2niix).
    """
    n = int(as_number(header.private(UIH_GRID_COUNT)) or 0)
    slices = header.private(UIH_GRID_SLICES)
    items = list(slices) if slices is not None and not isinstance(slices, (str, bytes)) else []
    places = [
        as_numbers(value_of(item, "ImagePositionPatient"), 3) if isinstance(item, Dataset) else None
        for item in items[: MAX_TILES + 1]
    ]
    orientation = as_numbers(header.get("ImageOrientationPatient"), 6)
    rows, columns = header.integer("Rows"), header.integer("Columns")
    if orientation is None or not 1 <= n <= MAX_TILES or len(places) != n or None in places:
        raise ReadError(
            f"a United Imaging grid of {n} slices has positions for {len(places) - places.count(None)} of them in its "
            "header: its slices cannot be placed; export single slices"
        )
    across = ceil(sqrt(n))
    down = ceil(n / across)
    if rows % down or columns % across:
        raise ReadError(f"a United Imaging grid of {rows} x {columns} pixels cannot hold {n} equal slices")
    positions = tuple((place[0], place[1], place[2]) for place in places if place is not None)
    return MosaicLayout(rows // down, columns // across, orientation, positions)


def _siemens(header: FileHeader) -> MosaicLayout | None:
    """Siemens: the slices' number and normal stand in the CSA header, their common centre in the image's position.

    The position in the header is that of the mosaic's corner as if it were one large slice around the true centre; the
    first tile is centred on the same point. The slice direction is the CSA header's, which tells descending stacks.
    """
    siemens = "siemens" in header.text("Manufacturer").lower()
    tagged = as_number(header.private(SIEMENS_MOSAIC_COUNT)) if siemens else None
    # an anonymiser may have taken the word out of the image type, or the manufacturer's name
    if "MOSAIC" not in header.texts("ImageType") and not (tagged and tagged > 1):
        return None
    csa = _csa(header)
    count = _csa_number(csa, "NumberOfImagesInMosaic") or tagged
    normal = as_numbers(_csa_values(csa, "SliceNormalVector"), 3)
    corner = as_numbers(header.get("ImagePositionPatient"), 3)
    orientation = as_numbers(header.get("ImageOrientationPatient"), 6)
    spacing = as_numbers(header.get("PixelSpacing"), 2)
    # a mosaic of touching slices has no SpacingBetweenSlices
    step = header.number("SpacingBetweenSlices") or header.number("SliceThickness")
    if not count or corner is None or orientation is None or spacing is None or not step or step <= 0:
        raise ReadError(
            "a Siemens mosaic has no number of slices, position or spacing in its header: its slices cannot be placed"
        )
    n = int(count)
    across = ceil(sqrt(n))
    rows, columns = header.integer("Rows"), header.integer("Columns")
    if n < 1 or rows % across or columns % across:
        raise ReadError(f"a Siemens mosaic of {rows} x {columns} pixels cannot hold {n} equal slices")
    along_row, along_column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    through = np.cross(along_row, along_column)
    if normal is not None:
        if abs(float(np.dot(through, normal))) < 0.99:
            raise ReadError(
                "a Siemens mosaic's slice normal does not fit its rows and columns: its slices cannot be placed"
            )
        through = through if float(np.dot(through, normal)) > 0 else -through
    elif n > 1:
        raise ReadError(
            "a Siemens mosaic has no slice normal in its header: ascending and descending cannot be told apart"
        )
    tile_rows, tile_columns = rows // across, columns // across
    # corner of the mosaic to corner of a tile around the same centre
    first = (
        np.asarray(corner)
        + along_row * spacing[1] * (columns - tile_columns) / 2
        + along_column * spacing[0] * (rows - tile_rows) / 2
    )
    positions = [first + k * step * through for k in range(n)]
    return MosaicLayout(
        tile_rows, tile_columns, orientation, tuple((float(p[0]), float(p[1]), float(p[2])) for p in positions)
    )


def _csa(header: FileHeader) -> dict[str, Any]:
    raw = header.private(SIEMENS_CSA_IMAGE)
    if not isinstance(raw, bytes):
        return {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # importing it warns that its readers are experimental; only its parser is used
            from nibabel.nicom import csareader
        tags: dict[str, Any] = csareader.read(raw)["tags"]  # type: ignore[no-untyped-call]
    except (*PARSE_ERRORS, AssertionError):  # nibabel asserts what a damaged header breaks
        return {}
    except Exception as error:
        if type(error).__name__ != "CSAReadError":  # nibabel derives it from Exception directly
            raise
        return {}
    return tags


def _csa_values(csa: dict[str, Any], name: str) -> list[Any] | None:
    values = csa.get(name, {}).get("items")
    return values or None


def _csa_number(csa: dict[str, Any], name: str) -> float | None:
    return as_number(_csa_values(csa, name))
