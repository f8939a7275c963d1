"""Private elements count by their creator's block, wherever it lies and however they are stored (PS3.5, 7.8.1)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_files import save, series_of, slice_of
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_volume
from napari_sparse3d.io.dicom.header import read_header
from napari_sparse3d.io.dicom.private import (
    GE_B_VALUE,
    PHILIPS_SCALE_SLOPE,
    SIEMENS_B_VALUE,
    UIH_GRADIENT,
    PrivateTag,
)

PHILIPS, FRAMES = "Philips MR Imaging DD 001", "Philips MR Imaging DD 005"
BLOCKS = (0x10, 0x11, 0x7F, 0xFF)


def add_private(dataset: Dataset, group: int, creator: str, block: int, element: int, vr: str, value: object) -> None:
    dataset.add_new((group, block), "LO", creator)
    dataset.add_new((group, block << 8 | element), vr, value)


def stored_as(path: Path, how: str) -> None:
    """Write a file again in another encoding."""
    dataset = pydicom.dcmread(path)
    if how == "implicit":
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    elif how == "deflated":  # read by pydicom, not by the quick walk
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        dataset.save_as(path)


def philips(folder: Path, block: int, how: str, scale: float = 0.25) -> list[Path]:
    paths = series_of(folder, 3, modality="MR", Manufacturer="Philips Medical Systems")
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.RescaleSlope, dataset.RescaleIntercept = 2.0, 0.0
        unknown = how == "unknown"
        value = np.float32(scale).tobytes() if unknown else scale
        if block > 0x10:  # the usual block is another's, whose element of the same number says something else
            add_private(dataset, 0x2005, "ELSCINT1", 0x10, 0x0E, "FL", 99.0)
        add_private(dataset, 0x2005, PHILIPS, block, 0x0E, "UN" if unknown else "FL", value)
        save(dataset, path)
        stored_as(path, how)
    return paths


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("how", ["explicit", "implicit", "unknown", "deflated"])
def test_philips_scale_slope_in_any_block(how: str, block: int, tmp_path: Path) -> None:
    path = philips(tmp_path, block, how)[0]
    stored = pydicom.dcmread(path).pixel_array
    volume = read_volume(tmp_path)
    np.testing.assert_allclose(volume.data[0], stored[::-1, ::-1] / 0.25)  # the first file is the lowest slice


@pytest.mark.parametrize("how", ["explicit", "implicit", "deflated"])
def test_without_its_creator_an_element_means_nothing(how: str, tmp_path: Path) -> None:
    paths = philips(tmp_path, 0x10, "explicit")
    for path in paths:
        dataset = pydicom.dcmread(path)
        del dataset[0x20050010]
        save(dataset, path)
        stored_as(path, how)
    stored = pydicom.dcmread(paths[0]).pixel_array
    np.testing.assert_array_equal(read_volume(tmp_path).data[0], stored[::-1, ::-1] * 2.0)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("how", ["explicit", "implicit", "unknown"])
def test_philips_frames_keep_theirs_in_a_sequence_of_any_block(how: str, block: int, tmp_path: Path) -> None:
    frames = []
    for k in range(3):
        classic, group = Dataset(), Dataset()
        add_private(classic, 0x2005, PHILIPS, block ^ 1 if block != 0xFF else 0x20, 0x0E, "FL", 0.5 * (k + 1))
        for keyword, values in {
            "PlanePositionSequence": {"ImagePositionPatient": [0.0, 0.0, 2.0 * k]},
            "PlaneOrientationSequence": {"ImageOrientationPatient": [1.0, 0, 0, 0, 1, 0]},
            "PixelMeasuresSequence": {"PixelSpacing": [1.0, 1.0], "SliceThickness": 2.0},
            "PixelValueTransformationSequence": {"RescaleSlope": 4.0, "RescaleIntercept": -8.0},
        }.items():
            item = Dataset()
            for name, value in values.items():
                setattr(item, name, value)
            setattr(group, keyword, [item])
        value: object = [classic]
        if how == "unknown":
            value = implicit_items([classic])
        add_private(group, 0x2005, FRAMES, block, 0x0F, "UN" if how == "unknown" else "SQ", value)
        frames.append(group)
    dataset = slice_of((0, 0, 0), modality="MR", pixels=np.full((6, 8), 100), Manufacturer="Philips")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(dataset, keyword)
    dataset.NumberOfFrames, dataset.PixelData = 3, np.full((3, 6, 8), 100, np.uint16).tobytes()
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [Dataset()], frames
    stored_as(save(dataset, tmp_path / "a.dcm"), how)
    # Chenevert et al. 2014, equation 1
    expected = [(100 * 4.0 - 8.0) / (4.0 * 0.5 * (k + 1)) for k in range(3)]
    np.testing.assert_allclose(read_volume(tmp_path).data[:, 0, 0], expected)


def implicit_items(items: list[Dataset]) -> bytes:
    """A sequence's content as an archive keeps it that makes everything it does not know UN (PS3.5, 6.2.2)."""
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    content = b""
    for item in items:
        file = DicomBytesIO()
        file.is_little_endian, file.is_implicit_VR = True, True
        write_dataset(file, item)
        body = file.getvalue()
        content += struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body
    return content


