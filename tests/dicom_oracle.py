"""Where the tags say that each stored pixel lies, and what it holds: PS3.3 and pydicom, nothing of this project.

Position by equation C.7.6.2.1-1, value by C.11.1.1.2, both in float64, image by image: an image of a classic file, a
frame of an enhanced one. Siemens mosaics, whose geometry is in a private header, as nibabel's own DICOM reader has it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pydicom
from pydicom.pixels.utils import pixel_array

TOLERANCE_MM = 1e-3


class Sequence(Protocol):
    """What is judged: (T, S, A, R) voxels and where they lie."""

    data: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class StoredImage:
    """One 2D image as stored."""

    series: str
    values: np.ndarray
    """(rows, columns) float64, rescaled."""
    to_sar: np.ndarray
    """(4, 3): (column, row, 1) to (S, A, R, 1) in mm."""

    def corners(self) -> np.ndarray:
        """(4, 4): the centres of the corner pixels, (S, A, R, 1) in columns."""
        rows, columns = self.values.shape
        index = np.array([[0, columns - 1, 0, columns - 1], [0, 0, rows - 1, rows - 1], [1, 1, 1, 1]])
        return self.to_sar @ index


def images_in(folder: Path) -> Iterator[StoredImage]:
    """Every image below a folder that has a place in the patient and can be decoded."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                dataset = pydicom.dcmread(path, force=True)
                images = list(_of_file(path, dataset)) if dataset.get("SamplesPerPixel") == 1 else []
            except (pydicom.errors.InvalidDicomError, RuntimeError, NotImplementedError, ValueError, AttributeError):
                continue  # no image, or none that pydicom decodes: it can be no witness
        yield from images


def _of_file(path: Path, dataset: pydicom.Dataset) -> Iterator[StoredImage]:
    if "PerFrameFunctionalGroupsSequence" in dataset:
        if dataset.Modality == "SEG":
            return
        shared = dataset.SharedFunctionalGroupsSequence[0]
        for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):

            def group(name: str, tag: str, frame: pydicom.Dataset = frame) -> Any:
                sequence = frame.get(name) or shared.get(name)
                return None if sequence is None else sequence[0].get(tag)

            place = (
                group("PlanePositionSequence", "ImagePositionPatient"),
                group("PlaneOrientationSequence", "ImageOrientationPatient"),
                group("PixelMeasuresSequence", "PixelSpacing"),
            )
            slope = group("PixelValueTransformationSequence", "RescaleSlope")
            intercept = group("PixelValueTransformationSequence", "RescaleIntercept")
            private = frame.get((0x2005, 0x140F))
            scale = private.value[0].get((0x2005, 0x100E)) if private is not None else None
            stored = pixel_array(dataset, index=number, raw=True)
            yield from _image(dataset, stored, place, slope, intercept, scale)
    elif "MOSAIC" in dataset.get("ImageType", []):
        yield from _mosaic(path, dataset)
    elif int(dataset.get("NumberOfFrames", 1)) == 1:
        place = tuple(dataset.get(tag) for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"))
        stored = pixel_array(dataset, raw=True)
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
        yield from _image(dataset, stored, place, slope, intercept, dataset.get((0x2005, 0x100E)))


def _image(
    dataset: pydicom.Dataset, stored: np.ndarray, place: tuple[Any, ...], slope: Any, intercept: Any, scale: Any
) -> Iterator[StoredImage]:
    if any(item is None for item in place):
        return
    position, orientation, spacing = (np.array(item, dtype=np.float64) for item in place)
    to_lps = np.stack([orientation[:3] * spacing[1], orientation[3:] * spacing[0], position], axis=1)
    to_sar = np.vstack([to_lps[[2, 1, 0]] * [[1], [-1], [-1]], [[0, 0, 1]]])
    rescale_slope = 1.0 if slope is None else float(slope)
    values = stored.astype(np.float64) * rescale_slope + (0.0 if intercept is None else float(intercept))
    if scale is not None and "philips" in str(dataset.get("Manufacturer", "")).lower():
        # Chenevert et al. 2014, equation 1: displayed values to the reconstruction's floating point values
        values = values / (rescale_slope * float(scale.value))
    yield StoredImage(str(dataset.SeriesInstanceUID), values, to_sar)


def _mosaic(path: Path, dataset: pydicom.Dataset) -> Iterator[StoredImage]:
    from nibabel.nicom.dicomwrappers import wrapper_from_file

    wrapper = wrapper_from_file(path)
    data = np.asarray(wrapper.get_data(), dtype=np.float64)  # (column, row, slice) in a LPS affine of its own
    affine = np.asarray(wrapper.affine, dtype=np.float64)
    for k in range(data.shape[2]):
        origin = affine @ [0, 0, k, 1]
        to_lps = np.stack([affine[:3, 1], affine[:3, 0], origin[:3]], axis=1)
        to_sar = np.vstack([to_lps[[2, 1, 0]] * [[1], [-1], [-1]], [[0, 0, 1]]])
        yield StoredImage(str(dataset.SeriesInstanceUID), data[:, :, k], to_sar)


def assert_covered(sequence: Sequence, images: list[StoredImage]) -> None:
    """Each voxel of each volume is a pixel of a stored image, of its value and at its place; so are the corners."""
    covered = np.zeros(sequence.data.shape, dtype=bool)
    for image in images:
        voxels = voxels_of(image, sequence)
        if voxels is None:
            continue
        for t in range(len(sequence.data)):
            found = sequence.data[t][voxels]
            if np.abs(found - image.values).max() <= 1e-5 * max(1.0, np.abs(image.values).max()):
                covered[t][voxels] = True
    assert covered.all(), f"{np.mean(~covered):.1%} of the voxels are in no image at that place"


def voxels_of(image: StoredImage, sequence: Sequence) -> tuple[np.ndarray, ...] | None:
    """The voxels, (rows, columns) for each axis, under an image's pixels; ``None`` where it lies elsewhere."""
    exact = (np.linalg.inv(sequence.affine) @ image.corners())[:3]
    nearest = np.rint(exact)
    # measured in the world, on each corner of the image: a turn or a scale that is slightly off shows there
    if np.abs(sequence.affine[:3, :3] @ (exact - nearest)).max() > TOLERANCE_MM:
        return None
    corner = nearest.astype(int)
    if (corner < 0).any() or (corner >= np.array(sequence.data.shape[1:])[:, None]).any():
        return None
    rows, columns = image.values.shape
    along_row = (corner[:, 1] - corner[:, 0]) // max(columns - 1, 1)
    along_column = (corner[:, 2] - corner[:, 0]) // max(rows - 1, 1)
    j, i = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return tuple(corner[axis, 0] + i * along_row[axis] + j * along_column[axis] for axis in range(3))
