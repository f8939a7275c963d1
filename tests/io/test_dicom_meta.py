"""What is kept of a header: the same of enhanced images as of classic ones; and big-endian segmentations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from dicom_files import save, series_of, slice_of
from napari_sparse3d.io import read_volume, scan
from napari_sparse3d.io.dicom.segmentation import write_segmentation
from napari_sparse3d.volume import Volume

GROUPS: dict[str, dict[str, Any]] = {
    "MRTimingAndRelatedParametersSequence": {"RepetitionTime": 2000.0, "FlipAngle": 12.0},
    "MREchoSequence": {"EffectiveEchoTime": 4.5},
    "MRModifierSequence": {"InversionTimes": [900.0]},
    "CTXRayDetailsSequence": {"KVP": 120},
    "FrameVOILUTSequence": {"WindowCenter": 40, "WindowWidth": 400},
}
EXPECTED = {
    "SliceThickness": 2.0, "RepetitionTime": 2000.0, "FlipAngle": 12.0, "EchoTime": 4.5, "InversionTime": 900.0,
    "KVP": 120.0, "WindowCenter": 40.0, "WindowWidth": 400.0, "MagneticFieldStrength": 3.0, "Manufacturer": "Siemens",
}  # fmt: skip


def of(values: dict[str, Any]) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


@pytest.mark.parametrize("place", ["shared", "frame"])
def test_enhanced_meta(place: str, tmp_path: Path) -> None:
    dataset = slice_of((0, 0, 0), modality="MR", pixels=np.ones((6, 8)), Manufacturer="SIEMENS")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, keyword)
    dataset.MagneticFieldStrength = 3
    dataset.NumberOfFrames, dataset.PixelData = 2, np.ones((2, 6, 8), np.uint16).tobytes()
    frames = []
    for k in range(2):
        group = Dataset()
        group.PlanePositionSequence = [of({"ImagePositionPatient": [0, 0, 2.0 * k]})]
        group.PlaneOrientationSequence = [of({"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]})]
        group.PixelMeasuresSequence = [of({"PixelSpacing": [1, 1], "SliceThickness": 2.0})]
        frames.append(group)
    shared = Dataset()
    for group in [shared] if place == "shared" else frames:
        for sequence, values in GROUPS.items():
            setattr(group, sequence, [of(values)])
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], frames
    save(dataset, tmp_path / "a.dcm")
    meta = read_volume(tmp_path).meta
    assert {keyword: meta.get(keyword) for keyword in EXPECTED} == EXPECTED


def big_endian(source: Path, target: Path) -> None:
    """The same object in the other byte order, words of the pixels included."""
    dataset = pydicom.dcmread(source)
    pixels = dataset["PixelData"]
    if pixels.VR == "OW":
        pixels.value = np.frombuffer(pixels.value, np.uint16).byteswap().tobytes()
    for element in dataset.iterall():
        element.value  # noqa: B018 - converted from the old byte order
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    pydicom.dcmwrite(target, dataset, implicit_vr=False, little_endian=False, force_encoding=True)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP 8", "LABELMAP 16", "BINARY OW"])
def test_big_endian_segmentations_are_read(kind: str, tmp_path: Path) -> None:
    empty = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
             "StudyID", "ReferringPhysicianName", "PositionReferenceIndicator")  # fmt: skip
    series_of(tmp_path / "in", 4, **dict.fromkeys(empty, ""))
    (source,) = scan(tmp_path / "in")
    volume = read_volume(tmp_path / "in")
    labels = np.zeros(volume.shape, np.uint8)
    labels[1, 2:4, 3:7], labels[2:, 1, 1] = 1, 2
    little, big = tmp_path / "little", tmp_path / "big"
    little.mkdir(), big.mkdir()
    write_segmentation(Volume(labels, volume.affine), source, little / "a.dcm")
    dataset = pydicom.dcmread(little / "a.dcm")
    if kind == "BINARY OW":
        dataset["PixelData"].VR = "OW"
        dataset.save_as(little / "a.dcm")
    elif kind != "BINARY":
        seg = highdicom.seg.segread(little / "a.dcm")
        whole = seg.get_volume(combine_segments=True)
        made = highdicom.seg.Segmentation(
            source_images=[pydicom.dcmread(path) for path in sorted((tmp_path / "in").iterdir())],
            pixel_array=highdicom.Volume(
                whole.array.astype(np.uint8 if kind.endswith("8") else np.uint16),
                whole.affine,
                "PATIENT",
                frame_of_reference_uid=whole.frame_of_reference_uid,
            ),
            segmentation_type="LABELMAP",
            segment_descriptions=list(seg.SegmentSequence),
            series_instance_uid=highdicom.UID(),
            series_number=9,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="Acme",
            manufacturer_model_name="a",
            software_versions="1",
            device_serial_number="0",
        )
        made.save_as(little / "a.dcm")
    big_endian(little / "a.dcm", big / "a.dcm")
    found = read_volume(big)
    np.testing.assert_array_equal(found.data, read_volume(little).data)
    np.testing.assert_array_equal(found.affine, read_volume(little).affine)
    assert found.data.max() == 2
