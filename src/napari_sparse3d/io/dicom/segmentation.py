"""DICOM SEG, through highdicom: labels read as a volume, and written so that they refer to their source images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.files import replacing
from napari_sparse3d.io.dicom.header import PARSE_ERRORS, FileHeader, quiet
from napari_sparse3d.io.dicom.series import DicomStack, plane_name
from napari_sparse3d.io.faults import Fault, FaultKind
from napari_sparse3d.io.limits import check_memory
from napari_sparse3d.io.orientation import canonical
from napari_sparse3d.io.series import SeriesInfo, VolumeSequence
from napari_sparse3d.volume import Volume, whole_labels

SOP_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation and label map segmentation storage."""
_MAKER = "napari-sparse3d"
_LABEL_NOTE = "label value "


def scan_segmentation(header: FileHeader, description: str, patient: str) -> SeriesInfo:
    """List one SEG file.

    Raises
    ------
    ReadError
        If it cannot be parsed, or its frames lie on no grid.
    """
    with _one_line():
        seg = _open(header.path)
        grid = seg.get_volume_geometry(allow_missing_positions=True)
        if grid is None:
            fault = Fault.of(FaultKind.GAP, "the frames of the segmentation lie on no even grid")
            return SeriesInfo(
                0, "DICOM", "SEG", description, None, 1, None, "", "label", 1, (fault,), patient, auxiliary=True
            )
        n, rows, columns = (int(size) for size in grid.spatial_shape)
        affine = _affine_ras(grid.affine)
        n_frames = 1 if _is_one_volume(seg, n * rows * columns) else int(seg.number_of_segments)
    order = canonical((columns, rows, n), affine)
    z, y, x = np.linalg.norm(order.affine[:3, :3], axis=0).tolist()
    faults = []
    if n_frames > 1:
        detail = f"{n_frames} segments that overlap; choose one with frame=0 to {n_frames - 1}"
        faults.append(Fault.of(FaultKind.FOUR_D, detail))
    return SeriesInfo(
        0, "DICOM", "SEG", description, order.shape, n_frames, (z, y, x), plane_name(affine), "label", 1, tuple(faults),
        patient, auxiliary=True, source=header.path, loader=SegmentationFile(header.path, description, n_frames),
    )  # fmt: skip


@dataclass(frozen=True)
class SegmentationFile:
    """Loads the labels of one SEG file: 0 is background, segment numbers elsewhere."""

    path: Path
    description: str
    n_frames: int

    def load(self, frames: Sequence[int] | None, repair: str | None) -> VolumeSequence:
        """See :class:`~napari_sparse3d.io.series.SeriesLoader`."""
        with _one_line():
            seg = _open(self.path)
            grid = seg.get_volume_geometry(allow_missing_positions=True)
            check_memory(int(np.prod(grid.spatial_shape)) * self.n_frames * 2, what="the segmentation")
            fractional = _is_fractional(seg)
            if self.n_frames == 1 and not fractional:
                stored = seg.get_volume(combine_segments=True).array[None]
                labels = _own_labels(seg)
                if labels is not None:
                    table = np.array([0, *labels])
                    stored = table.astype(np.min_scalar_type(int(table.max())))[stored]
            else:
                stored = np.moveaxis(seg.get_volume(rescale_fractional=False).array, -1, 0)
            affine = _affine_ras(grid.affine)
        if frames is not None:
            stored = stored[list(frames)]
        n, rows, columns = stored.shape[1:]
        order = canonical((columns, rows, n), affine)
        data = np.ascontiguousarray(np.stack([order.apply(volume.transpose(2, 1, 0)) for volume in stored]))
        meta: dict[str, Any] = {"format": "DICOM", "labels": not fractional, "faults": []}
        if fractional:
            meta["maximum_fractional_value"] = int(seg.MaximumFractionalValue)
        return VolumeSequence(data, order.affine, "label", "SEG", self.description or "segmentation", meta)


def write_segmentation(
    labels: Volume,
    source: SeriesInfo,
    path: str | os.PathLike[str],
    *,
    names: Mapping[int, str] | None = None,
) -> None:
    """Write labels as a DICOM SEG that refers to the images of its source series.

    Like every DICOM object of a study it carries the patient's identity of its source, without which no archive could
    file it: keep it where the source is kept.

    Parameters
    ----------
    labels : Volume
        Whole numbers (Z, Y, X) on the grid of the source series, see :func:`~napari_sparse3d.volume.whole_labels`; 0
        is background, at least one label.
    source : SeriesInfo
        The DICOM series, as :func:`napari_sparse3d.scan` lists it.
    path : path
        Ends in ``.dcm``. The file appears whole or not at all.
    names : mapping of int to str, optional
        Name of each label; ``"label 1"``, ... unless told.

    Raises
    ------
    InputError
        If the labels are not whole numbers, lie on another grid, or the source is no DICOM series on disk.
    """
    import highdicom

    target = Path(path)
    if target.suffix.lower() != ".dcm":
        raise InputError(f"a DICOM segmentation is written as .dcm, got {target.name!r}")
    data = whole_labels(labels.data)
    values = _label_values(data)
    loader = source.loader
    if not isinstance(loader, DicomStack) or loader.stack.grid is None or len(loader.stack.frames) != 1:
        raise InputError("a DICOM segmentation needs a DICOM series of one volume as its source; see scan")
    n, rows, columns = loader.stack.grid.shape
    order = canonical((columns, rows, n), loader.stack.grid.affine_ras)
    if order.shape != labels.shape or not np.allclose(order.affine, labels.affine, atol=1e-3):
        raise InputError(
            f"labels must lie on the grid of their source: {order.shape} there, {labels.shape} here or elsewhere; "
            "a resampled volume cannot refer to the images it was made of"
        )
    stored = np.ascontiguousarray(order.stored_view(data).transpose(2, 1, 0))
    planes = loader.stack.frames[0]
    with _one_line(), quiet():
        paths = list(dict.fromkeys(plane.path for plane in planes))
        images = [_complete(pydicom.dcmread(image, force=True)) for image in paths]
        if len(images) == 1 and n > 1:
            # one multi-frame source: its frames count in file order
            stored = stored[np.argsort([plane.frame for plane in planes])]
        _check_references(images)
        segments = [_segment(number, value, names or {}) for number, value in enumerate(values, start=1)]
        numbered = np.searchsorted(np.asarray([0, *values]), stored).astype(
            np.uint8 if len(values) < 256 else np.uint16
        )
        seg = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=numbered,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=highdicom.UID(),
            series_number=1000 + max(0, loader.stack.kind.origin.series_number) % 100000,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=_MAKER,
            manufacturer_model_name=_MAKER,
            software_versions=_version(),
            device_serial_number="0",
            series_description="segmentation",
            omit_empty_frames=False,  # else it would read back as the labelled slices alone
        )
    with replacing(target) as temporary:
        seg.save_as(temporary)


