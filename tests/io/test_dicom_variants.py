"""Ways of storing a volume that differ from maker to maker: made here, with voxels that say where they lie."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_files import AXIAL, CORONAL, check_world_code, save, series_of, slice_of, world_code
from dicom_oracle import assert_covered, images_in
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_sequence, read_volume, scan

FIRST, STEP = (-10.0, 20.0, 30.0), 2.5


def kinds(path: Path, series: int = 0) -> list[str]:
    return [fault.kind.value for fault in scan(path)[series].faults]


def code_at(position: tuple[float, ...], orientation: tuple[float, ...] = AXIAL) -> np.ndarray:
    """(6, 8) stored values of a slice: its world code, from 1000."""
    j, i = np.meshgrid(np.arange(6), np.arange(8), indexing="ij")
    lps = np.array(position) + i[..., None] * np.array(orientation[:3]) + j[..., None] * 2.0 * np.array(orientation[3:])
    return (world_code(lps) + 1000).astype(np.uint16)


def multi_frame(frames: np.ndarray, **tags: Any) -> Dataset:
    """One file of several frames (n, rows, columns); the position is the first one's."""
    dataset = slice_of(FIRST, pixels=frames[0], size=frames.shape[1:], **tags)
    dataset.NumberOfFrames, dataset.PixelData = len(frames), np.ascontiguousarray(frames).tobytes()
    return dataset


def enhanced(frames: Iterator[dict[str, Any]] | list[dict[str, Any]]) -> Dataset:
    """An enhanced MR; each frame has ``position`` and may have ``orientation``, ``order``, ``slope``, ``pixels``."""
    frames = list(frames)
    stored = []
    groups = []
    for frame in frames:
        orientation, slope = frame.get("orientation", AXIAL), frame.get("slope", 1.0)
        pixels = frame.get("pixels")
        stored.append(code_at(frame["position"], orientation) / slope if pixels is None else pixels)
        group = Dataset()
        for sequence, values in (
            ("PlanePositionSequence", {"ImagePositionPatient": list(frame["position"])}),
            ("PlaneOrientationSequence", {"ImageOrientationPatient": list(orientation)}),
            ("PixelMeasuresSequence", {"PixelSpacing": [2.0, 1.0], "SliceThickness": STEP}),
            ("PixelValueTransformationSequence", {"RescaleSlope": slope, "RescaleIntercept": -1000.0}),
            ("FrameContentSequence", {"DimensionIndexValues": list(frame.get("order", (1, 1)))}),
        ):
            item = Dataset()
            for keyword, value in values.items():
                setattr(item, keyword, value)
            setattr(group, sequence, [item])
        groups.append(group)
    dataset = multi_frame(np.array(stored, np.uint16), modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(dataset, keyword)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [Dataset()], groups
    return dataset


def along(k: float) -> tuple[float, float, float]:
    return (FIRST[0], FIRST[1], FIRST[2] + STEP * k)


def test_enhanced_with_a_rescale_for_each_frame_and_slices_downwards(tmp_path: Path) -> None:
    slopes = (1.0, 0.5, 0.25, 0.5)
    save(enhanced({"position": along(-k), "slope": slope} for k, slope in enumerate(slopes)), tmp_path / "a.dcm")
    check_world_code(read_volume(tmp_path))


def test_enhanced_with_two_stacks_of_different_orientation(tmp_path: Path) -> None:
    frames = [{"position": along(k), "order": (1, k + 1)} for k in range(4)]
    frames += [
        {"position": (-10.0, 20.0 + 2 * k, 130.0), "orientation": CORONAL, "order": (2, k + 1)} for k in range(3)
    ]
    save(enhanced(frames), tmp_path / "a.dcm")
    found = scan(tmp_path)
    assert [len(info.load().data[0]) for info in found] == [4, 6]
    for info in found:
        assert "mixed orientation" in [fault.kind.value for fault in info.faults]
        check_world_code(info.load().volume(0))


def test_volumes_of_an_enhanced_file_follow_the_dimension_indices(tmp_path: Path) -> None:
    frames = [
        {"position": along(k), "order": (1, k + 1, t + 1), "pixels": np.full((6, 8), 1000 + 100 * t + k)}
        for k in range(4)
        for t in (2, 0, 1)  # not in the order of the file
    ]
    save(enhanced(frames), tmp_path / "a.dcm")
    sequence = read_sequence(tmp_path)
    assert sequence.meta["frames_by"] == "dimension index"
    np.testing.assert_array_equal(sequence.data[:, :, 0, 0], [[100 * t + k for k in range(4)] for t in range(3)])


def _philips(folder: Path, value: float, *, unknown: bool = False) -> None:
    """A Philips series with a private scale slope of its own in each slice."""
    for k, path in enumerate(series_of(folder, 4, modality="MR")):
        dataset = pydicom.dcmread(path)
        dataset.Manufacturer = "Philips Medical Systems"
        dataset.RescaleSlope, dataset.RescaleIntercept = 2.5, -10.0
        dataset.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
        dataset.add_new(0x2005100E, "FL", value * (k + 1))
        if unknown:  # as an archive leaves it that does not know the element
            dataset.add_new(0x2005100E, "UN", np.float32(value * (k + 1)).tobytes())
        save(dataset, path)


@pytest.mark.parametrize("stored", ["explicit", "implicit", "unknown"])
def test_philips_scale_slope_counts_however_it_is_stored(stored: str, tmp_path: Path) -> None:
    """In implicit files nothing names the type of a private element; read as text it would be passed over."""
    _philips(tmp_path, 0.125, unknown=stored == "unknown")
    if stored == "implicit":
        for path in tmp_path.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    sequence = read_sequence(tmp_path)
    assert sequence.data.dtype == np.float32
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        scale = 0.125 * dataset.InstanceNumber
        k = round((float(dataset.ImagePositionPatient[2]) - FIRST[2]) / STEP)
        expected = (dataset.pixel_array * 2.5 - 10.0) / (2.5 * scale)
        np.testing.assert_allclose(sequence.data[0, k], expected[::-1, ::-1], rtol=1e-6)


def _united_imaging(tmp_path: Path, n: int = 5) -> Path:
    across, down = 3, 2
    for t in range(2):
        grid = np.zeros((down * 6, across * 8), np.uint16)
        items = []
        for k in range(n):
            row, column = divmod(k, across)
            grid[row * 6 : row * 6 + 6, column * 8 : column * 8 + 8] = code_at(along(k)) + t
            item = Dataset()
            item.ImagePositionPatient = list(along(k))
            items.append(item)
        dataset = slice_of(FIRST, size=grid.shape, pixels=grid, modality="MR", number=t + 1, Manufacturer="UIH")
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "EPI", "VFRAME"]
        dataset.add_new(0x00650010, "LO", "Image Private Header")
        dataset.add_new(0x00651050, "DS", "5")
        dataset.add_new(0x00651051, "SQ", items)
        save(dataset, tmp_path / f"{t}.dcm")
    return tmp_path


