"""MetaImage headers (``.mha``, ``.mhd``). Definition: the MetaIO documentation and ITK's MetaIO sources.

Read here rather than by a library, because what a header leaves out must not be filled in without a word; see
``docs/decisions/0016-nrrd-and-metaimage-headers.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.detached import Encoding, VoxelFiles, beside, numbered
from napari_sparse3d.io.faults import Fault, FaultKind, Severity
from napari_sparse3d.io.limits import what_begins
from napari_sparse3d.io.raster import LPS_TO_RAS, Axis, Raster, RasterFile
from napari_sparse3d.io.series import SeriesInfo
from napari_sparse3d.io.text_header import MAX_TEXT_BYTES, TextHeader
from napari_sparse3d.io.units import mm_per_unit

_TYPES = {
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4", "ULONG": "u4",
    "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip
"""Sizes in a file, whatever a C compiler takes a long for (MET_ValueTypeSize)."""
_SAME = {
    "rotation": "transformmatrix", "orientation": "transformmatrix", "position": "offset", "origin": "offset",
    "elementbyteordermsb": "binarydatabyteordermsb",
}  # fmt: skip
_TEXT = "comment"
"""The field where our own files could keep their unit."""


def scan_metaimage(path: Path) -> tuple[SeriesInfo]:
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
        If the file is no MetaImage file, its header is damaged, contradicts itself or names data elsewhere.
    """
    header = _Header.read(path)
    if header.text("objecttype", "Image").lower() != "image":
        raise ReadError("the MetaIO file holds no image but another object; export the image itself")
    dimension = header.integer("ndims")
    sizes = header.sizes("DimSize", dimension)
    channels = header.integer("elementnumberofchannels", 1)
    dtype, faults = _dtype(header)
    files, local = _data_files(header, sizes)
    if channels < 1:
        raise ReadError(f"the header says {channels} channels a voxel; repair the header")
    header.check_shares(int(np.prod(sizes, dtype=object)) * channels, files)
    voxels = _voxel_files(header, files, local)
    affine, said = _geometry(header, dimension)
    slope, intercept = (
        header.number("elementtointensityfunctionslope", 1.0),
        header.number("elementtointensityfunctionoffset", 0.0),
    )
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise ReadError(
            f"the header's ElementToIntensityFunction has slope {slope:g} and offset {intercept:g}: no values come of "
            "it; repair the header"
        )
    axes = [Axis.SPACE] * min(dimension, 3) + [Axis.FRAME] * (dimension - 3)
    colours = channels in (3, 4) and dtype.itemsize == 1
    stored = [(channels, Axis.COLOUR if colours else Axis.VECTOR), *zip(sizes, axes, strict=True)]
    used = [(size, axis) for size, axis in stored if axis is Axis.SPACE or size > 1]
    return Raster(
        "MetaImage", tuple(size for size, _ in used), tuple(axis for _, axis in used), dtype, voxels, affine,
        (*faults, *said), slope, intercept, _times(header, sizes), header.text(_TEXT),
    )  # fmt: skip


@dataclass(frozen=True)
class _Header(TextHeader):
    """``fields`` are by name in lower case, one name for what has several."""

    kind = "MetaImage"

    @classmethod
    def read(cls, path: Path) -> _Header:
        fields: dict[str, str] = {}
        with path.open("rb") as file:
            while "elementdatafile" not in fields:  # which is the last one, by definition
                line = file.readline(65536)
                name, equals, value = line.decode("latin-1").partition("=")
                name = name.strip().lower()
                if not equals or not re.fullmatch(r"[a-z0-9_ ]{1,64}", name):
                    if line.strip() or not line:
                        _refuse(path, fields)
                    continue
                if file.tell() > MAX_TEXT_BYTES:
                    raise ReadError("the MetaImage header does not end within 16 MB: it is damaged")
                name = _SAME.get(name, name)
                if name in fields and fields[name].split() != value.split():
                    raise ReadError("the MetaImage header gives a field twice, and not alike; repair the header")
                fields[name] = value.strip()
            end = file.tell()
            listed = file.read(MAX_TEXT_BYTES) if fields["elementdatafile"].upper().startswith("LIST") else b""
        lines = listed.decode("latin-1").splitlines()
        return cls(path, fields, tuple(line.strip() for line in lines if line.strip()), end)

    @staticmethod
    def key(name: str) -> str:
        """Case counts for nothing."""
        return name.lower()

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.required(name) if default is None else self.text(name, str(default))
        if not re.fullmatch(r"[-+]?\d{1,12}", value):
            raise ReadError(f"the MetaImage header's {name} is no whole number: it is damaged")
        return int(value)

    def number(self, name: str, default: float) -> float:
        (value,) = self.numbers(name, 1) or [default]
        return value

    def true(self, name: str, default: bool) -> bool:
        value = self.text(name)
        return value[:1] in ("T", "t", "1") if value else default


