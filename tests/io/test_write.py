"""Written and read back: equal, geometry and unit included; whole or not at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_files import AXIAL, CORONAL, series_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.io import (
    VolumeSequence,
    read_sequence,
    read_volume,
    scan,
    write_segmentation,
    write_volume,
)
from napari_sparse3d.io.phantom import NODULES_MM, chest_phantom, nodule_labels, nodules_phantom
from napari_sparse3d.volume import Volume

OBLIQUE = np.array([[2.9, 0.2, 0.1, -30.0], [-0.3, 1.9, 0.05, 44.5], [0.1, -0.2, 0.8, 7.25], [0, 0, 0, 1]])
TYPES = [
    np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64, bool,
]  # fmt: skip


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("dtype", TYPES)
def test_volume_comes_back(ending: str, dtype: type, tmp_path: Path) -> None:
    data = (np.arange(60).reshape(3, 4, 5) % 2 if dtype is bool else np.arange(60).reshape(3, 4, 5)).astype(dtype)
    volume = Volume(data, OBLIQUE, "HU", "CT", "x", {})
    write_volume(volume, tmp_path / f"a{ending}")
    back = read_volume(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(back.data, data)
    assert back.data.dtype == (np.uint8 if dtype is bool else dtype)
    np.testing.assert_allclose(back.affine, OBLIQUE, atol=1e-5)
    assert (back.unit, back.modality) == ("HU", "CT")


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_sequence_comes_back(ending: str, tmp_path: Path) -> None:
    data = np.arange(5 * 24, dtype=np.int16).reshape(5, 2, 3, 4)
    write_volume(VolumeSequence(data, OBLIQUE, "a.u.", "MR", "x", {}), tmp_path / f"a{ending}")
    back = read_sequence(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(back.data, data)
    np.testing.assert_allclose(back.affine, OBLIQUE, atol=1e-5)
    assert back.modality == "MR"


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_other_programs_see_the_same_geometry(ending: str, tmp_path: Path) -> None:
    """ITK, through its own NIfTI and NRRD readers, in LPS."""
    import SimpleITK as sitk

    data = np.zeros((3, 4, 5), np.int16)
    data[2, 1, 3] = 9
    rotation = np.diag([3.0, 2.0, 1.5, 1.0])
    rotation[:3, 3] = 10, 20, 30
    write_volume(Volume(data, rotation), tmp_path / f"a{ending}")
    image = sitk.ReadImage(str(tmp_path / f"a{ending}"))
    assert image.GetPixel(3, 1, 2) == 9
    x, y, z = image.TransformIndexToPhysicalPoint((3, 1, 2))
    s, a, r = (rotation @ [2, 1, 3, 1])[:3]
    np.testing.assert_allclose((-x, -y, z), (r, a, s), atol=1e-5)


def time_fields(path: Path) -> tuple[float, int, float]:
    """pixdim[4], the bits of the unit of time, and toffset, from the bytes (nifti1.h)."""
    import gzip
    import struct

    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    assert struct.unpack("<i", raw[:4]) == (348,)
    return struct.unpack("<f", raw[92:96])[0], raw[123] & 0x38, struct.unpack("<f", raw[136:140])[0]


@pytest.mark.parametrize(
    ("times", "step"),
    [((0.0, 2.5, 5.0), 2.5), ((3.0, 3.71, 4.42), 0.71), (None, None), ((0.0, 1.0, 5.0), None), ((0.0, 0.0, 0.0), None)],
)
def test_the_times_of_a_sequence(times: tuple[float, ...] | None, step: float | None, tmp_path: Path) -> None:
    data = np.arange(3 * 24, dtype=np.int16).reshape(3, 2, 3, 4)
    sequence = VolumeSequence(data, OBLIQUE, "a.u.", "MR", "x", {}, times)
    for name in ("a.nii", "a.nii.gz"):
        write_volume(sequence, tmp_path / name)
        written, unit, first = time_fields(tmp_path / name)
        back = read_sequence(tmp_path / name)
        if step is None:
            assert (written, unit) == (0.0, 0), "nothing is claimed of what is not known"
            assert back.times_s is None
        else:
            assert times is not None
            assert (written, unit, first) == (pytest.approx(step), 8, pytest.approx(times[0]))
            assert back.step_s == pytest.approx(step)
            assert back.times_s == pytest.approx(times)
    write_volume(sequence, tmp_path / "a.nrrd")
    back = read_sequence(tmp_path / "a.nrrd")
    np.testing.assert_array_equal(back.data, data)
    # NRRD names each time, so that uneven ones come back too, as long as they are in order
    assert back.times_s == (times if times is not None and times[-1] > 0 else None)


def test_the_sequence_in_nrrd_is_what_others_read(tmp_path: Path) -> None:
    import SimpleITK as sitk

    nrrd = pytest.importorskip("nrrd")
    data = np.arange(3 * 24, dtype=np.int16).reshape(3, 2, 3, 4)
    write_volume(VolumeSequence(data, OBLIQUE, "a.u.", "MR", "x", {}, (0.0, 2.5, 5.0)), tmp_path / "a.nrrd")
    stored, header = nrrd.read(str(tmp_path / "a.nrrd"))
    np.testing.assert_array_equal(stored, data.transpose(0, 3, 2, 1))
    assert header["kinds"] == ["list", "domain", "domain", "domain"]
    assert header["units"][0] == "s"
    assert header["spacings"][0] == 2.5
    image = sitk.ReadImage(str(tmp_path / "a.nrrd"))
    assert image.GetNumberOfComponentsPerPixel() == 3
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), np.moveaxis(data, 0, -1))


def test_a_single_volume_claims_no_time(tmp_path: Path) -> None:
    write_volume(Volume(np.ones((2, 3, 4), np.int16), OBLIQUE), tmp_path / "a.nii")
    assert time_fields(tmp_path / "a.nii")[1] == 0
    one = VolumeSequence(np.ones((1, 2, 3, 4), np.int16), OBLIQUE, times_s=(4.0,))
    write_volume(one, tmp_path / "b.nii")
    assert read_sequence(tmp_path / "b.nii").times_s is None


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize("unit", ["a.u.", "label"])
def test_labels_stay_labels(ending: str, unit: str, tmp_path: Path) -> None:
    """NIfTI-1 intent_code 1002 (NIFTI_INTENT_LABEL); NRRD has no field for it."""
    meta = {} if unit == "label" else {"labels": True}
    labels = Volume(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), OBLIQUE, unit, "", "x", meta)
    write_volume(labels, tmp_path / f"scan{ending}")
    back = read_volume(tmp_path / f"scan{ending}")
    assert back.meta["labels"]
    assert back.unit == unit
    write_volume(Volume(labels.data, OBLIQUE), tmp_path / f"other{ending}")
    assert "labels" not in read_volume(tmp_path / f"other{ending}").meta
    if ending == ".nii":
        raw = (tmp_path / "scan.nii").read_bytes()
        assert int.from_bytes(raw[68:70], "little") == 1002


def test_dicom_to_nifti_and_back(tmp_path: Path) -> None:
    series_of(tmp_path / "in", orientation=CORONAL)
    volume = read_volume(tmp_path / "in")
    write_volume(volume, tmp_path / "a.nii.gz")
    back = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-5)
    assert back.unit == "HU"


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL])
def test_segmentation_refers_to_its_source_and_comes_back(orientation: tuple[float, ...], tmp_path: Path) -> None:
    import pydicom

    series_of(tmp_path / "in", 6, orientation=orientation, size=(10, 12))
    (info,) = scan(tmp_path / "in")
    volume = read_volume(info)
    labels = np.zeros(volume.shape, np.uint8)
    labels[1:3, 2:5, 1:4] = 1
    labels[2:5, 5:6, 4:6] = 7
    write_segmentation(dataclasses.replace(volume, data=labels), info, tmp_path / "seg.dcm", names={7: "vessel"})
    back = read_volume(tmp_path / "seg.dcm")
    np.testing.assert_array_equal(back.data, labels)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-6)
    assert back.unit == "label"
    stored = pydicom.dcmread(tmp_path / "seg.dcm")
    assert [str(item.SegmentLabel) for item in stored.SegmentSequence] == ["label 1", "vessel"]
    sources = {
        str(item.ReferencedSOPInstanceUID) for item in stored.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    }
    originals = {str(pydicom.dcmread(path).SOPInstanceUID) for path in (tmp_path / "in").iterdir()}
    assert sources <= originals
    assert sources
    # beside its source the segmentation does not hide it
    (tmp_path / "seg.dcm").rename(tmp_path / "in" / "seg.dcm")
    np.testing.assert_array_equal(read_volume(tmp_path / "in").data, volume.data)


def test_segmentation_of_labels_in_floating_point(tmp_path: Path) -> None:
    series_of(tmp_path / "in")
    (info,) = scan(tmp_path / "in")
    volume = read_volume(info)
    labels = np.zeros(volume.shape)
    labels[0, 0, 0], labels[-1, -1, -1] = 1.9999, 3.0001
    write_segmentation(dataclasses.replace(volume, data=labels), info, tmp_path / "seg.dcm")
    again = read_volume(tmp_path / "seg.dcm").data
    assert {place: int(again[place]) for place in zip(*np.nonzero(again), strict=True)} == {
        (0, 0, 0): 2,
        tuple(n - 1 for n in volume.shape): 3,
    }


def test_segmentation_on_another_grid_is_refused(tmp_path: Path) -> None:
    series_of(tmp_path / "in")
    (info,) = scan(tmp_path / "in")
    volume = read_volume(info)
    moved = dataclasses.replace(
        volume, data=np.ones(volume.shape, np.uint8), affine=volume.affine + np.eye(4)[:, [3, 0, 1, 2]]
    )
    for wrong, message in (
        (moved, "must lie on the grid of their source"),
        (dataclasses.replace(volume, data=np.ones((2, 3, 4), np.uint8)), "must lie on the grid of their source"),
        (dataclasses.replace(volume, data=volume.data * 0.5), "labels must be integers"),
        (dataclasses.replace(volume, data=np.zeros(volume.shape, np.uint8)), "at least one positive label"),
    ):
        with pytest.raises(InputError, match=message):
            write_segmentation(wrong, info, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nibabel

    target = tmp_path / "a.nii.gz"
    write_volume(chest_phantom(), target)
    before = target.read_bytes()

    def broken(image: object, file_map: Any) -> None:
        file_map["image"].fileobj.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nibabel.Nifti1Image, "to_file_map", broken)
    with pytest.raises(OSError, match="No space left"):
        write_volume(nodules_phantom(), target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_unknown_endings_and_types(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.nii\.gz, \.nii or \.nrrd"):
        write_volume(chest_phantom(), tmp_path / "a.png")
    with pytest.raises(InputError, match="real numbers, one a voxel, got complex64"):
        write_volume(Volume(np.ones((2, 2, 2), np.complex64), np.eye(4)), tmp_path / "a.nii")


def test_phantom_says_what_it_is() -> None:
    phantom, labels = chest_phantom(), nodule_labels()
    assert phantom.unit == "HU"
    assert "synthetic" in phantom.meta
    assert labels.max() == len(NODULES_MM) == 5
    assert all((labels == k).any() for k in range(1, 6))
    assert np.unique(phantom.data[labels > 0]).tolist() == [35]
    around = phantom.data[28:52, 30:98, 100:140]
    assert np.median(around) == -850, "nodules lie in lung"
