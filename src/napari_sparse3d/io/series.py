"""What a scan finds: one record a series, and what a series of volumes in time reads as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io.faults import Fault, FaultKind, Severity
from napari_sparse3d.io.naming import own_file_name
from napari_sparse3d.volume import Volume

DAMAGED = "damaged DICOM"
"""``SeriesInfo.format`` of the files of a scan that begin like DICOM and cannot be parsed."""

REPAIRS = ("resample", "magnitude")
"""The repairs that a caller can ask for: a tilted or uneven stack onto a true grid; the magnitude of complex voxels."""


@dataclass(frozen=True, eq=False)
class VolumeSequence:
    """Volumes that share one geometry: a series in time, of directions or of contrasts.

    Parameters
    ----------
    data : ndarray
        (T, Z, Y, X), each volume as in :class:`~napari_sparse3d.volume.Volume`.
    affine : ndarray
        (4, 4), index (s, a, r, 1) to world mm in the order (S, A, R).
    unit, modality, name, meta
        As in ``Volume``.
    times_s : tuple of float, optional
        (T,) when each volume begins, in seconds from whatever zero the file has; ``None`` where no header says.
    """

    data: NDArray[Any]
    affine: NDArray[np.float64]
    unit: str = "a.u."
    modality: str = ""
    name: str = "volume"
    meta: Mapping[str, Any] = field(default_factory=dict)
    times_s: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.times_s is not None and len(self.times_s) != len(self.data):
            raise InputError(f"times_s must name {len(self.data)} volumes, got {len(self.times_s)} times")

    def __len__(self) -> int:
        return int(self.data.shape[0])

    @property
    def step_s(self) -> float | None:
        """Seconds from one volume to the next; ``None`` where they are unknown or uneven (by over 1 % or 1 ms)."""
        if self.times_s is None or len(self.times_s) < 2:
            return None
        steps = np.diff(self.times_s)
        step = float((self.times_s[-1] - self.times_s[0]) / len(steps))
        return step if step > 0 and float(np.abs(steps - step).max()) <= max(0.01 * step, 1e-3) else None

    def volume(self, frame: int) -> Volume:
        """One of the volumes, as a view."""
        name = self.name if len(self) == 1 else f"{self.name} [{frame}]"
        return Volume(self.data[frame], self.affine, self.unit, self.modality, name, self.meta)


class SeriesLoader(Protocol):
    """Reads the voxels of one series; each format has its own."""

    def load(self, frames: Sequence[int] | None, repair: str | None) -> VolumeSequence:
        """The chosen volumes (``None``: all of them), in order."""


@dataclass(frozen=True)
class SeriesInfo:
    """One series as the scan found it: headers only, no voxel read, no patient identity.

    Parameters
    ----------
    index : int
        Place in the scan's list: what ``series=`` takes.
    format : str
        ``"DICOM"``, ``"NIfTI-1"``, ``"NRRD"``, ...
    modality : str
        DICOM modality, ``""`` where the format has none.
    description : str
        Series description without the patient's identity, or the words of the file's name that describe an image.
    shape : tuple of int or None
        (Z, Y, X) as it will be read; ``None`` when no volume can be made.
    n_frames : int
        Volumes in time (or of directions, contrasts); 1 for a plain volume.
    spacing_mm : tuple of float or None
        (z, y, x) as it will be read.
    orientation : str
        Plane and directions as stored, such as ``"axial LPS"``; ``"oblique"`` is said.
    unit : str
        Intensity unit as it will be read, as far as the header tells it; ``""`` where only the values do:
        :meth:`unit_as_read` looks at them.
    n_files : int
        Files that belong to the series.
    faults : tuple of Fault
        Everything to know before it is read.
    patient : str
        Salted hash of the patient's identifier, ``""`` where there is none: enough to split a cohort by patient.
    localizer : bool
        A scout image: listed, never chosen by itself.
    auxiliary : bool
        Found beside a DICOM series (a report, a derived file): listed, never chosen by itself.
    series_number : int or None
        DICOM's (0020,0011), as the scanner counted; ``None`` where there is none.
    """

    index: int
    format: str
    modality: str
    description: str
    shape: tuple[int, int, int] | None
    n_frames: int
    spacing_mm: tuple[float, float, float] | None
    orientation: str
    unit: str
    n_files: int
    faults: tuple[Fault, ...] = ()
    patient: str = ""
    localizer: bool = False
    auxiliary: bool = False
    series_number: int | None = None
    source: Path = field(default=Path(), repr=False, compare=False)
    loader: SeriesLoader | None = field(default=None, repr=False, compare=False)
    identity: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    """What identifies a person in its tags, to be taken out of names of folders; it goes nowhere."""

    @property
    def title(self) -> str:
        """What it is called before the one who opened it: its description, or its file's own name.

        For layers, ``info`` and choosers. A file's name may hold an identity: it goes into nothing that is kept.
        """
        if "DICOM" in self.format or not self.source.name:
            return self.description
        return own_file_name(self.source)

    @property
    def status(self) -> str:
        """``"clean"``, ``"note"``, ``"choice"``, ``"repair"`` or ``"refuse"``: the gravest of the faults."""
        order = (Severity.REFUSE, Severity.REPAIR, Severity.CHOICE, Severity.NOTE)
        present = {fault.severity for fault in self.faults}
        return next((severity.value for severity in order if severity in present), "clean")

    @property
    def readable(self) -> bool:
        """Whether a volume can be read without a repair."""
        return self.loader is not None and not any(fault.refuses for fault in self.faults)

    @property
    def reason(self) -> str:
        """Why it is refused, as one line; ``""`` when it is not."""
        return "; ".join(f"{fault.kind.value}: {fault.detail}" for fault in self.faults if fault.refuses)

    def unit_as_read(self) -> str:
        """The unit of the volume that is read: the header's, or by the values of the (first) volume.

        ``""`` where no volume can be read.
        """
        if self.unit or not self.readable:
            return self.unit
        try:
            return self.load([0]).unit
        except ReadError:
            return ""

    def at(self, index: int) -> SeriesInfo:
        """The same series at another place of the list."""
        return replace(self, index=index)

    def load(self, frames: Sequence[int] | None = None, repair: str | None = None) -> VolumeSequence:
        """Read the voxels.

        Parameters
        ----------
        frames : sequence of int, optional
            Which volumes of a series in time; all of them unless told.
        repair : {"resample", "magnitude"}, optional
            What may be done to a series that is otherwise refused; recorded in ``meta["repairs"]``.

        Raises
        ------
        ReadError
            With the fault that forbids it.
        """
        if repair is not None and repair not in REPAIRS:
            raise InputError(f"repair must be one of {', '.join(REPAIRS)}, got {repair!r}")
        self._check(repair)
        if frames is not None:
            outside = [frame for frame in frames if not 0 <= frame < self.n_frames]
            if outside:
                raise InputError(
                    f"frame must be 0 to {self.n_frames - 1}, got {outside[0]}; the series has "
                    f"{self.n_frames} volume{'s' * (self.n_frames > 1)}"
                )
        assert self.loader is not None  # _check refuses a series without one
        return self.loader.load(frames, repair)

    def _check(self, repair: str | None) -> None:
        # what no repair mends comes first: a repair that would not help is not advised
        for fault in sorted(self.faults, key=lambda fault: fault.severity is not Severity.REFUSE):
            if fault.severity is Severity.REFUSE:
                raise ReadError(f"series {self.index} is refused: {fault.kind.value}: {fault.detail}")
            if fault.severity is Severity.REPAIR:
                needed = "magnitude" if fault.kind is FaultKind.COMPLEX else "resample"
                if repair != needed:
                    raise ReadError(
                        f"series {self.index} is refused: {fault.kind.value}: {fault.detail}; "
                        f"ask for repair={needed!r} (--repair {needed})"
                    )
        if self.loader is None:
            raise ReadError(f"series {self.index} is refused: it holds no image that can be read")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for tables and JSON: no path and no identity."""
        return {
            "index": self.index,
            "series_number": self.series_number,
            "format": self.format,
            "modality": self.modality,
            "description": self.description,
            "shape": None if self.shape is None else list(self.shape),
            "n_frames": self.n_frames,
            "spacing_mm": None if self.spacing_mm is None else [round(value, 6) for value in self.spacing_mm],
            "orientation": self.orientation,
            "unit": self.unit,
            "n_files": self.n_files,
            "patient": self.patient,
            "status": self.status,
            "faults": [fault.as_dict() for fault in self.faults],
        }
