"""NRRD headers, attached and detached. Definition: teem.sourceforge.net/nrrd/format.html, section by field below.

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
from napari_sparse3d.io.detached import Encoding, VoxelFiles, beside
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.limits import what_begins
from napari_sparse3d.io.raster import LPS_TO_RAS, Axis, Raster, RasterFile, number_of, numbers, sizes_of
from napari_sparse3d.io.series import SeriesInfo
from napari_sparse3d.io.units import one_mm_per_unit, seconds_per_unit

_MAX_HEADER_BYTES = 16 * 1024 * 1024
_MAX_FILES = 1_000_000

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
_TO_RAS = {
    "left-posterior-superior": LPS_TO_RAS, "lps": LPS_TO_RAS,
    "right-anterior-superior": np.eye(4), "ras": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]), "las": np.diag([-1.0, 1.0, 1.0, 1.0]),
}  # fmt: skip
_COLOURS = ("rgb-color", "rgba-color", "hsv-color", "xyz-color", "3-color", "4-color")
_SPATIAL = ("domain", "space")
_FRAMES = ("list", "time", *_SPATIAL, "stub", "scalar")
"""Kinds of an axis without a direction in space whose places are volumes."""
_HU = ("hu", "hounsfield", "hounsfield unit", "hounsfield units", "[hnsf'u]")
_TIMES = ("acquisitiontime", "triggertime", "contenttime", "seriestime", "temporalpositiontimeoffset")
"""DICOM tags by which 3D Slicer's multi-volumes can be ordered, and which are times between volumes."""


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
    header = _Header.read(path)
    encoding, dtype = _encoding(header), _dtype(header)
    dimension = header.integer("dimension")
    sizes = sizes_of(header.required("sizes"), what="sizes")
    if len(sizes) != dimension:
        raise ReadError(f"the header has {len(sizes)} sizes for dimension {dimension}; repair the header")
    if dtype.itemsize > 1 and encoding is not Encoding.ASCII:
        dtype = dtype.newbyteorder(_byte_order(header))
    files = _data_files(header, sizes)
    n_items = int(np.prod(sizes, dtype=object))
    if n_items % len(files):
        raise ReadError(f"the header's {n_items} voxels do not fit evenly into the {len(files)} data files it names")
    offset = header.end if files == (path,) else 0
    voxels = VoxelFiles(files, encoding, offset, header.skip("line skip"), _byte_skip(header, encoding))
    geometry = _Geometry.of(header, sizes, dtype)
    faults = list(geometry.faults)
    quantised = dtype.kind in "iu" and header.get("old min") is not None and header.get("old max") is not None
    if quantised:
        words = "the values were quantised from another range (old min, old max); the stored numbers are read"
        faults.append(Fault.of(FaultKind.VALUES, words))
    measured = (header.get("sample units") or "").strip().strip('"').lower() in _HU
    # axes of one place that are not of space say nothing
    kept = [axis for axis in range(dimension) if geometry.axes[axis] is Axis.SPACE or sizes[axis] > 1]
    return Raster(
        "NRRD", tuple(sizes[axis] for axis in kept), tuple(geometry.axes[axis] for axis in kept), dtype, voxels,
        geometry.affine_ras, tuple(faults), times_s=geometry.times_s, free_text=header.get("content") or "",
        unit=("HU", "CT", "the header's sample units") if measured else None, as_stored=quantised,
    )  # fmt: skip


