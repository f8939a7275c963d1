"""One record for each 2D image, wherever it is stored.

A classic file holds one plane, an enhanced or nuclear one a frame, a mosaic one a tile. From here on all are alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.dicom.marks import Marks, Vector
from napari_sparse3d.io.dicom.values import (
    NO_VALUES,
    FrameValues,
)


@dataclass(frozen=True, slots=True)
class Origin:
    """The series that an image says it belongs to: more than its identifier, which anonymisers and senders reuse.

    PS3.3 C.7.1.1 (patient), C.7.2.1 (study), C.7.3.1 (series), C.7.4.1 (frame of reference). ``""`` where it is absent.
    """

    series_uid: str
    series_number: int
    study_uid: str
    frame_of_reference: str
    patient: str
    """Salted hash of the patient's identifier."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What planes of one volume have in common. Interned: ten thousand planes share one."""

    origin: Origin
    sop_class: str
    modality: str
    manufacturer: str
    transfer_syntax: str
    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    image_type: tuple[str, ...]
    rescale_type: str
    unit: str
    """As the header names it, for PET and doses."""
    orientation: tuple[float, ...] | None
    """Direction cosines of a row and of a column, LPS."""
    pixel_spacing: tuple[float, float] | None
    """Between rows, between columns; mm."""
    slice_step: float | None
    """SpacingBetweenSlices, else SliceThickness: only ever used where a single slice leaves no other word."""
    thickness: float | None
    """SliceThickness, to the micrometre."""
    echo_time: float | None
    echo_number: int | None
    flip_angle: float | None
    inversion_time: float | None
    kvp: float | None
    kernel: str
    """ConvolutionKernel (0018,1210)."""
    stack: str
    """StackID (0020,9056) of an enhanced frame."""
    n_temporal: int
    """NumberOfTemporalPositions (0020,0105), 0 where it is absent."""
    repetition_ms: float | None
    step_ms: float | None
    """TemporalResolution (0020,0110): from one volume to the next."""
    volumetric: bool
    """MRAcquisitionType 3D: the repetition time is not that of a volume."""
    calibrated: bool
    """Whether a rescale slope or a modality table is there at all."""
    lookup: bool
    """Whether stored values go through a modality lookup table."""
    real_world_unit: str | None = None
    """The unit of the real world value mapping that is applied; ``None`` where none is."""


@dataclass(frozen=True, slots=True)
class Plane:
    """One 2D image: where it is stored and where it lies."""

    kind: Kind
    path: Path
    frame: int
    """Frame in the file, from 0."""
    tile: int | None
    """Tile of a mosaic, in raster order; ``None`` for a whole frame."""
    tiles: int
    """Number of tiles in the mosaic, 0 for none."""
    position: Vector | None
    """Centre of the first pixel, LPS mm."""
    slope: float
    intercept: float
    sop_uid: str
    instance: int | None
    marks: Marks
    several: bool = False
    """Whether its file holds several planes: that file may then be a volume."""
    order: tuple[int, ...] = ()
    """DimensionIndexValues of an enhanced frame: its place in the order that its maker meant (PS3.3 C.7.6.17)."""
    values: FrameValues = NO_VALUES
    """Padding and real world values."""
    scaled: bool = False
    """Whether slope and intercept have Philips' scale slope in them."""
    reversed_rows: bool = False
    """Stored with its last row first, against its header."""

    @property
    def mapping(self) -> tuple[bool, bool, bool]:
        """Which mappings its values go through: a rescale or table, Philips' scale, a real world mapping."""
        return (self.kind.calibrated, self.scaled, bool(self.values.applied))

    @property
    def as_stored(self) -> bool:
        """Whether its values are the stored numbers, whatever its header says of mappings."""
        return (self.slope, self.intercept) == (1.0, 0.0) and not (self.kind.lookup or self.values.applied)

    @property
    def file_mark(self) -> str | None:
        """The file as what its planes have in common; ``None`` where it holds one alone."""
        return str(self.path) if self.several else None


@dataclass(frozen=True, slots=True)
class FilePlanes:
    """The planes of one file, and what is wrong with the file as a whole."""

    planes: tuple[Plane, ...]
    problem: str = ""
    """``""``, or why no volume can come of it (truncated, not an image, ...); a sentence."""
    truncated: bool = False


@dataclass
class Interner:
    """Gives equal records the same object."""

    known: dict[Any, Any] = field(default_factory=dict)

    def __call__(self, record: Any) -> Any:
        """The first of all records equal to ``record``."""
        return self.known.setdefault(record, record)


def normal_of(orientation: tuple[float, ...]) -> NDArray[np.float64]:
    """The direction through the stack: row cross column, LPS."""
    return np.cross(np.asarray(orientation[:3]), np.asarray(orientation[3:]))