def _refuse(path: Path, fields: Mapping[str, str]) -> None:
    if fields:
        raise ReadError("the MetaImage header ends before it names its data (ElementDataFile): it is damaged")
    with path.open("rb") as file:
        begins = what_begins(file.read(64))
    raise ReadError(f"the file does not begin with a MetaImage header but {begins}: it is not what its name says")


def _dtype(header: _Header) -> tuple[np.dtype[Any], list[Fault]]:
    name = header.required("elementtype").upper().removeprefix("MET_").removesuffix("_ARRAY")
    if name not in _TYPES:
        raise ReadError(
            "the MetaImage header's ElementType is not one of a number (MET_CHAR to MET_DOUBLE); convert it"
        )
    dtype = np.dtype(_TYPES[name])
    if dtype.itemsize == 1 or not header.true("binarydata", True):
        return dtype, []
    if "binarydatabyteordermsb" not in header.fields:
        words = "the header does not say the order of bytes; the usual one (little endian) is assumed"
        return dtype.newbyteorder("<"), [Fault.of(FaultKind.VALUES, words)]
    return dtype.newbyteorder(">" if header.true("binarydatabyteordermsb", False) else "<"), []


def _data_files(header: _Header, sizes: Sequence[int]) -> tuple[tuple[Path, ...], bool]:
    """The files of ElementDataFile, and whether it is the header's own: LOCAL, a name, LIST, or a pattern."""
    value = header.required("elementdatafile")
    if value.upper() == "LOCAL":
        return (header.path,), True
    listed = re.fullmatch(r"LIST(?:\s+(\d{1,2})D?)?", value, re.IGNORECASE)
    if listed is not None:
        dimension = int(listed[1] or 0)
        if not 1 <= dimension < len(sizes):
            dimension = len(sizes) - 1
        names = list(header.listed)
        expected = int(np.prod(sizes[dimension:], dtype=object))
    elif "%" in value and (pattern := re.fullmatch(r"(.*%\S*)((?:\s+[-+]?\d{1,9}){0,3})", value)) is not None:
        expected = sizes[-1]
        numbers = [int(word) for word in pattern[2].split()]
        first = numbers[0] if numbers else 1
        last = numbers[1] if len(numbers) > 1 else first + expected - 1
        names = numbered(pattern[1], first, last, numbers[2] if len(numbers) > 2 else 1)
    else:
        return (beside(header.path, value),), False
    if len(names) != expected:
        raise ReadError(f"the MetaImage header names {len(names)} data files where its sizes need {expected}")
    return tuple(beside(header.path, name) for name in names), False


def _voxel_files(header: _Header, files: tuple[Path, ...], local: bool) -> VoxelFiles:
    skip = header.integer("headersize", 0)
    if skip < -1:
        raise ReadError(f"the MetaImage header's HeaderSize is {skip}; repair the header")
    # HeaderSize counts from the beginning of the file, whichever it is; -1: the data are its last bytes
    offset = skip if skip > 0 else (header.end if local else 0)
    if not header.true("binarydata", True):
        return VoxelFiles(files, Encoding.ASCII, offset)
    if header.true("compresseddata", False):
        return VoxelFiles(files, Encoding.GZIP, offset)
    return VoxelFiles(files, Encoding.RAW, offset, 0, min(skip, 0))