@dataclass(frozen=True)
class _Header:
    path: Path
    fields: Mapping[str, str]
    """By name, in lower case and without blanks."""
    keys: Mapping[str, str]
    listed: tuple[str, ...]
    """The lines after ``data file: LIST``."""
    end: int
    """Bytes of the header and the blank line after it."""

    @classmethod
    def read(cls, path: Path) -> _Header:
        fields: dict[str, str] = {}
        keys: dict[str, str] = {}
        listed: list[str] = []
        in_list = False
        with path.open("rb") as file:
            magic = file.readline(64)
            if not re.match(rb"NRRD000\d\s*$", magic):
                begins = what_begins(magic + file.read(64))
                raise ReadError(f"the file does not begin with NRRD000 but {begins}: it is not what its name says")
            while line := file.readline(_MAX_HEADER_BYTES):
                if file.tell() > _MAX_HEADER_BYTES:
                    raise ReadError("the NRRD header does not end within 16 MB: it is damaged")
                text = _decoded(line)
                if not text:
                    break
                if in_list:
                    listed.append(text)
                elif not text.startswith("#"):
                    name = cls._enter(text, fields, keys)
                    in_list = name == "datafile" and re.match(r"LIST\b", fields[name]) is not None
            end = file.tell()
        return cls(path, fields, keys, tuple(listed), end)

    @staticmethod
    def _enter(text: str, fields: dict[str, str], keys: dict[str, str]) -> str:
        pair = re.match(r"(.*?[^:])?:=(.*)", text)
        if pair is not None and pair[1] is not None and ": " not in pair[1]:
            keys[pair[1].strip()] = pair[2].strip()
            return ""
        name, colon, value = text.partition(":")
        name = re.sub(r"\s+", "", name).lower()
        name = {"centers": "centerings"}.get(name, name)
        if not colon or not name:
            raise ReadError("the NRRD header has a line that is neither a field, a key nor a comment: it is damaged")
        if name in fields and fields[name] != value.strip():
            raise ReadError(f"the NRRD header gives {_word(name)} twice, and not alike; repair the header")
        fields[name] = value.strip()
        return name

    def get(self, name: str) -> str | None:
        return self.fields.get(name.replace(" ", ""))

    def required(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise ReadError(f"the NRRD header has no {name}: it is damaged")
        return value

    def integer(self, name: str) -> int:
        value = self.required(name)
        if not re.fullmatch(r"\d{1,3}", value):
            raise ReadError(f"the NRRD header's {name} is no small whole number: it is damaged")
        return int(value)

    def skip(self, name: str) -> int:
        value = self.get(name) or "0"
        if not re.fullmatch(r"[-+]?\d{1,12}", value):
            raise ReadError(f"the NRRD header's {name} is no whole number: it is damaged")
        count = int(value)
        if count < (-1 if name == "byte skip" else 0):
            raise ReadError(f"the NRRD header's {name} is {count}; repair the header")
        return count

    def per_axis(self, name: str, dimension: int) -> list[float]:
        """A number for each axis, NaN where the field is absent."""
        value = self.get(name)
        if value is None:
            return [float("nan")] * dimension
        found = numbers(value, what=name)
        if len(found) != dimension:
            raise ReadError(f"the NRRD header has {len(found)} {name} for dimension {dimension}; repair the header")
        return found

    def words(self, name: str, dimension: int) -> list[str]:
        """A word for each axis, quoted or bare; empty where the field is absent or says nothing."""
        value = self.get(name)
        if value is None:
            return [""] * dimension
        pairs = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', value)
        found = ["" if bare in ("???", "none") else quoted or bare for quoted, bare in pairs]
        if len(found) != dimension:
            raise ReadError(f"the NRRD header has {len(found)} {name} for dimension {dimension}; repair the header")
        return found


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return line.decode("latin-1").strip()


def _word(name: str) -> str:
    return name if re.fullmatch(r"[a-z]{1,20}", name) else "a field"


def _encoding(header: _Header) -> Encoding:
    encoding = _ENCODINGS.get(header.required("encoding").lower())
    if encoding is None:
        raise ReadError(
            "the NRRD header's encoding is not one of raw, ascii, hex, gzip, bzip2, which can be read; write it as gzip"
        )
    return encoding


def _dtype(header: _Header) -> np.dtype[Any]:
    code = _TYPES.get(re.sub(r"\s+", " ", header.required("type").lower()))
    if code is None:
        raise ReadError("the NRRD header's type is not one of a number (int8 to uint64, float, double); convert it")
    return np.dtype(code)


def _byte_order(header: _Header) -> Any:
    value = (header.get("endian") or "").lower()
    if value not in ("little", "big"):
        raise ReadError("the NRRD header does not say endian: little or big, so that the values are not known; add it")
    return "<" if value == "little" else ">"


def _byte_skip(header: _Header, encoding: Encoding) -> int:
    skip = header.skip("byte skip")
    if skip == -1 and encoding in (Encoding.ASCII, Encoding.HEX):
        raise ReadError("the NRRD header's byte skip of -1 has no meaning for text; repair the header")
    return skip


def _data_files(header: _Header, sizes: Sequence[int]) -> tuple[Path, ...]:
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


def numbered(pattern: str, first: int, last: int, step: int) -> list[str]:
    """The names that a pattern of C's ``printf`` with one whole number stands for.

    Raises
    ------
    ReadError
        If the pattern has another form, or the numbers lead nowhere.
    """
    parts = re.fullmatch(r"((?:[^%]|%%)*)%([-+ 0]*\d{0,3})[diu]((?:[^%]|%%)*)", pattern)
    if parts is None or step == 0:
        raise ReadError("the header names its data files by a pattern that is not one number with a step; list them")
    count = (last - first) // step + 1
    if not 1 <= count <= _MAX_FILES:
        raise ReadError(
            f"the header's pattern of data files, from {first} to {last} by {step}, names none, or too many"
        )
    before, after = parts[1].replace("%%", "%"), parts[3].replace("%%", "%")
    return [f"{before}{f'%{parts[2]}d' % (first + step * n)}{after}" for n in range(count)]


@dataclass(frozen=True)
class _Geometry:
    axes: tuple[Axis, ...]
    affine_ras: NDArray[np.float64] | None
    times_s: tuple[float, ...] | None
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, header: _Header, sizes: Sequence[int], dtype: np.dtype[Any]) -> _Geometry:
        dimension = len(sizes)
        kinds = [kind.lower() for kind in header.words("kinds", dimension)]
        units = header.words("units", dimension)
        space, space_dimension = _space(header)
        directions = _directions(header, dimension, space_dimension)
        axes, in_time = _axes(header, sizes, dtype, kinds, directions)
        step = None if in_time is None or directions is None else directions[in_time]
        times = _times(header, sizes, axes, units, None if step is None else float(step[3]))
        spatial = [axis for axis, kind in enumerate(axes) if kind is Axis.SPACE]
        if len(spatial) != 3:
            return cls(axes, None, times, ())
        faults: list[Fault] = []
        if directions is not None:
            affine, said = _by_directions(header, directions, spatial, space_dimension, [units[a] for a in spatial])
        else:
            affine, said = _by_spacings(header, sizes, spatial, [units[a] for a in spatial], space)
        faults += said
        if affine is None:
            return cls(axes, None, times, tuple(faults))
        if space is None:
            words = "the header names no space: left and right are assumed, not known"
            faults.append(Fault.of(FaultKind.UNKNOWN_ORIENTATION, words))
        elif space not in _TO_RAS:
            words = "the header's space is not one of the patient: left and right are assumed, not known"
            faults.append(Fault.of(FaultKind.UNKNOWN_ORIENTATION, words))
        with np.errstate(invalid="ignore"):  # infinities are refused where the volume is described
            affine = _TO_RAS.get(space or "", LPS_TO_RAS) @ affine
        return cls(axes, affine, times, tuple(faults))


