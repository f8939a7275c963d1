"""An image as a NRRD or MetaImage header describes it, and the volumes that are made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.detached import VoxelFiles
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.filling import read_volumes
from napari_sparse3d.io.intensity import refuse_all_nan, scaling_of, unit_and_modality, unit_of_header
from napari_sparse3d.io.limits import check_memory
from napari_sparse3d.io.naming import named_as_labels, safe_file_name
from napari_sparse3d.io.orientation import Canonical, axis_codes, canonical
from napari_sparse3d.io.patient_world import shear_degrees
from napari_sparse3d.io.provenance import is_stamped_as_labels
from napari_sparse3d.io.series import SeriesInfo, VolumeSequence

SHEAR_SAID_DEGREES = 0.25
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Axis(Enum):
    """What an axis of a stored array counts."""

    SPACE = "space"
    FRAME = "frame"
    """Volumes: in time, of a list, of anything that has no direction in space."""
    COLOUR = "colour"
    VECTOR = "vector"
    COMPLEX = "complex"
    """Real and imaginary part."""


@dataclass(frozen=True)
class Raster:
    """What a header says, in one form for both formats.

    Parameters
    ----------
    format : str
        ``"NRRD"`` or ``"MetaImage"``.
    sizes : tuple of int
        Of each axis, the fastest first.
    axes : tuple of Axis
        What each counts.
    dtype : numpy.dtype
        As stored, byte order included.
    voxels : VoxelFiles
        Where they lie.
    affine_ras : ndarray or None
        (4, 4), index along the three axes of space (in their order) to mm; ``None`` where a fault says why.
    faults : tuple of Fault
        Of the header alone.
    slope, intercept : float
        Value = stored * slope + intercept.
    times_s : tuple of float or None
        When each volume begins, where the header says so.
    free_text : str
        Where our own files keep their unit.
    unit : tuple of str or None
        Unit, modality and whence, where the header has a field for it.
    as_stored : bool
        The header says that the numbers stand for others: no unit may be guessed from them.
    """

    format: str
    sizes: tuple[int, ...]
    axes: tuple[Axis, ...]
    dtype: np.dtype[Any]
    voxels: VoxelFiles
    affine_ras: NDArray[np.float64] | None
    faults: tuple[Fault, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0
    times_s: tuple[float, ...] | None = None
    free_text: str = ""
    unit: tuple[str, str, str] | None = None
    as_stored: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes of the three axes of space, in their order."""
        i, j, k = (size for size, axis in zip(self.sizes, self.axes, strict=True) if axis is Axis.SPACE)
        return i, j, k

    @property
    def n_frames(self) -> int:
        """Volumes."""
        return next((size for size, axis in zip(self.sizes, self.axes, strict=True) if axis is Axis.FRAME), 1)

    def described(self, path: Path, loader: Any) -> SeriesInfo:
        """The record of a scan, after the files were held against the header's claims.

        Raises
        ------
        ReadError
            If they cannot hold what the header claims.
        """
        n_items = int(np.prod(self.sizes, dtype=object))
        self.voxels.check(
            n_items, self.dtype, what=f"the {self.format} header", least_items=n_items // max(1, self.n_frames)
        )
        faults = [*_not_a_volume(self), *self.faults]
        if any(fault.kind is FaultKind.COLOUR or fault.kind is FaultKind.NOT_A_VOLUME for fault in faults):
            faults = [fault for fault in faults if fault.kind in (FaultKind.COLOUR, FaultKind.NOT_A_VOLUME)][:1]
        shape = spacing = None
        orientation, n_frames = "", 1
        if self.affine_ras is not None and not any(fault.kind is FaultKind.NOT_A_VOLUME for fault in faults):
            order = canonical(self.shape, self.affine_ras)
            shape, n_frames = order.shape, self.n_frames
            z, y, x = np.linalg.norm(order.affine[:3, :3], axis=0).tolist()
            spacing, orientation = (z, y, x), axis_codes(self.affine_ras)
            faults += _notes(self, order)
        return SeriesInfo(
            0, self.format, "", safe_file_name(path), shape, n_frames, spacing, orientation, self._unit(), 1,
            tuple(faults), source=path, loader=loader,
        )  # fmt: skip

    def _unit(self) -> str:
        """As far as the header tells it; the magnitude of complex voxels is never that of air."""
        if self.unit is not None:
            return self.unit[0]
        guess = not self.as_stored and Axis.COMPLEX not in self.axes
        return unit_of_header(self.free_text, self.dtype, self.slope, self.intercept, guess=guess)