_REFERENCES = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


def _check_references(images: Sequence[pydicom.Dataset]) -> None:
    missing = [keyword for keyword in _REFERENCES if any(not image.get(keyword) for image in images)]
    if missing:
        raise InputError(
            f"the source images have no {', '.join(missing)}: a segmentation cannot refer to them; write NIfTI"
        )


_MAY_BE_EMPTY = (
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientName", "PatientID",
    "PatientBirthDate", "PatientSex", "PositionReferenceIndicator",
)  # fmt: skip


def _complete(image: pydicom.Dataset) -> pydicom.Dataset:
    """The image as highdicom expects it.

    Elements that may be empty (type 2) are there, and what all frames share stands in the shared part even where the
    scanner repeated it in each frame; the planes of the stack were found to agree.
    """
    for keyword in _MAY_BE_EMPTY:
        if keyword not in image:
            setattr(image, keyword, None)
    if "PerFrameFunctionalGroupsSequence" in image:
        shared, first = image.SharedFunctionalGroupsSequence[0], image.PerFrameFunctionalGroupsSequence[0]
        for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            if keyword not in shared and keyword in first:
                setattr(shared, keyword, first[keyword].value)
    return image


def _segment(number: int, value: int, names: Mapping[int, str]) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    segment = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=names.get(value, f"label {value}")[:64],
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=_MAKER, version=_version(), family=codes.DCM.ArtificialIntelligence
        ),
    )
    # segments count from 1 without holes; the label itself is kept as text
    segment.SegmentDescription = f"{_LABEL_NOTE}{value}"
    return segment


def _own_labels(seg: Any) -> list[int] | None:
    """The labels of a segmentation that this project wrote, by segment; ``None`` for any other."""
    notes = [str(segment.get("SegmentDescription", "")) for segment in seg.SegmentSequence]
    if str(seg.get("Manufacturer", "")) != _MAKER or not all(
        re.fullmatch(_LABEL_NOTE + r"\d{1,9}", note) for note in notes
    ):
        return None
    return [int(note.removeprefix(_LABEL_NOTE)) for note in notes]


def _label_values(data: NDArray[Any]) -> list[int]:
    values = [int(value) for value in np.unique(data) if value != 0]
    if not values or min(values) < 0:
        raise InputError("labels must hold at least one positive label and no negative one")
    return values


def _version() -> str:
    try:
        return version("napari-sparse3d")
    except PackageNotFoundError:
        return "0"


def _open(path: Path) -> Any:
    import highdicom

    if read_file_meta_info(path).get("TransferSyntaxUID") == ExplicitVRBigEndian:
        return highdicom.seg.Segmentation.from_dataset(_little_endian(pydicom.dcmread(path)), copy=False)
    return highdicom.seg.segread(path)


def _little_endian(dataset: pydicom.Dataset) -> pydicom.Dataset:
    """A big-endian data set as one that highdicom takes: it refuses any other byte order (PS3.5, 7.3).

    pydicom converts every number as it is asked for; the pixels alone are bytes, in words where they are OW.
    """
    pixels = dataset["PixelData"]
    if pixels.VR == "OW":
        pixels.value = np.frombuffer(pixels.value, dtype=np.uint16).byteswap().tobytes()
    for element in dataset.iterall():
        element.value  # noqa: B018 - converted while its byte order is known
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.set_original_encoding(False, True, dataset.original_character_set)
    return dataset


def _is_fractional(seg: Any) -> bool:
    return str(getattr(seg.segmentation_type, "value", seg.segmentation_type)) == "FRACTIONAL"


def _is_one_volume(seg: Any, n_voxels: int) -> bool:
    """Whether no two segments overlap, so that one volume of labels holds them all."""
    if int(seg.number_of_segments) == 1:
        return True
    if _is_fractional(seg):
        return False
    check_memory(n_voxels * 2, what="the segmentation")
    try:
        seg.get_volume(combine_segments=True)
    except RuntimeError:  # highdicom: "Cannot combine segments because segments overlap"
        return False
    return True


def _affine_ras(affine_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """highdicom counts (slice, row, column); everything here counts (column, row, slice)."""
    affine = np.array(affine_lps, dtype=np.float64)
    affine[:, :3] = affine[:, [2, 1, 0]]
    affine[:2] *= -1
    return affine


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        with quiet():
            yield
    except InputError:
        raise
    except PARSE_ERRORS as error:
        raise ReadError(
            f"the DICOM segmentation cannot be used ({type(error).__name__}): it, or its source, is damaged"
        ) from error