def _space(header: _Header) -> tuple[str | None, int]:
    """The name of the space without its axis of time, and its dimension (section "orientation")."""
    value = header.get("space")
    if value is not None:
        name = value.lower()
        short = {"rast": "ras", "last": "las", "lpst": "lps"}
        timeless = short.get(name, name.removesuffix("-time"))
        return timeless, 3 if timeless == name else 4
    if header.get("space dimension") is not None:
        return "unnamed", header.integer("space dimension")
    return None, 3


def _directions(header: _Header, dimension: int, space_dimension: int) -> list[NDArray[np.float64] | None] | None:
    """A vector for each axis, ``None`` for one that has no direction in space."""
    value = header.get("space directions")
    if value is None:
        return None
    vectors = _vectors(value, space_dimension, what="space directions")
    if len(vectors) != dimension:
        raise ReadError(f"the NRRD header has {len(vectors)} space directions for dimension {dimension}; repair it")
    return vectors


def _vectors(text: str, length: int, *, what: str) -> list[NDArray[np.float64] | None]:
    words = re.findall(r"\([^)]*\)|[^\s()]+", text)
    vectors: list[NDArray[np.float64] | None] = []
    for word in words:
        if word.lower() in ("none", "???"):
            vectors.append(None)
            continue
        parts = [number_of(part, what=what) for part in re.split(r"[,\s]+", word.strip("() \t"))]
        if len(parts) != length or not word.startswith("("):
            raise ReadError(f"the NRRD header's {what} are not vectors of {length} numbers; repair the header")
        vectors.append(None if np.isnan(parts).all() else np.array(parts))
    return vectors


