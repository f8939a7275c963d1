"""Small DICOM series made for tests: every voxel holds a number that tells where in the world it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

AXIAL = (1.0, 0, 0, 0, 1, 0)
CORONAL = (1.0, 0, 0, 0, 0, -1)
SAGITTAL = (0.0, 1, 0, 0, 0, -1)


def world_code(lps: np.ndarray) -> np.ndarray:
    """A number for a position: linear, different on each axis, of either sign."""
    return np.rint(2 * lps[..., 0] + 3 * lps[..., 1] + 5 * lps[..., 2]).astype(np.int64)


def slice_of(
    position: tuple[float, float, float],
    *,
    orientation: tuple[float, ...] = AXIAL,
    spacing: tuple[float, float] = (2.0, 1.0),
    size: tuple[int, int] = (6, 8),
    modality: str = "CT",
    series: str = "1.2.3.4",
    number: int = 1,
    pixels: np.ndarray | None = None,
    slope: float = 1,
    intercept: float = -1000,
    **tags: Any,
) -> Dataset:
    """One classic image; unless ``pixels`` are given, its rescaled value at each voxel is :func:`world_code`."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage if modality == "CT" else MRImageStorage
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = series, "1.2.3", "1.2.9"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, 3, number
    dataset.Manufacturer, dataset.ImageType = "Acme", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Rows, dataset.Columns = size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PixelSpacing, dataset.SliceThickness = list(spacing), 1.0
    dataset.ImagePositionPatient = [float(value) for value in position]
    dataset.ImageOrientationPatient = [float(value) for value in orientation]
    if modality == "CT":
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    else:
        slope, intercept = 1, -1000
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    if pixels is None:
        row, column = np.array(orientation[:3]), np.array(orientation[3:])
        j, i = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
        lps = np.array(position) + i[..., None] * spacing[1] * row + j[..., None] * spacing[0] * column
        pixels = (world_code(lps) - intercept) / slope
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    kind = np.int16 if dataset.PixelRepresentation else np.uint16
    dataset.PixelData = np.ascontiguousarray(pixels).astype(kind if dataset.BitsAllocated == 16 else np.uint8).tobytes()
    return dataset


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def series_of(
    folder: Path,
    n: int = 5,
    *,
    start: tuple[float, float, float] = (-10.0, 20.0, 30.0),
    step: tuple[float, float, float] | None = None,
    orientation: tuple[float, ...] = AXIAL,
    change: Callable[[int, dict[str, Any]], None] | None = None,
    **options: Any,
) -> list[Path]:
    """A series of ``n`` slices; ``change(k, options)`` alters single slices. File names tell nothing of the order."""
    normal = np.cross(orientation[:3], orientation[3:])
    along = np.array(step) if step is not None else 2.5 * normal
    paths = []
    for k in range(n):
        own: dict[str, Any] = {"orientation": orientation, "number": k + 1, **options}
        own["position"] = tuple(np.array(start) + k * along)
        if change is not None:
            change(k, own)
        position = own.pop("position")
        paths.append(save(slice_of(position, **own), folder / f"{(k * 7919) % 104729:06d}.dcm"))
    return paths


def blocks_in_one_folder(folder: Path, patients_and_sizes: Iterable[tuple[str, int]]) -> None:
    """CT series of 12 slices, all in one folder, numbered from 1: a block of bone each, which ends at its size."""
    folder.mkdir(parents=True)
    for number, (patient, size) in enumerate(patients_and_sizes, start=1):
        values = np.zeros((12, 12, 12), np.int16)
        values[3:size, 3:9, 3:9] = 1100

        def change(
            k: int, own: dict[str, Any], number: int = number, values: Any = values, patient: str = patient
        ) -> None:
            own |= {"pixels": values[k], "SeriesNumber": number, "PatientID": patient}

        aside = folder.with_name(f"{folder.name}{number}")
        series_of(aside, 12, size=(12, 12), spacing=(1.0, 1.0), step=(0, 0, 1), series=f"1.2.{number}", change=change)
        for file in aside.iterdir():
            file.rename(folder / f"{number}_{file.name}")
        aside.rmdir()


def check_world_code(volume: Any) -> None:
    """Every voxel holds the code of the world position that the affine gives it."""
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    sar = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    lps = np.stack([-sar[..., 2], -sar[..., 1], sar[..., 0]], axis=-1)
    np.testing.assert_array_equal(volume.data, world_code(lps))
