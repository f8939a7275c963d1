"""Axes, place and times of a NRRD image. Definition: teem.sourceforge.net/nrrd/format.html, section by field below."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.nrrd_header import NrrdHeader
from napari_sparse3d.io.raster import LPS_TO_RAS, Axis
from napari_sparse3d.io.text_header import number_of
from napari_sparse3d.io.units import one_mm_per_unit, seconds_per_unit

_TO_RAS = {
    "left-posterior-superior": LPS_TO_RAS, "lps": LPS_TO_RAS,
    "right-anterior-superior": np.eye(4), "ras": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]), "las": np.diag([-1.0, 1.0, 1.0, 1.0]),
}  # fmt: skip
_COLOURS = ("rgb-color", "rgba-color", "hsv-color", "xyz-color", "3-color", "4-color")
_SPATIAL = ("domain", "space")
_FRAMES = ("list", "time", *_SPATIAL, "stub", "scalar")
"""Kinds of an axis without a direction in space whose places are volumes."""
_TIMES = ("acquisitiontime", "triggertime", "contenttime", "seriestime", "temporalpositiontimeoffset")
"""DICOM tags by which 3D Slicer's multi-volumes can be ordered, and which are times between volumes."""


@dataclass(frozen=True)
class NrrdGeometry:
    """What the axes count, where they lie, and when their volumes begin."""

    axes: tuple[Axis, ...]
    affine_ras: NDArray[np.float64] | None
    times_s: tuple[float, ...] | None
    faults: tuple[Fault, ...]

    @classmethod
    def of(cls, header: NrrdHeader, sizes: Sequence[int], dtype: np.dtype[Any]) -> NrrdGeometry:
        """Of a header.

        Raises
        ------
        ReadError
            If its fields contradict each other.
        """
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


def _space(header: NrrdHeader) -> tuple[str | None, int]:
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


def _directions(header: NrrdHeader, dimension: int, space_dimension: int) -> list[NDArray[np.float64] | None] | None:
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
    header: NrrdHeader,
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
    header: NrrdHeader,
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
    header: NrrdHeader, sizes: Sequence[int], spatial: Sequence[int], units: Sequence[str], space: str | None
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
    header: NrrdHeader, sizes: Sequence[int], axes: Sequence[Axis], units: Sequence[str], step_of_space: float | None
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