def _axes(
    header: _Header,
    sizes: Sequence[int],
    dtype: np.dtype[Any],
    kinds: Sequence[str],
    directions: Sequence[NDArray[np.float64] | None] | None,
) -> tuple[tuple[Axis, ...], int | None]:
    """What each axis counts; and the one that runs along the space's own axis of time, if there is one."""
    dimension = len(sizes)
    in_time = None
    if directions is not None:
        spatial = [vector is not None for vector in directions]
        for axis, vector in enumerate(directions):
            if vector is not None and len(vector) == 4 and not vector[:3].any() and vector[3]:
                in_time, spatial[axis] = axis, False
        if sum(spatial) > 3:  # more directions than space has: the kinds decide
            spatial = [has and kind in ("", *_SPATIAL) for has, kind in zip(spatial, kinds, strict=True)]
    elif any(kind in _SPATIAL for kind in kinds):
        spatial = [kind in _SPATIAL for kind in kinds]
    elif dimension <= 3 or any(kinds):
        spatial = [kind == "" for kind in kinds]
    else:
        spatial = [bool(np.isfinite(spacing)) for spacing in header.per_axis("spacings", dimension)]
        if sizes[0] in (3, 4) and dtype.itemsize == 1:
            spatial[0] = False  # more likely colours than anything else
    if directions is None and sum(spatial) == 4 == dimension:
        spatial[3] = False  # four axes of one kind, as ITK writes volumes in time
    axes = []
    for size, kind, is_space in zip(sizes, kinds, spatial, strict=True):
        if is_space:
            axes.append(Axis.SPACE)
        elif kind in _COLOURS or (kind == "" and size in (3, 4) and dtype == np.uint8):
            axes.append(Axis.COLOUR)
        elif kind == "complex" and size == 2:
            axes.append(Axis.COMPLEX)
        elif kind in ("", *_FRAMES) or (kind == "vector" and header.keys.get("modality") == "DWMRI"):
            axes.append(Axis.FRAME)
        else:
            axes.append(Axis.VECTOR)
    return tuple(axes), in_time


def _by_directions(
    header: _Header,
    directions: Sequence[NDArray[np.float64] | None],
    spatial: Sequence[int],
    space_dimension: int,
    units: Sequence[str],
) -> tuple[NDArray[np.float64] | None, list[Fault]]:
    """(4, 4), index to mm in the header's own space."""
    faults = []
    affine = np.eye(4)
    columns = np.array([directions[axis] for axis in spatial]).T
    if len(columns) not in (3, 4) or (len(columns) == 4 and columns[3].any()):
        raise ReadError("the NRRD header's space directions mix space with time; write them apart")
    affine[:3, :3] = columns[:3]
    value = header.get("space origin")
    origin = None if value is None else _vectors(value, space_dimension, what="space origin")
    if origin is not None and len(origin) == 1 and origin[0] is not None:
        affine[:3, 3] = origin[0][:3]
    else:
        words = "the header has no space origin: where the scan lies is assumed, not known"
        faults.append(Fault.of(FaultKind.UNKNOWN_ORIENTATION, words))
    spacings = np.array(header.per_axis("spacings", len(directions)))[list(spatial)]
    lengths = np.linalg.norm(columns[:3], axis=0)
    if (np.abs(np.abs(spacings) - lengths) > 0.01 * lengths).any():  # false for NaN, which says nothing
        words = "the header's spacings and the lengths of its space directions differ; the directions are used"
        faults.append(Fault.of(FaultKind.UNKNOWN_ORIENTATION, words))
    stated = one_mm_per_unit(header.words("space units", space_dimension)[:3])
    per_axis = one_mm_per_unit(units)
    if stated is None and per_axis is not None:
        # "units" are of spacings; where no other unit is named, it is the only one that the directions can be in
        if len(set(per_axis)) > 1:
            raise ReadError("the NRRD header's units differ between axes that have directions; give space units")
        stated = per_axis
        if per_axis[0] != 1:
            words = "the header has no space units; its units (of spacings) are taken for the directions too"
            faults.append(Fault.of(FaultKind.UNKNOWN_UNIT, words))
    elif stated is not None and per_axis is not None and (len({*stated, *per_axis}) > 1):
        raise ReadError("the NRRD header's space units and its units of the axes differ: which holds is not known")
    affine[:3] *= np.array([1.0, 1.0, 1.0] if stated is None else stated)[:, None]
    return affine, faults