def test_united_imaging_grid(tmp_path: Path) -> None:
    sequence = read_sequence(_united_imaging(tmp_path))
    assert sequence.data.shape == (2, 5, 6, 8)
    check_world_code(sequence.volume(0))
    np.testing.assert_array_equal(sequence.data[1], sequence.data[0] + 1)


def test_united_imaging_grid_that_lacks_positions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="5 slices has positions for 4"):
        read_volume(_united_imaging(tmp_path, n=4) / "0.dcm")


def _nuclear(step: float, **tags: Any) -> Dataset:
    dataset = multi_frame(np.array([code_at(along(k * step / STEP)) for k in range(5)]), modality="NM")
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.20"
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = list(FIRST), list(AXIAL)
    del dataset.ImagePositionPatient, dataset.ImageOrientationPatient
    dataset.DetectorInformationSequence, dataset.SliceVector = [detector], [1, 2, 3, 4, 5]
    dataset.ImageType, dataset.SpacingBetweenSlices = ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"], step
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize("step", [2.5, -2.5])
def test_reconstructed_spect(step: float, tmp_path: Path) -> None:
    """PS3.3 C.8.4.15: the sign of the spacing is the direction of stacking."""
    save(_nuclear(step), tmp_path / "a.dcm")
    volume = read_volume(tmp_path)
    assert (volume.modality, volume.unit, volume.shape) == ("NM", "a.u.", (5, 6, 8))
    check_world_code(volume)


def test_spect_slices_follow_the_slice_vector(tmp_path: Path) -> None:
    dataset = _nuclear(2.5, SliceVector=[5, 4, 3, 2, 1])
    dataset.PixelData = np.array([code_at(along(4 - k)) for k in range(5)]).tobytes()
    save(dataset, tmp_path / "a.dcm")
    check_world_code(read_volume(tmp_path))