def csa(**numbers: list[float]) -> bytes:
    """A CSA header of the second kind with these elements, as nibabel describes the format."""
    out = b"SV10\4\3\2\1" + struct.pack("<II", len(numbers), 77)
    for name, values in numbers.items():
        out += struct.pack("<64si4siii", name.encode(), len(values), b"FD\0\0", 3, len(values), 77)
        for value in values:
            text = f"{value}".encode() + b"\0"
            out += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + bytes(-len(text) % 4)
    return out


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("how", ["explicit", "implicit", "unknown", "deflated"])
def test_siemens_mosaic_by_its_creators_block(how: str, block: int, tmp_path: Path) -> None:
    tiles = np.kron(np.array([[100, 101], [102, 103]]), np.ones((6, 8))).astype(np.uint16)
    dataset = slice_of((-14.0, -17.0, 30.0), size=(12, 16), pixels=tiles, modality="MR", Manufacturer="SIEMENS")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    dataset.RescaleIntercept, dataset.SpacingBetweenSlices = 0, 2.5
    content = csa(NumberOfImagesInMosaic=[4], SliceNormalVector=[0.0, 0.0, -1.0])
    if block > 0x10:
        add_private(dataset, 0x0029, "SIEMENS MEDCOM HEADER", 0x10, 0x10, "OB", b"not a CSA header")
    add_private(dataset, 0x0029, "SIEMENS CSA HEADER", block, 0x10, "UN" if how == "unknown" else "OB", content)
    stored_as(save(dataset, tmp_path / "a.dcm"), how)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.data[:, 0, 0], [103, 102, 101, 100])  # the stack descends
    assert volume.affine[0, 3] == 30.0 - 3 * 2.5


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("how", ["explicit", "implicit", "unknown"])
def test_united_imaging_grid_by_its_creators_block(how: str, block: int, tmp_path: Path) -> None:
    tiles = np.kron(np.array([[100, 101], [102, 103]]), np.ones((6, 8))).astype(np.uint16)
    dataset = slice_of((0.0, 0.0, 0.0), size=(12, 16), pixels=tiles, modality="MR", Manufacturer="UIH")
    dataset.RescaleIntercept = 0
    items = []
    for k in range(4):
        item = Dataset()
        item.ImagePositionPatient = [0.0, 0.0, 3.0 * k]
        items.append(item)
    unknown = how == "unknown"
    creator = "Image Private Header"
    add_private(dataset, 0x0065, creator, block, 0x50, "UN" if unknown else "DS", b"4 " if unknown else "4")
    slices = implicit_items(items) if unknown else items
    add_private(dataset, 0x0065, creator, block, 0x51, "UN" if unknown else "SQ", slices)
    stored_as(save(dataset, tmp_path / "a.dcm"), how)
    np.testing.assert_array_equal(read_volume(tmp_path).data[:, 0, 0], [100, 101, 102, 103])


def test_a_grid_of_another_creator_is_no_grid(tmp_path: Path) -> None:
    dataset = slice_of((0.0, 0.0, 0.0), size=(12, 16), pixels=np.ones((12, 16)), modality="MR", Manufacturer="UIH")
    add_private(dataset, 0x0065, "Somebody Else", 0x10, 0x50, "DS", "4")
    save(dataset, tmp_path / "a.dcm")
    assert read_volume(tmp_path).shape == (1, 12, 16)


def test_a_mosaic_whose_creator_was_taken_out_is_refused(tmp_path: Path) -> None:
    dataset = slice_of((0.0, 0.0, 0.0), size=(12, 16), pixels=np.ones((12, 16)), modality="MR", Manufacturer="SIEMENS")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    dataset.add_new(0x00291010, "OB", csa(NumberOfImagesInMosaic=[4], SliceNormalVector=[0.0, 0.0, 1.0]))
    save(dataset, tmp_path / "a.dcm")
    with pytest.raises(ReadError, match="mosaic"):
        read_volume(tmp_path)


CASES: list[tuple[PrivateTag, object, bytes]] = [
    (PHILIPS_SCALE_SLOPE, 0.5, struct.pack("<f", 0.5)),
    (SIEMENS_B_VALUE, 1000, b"1000"),
    (GE_B_VALUE, [1000, 8, 0, 0], b"1000\\8\\0\\0"),
    (UIH_GRADIENT, [0.5, 0.25, 1.0], struct.pack("<3d", 0.5, 0.25, 1.0)),
]


@pytest.mark.parametrize(("tag", "value", "content"), CASES, ids=lambda item: getattr(item, "creator", ""))
@pytest.mark.parametrize("how", ["explicit", "implicit", "unknown", "deflated"])
def test_what_a_header_says_of_a_private_element(
    how: str, tag: PrivateTag, value: object, content: bytes, tmp_path: Path
) -> None:
    dataset = slice_of((0.0, 0.0, 0.0), modality="MR")
    unknown = how == "unknown"
    add_private(
        dataset, tag.group, tag.creator, 0x42, tag.element, "UN" if unknown else tag.vr, content if unknown else value
    )
    path = save(dataset, tmp_path / "a.dcm")
    stored_as(path, how)
    found = read_header(path).private(tag)
    items = found if isinstance(found, (list, pydicom.multival.MultiValue)) else [found]
    np.testing.assert_array_equal(np.array(items, dtype=float), np.atleast_1d(np.array(value, dtype=float)))


def test_two_blocks_of_one_creator(tmp_path: Path) -> None:
    dataset = slice_of((0.0, 0.0, 0.0), modality="MR")
    dataset.add_new((0x2005, 0x10), "LO", PHILIPS)
    add_private(dataset, 0x2005, PHILIPS, 0x13, 0x0E, "FL", 0.5)
    assert read_header(save(dataset, tmp_path / "a.dcm")).private(PHILIPS_SCALE_SLOPE) == 0.5