def _by_spacings(
    header: _Header, sizes: Sequence[int], spatial: Sequence[int], units: Sequence[str], space: str | None
) -> tuple[NDArray[np.float64] | None, list[Fault]]:
    """(4, 4), index to mm, along the header's own axes (section "per-axis fields")."""
    dimension = len(sizes)
    spacings, low, high = (
        np.array(header.per_axis(name, dimension))[list(spatial)] for name in ("spacings", "axis mins", "axis maxs")
    )
    centred = np.array(header.words("centerings", dimension))[list(spatial)]
    counts = np.array(sizes)[list(spatial)]
    faults = []
    for axis in range(3):
        if np.isnan(spacings[axis]) and centred[axis] in ("cell", "node"):
            between = counts[axis] if centred[axis] == "cell" else counts[axis] - 1
            spacings[axis] = (high[axis] - low[axis]) / between if between else np.nan
    if not (np.isfinite(spacings) & (spacings != 0)).all():
        words = "the header gives no distance between the voxels (spacings or space directions); add them"
        return None, [Fault.of(FaultKind.MISSING_SPACING, words)]
    affine = np.diag([*spacings, 1.0])
    per_axis = one_mm_per_unit(units)
    value = header.get("space origin")
    if value is not None:
        origin = _vectors(value, 3, what="space origin") if space is not None else []
        if len(origin) == 1 and origin[0] is not None:
            affine[:3, 3] = origin[0]
        if per_axis is None and space is not None:
            per_axis = one_mm_per_unit(header.words("space units", 3))
    elif not np.isnan(low).any():
        # a minimum is where the first cell begins, or where the first node lies
        affine[:3, 3] = low + np.where(centred == "node", 0.0, spacings / 2)
        if not np.isin(centred, ("cell", "node")).all():
            words = "axis mins may be of cells or of nodes: the position is right to half a voxel"
            faults.append(Fault.of(FaultKind.UNKNOWN_ORIENTATION, words))
    if per_axis is None:
        words = "the header names no unit of length; millimetres are assumed, as everywhere"
        faults.append(Fault.of(FaultKind.UNKNOWN_UNIT, words))
    else:
        affine[:3] *= np.array(per_axis)[:, None]
    if space is not None:
        words = "the header has no space directions: the axes are assumed to run along those of its space"
        faults.append(Fault.of(FaultKind.UNKNOWN_ORIENTATION, words))
    return affine, faults


def _times(
    header: _Header, sizes: Sequence[int], axes: Sequence[Axis], units: Sequence[str], step_of_space: float | None
) -> tuple[float, ...] | None:
    """When each volume begins, if a field says so in a unit of time; what names no unit claims nothing."""
    frames = [axis for axis, kind in enumerate(axes) if kind is Axis.FRAME and sizes[axis] > 1]
    if len(frames) != 1:
        return None
    (axis,) = frames
    count = sizes[axis]
    if step_of_space is not None:  # the space has an axis of time
        per_unit = seconds_per_unit(header.words("space units", 4)[3])
        return _evenly(count, step_of_space, 0.0, per_unit)
    per_unit = seconds_per_unit(units[axis])
    label = header.words("labels", len(sizes))[axis].lower()
    if per_unit is not None and label in ("", "time", "t", "frame"):
        values = header.keys.get(f"axis {axis} index values")  # 3D Slicer's sequences
        if values is not None:
            return _as_listed(values.split(), count, per_unit)
        first = header.per_axis("axis mins", len(sizes))[axis]
        step = header.per_axis("spacings", len(sizes))[axis]
        return _evenly(count, step, 0.0 if np.isnan(first) else first, per_unit)
    keys = header.keys  # 3D Slicer's multi-volumes
    if keys.get("MultiVolume.FrameIdentifyingDICOMTagName", "").lower() in _TIMES:
        per_unit = seconds_per_unit(keys.get("MultiVolume.FrameIdentifyingDICOMTagUnits", ""))
        return _as_listed(keys.get("MultiVolume.FrameLabels", "").split(","), count, per_unit)
    return None


def _evenly(count: int, step: float, first: float, per_unit: float | None) -> tuple[float, ...] | None:
    if per_unit is None or not np.isfinite([step, first]).all() or step <= 0:
        return None
    return tuple((first + step * n) * per_unit for n in range(count))


def _as_listed(words: Sequence[str], count: int, per_unit: float | None) -> tuple[float, ...] | None:
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    rising = len(values) == count and np.isfinite(values).all() and (np.diff(values) > 0).all()
    return tuple(value * per_unit for value in values) if rising and per_unit is not None else None
