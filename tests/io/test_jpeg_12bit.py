"""Frames in 12-bit JPEG: wherever the offset tables say that they begin (PS3.5, A.4; PS3.3, C.7.6.3.1.8)."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import JPEGExtended12Bit

from dicom_files import save, slice_of, world_code
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_volume, scan

_FIRST = (
    "/9j/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQH/wQAL"
    "EAAGAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAADv/EAB8QAAADCQAAAAAAAAAAAAAAAAABAwUGByEjQUJhYv/aAAgBAQAAPwBL"
    "/O1ClmU5o2xPXI//2QA="
)
_SECOND = (
    "/9j/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQH/wQAL"
    "EAAGAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAADv/EAB8QAAADCQAAAAAAAAAAAAAAAAABAwUGByEjQUJhYv/aAAgBAQAAPwBN"
    "jO1ClmU5o2xPXI//2QA="
)
"""Two slices, 5 mm apart, of stored numbers that tell where they lie (to 8: the compression is lossy), by GDCM."""
FRAMES = [base64.b64decode(_FIRST), base64.b64decode(_SECOND)]


def enhanced(content: bytes, **tags: object) -> Dataset:
    dataset = slice_of((0, 0, 0), pixels=np.zeros((6, 8)), SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(dataset, keyword)
    dataset.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    dataset.BitsStored, dataset.HighBit, dataset.NumberOfFrames = 12, 11, 2
    groups = []
    for k in range(2):
        group = Dataset()
        for sequence, values in {
            "PlanePositionSequence": {"ImagePositionPatient": [-10.0, 20.0, 30.0 + 5.0 * k]},
            "PlaneOrientationSequence": {"ImageOrientationPatient": [1.0, 0, 0, 0, 1, 0]},
            "PixelMeasuresSequence": {"PixelSpacing": [2.0, 1.0], "SliceThickness": 5.0},
            "PixelValueTransformationSequence": {"RescaleSlope": 1, "RescaleIntercept": -1000, "RescaleType": "HU"},
        }.items():
            item = Dataset()
            for keyword, value in values.items():
                setattr(item, keyword, value)
            setattr(group, sequence, [item])
        groups.append(group)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [Dataset()], groups
    dataset.PixelData = content
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def check(folder: Path) -> None:
    (info,) = scan(folder)
    assert info.readable, info.reason
    volume = read_volume(folder)
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    sar = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    code = world_code(np.stack([-sar[..., 2], -sar[..., 1], sar[..., 0]], axis=-1))
    assert np.abs(volume.data - code).max() <= 8.5


@pytest.mark.parametrize("fragments", [1, 3])
@pytest.mark.parametrize("table", [True, False])
def test_basic_offset_table_or_none(table: bool, fragments: int, tmp_path: Path) -> None:
    content = encapsulate(FRAMES, fragments_per_frame=fragments, has_bot=table)
    save(enhanced(content), tmp_path / "a.dcm")
    check(tmp_path)


def test_extended_offset_table(tmp_path: Path) -> None:
    content, offsets, lengths = encapsulate_extended(FRAMES)
    save(enhanced(content, ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths), tmp_path / "a.dcm")
    check(tmp_path)


def test_a_table_of_another_number_of_frames_says_nothing(tmp_path: Path) -> None:
    content = encapsulate(FRAMES, has_bot=False)
    save(enhanced(content[:4] + struct.pack("<II", 4, 0) + content[8:]), tmp_path / "a.dcm")
    check(tmp_path)


def test_a_frame_that_is_not_there_is_said(tmp_path: Path) -> None:
    save(enhanced(encapsulate(FRAMES[:1], has_bot=False)), tmp_path / "a.dcm")
    with pytest.raises(ReadError, match=r"truncated|damaged"):
        read_volume(tmp_path)


def test_more_bits_than_its_codec_has_are_foretold(tmp_path: Path) -> None:
    save(enhanced(encapsulate(FRAMES), BitsStored=16, HighBit=15), tmp_path / "a.dcm")
    (info,) = scan(tmp_path)
    assert "unsupported codec" in info.reason
    assert "damaged" not in info.reason
