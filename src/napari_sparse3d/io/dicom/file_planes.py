"""From a header to its planes, whatever kind of file it is of: classic, enhanced, mosaic, dose, nuclear medicine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from napari_sparse3d.errors import ReadError
from napari_sparse3d.io.dicom.header import FileHeader, as_number, as_numbers, first_item, value_of
from napari_sparse3d.io.dicom.marks import Vector, marks_of, marks_of_frame
from napari_sparse3d.io.dicom.mosaic import mosaic_layout
from napari_sparse3d.io.dicom.no_image import no_image
from napari_sparse3d.io.dicom.plane import FilePlanes, Interner, Kind, Origin, Plane, normal_of
from napari_sparse3d.io.dicom.polarity import rows_reversed
from napari_sparse3d.io.dicom.values import (
    FrameValues,
    classic_values,
    frame_values,
    is_scaled,
    linear,
    philips,
    philips_frame_scale,
)
from napari_sparse3d.io.identity import patient_hash
from napari_sparse3d.io.limits import MAX_DEFLATE_RATIO

_FRAME_TYPE_GROUPS = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")
_LEAST_FRAME_BYTES = 1
_ANY_BYTES = 64 * 1024**2
"""Pixels that any compressed file may claim; more only in proportion to its size."""
_NATIVE = frozenset({"1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.98"})


def planes_of(header: FileHeader, intern: Interner) -> FilePlanes:
    """All planes of a file; none, with the reason, where it holds no image."""
    other = no_image(header.text("SOPClassUID"), has_pixels=header.bytes_after > 0)
    if other:
        return FilePlanes((), f"holds {other}, no image")
    rows, columns = header.integer("Rows"), header.integer("Columns")
    if rows < 1 or columns < 1:
        return FilePlanes((), "holds no image")
    n_frames = header.integer("NumberOfFrames", 1)
    n_frames = 1 if n_frames < 1 else n_frames
    samples = header.integer("SamplesPerPixel", 1)
    if n_frames > 1 + header.bytes_after // _LEAST_FRAME_BYTES:
        return FilePlanes((), f"claims {n_frames} frames, more than the file can hold: it is damaged")
    expected = rows * columns * samples * n_frames * max(1, header.integer("BitsAllocated", 16)) // 8
    native = header.transfer_syntax in _NATIVE
    if not native and expected > max(_ANY_BYTES, MAX_DEFLATE_RATIO * header.bytes_after):
        return FilePlanes(
            (), f"claims {expected // 1_000_000} MB of pixels, more than the file can hold: it is damaged"
        )
    truncated = native and header.bytes_after < expected
    if header.get("PerFrameFunctionalGroupsSequence"):
        planes = tuple(_enhanced(header, intern, n_frames))
        if len(planes) != n_frames:
            return FilePlanes(planes, f"says {n_frames} frames but describes {len(planes)}")
    elif header.text("Modality") == "RTDOSE":
        planes = tuple(_dose(header, intern, n_frames))
    elif header.text("Modality") == "NM" and _RECONSTRUCTED & set(header.texts("ImageType")):
        planes = tuple(_nuclear(header, intern, n_frames))
    else:
        try:
            layout = mosaic_layout(header) if n_frames == 1 else None
            if layout is not None:
                planes = tuple(_mosaic(header, intern, layout))
            else:
                planes = tuple(_classic(header, intern, n_frames))
        except ReadError as error:
            return FilePlanes((), str(error))
    return FilePlanes(planes, truncated=truncated)


def _kind(header: FileHeader, intern: Interner, **changes: Any) -> Kind:
    spacing = as_numbers(header.get("PixelSpacing"), 2)
    values: dict[str, Any] = {
        "origin": intern(
            Origin(
                header.text("SeriesInstanceUID"),
                header.integer("SeriesNumber"),
                header.text("StudyInstanceUID"),
                header.text("FrameOfReferenceUID"),
                patient_hash(header.text("PatientID")),
            )
        ),
        "sop_class": header.text("SOPClassUID"),
        "modality": header.text("Modality"),
        "manufacturer": header.text("Manufacturer"),
        "transfer_syntax": header.transfer_syntax,
        "rows": header.integer("Rows"),
        "columns": header.integer("Columns"),
        "samples": header.integer("SamplesPerPixel", 1),
        "photometric": header.text("PhotometricInterpretation"),
        "bits_allocated": header.integer("BitsAllocated", 16),
        "bits_stored": header.integer("BitsStored", header.integer("BitsAllocated", 16)),
        "signed": header.integer("PixelRepresentation") == 1,
        "image_type": header.texts("ImageType"),
        "rescale_type": header.text("RescaleType"),
        "unit": header.text("Units"),
        "orientation": as_numbers(header.get("ImageOrientationPatient"), 6),
        "pixel_spacing": spacing,
        "slice_step": _slice_step(header.number("SpacingBetweenSlices"), header.number("SliceThickness")),
        "thickness": _micrometre(header.number("SliceThickness")),
        "echo_time": header.number("EchoTime"),
        "echo_number": _integer(header.number("EchoNumbers")),
        "flip_angle": header.number("FlipAngle"),
        "inversion_time": header.number("InversionTime"),
        "kvp": header.number("KVP"),
        "kernel": "\\".join(header.texts("ConvolutionKernel")),
        "stack": "",
        "n_temporal": header.integer("NumberOfTemporalPositions"),
        "repetition_ms": header.number("RepetitionTime"),
        "step_ms": header.number("TemporalResolution"),
        "volumetric": header.text("MRAcquisitionType") == "3D",
        "calibrated": header.number("RescaleSlope") is not None or bool(header.get("ModalityLUTSequence")),
        "lookup": bool(header.get("ModalityLUTSequence")),
    }
    values.update(changes)
    kind: Kind = intern(Kind(**values))
    return kind


def _slice_step(between: float | None, thickness: float | None) -> float | None:
    # SpacingBetweenSlices is signed in nuclear medicine
    step = abs(between) if between else thickness
    return step if step and step > 0 else None


def _micrometre(length: float | None) -> float | None:
    return None if length is None else round(length, 3)


def _mapped(slope: float, intercept: float, values: FrameValues) -> dict[str, Any]:
    """The value fields of a plane."""
    if len(values.applied) == 1 and not values.applied[0].table:
        slope, intercept = values.applied[0].slope, values.applied[0].intercept
    return {"slope": slope, "intercept": intercept, "values": values}


def _real_world_unit(values: FrameValues) -> str | None:
    return values.applied[0].unit if values.applied else None


def _common(header: FileHeader, intern: Interner) -> dict[str, Any]:
    return {
        "path": header.path,
        **_mapped(*linear(header), intern(classic_values(header))),
        "scaled": is_scaled(header),
        "sop_uid": header.text("SOPInstanceUID"),
        "instance": _integer(header.number("InstanceNumber")),
        "marks": intern(marks_of(header)),
    }


def _classic(header: FileHeader, intern: Interner, n_frames: int) -> Iterator[Plane]:
    common = _common(header, intern)
    common["reversed_rows"] = rows_reversed(header, common["marks"].temporal)
    kind = _kind(header, intern, real_world_unit=_real_world_unit(common["values"]))
    position = as_numbers(header.get("ImagePositionPatient"), 3) if n_frames == 1 else None
    for frame in range(n_frames):
        # frames of a classic multi-frame file have no position of their own: nothing says how far apart they are
        yield Plane(kind=kind, frame=frame, tile=None, tiles=0, position=_vector(position), **common)


def _mosaic(header: FileHeader, intern: Interner, layout: Any) -> Iterator[Plane]:
    common = _common(header, intern)
    kind = _kind(
        header,
        intern,
        rows=layout.rows,
        columns=layout.columns,
        orientation=layout.orientation,
        real_world_unit=_real_world_unit(common["values"]),
    )
    n = len(layout.positions)
    for tile, position in enumerate(layout.positions):
        yield Plane(kind=kind, frame=0, tile=tile, tiles=n, position=position, several=n > 1, **common)


def _dose(header: FileHeader, intern: Interner, n_frames: int) -> Iterator[Plane]:
    """Planes of a dose grid (PS3.3 C.8.8.3): stored integers times the scaling, in Gy."""
    scaling = header.number("DoseGridScaling")
    kind = _kind(header, intern, calibrated=scaling is not None, unit=header.text("DoseUnits"))
    common = _common(header, intern)
    common["slope"], common["intercept"] = (1.0 if scaling is None else scaling), 0.0
    origin = as_numbers(header.get("ImagePositionPatient"), 3)
    offsets = (0.0,) if n_frames == 1 else as_numbers(header.get("GridFrameOffsetVector"), n_frames)
    for frame in range(n_frames):
        position = None
        if origin is not None and offsets is not None and kind.orientation is not None:
            position = _dose_position(origin, kind.orientation, offsets[0], offsets[frame])
        yield Plane(kind=kind, frame=frame, tile=None, tiles=0, position=position, **common)


def _dose_position(
    origin: tuple[float, ...], orientation: tuple[float, ...], first: float, offset: float
) -> Vector | None:
    """C.8.8.3.2: offsets from the first plane where the first is 0; else z itself, which only axial planes have."""
    normal = normal_of(orientation)
    if first == 0:
        return _vector(tuple(np.asarray(origin) + offset * normal))
    axial = abs(abs(float(normal[2])) - 1.0) < 1e-4
    return _vector((origin[0], origin[1], offset)) if axial and abs(first - origin[2]) < 1e-2 else None


_RECONSTRUCTED = frozenset({"RECON TOMO", "RECON GATED TOMO"})
"""Image types of nuclear medicine whose frames are slices, not projections or times (PS3.3 C.8.4.9.1.1)."""


def _nuclear(header: FileHeader, intern: Interner, n_frames: int) -> Iterator[Plane]:
    """Slices of a reconstructed SPECT: the first has a position, the others follow along the normal.

    PS3.3 C.8.4.15: a positive spacing stacks along row cross column, a negative one against it. Which slice, and which
    time slot, a frame is, say the vectors of C.8.4.8.
    """
    detector = _first(header.get("DetectorInformationSequence")) or Dataset()

    def tag(keyword: str, length: int) -> tuple[float, ...] | None:
        # older files have them beside the sequence
        return as_numbers(value_of(detector, keyword), length) or as_numbers(header.get(keyword), length)

    origin, orientation = tag("ImagePositionPatient", 3), tag("ImageOrientationPatient", 6)
    step = header.number("SpacingBetweenSlices")
    common = _common(header, intern)
    kind = _kind(header, intern, orientation=orientation, real_world_unit=_real_world_unit(common["values"]))
    slices = as_numbers(header.get("SliceVector"), n_frames) or ((1.0,) if n_frames == 1 else None)
    slots = as_numbers(header.get("TimeSlotVector"), n_frames)
    for frame in range(n_frames):
        position = None
        if origin is not None and orientation is not None and slices is not None and (step or n_frames == 1):
            along = (slices[frame] - 1) * (step or 0.0)
            position = _vector(tuple(np.asarray(origin) + along * normal_of(orientation)))
        if slots is not None:
            common["marks"] = intern(replace(common["marks"], temporal=int(slots[frame])))
        yield Plane(kind=kind, frame=frame, tile=None, tiles=0, position=position, **common)


def _enhanced(header: FileHeader, intern: Interner, n_frames: int) -> Iterator[Plane]:
    shared = _first(header.get("SharedFunctionalGroupsSequence")) or Dataset()
    base, manufacturer = _common(header, intern), header.text("Manufacturer")
    image_type = header.texts("ImageType")
    frames = header.get("PerFrameFunctionalGroupsSequence") or []
    for number, frame in enumerate(frames[:n_frames]):

        def group(name: str, frame: Dataset = frame) -> Dataset:
            # an attribute group stands either in the frame or in the shared part (PS3.3 C.7.6.16)
            return first_item(frame, name) or first_item(shared, name) or Dataset()

        measures, content = group("PixelMeasuresSequence"), group("FrameContentSequence")
        transform, timing = group("PixelValueTransformationSequence"), group("MRTimingAndRelatedParametersSequence")
        slope, intercept = as_number(transform.get("RescaleSlope")), as_number(transform.get("RescaleIntercept"))
        values = intern(frame_values(header, frame, shared, rescaled=slope is not None))
        frame_type = next(
            (group(name).get("FrameType") for name in _FRAME_TYPE_GROUPS if group(name).get("FrameType")), None
        )
        kind = _kind(
            header,
            intern,
            orientation=as_numbers(group("PlaneOrientationSequence").get("ImageOrientationPatient"), 6),
            pixel_spacing=as_numbers(measures.get("PixelSpacing"), 2),
            slice_step=_slice_step(
                as_number(measures.get("SpacingBetweenSlices")) or header.number("SpacingBetweenSlices"),
                as_number(measures.get("SliceThickness")),
            ),
            thickness=_micrometre(as_number(measures.get("SliceThickness"))),
            echo_time=as_number(group("MREchoSequence").get("EffectiveEchoTime")),
            flip_angle=as_number(timing.get("FlipAngle")),
            repetition_ms=as_number(timing.get("RepetitionTime")),
            inversion_time=as_number(group("MRModifierSequence").get("InversionTimes")),
            kvp=as_number(group("CTXRayDetailsSequence").get("KVP")),
            kernel=_text(group("CTReconstructionSequence").get("ConvolutionKernel")),
            stack=_text(content.get("StackID")),
            image_type=tuple(str(item) for item in frame_type) if frame_type is not None else image_type,
            rescale_type=str(transform.get("RescaleType", "")),
            calibrated=slope is not None,
            real_world_unit=_real_world_unit(values),
        )
        slope = 1.0 if slope is None else slope
        intercept = 0.0 if intercept is None else intercept
        scale = philips_frame_scale(frame, shared)
        slope, intercept = philips(slope, intercept, scale, manufacturer)
        own = dict(base)
        own["scaled"] = bool(scale) and "philips" in manufacturer.lower()
        own.update(_mapped(slope, intercept, values), marks=intern(marks_of_frame(base["marks"], group)))
        order = content.get("DimensionIndexValues")
        yield Plane(
            kind=kind,
            frame=number,
            tile=None,
            tiles=0,
            position=_vector(as_numbers(group("PlanePositionSequence").get("ImagePositionPatient"), 3)),
            several=n_frames > 1,
            order=() if order is None else tuple(int(i) for i in (order if hasattr(order, "__iter__") else [order])),
            **own,
        )


def _first(sequence: Any) -> Dataset | None:
    return sequence[0] if sequence and isinstance(sequence[0], Dataset) else None


def _integer(number: float | None) -> int | None:
    return None if number is None else int(number)


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _vector(numbers: tuple[float, ...] | None) -> Vector | None:
    return None if numbers is None else (float(numbers[0]), float(numbers[1]), float(numbers[2]))
