"""NRRD headers, attached and detached. Definition: teem.sourceforge.net/nrrd/format.html, section by field below.

Read here rather than by a library, because what a header leaves out must not be filled in without a word; see
``docs/decisions/0016-nrrd-and-metaimage-headers.md``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.detached import Encoding, VoxelFiles, beside, numbered
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.nrrd_geometry import NrrdGeometry
from napari_sparse3d.io.nrrd_header import NrrdHeader
from napari_sparse3d.io.raster import Axis, Raster, RasterFile
from napari_sparse3d.io.series import SeriesInfo

_TYPES = {
    name: code
    for code, names in {
        "i1": "signed char, int8, int8_t",
        "u1": "uchar, unsigned char, uint8, uint8_t",
        "i2": "short, short int, signed short, signed short int, int16, int16_t",
        "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t",
        "i4": "int, signed int, int32, int32_t",
        "u4": "uint, unsigned int, uint32, uint32_t",
        "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
        "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split(", ")
}
_ENCODINGS = {
    "raw": Encoding.RAW, "txt": Encoding.ASCII, "text": Encoding.ASCII, "ascii": Encoding.ASCII, "hex": Encoding.HEX,
    "gz": Encoding.GZIP, "gzip": Encoding.GZIP, "bz2": Encoding.BZIP2, "bzip2": Encoding.BZIP2,
}  # fmt: skip
_HU = ("hu", "hounsfield", "hounsfield unit", "hounsfield units", "[hnsf'u]")


def scan_nrrd(path: Path) -> tuple[SeriesInfo]:
    """Read the header of one file; errors as :func:`read_header`."""
    return (RasterFile(path, read_header).scan(),)


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of voxels that a header names; errors as :func:`read_header`."""
    return read_header(path).voxels.files


def read_header(path: Path) -> Raster:
    """What the header of one file says.

    Raises
    ------
    ReadError
        If the file is no NRRD file, its header is damaged, contradicts itself or names data elsewhere.
    """
    header = NrrdHeader.read(path)
    encoding, dtype = _encoding(header), _dtype(header)
    dimension = header.integer("dimension")
    sizes = header.sizes("sizes", dimension)
    if dtype.itemsize > 1 and encoding is not Encoding.ASCII:
        dtype = dtype.newbyteorder(_byte_order(header))
    files = _data_files(header, sizes)
    header.check_shares(int(np.prod(sizes, dtype=object)), files)
    offset = header.end if files == (path,) else 0
    voxels = VoxelFiles(files, encoding, offset, header.skip("line skip"), _byte_skip(header, encoding))
    geometry = NrrdGeometry.of(header, sizes, dtype)
    faults = list(geometry.faults)
    quantised = dtype.kind in "iu" and header.get("old min") is not None and header.get("old max") is not None
    if quantised:
        words = "the values were quantised from another range (old min, old max); the stored numbers are read"
        faults.append(Fault.of(FaultKind.VALUES, words))
    measured = header.text("sample units").strip().strip('"').lower() in _HU
    # axes of one place that are not of space say nothing
    used = [axis for axis in range(dimension) if geometry.axes[axis] is Axis.SPACE or sizes[axis] > 1]
    return Raster(
        "NRRD", tuple(sizes[axis] for axis in used), tuple(geometry.axes[axis] for axis in used), dtype, voxels,
        geometry.affine_ras, tuple(faults), times_s=geometry.times_s, free_text=header.text("content"),
        unit=("HU", "CT", "the header's sample units") if measured else None, as_stored=quantised,
    )  # fmt: skip


def _encoding(header: NrrdHeader) -> Encoding:
    encoding = _ENCODINGS.get(header.required("encoding").lower())
    if encoding is None:
        raise ReadError(
            "the NRRD header's encoding is not one of raw, ascii, hex, gzip, bzip2, which can be read; write it as gzip"
        )
    return encoding


def _dtype(header: NrrdHeader) -> np.dtype[Any]:
    code = _TYPES.get(re.sub(r"\s+", " ", header.required("type").lower()))
    if code is None:
        raise ReadError("the NRRD header's type is not one of a number (int8 to uint64, float, double); convert it")
    return np.dtype(code)


def _byte_order(header: NrrdHeader) -> Any:
    value = header.text("endian").lower()
    if value not in ("little", "big"):
        raise ReadError("the NRRD header does not say endian: little or big, so that the values are not known; add it")
    return "<" if value == "little" else ">"


def _byte_skip(header: NrrdHeader, encoding: Encoding) -> int:
    skip = header.skip("byte skip")
    if skip == -1 and encoding in (Encoding.ASCII, Encoding.HEX):
        raise ReadError("the NRRD header's byte skip of -1 has no meaning for text; repair the header")
    return skip


def _data_files(header: NrrdHeader, sizes: Sequence[int]) -> tuple[Path, ...]:
    """The files of ``data file``: one, a list, or a pattern with its numbers (section "detached headers")."""
    value = header.get("data file")
    if value is None:
        return (header.path,)
    pattern = re.fullmatch(r"(.*%.*?)\s+([-+]?\d{1,9})\s+([-+]?\d{1,9})\s+([-+]?\d{1,9})(?:\s+(\d{1,3}))?", value)
    listed = re.fullmatch(r"LIST(?:\s+(\d{1,3}))?", value)
    if listed is not None:
        names, each = list(header.listed), listed[1]
    elif pattern is not None:
        names, each = numbered(pattern[1], int(pattern[2]), int(pattern[3]), int(pattern[4])), pattern[5]
    else:
        return (beside(header.path, value),)
    dimension = len(sizes) - 1 if each is None else int(each)
    if not 1 <= dimension <= len(sizes):
        raise ReadError("the NRRD header's data files are of a dimension that the image has not; repair the header")
    expected = int(np.prod(sizes[dimension:], dtype=object))
    whole = dimension == len(sizes) and names and sizes[-1] % len(names) == 0
    if not names or not (len(names) == expected or whole):
        raise ReadError(f"the NRRD header names {len(names)} data files where its sizes need {expected}")
    return tuple(beside(header.path, name) for name in names)