@pytest.mark.parametrize(
    "tags", [{"SliceVector": [1, 2]}, {"SpacingBetweenSlices": None}, {"ImageType": ["ORIGINAL", "PRIMARY", "TOMO"]}]
)
def test_spect_whose_slices_cannot_be_placed_is_refused(tags: dict[str, Any], tmp_path: Path) -> None:
    save(_nuclear(2.5, **tags), tmp_path / "a.dcm")
    with pytest.raises(ReadError, match="missing position"):
        read_volume(tmp_path)


def _dose_file(name: str) -> Path:
    from pydicom.data import get_testdata_file

    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom has no {name}")
    return Path(path)


@pytest.mark.parametrize("name", ["rtdose.dcm", "rtdose_expb.dcm", "rtdose_1frame.dcm"])
def test_dose_grid(name: str) -> None:
    path = _dose_file(name)
    volume, stored = read_volume(path), pydicom.dcmread(path)
    assert (volume.unit, volume.modality) == ("a.u.", "RTDOSE")  # these are relative to the prescribed dose
    assert stored.DoseUnits == "RELATIVE"
    pixels = stored.pixel_array.reshape(-1, stored.Rows, stored.Columns)
    expected = pixels * float(stored.DoseGridScaling)
    # axial, slices upwards: (z, y, x) of LPS, turned to anterior and right
    np.testing.assert_allclose(volume.data, expected[:, ::-1, ::-1], rtol=1e-6)
    x, y, z = (float(value) for value in stored.ImagePositionPatient)
    np.testing.assert_allclose(
        np.linalg.inv(volume.affine) @ [z, -y, -x, 1], [0, stored.Rows - 1, stored.Columns - 1, 1]
    )
    if len(pixels) > 1:
        assert volume.spacing_mm[0] == pytest.approx(float(stored.GridFrameOffsetVector[1]))


@pytest.mark.parametrize(
    ("offsets", "readable"),
    [
        ([0.0, 2.5, 5.0, 7.5], True),
        ([30.0, 32.5, 35.0, 37.5], True),  # z itself
        ([31.0, 33.5, 36.0, 38.5], False),  # neither from 0 nor from the position
    ],
)
def test_dose_offsets(offsets: list[float], readable: bool, tmp_path: Path) -> None:
    dataset = multi_frame(np.array([code_at(along(k)) - 1000 for k in range(4)]), Modality="RTDOSE")
    dataset.GridFrameOffsetVector, dataset.DoseGridScaling, dataset.DoseUnits = offsets, 1.0, "GY"
    del dataset.RescaleSlope, dataset.RescaleIntercept
    save(dataset, tmp_path / "a.dcm")
    if readable:
        volume = read_volume(tmp_path)
        assert volume.unit == "Gy"
        check_world_code(volume)
    else:
        with pytest.raises(ReadError, match="missing position"):
            read_volume(tmp_path)