def _geometry(header: _Header, dimension: int) -> tuple[NDArray[np.float64] | None, list[Fault]]:
    if dimension < 3:
        return None, []
    faults = []
    spacing = header.numbers("elementspacing", dimension)
    if spacing is None:
        spacing = header.numbers("elementsize", dimension)
        if spacing is None or not (np.isfinite(spacing[:3]) & (np.array(spacing[:3]) != 0)).all():
            words = "the header gives no distance between the voxels (ElementSpacing); add it"
            return None, [Fault.of(FaultKind.MISSING_SPACING, words)]
        words = "the header gives the size of the voxels and not their distance; it is taken for the distance"
        faults.append(Fault.of(FaultKind.MISSING_SPACING, words, Severity.NOTE))
    matrix = header.numbers("transformmatrix", dimension**2)
    directions = np.eye(dimension) if matrix is None else np.array(matrix).reshape(dimension, dimension).T
    if directions[3:, :3].any() or directions[:3, 3:].any():
        raise ReadError("the header's TransformMatrix mixes space with further axes; write them apart")
    if matrix is None:
        words = "the header has no TransformMatrix: left and right are assumed, not known"
        faults.append(Fault.of(FaultKind.UNKNOWN_ORIENTATION, words))
    affine = np.eye(4)
    # each row of the matrix is the direction of an axis, in a space of DICOM's orientation
    affine[:3, :3] = directions[:3, :3] * np.array(spacing[:3])
    origin = header.numbers("offset", dimension)
    if origin is None:
        words = "the header has no Offset: where the scan lies is assumed, not known"
        faults.append(Fault.of(FaultKind.UNKNOWN_ORIENTATION, words))
    else:
        affine[:3, 3] = origin[:3]
    centre = header.numbers("centerofrotation", dimension)
    if centre is not None and any(centre[:3]) and not np.array_equal(directions[:3, :3], np.eye(3)):
        words = "the header's CenterOfRotation is passed over, as ITK does: Offset is taken for the first voxel's place"
        faults.append(Fault.of(FaultKind.UNKNOWN_ORIENTATION, words))
    faults += _named_directions(header, directions[:3, :3])
    unit = header.text("distanceunits")
    affine[:3] *= 1.0 if unit in ("", "?") else mm_per_unit(unit.removeprefix("MET_DISTANCE_UNITS_"))
    with np.errstate(invalid="ignore"):  # infinities are refused where the volume is described
        return LPS_TO_RAS @ affine, faults


def _named_directions(header: _Header, directions: NDArray[np.float64]) -> list[Fault]:
    """Whether AnatomicalOrientation says what the matrix does, by either of the two ways in which it is written."""
    letters = header.text("anatomicalorientation").upper()
    if not re.fullmatch(r"[RLAPIS]{3}", letters):
        return []
    toward = ("RL", "AP", "IS")  # from and to, along DICOM's x, y and z
    to = ""
    for column in directions.T:
        axis = int(np.argmax(np.abs(column)))
        to += toward[axis][int(column[axis] > 0)]
    opposite = str.maketrans("RLAPIS", "LRPASI")
    if letters in (to, to.translate(opposite)):
        return []
    words = "AnatomicalOrientation and TransformMatrix name other directions; the matrix is used"
    return [Fault.of(FaultKind.UNKNOWN_ORIENTATION, words)]


def _times(header: _Header, sizes: Sequence[int]) -> tuple[float, ...] | None:
    """A fourth spacing is seconds, as ITK writes it; 1 is also what it writes for want of one, and claims nothing."""
    spacing = header.numbers("elementspacing", len(sizes))
    if len(sizes) != 4 or spacing is None or not np.isfinite(spacing[3]) or spacing[3] <= 0 or spacing[3] == 1:
        return None
    origin = header.numbers("offset", 4)
    first = origin[3] if origin is not None and np.isfinite(origin[3]) else 0.0
    return tuple(first + spacing[3] * n for n in range(sizes[3]))