@dataclass(frozen=True)
class RasterFile:
    """Loads the voxels of one file, by the reader of its header."""

    path: Path
    header: Callable[[Path], Raster]

    def scan(self) -> SeriesInfo:
        """Read the header."""
        return self.header(self.path).described(self.path, self)

    def load(self, frames: Sequence[int] | None, repair: str | None) -> VolumeSequence:
        """See :class:`~napari_sparse3d.io.series.SeriesLoader`."""
        raster = self.header(self.path)
        info = raster.described(self.path, self)
        chosen = range(raster.n_frames) if frames is None else frames
        assert raster.affine_ras is not None  # SeriesInfo.load refuses a series with a fault that says why not
        order = canonical(raster.shape, raster.affine_ras)
        check_memory(len(chosen) * int(np.prod(order.shape)) * raster.dtype.itemsize, what="the header")
        data, repairs = _volumes(raster, order, chosen)
        refuse_all_nan(data)
        unit, modality, source = raster.unit or unit_and_modality(raster.free_text, data, guess=not raster.as_stored)
        meta: dict[str, Any] = {
            "format": raster.format,
            "stored_orientation": info.orientation,
            "stored_dtype": str(raster.dtype.newbyteorder("=")),
            "faults": [fault.as_dict() for fault in info.faults],
        }
        if source:
            meta["unit_from"] = source
        if data.dtype.kind in "iu" and (named_as_labels(self.path) or is_stamped_as_labels(raster.free_text)):
            meta["labels"] = True
        if repairs:
            meta["repairs"] = repairs
        times = None if raster.times_s is None else tuple(raster.times_s[t] for t in chosen)
        return VolumeSequence(data, order.affine, unit, modality, info.description, meta, times)


def _volumes(raster: Raster, order: Canonical, frames: Sequence[int]) -> tuple[NDArray[Any], list[str]]:
    """(t, s, a, r), scaled, in this machine's byte order; and what was done to complex voxels."""
    kinds = list(raster.axes)
    if raster.voxels.in_order and kinds in ([Axis.SPACE] * 3, [*[Axis.SPACE] * 3, Axis.FRAME]):
        n_items = int(np.prod(raster.sizes))
        return read_volumes(
            lambda: raster.voxels.source(n_items, raster.dtype), order, raster.dtype, frames,
            lambda extremes: scaling_of(raster.dtype, raster.slope, raster.intercept, extremes),
        ), []  # fmt: skip
    flat = raster.voxels.read(int(np.prod(raster.sizes)), raster.dtype)
    stored = flat.reshape(raster.sizes[::-1]).transpose()  # axes as in the header: the fastest first
    front = [kinds.index(kind) for kind in (Axis.COMPLEX, Axis.FRAME) if kind in kinds]
    stored = stored.transpose(*front, *(axis for axis, kind in enumerate(kinds) if kind is Axis.SPACE))
    parts = stored if Axis.COMPLEX in kinds else stored[None]
    if Axis.FRAME not in kinds:
        parts = parts[:, None]
    if Axis.COMPLEX in kinds:
        volumes = [np.hypot(order.apply(parts[0, t]), order.apply(parts[1, t])) for t in frames]
        return np.ascontiguousarray(np.stack(volumes)), ["magnitude of complex voxels"]
    chosen = [order.apply(parts[0, t]) for t in frames]

    def extremes() -> tuple[int, int]:
        return min(int(volume.min()) for volume in chosen), max(int(volume.max()) for volume in chosen)

    scaling = scaling_of(raster.dtype, raster.slope, raster.intercept, extremes)
    # one pass from the file's pages into the result, in the result's order
    data = np.empty((len(frames), *order.shape), scaling.dtype)
    for place, volume in enumerate(chosen):
        for out, plane in zip(data[place], volume, strict=True):
            out[...] = plane if scaling.convert is None else scaling.convert(plane)
    return data, []


def _not_a_volume(raster: Raster) -> list[Fault]:
    kinds = raster.axes
    n_space = kinds.count(Axis.SPACE)
    many = [size for size, kind in zip(raster.sizes, kinds, strict=True) if kind in (Axis.COLOUR, Axis.VECTOR)]
    if Axis.COLOUR in kinds:
        words = f"voxels are colours of {many[0]} components; extract one first"
        return [Fault.of(FaultKind.COLOUR, words)]
    if Axis.VECTOR in kinds:
        words = f"voxels are vectors of {many[0]} components; extract one first"
        return [Fault.of(FaultKind.NOT_A_VOLUME, words)]
    if n_space < 3:
        words = f"the image is {n_space}D in space; a volume needs three axes"
        return [Fault.of(FaultKind.NOT_A_VOLUME, words)]
    if n_space > 3 or kinds.count(Axis.FRAME) > 1:
        words = f"the image is {len(kinds)}D; three axes of space, and one more of time or of a list, can be read"
        return [Fault.of(FaultKind.NOT_A_VOLUME, words)]
    return []


def _notes(raster: Raster, order: Canonical) -> list[Fault]:
    notes = []
    if Axis.COMPLEX in raster.axes:
        notes.append(Fault.of(FaultKind.COMPLEX, "voxels are complex numbers; their magnitude can be read on request"))
    shear = shear_degrees(order.affine)
    if shear > SHEAR_SAID_DEGREES:
        words = f"axes miss being perpendicular by {shear:.2f} degrees; the affine keeps it, displays drop it"
        notes.append(Fault.of(FaultKind.SHEARED, words))
    if 1 in raster.shape:
        words = f"only one voxel along an axis (shape {order.shape}): the spacing there is the header's word"
        notes.append(Fault.of(FaultKind.SINGLE_SLICE, words))
    if raster.n_frames > 1:
        words = f"{raster.n_frames} volumes; choose one with frame=0 to {raster.n_frames - 1}"
        notes.append(Fault.of(FaultKind.FOUR_D, words))
    return notes
