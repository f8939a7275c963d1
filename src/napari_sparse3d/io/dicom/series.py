"""DICOM stacks as series that can be listed and read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom.header import FileHeader, as_number, can_decode, first_item, value_of
from napari_sparse3d.io.dicom.kinds import SECONDARY_CAPTURE, is_localizer, no_volume
from napari_sparse3d.io.dicom.padding import Padding
from napari_sparse3d.io.dicom.pixels import decode, dtype_of
from napari_sparse3d.io.dicom.plane import Kind, Plane
from napari_sparse3d.io.dicom.resample import plan_repair, resampled_stack
from napari_sparse3d.io.dicom.stack import Stack
from napari_sparse3d.io.faults import Fault, FaultKind, Severity
from napari_sparse3d.io.intensity import refuse_all_nan
from napari_sparse3d.io.limits import check_memory
from napari_sparse3d.io.orientation import axis_codes, canonical
from napari_sparse3d.io.series import SeriesInfo, VolumeSequence

_COLOUR_NAMES = ("RGB", "PALETTE COLOR", "ARGB", "HSV", "CMYK")
_PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class Described:
    """What a series says of itself, cleaned of identity."""

    description: str
    patient: str
    meta: dict[str, Any]
    modality: str
    broken: int
    """Files of the series that are truncated."""
    problems: tuple[str, ...]
    identity: frozenset[str] = field(default=frozenset(), repr=False)

    def with_notes(self, broken: int, problems: tuple[str, ...]) -> Described:
        """The same with what the whole scan found."""
        return replace(self, broken=broken, problems=problems)


def series_info(stack: Stack, described: Described, source: Path) -> SeriesInfo:
    """One stack as the scan lists it."""
    kind = stack.kind
    faults = [*_class_faults(stack), *_kind_faults(kind, stack, described), *stack.faults, *_value_notes(stack.planes)]
    shape = spacing = None
    orientation = ""
    if stack.grid is not None:
        # what a repair would make, where one is needed: the grid through a faulty stack is nobody's spacing
        faulty = any(fault.severity is Severity.REPAIR for fault in stack.faults)
        grid = plan_repair(kind, stack.frames[0]).grid if faulty else stack.grid
        n, rows, columns = grid.shape
        order = canonical((columns, rows, n), grid.affine_ras)
        shape = order.shape
        z, y, x = np.linalg.norm(order.affine[:3, :3], axis=0).tolist()
        spacing = (z, y, x)
        orientation = plane_name(stack.grid.affine_ras)
    auxiliary = any(fault.kind in (FaultKind.NOT_A_VOLUME, FaultKind.COLOUR) for fault in faults)
    return SeriesInfo(
        index=0,
        format="DICOM",
        modality=modality_of(kind),
        description=_telling_apart(described.description, stack),
        shape=shape,
        n_frames=len(stack.frames),
        spacing_mm=spacing,
        orientation=orientation,
        unit=unit_of(kind),
        n_files=len({plane.path for plane in stack.planes}),
        faults=tuple(faults),
        patient=kind.origin.patient,
        localizer=is_localizer(kind),
        auxiliary=auxiliary,
        series_number=kind.origin.series_number or None,
        source=source,
        loader=None if stack.grid is None else DicomStack(stack, described),
        identity=described.identity,
    )


def _telling_apart(description: str, stack: Stack) -> str:
    """Echoes of one series have one description: add what they differ in."""
    echo = stack.kind.echo_time
    if echo is None or all(fault.kind is not FaultKind.MIXED_CONTENT for fault in stack.faults):
        return description
    return f"{description} (echo {echo:g} ms)".strip()


_SLICES_THAT_SPEAK = 3


def _class_faults(stack: Stack) -> list[Fault]:
    """What the class of the images says against a volume.

    Programs that reformat or convert store volumes as secondary captures too. Two positions always lie evenly; three
    that do, with a spacing and an orientation, are no screenshots.
    """
    what = no_volume(stack.kind.sop_class)
    if not what:
        return []
    sound = stack.grid is not None and not any(fault.refuses for fault in stack.faults)
    if what == SECONDARY_CAPTURE and sound and len(stack.frames[0]) >= _SLICES_THAT_SPEAK:
        detail = "secondary captures that say where they lie: read by their positions; values may be those of a display"
        return [Fault.of(FaultKind.NOT_A_VOLUME, detail, Severity.NOTE)]
    return [Fault.of(FaultKind.NOT_A_VOLUME, f"the images are {what}, not slices of a volume")]


def _kind_faults(kind: Kind, stack: Stack, described: Described) -> list[Fault]:
    faults = [Fault.of(FaultKind.NOT_A_VOLUME, problem) for problem in described.problems]
    if kind.samples != 1 or kind.photometric in _COLOUR_NAMES or kind.photometric.startswith("YBR"):
        faults.append(
            Fault.of(
                FaultKind.COLOUR,
                "pixels are colours, not intensities: no volume can be made of them",
            )
        )
    if kind.bits_allocated not in (1, 8, 16, 32, 64) or not 1 <= kind.bits_stored <= kind.bits_allocated:
        detail = (
            f"the header says {kind.bits_stored} bits stored of {kind.bits_allocated} allocated: no such pixel exists"
        )
        faults.append(Fault.of(FaultKind.UNREADABLE, detail))
    coded = {(plane.kind.transfer_syntax, plane.kind.bits_stored) for plane in stack.planes}
    faults.extend(
        Fault.of(
            FaultKind.UNSUPPORTED_CODEC,
            f"no codec here decodes transfer syntax {_uid_text(syntax)} with {bits} bits; "
            "store it uncompressed or lossless first",
        )
        for syntax, bits in sorted(coded)
        if not can_decode(syntax, bits)
    )
    if described.broken:
        faults.append(
            Fault.of(
                FaultKind.TRUNCATED,
                f"{described.broken} files end before their pixels do; copy them again from their source",
            )
        )
    if is_localizer(kind):
        faults.append(Fault.of(FaultKind.LOCALIZER, "a scout image"))
    if kind.modality == "CT" and unit_of(kind) != "HU":
        reason = "no rescale type HU" if kind.calibrated else "no rescale slope"
        faults.append(Fault.of(FaultKind.NOT_CALIBRATED, f"a CT with {reason}: its values are not known to be HU"))
    return faults


def _value_notes(planes: Sequence[Plane]) -> list[Fault]:
    """What the headers say of values beside the mapping that is applied."""
    pairs = sorted({plane.values.padding for plane in planes if plane.values.padding is not None})
    notes = _mapping_notes(planes)
    if pairs:
        low, high = pairs[0]
        which = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        more = f" (and {len(pairs) - 1} more)" if len(pairs) > 1 else ""
        detail = f"pixels that hold the stored padding value {which}{more} are no image data and never active"
        notes.append(Fault.of(FaultKind.PADDING, detail))
    return notes


def _mapping_notes(planes: Sequence[Plane]) -> list[Fault]:
    units = sorted({item.unit for plane in planes for item in plane.values.beside})
    applied = sorted({plane.values.applied[0].unit for plane in planes if plane.values.applied})
    notes = []
    if applied:
        detail = f"values are those of the real world value mapping ({', '.join(applied)})"
        notes.append(Fault.of(FaultKind.VALUES, detail))
    if units:
        detail = (
            f"a real world value mapping ({', '.join(units)}) is there beside the mapping that is applied; "
            'it is kept in meta["real_world_values"]'
        )
        notes.append(Fault.of(FaultKind.VALUES, detail))
    return notes


def _uid_text(uid: str) -> str:
    return uid[:64] if re.fullmatch(r"[0-9.]+", uid) else "(not a UID)"


_MODALITIES = frozenset(
    "AR AU BI CR CT DX ES GM IO KO LS MG MR NM OCT OP OPT OT PR PT PX REG RF RTDOSE RTIMAGE RTPLAN RTSTRUCT "  # noqa: SIM905
    "SC SEG SM SR ST US VL XA XC".split()
)


def modality_of(kind: Kind) -> str:
    """The modality, where it is one that DICOM defines."""
    return kind.modality if kind.modality in _MODALITIES else ""


def unit_of(kind: Kind) -> str:
    """The intensity unit after rescaling: HU for a calibrated CT, the PET unit, Gy for a dose, else arbitrary units."""
    if kind.real_world_unit is not None:
        return kind.real_world_unit
    if kind.modality == "CT":
        # C.11.1.1.2: without a rescale type a CT image is in HU, unless it is a derived map
        hounsfield = kind.rescale_type.upper() == "HU" or not (
            kind.rescale_type or "LOCALIZER" in kind.image_type or no_volume(kind.sop_class)
        )
        return "HU" if kind.calibrated and hounsfield else "a.u."
    if kind.modality == "PT":
        return {"BQML": "Bq/mL", "CNTS": "counts", "GML": "g/mL", "CPS": "counts/s"}.get(kind.unit, "a.u.")
    return "Gy" if kind.modality == "RTDOSE" and kind.calibrated and kind.unit == "GY" else "a.u."


def plane_name(affine_ras: NDArray[np.float64]) -> str:
    """Such as ``"axial LPS"`` or ``"sagittal oblique PIL"``: the plane of the slices and the stored directions."""
    through = np.abs(affine_ras[:3, 2] / np.linalg.norm(affine_ras[:3, 2]))
    oblique = " oblique" if through.max() < np.cos(np.radians(0.5)) else ""
    return f"{_PLANES[int(through.argmax())]}{oblique} {axis_codes(affine_ras)}"


@dataclass(frozen=True)
class DicomStack:
    """Loads the voxels of one stack."""

    stack: Stack
    described: Described

    def load(self, frames: Sequence[int] | None, repair: str | None) -> VolumeSequence:
        """See :class:`~napari_sparse3d.io.series.SeriesLoader`."""
        stack, kind, grid = self.stack, self.stack.kind, self.stack.grid
        if grid is None:
            raise ReadError("the series has no grid: it cannot be read")
        chosen = range(len(stack.frames)) if frames is None else frames
        meta: dict[str, Any] = {**self.described.meta, "faults": [fault.as_dict() for fault in stack.faults]}
        if stack.frame_label:
            meta["frames"] = [int(frame) for frame in chosen]
            meta["frames_by"] = stack.frame_label
        needs_repair = any(fault.severity is Severity.REPAIR for fault in stack.faults)
        if needs_repair and repair == "resample":
            data, affine, said, padding, value = resampled_stack(stack, chosen)
            meta["repairs"] = [said]
        else:
            data, affine, padding, value = self._as_stored(list(chosen))
        refuse_all_nan(data)
        notes = [*padding.faults(data.size, value), *_mapping_notes(stack.planes)]
        meta["faults"] += [fault.as_dict() for fault in notes]
        if value is not None:
            meta["padding"] = value
        beside = {item for plane in stack.planes for item in plane.values.beside}
        if beside:
            meta["real_world_values"] = [item.as_dict() for item in sorted(beside, key=repr)]
        number = kind.origin.series_number
        name = self.described.description or f"{modality_of(kind) or 'image'} series {number}".strip()
        times = None if stack.times_s is None else tuple(stack.times_s[t] for t in chosen)
        return VolumeSequence(data, affine, unit_of(kind), modality_of(kind), name, meta, times)

    def _as_stored(self, chosen: list[int]) -> tuple[NDArray[Any], NDArray[np.float64], Padding, int | None]:
        grid = self.stack.grid
        assert grid is not None
        n, rows, columns = grid.shape
        order = canonical((columns, rows, n), grid.affine_ras)
        planes: list[Plane] = [plane for t in chosen for plane in self.stack.frames[t]]
        dtype = dtype_of(planes)
        check_memory(dtype.itemsize * n * rows * columns * len(chosen), what="the series")
        data = np.empty((len(chosen), *order.shape), dtype=dtype)
        padding = Padding()

        def slices_of(data: NDArray[Any], t: int) -> NDArray[Any]:
            # the canonical array seen as (slice, row, column), so that each image goes straight to its place
            return order.stored_view(data[t]).transpose(2, 1, 0)

        for t, frame in enumerate(chosen):
            view = slices_of(data, t)
            filled = decode(self.stack.frames[frame], view, padding, t)
            if filled is not view:  # a value was outside what the headers promised: widen the whole
                data = data.astype(np.result_type(data.dtype, filled.dtype))
                slices_of(data, t)[...] = filled
        data, value = padding.settle(data, slices_of)
        return data, order.affine, padding, value


def safe_meta(header: FileHeader) -> dict[str, Any]:
    """The tags that are kept with a volume: how it was made, never of whom, where or when."""
    meta: dict[str, Any] = {"format": "DICOM", "transfer_syntax": header.transfer_syntax}
    for keyword in (
        "SliceThickness", "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "MagneticFieldStrength", "KVP",
        "PixelPaddingValue", "WindowCenter", "WindowWidth",
    ):  # fmt: skip
        value = header.number(keyword)
        if value is None and keyword in _IN_GROUPS:
            value = _group_number(header, *_IN_GROUPS[keyword])
        if value is not None:
            meta[keyword] = value
    vendor = next((name for name in _VENDORS if name.lower() in header.text("Manufacturer").lower()), "")
    if vendor:
        meta["Manufacturer"] = vendor
    if header.text("PatientPosition") in _PATIENT_POSITIONS:
        meta["PatientPosition"] = header.text("PatientPosition")
    return meta


_IN_GROUPS = {
    "SliceThickness": ("PixelMeasuresSequence", "SliceThickness"),
    "RepetitionTime": ("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    "FlipAngle": ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
    "EchoTime": ("MREchoSequence", "EffectiveEchoTime"),
    "InversionTime": ("MRModifierSequence", "InversionTimes"),
    "KVP": ("CTXRayDetailsSequence", "KVP"),
    "WindowCenter": ("FrameVOILUTSequence", "WindowCenter"),
    "WindowWidth": ("FrameVOILUTSequence", "WindowWidth"),
}
"""Where enhanced images have what classic ones have at the top level (PS3.3, C.7.6.16, C.8.13 and C.8.15)."""


def _group_number(header: FileHeader, sequence: str, keyword: str) -> float | None:
    """A number of the functional groups: the first frame's own, else the shared one."""
    for parts in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        items = header.get(parts)
        group = first_item(items[0], sequence) if items and isinstance(items[0], Dataset) else None
        number = None if group is None else as_number(value_of(group, keyword))
        if number is not None:
            return number
    return None


_VENDORS = (
    "Siemens",
    "GE",
    "Philips",
    "Canon",
    "Toshiba",
    "Hitachi",
    "Fujifilm",
    "Bruker",
    "United Imaging",
    "Agfa",
    "Hologic",
)
_PATIENT_POSITIONS = frozenset("HFS HFP HFDR HFDL FFS FFP FFDR FFDL LFP LFS RFP RFS AFDR AFDL PFDR PFDL".split())  # noqa: SIM905