def test_secondary_captures_that_say_where_they_lie(tmp_path: Path) -> None:
    series_of(tmp_path, SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    (info,) = scan(tmp_path)
    assert (info.status, info.unit) == ("note", "a.u.")
    assert {"not a volume", "not calibrated"} == set(kinds(tmp_path))
    check_world_code(read_volume(tmp_path))


@pytest.mark.parametrize("tags", [{"ImagePositionPatient": None}, {"PixelSpacing": None}, {"step": (0.0, 0.0, 0.0)}])
def test_screenshots_are_refused(tags: dict[str, Any], tmp_path: Path) -> None:
    series_of(tmp_path, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", **tags)
    with pytest.raises(ReadError, match="not a volume"):
        read_volume(tmp_path)


def test_a_screenshot_in_the_series_is_set_apart(tmp_path: Path) -> None:
    series_of(tmp_path / "b")
    save(slice_of((0, 0, 0), SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ImagePositionPatient=None), tmp_path / "a.dcm")
    assert sorted(info.n_files for info in scan(tmp_path)) == [1, 5]
    with pytest.raises(ReadError, match="2 series are there"):
        read_volume(tmp_path)


def test_direction_cosines_of_two_digits_leave_the_spacing(tmp_path: Path) -> None:
    series_of(tmp_path, orientation=(0.71, 0.71, 0, -0.71, 0.71, 0), step=(0, 0, 2.5), pixels=np.zeros((6, 8)))
    assert read_volume(tmp_path).spacing_mm == pytest.approx((2.5, 2.0, 1.0), abs=1e-6)


def test_rows_and_columns_that_are_not_perpendicular_are_said(tmp_path: Path) -> None:
    lean = np.radians(0.4)
    series_of(tmp_path, orientation=(1, 0, 0, np.sin(lean), np.cos(lean), 0), step=(0, 0, 2.5))
    assert kinds(tmp_path) == ["sheared"]
    assert_covered(read_sequence(tmp_path), list(images_in(tmp_path)))


@pytest.mark.parametrize("turn", [1e-4, 5e-4])
def test_orientations_that_differ_by_more_than_rounding_are_no_one_volume(turn: float, tmp_path: Path) -> None:
    def turned(k: int, own: dict[str, Any]) -> None:
        if k % 2:
            own["orientation"] = (1.0, turn, 0.0, -turn, 1.0, 0.0)

    series_of(tmp_path, change=turned, pixels=np.zeros((6, 8)))
    assert len(scan(tmp_path)) == (1 if turn < 1.5e-4 else 2)


def test_a_jitter_that_the_digits_show_is_refused(tmp_path: Path) -> None:
    def jitter(k: int, own: dict[str, Any]) -> None:
        own["position"] = (-10.0, 20.0, round(30 + 2.5 * k + (0.05 if k % 2 else -0.05), 3))

    series_of(tmp_path, change=jitter)
    with pytest.raises(ReadError, match=r"unevenly spaced: 2\.4 to 2\.6 mm.*off an even grid"):
        read_volume(tmp_path)


def test_modality_table(tmp_path: Path) -> None:
    for path in series_of(tmp_path, pixels=np.arange(48).reshape(6, 8), RescaleSlope=None, RescaleIntercept=None):
        dataset = pydicom.dcmread(path)
        table = Dataset()
        table.add_new("LUTDescriptor", "US", [64, 0, 16])
        table.ModalityLUTType = "HU"
        table.add_new("LUTData", "OW", (np.arange(64) ** 2).astype("<u2").tobytes())
        dataset.ModalityLUTSequence = [table]
        save(dataset, path)
    np.testing.assert_array_equal(read_volume(tmp_path).data[0, ::-1, ::-1], np.arange(48).reshape(6, 8) ** 2)


def test_the_index_of_a_disc_is_no_series(tmp_path: Path) -> None:
    from pydicom.fileset import FileSet

    index = FileSet()
    for path in series_of(tmp_path / "in"):
        dataset = pydicom.dcmread(path)
        dataset.PatientID, dataset.PatientName, dataset.StudyID = "1", "A", "1"
        dataset.StudyDate, dataset.StudyTime = "20200101", "000000"
        index.add(dataset)
    index.write(tmp_path / "disc")
    (info,) = scan(tmp_path / "disc")
    assert info.n_files == 5
    check_world_code(read_volume(tmp_path / "disc"))
    with pytest.raises(ReadError, match="DICOMDIR is an index"):
        scan(tmp_path / "disc" / "DICOMDIR")


# (np.arange(48).reshape(6, 8) * 37 + 11), reversible, by OpenJPH 0.26
_HTJ2K = (
    "/0//UQApQAAAAAAIAAAABgAAAAAAAAAAAAAACAAAAAYAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQkJCQ"
    "iIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFkAAf+TwAAmefoFB3QAAADAABLAABMAUAGHdADS+QMHdADAABNAABMAJNIBAnQAyeQA"
    "IjQAwAAqYAAVYAiC/KAiMIJ2AE466aSTwEIBvrYA/9k="
)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202"])
def test_high_throughput_jpeg_2000(syntax: str, tmp_path: Path) -> None:
    for path in series_of(tmp_path, 2, intercept=0):
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = pydicom.encaps.encapsulate([base64.b64decode(_HTJ2K)])
        dataset["PixelData"].is_undefined_length = True
        save(dataset, path)
    expected = np.arange(48).reshape(6, 8) * 37 + 11
    np.testing.assert_array_equal(read_volume(tmp_path).data, np.stack([expected[::-1, ::-1]] * 2))


def test_video_is_refused(tmp_path: Path) -> None:
    dataset = slice_of(FIRST)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    dataset.PixelData = pydicom.encaps.encapsulate([b"\x00\x00\x01\xb3" + bytes(60)])
    dataset["PixelData"].is_undefined_length = True
    save(dataset, tmp_path / "a.dcm")
    with pytest.raises(ReadError, match=r"unsupported codec.*1\.2\.840\.10008\.1\.2\.4\.102"):
        read_volume(tmp_path)
