"""DICOM series whose voxels say where they lie: read right, or refused with the right fault."""

from __future__ import annotations

import itertools
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from dicom_files import AXIAL, CORONAL, SAGITTAL, check_world_code, save, series_of, slice_of
from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io import read_sequence, read_volume, scan


def kinds(path: Path | list[Path], series: int = 0) -> list[str]:
    return [fault.kind.value for fault in scan(path)[series].faults]


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL])
@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_plain_series(orientation: tuple[float, ...], modality: str, tmp_path: Path) -> None:
    series_of(tmp_path, orientation=orientation, modality=modality)
    (info,) = scan(tmp_path)
    assert info.status == ("clean" if modality == "MR" else info.status)
    volume = read_volume(tmp_path)
    check_world_code(volume)
    assert volume.shape == info.shape
    assert volume.spacing_mm == pytest.approx(info.spacing_mm)
    assert (volume.unit, volume.modality) == (("HU", "CT") if modality == "CT" else ("a.u.", "MR"))
    assert volume.data.flags.c_contiguous


UNIT = np.eye(3)
ROTATIONS = [
    (tuple(float(v) for v in a * UNIT[i]) + tuple(float(v) for v in b * UNIT[j]))
    for i, j in itertools.permutations(range(3), 2)
    for a, b in itertools.product((1, -1), repeat=2)
]


@pytest.mark.parametrize("orientation", ROTATIONS, ids=str)
def test_all_24_orientations(orientation: tuple[float, ...], tmp_path: Path) -> None:
    series_of(tmp_path, orientation=orientation)
    volume = read_volume(tmp_path)
    check_world_code(volume)
    assert (np.diag(volume.affine)[:3] > 0).all()
    assert volume.affine[:3, :3] == pytest.approx(np.diag(np.diag(volume.affine)[:3]), abs=1e-9)


def test_oblique(tmp_path: Path) -> None:
    a, b = np.radians(17), np.radians(-11)
    row = (np.cos(a), np.sin(a), 0.0)
    column = (-np.sin(a) * np.cos(b), np.cos(a) * np.cos(b), np.sin(b))
    normal = np.cross(row, column)
    paths = series_of(tmp_path, orientation=(*row, *column), step=tuple(3 * normal))
    (info,) = scan(tmp_path)
    assert "oblique" in info.orientation
    assert not info.faults
    volume = read_volume(tmp_path)
    for path in paths:
        stored = pydicom.dcmread(path)
        for i, j in ((0, 0), (7, 0), (0, 5), (3, 4)):
            lps = np.array(stored.ImagePositionPatient) + i * 1.0 * np.array(row) + j * 2.0 * np.array(column)
            index = np.linalg.inv(volume.affine) @ [lps[2], -lps[1], -lps[0], 1]
            np.testing.assert_allclose(index, np.rint(index), atol=1e-4)
            assert volume.data[tuple(np.rint(index[:3]).astype(int))] == stored.pixel_array[j, i] - 1000


def test_order_comes_from_positions_alone(tmp_path: Path) -> None:
    def scramble(k: int, own: dict[str, Any]) -> None:
        own["number"] = (k * 3) % 5 + 1
        own["SliceLocation"] = float((k * 2) % 5)

    series_of(tmp_path, change=scramble)
    check_world_code(read_volume(tmp_path))


def test_rescale_per_slice(tmp_path: Path) -> None:
    def scaled(k: int, own: dict[str, Any]) -> None:
        own.update(slope=[1, 0.5, 0.25, 1, 0.5][k], intercept=-1000 - 4 * k)

    series_of(tmp_path, change=scaled)
    volume = read_volume(tmp_path)
    assert volume.data.dtype == np.float32
    check_world_code(volume)


def test_monochrome1_is_not_inverted_and_signed_pixels_are_signed(tmp_path: Path) -> None:
    series_of(tmp_path, PhotometricInterpretation="MONOCHROME1", PixelRepresentation=1, intercept=0)
    volume = read_volume(tmp_path)
    check_world_code(volume)
    assert volume.data.dtype == np.int16


def test_bits_above_the_bits_stored_do_not_count(tmp_path: Path) -> None:
    """PS3.5 8.1.1: they may hold anything."""
    series_of(tmp_path, 2, pixels=np.full((6, 8), 0xF064), BitsStored=12, HighBit=11, intercept=-1024)
    assert (read_volume(tmp_path).data == 0x064 - 1024).all()


@pytest.mark.parametrize(("value", "dtype"), [(70000, np.int32), (-40000, np.int32), (30000, np.int16)])
def test_a_value_outside_the_promised_range_widens_the_volume(value: int, dtype: type, tmp_path: Path) -> None:
    from napari_sparse3d.io.dicom.file_planes import planes_of
    from napari_sparse3d.io.dicom.header import read_header
    from napari_sparse3d.io.dicom.pixels import _place
    from napari_sparse3d.io.dicom.plane import Interner

    header = read_header(save(slice_of((0, 0, 0)), tmp_path / "a.dcm"))
    (plane,) = planes_of(header, Interner()).planes
    out = _place(np.full((6, 8), value + 1000, np.int32), plane, 0, np.zeros((1, 6, 8), np.int16))
    assert out.dtype == dtype
    assert (out == value).all()


def test_gap_is_refused_and_repaired(tmp_path: Path) -> None:
    paths = series_of(tmp_path, 6)
    paths[2].unlink()
    assert kinds(tmp_path) == ["gap"]
    with pytest.raises(ReadError, match=r"1 slice is missing: slices are 2\.5 to 5 mm"):
        read_volume(tmp_path)
    volume = read_volume(tmp_path, repair="resample")
    assert volume.shape[0] == 6
    assert "resampled by linear interpolation" in volume.meta["repairs"][0]
    # the code is linear in the position, so linear interpolation gives the missing slice exactly (to rounding)
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    sar = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    exact = -2 * sar[..., 2] - 3 * sar[..., 1] + 5 * sar[..., 0]
    assert np.abs(volume.data - exact).max() <= 1.01


def test_uneven_spacing_is_refused(tmp_path: Path) -> None:
    def uneven(k: int, own: dict[str, Any]) -> None:
        own["position"] = (-10.0, 20.0, 30.0 + [0, 2, 4, 6.6, 8][k])

    series_of(tmp_path, change=uneven)
    with pytest.raises(ReadError, match=r"unevenly spaced: 1\.4 to 2\.6 mm"):
        read_volume(tmp_path)


def test_positions_rounded_to_a_hundredth_are_even(tmp_path: Path) -> None:
    def rounded(k: int, own: dict[str, Any]) -> None:
        own["position"] = (-10.0, 20.0, round(30 + 0.625 * k, 2))

    series_of(tmp_path, 17, change=rounded)
    assert kinds(tmp_path) == []
    assert read_volume(tmp_path).spacing_mm[0] == pytest.approx(0.625, abs=0.0005)


@pytest.mark.parametrize("tag_says", [0, 20])
def test_tilt_is_seen_in_positions_not_in_the_tag(tag_says: float, tmp_path: Path) -> None:
    lean = np.tan(np.radians(20.0))
    series_of(tmp_path, 12, step=(0, -3 * lean, 3.0), GantryDetectorTilt=tag_says, size=(20, 8))
    assert kinds(tmp_path) == ["tilt"]
    with pytest.raises(ReadError, match=r"leans 20\.00 degrees"):
        read_volume(tmp_path)
    volume = read_volume(tmp_path, repair="resample")
    linear = volume.affine[:3, :3]
    assert linear == pytest.approx(np.diag(np.diag(linear)), abs=1e-9)
    inside = volume.data > -900  # not filled
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    sar = index @ linear.T + volume.affine[:3, 3]
    exact = -2 * sar[..., 2] - 3 * sar[..., 1] + 5 * sar[..., 0]
    off = np.abs(volume.data - exact)[inside]
    # a pixel at the rim of a shifted slice has one neighbour only, and takes its value
    assert np.mean(off <= 1.01) > 0.85
    assert off.max() <= 3 * 2 + 1


def test_a_tag_that_claims_a_tilt_does_not_make_one(tmp_path: Path) -> None:
    series_of(tmp_path, GantryDetectorTilt=15)
    check_world_code(read_volume(tmp_path))


def test_identical_copy_is_dropped_and_said(tmp_path: Path) -> None:
    paths = series_of(tmp_path)
    shutil.copy(paths[1], tmp_path / "copy.dcm")
    assert kinds(tmp_path) == ["duplicate identical"]
    check_world_code(read_volume(tmp_path))
    # the same image stored again under a new identifier
    other = pydicom.dcmread(paths[3])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    save(other, tmp_path / "again.dcm")
    assert kinds(tmp_path) == ["duplicate identical"]
    check_world_code(read_volume(tmp_path))


@pytest.mark.parametrize("new_identifier", [False, True])
def test_different_copy_is_refused(new_identifier: bool, tmp_path: Path) -> None:
    paths = series_of(tmp_path)
    other = pydicom.dcmread(paths[1])
    if new_identifier:
        other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    other.PixelData = bytes(len(other.PixelData))
    save(other, tmp_path / "other.dcm")
    assert "duplicate different" in kinds(tmp_path)
    for repair in (None, "resample"):
        with pytest.raises(ReadError, match="duplicate different"):
            read_volume(tmp_path, repair=repair)


def test_localizer_sharing_the_series_is_set_apart(tmp_path: Path) -> None:
    series_of(tmp_path / "a")
    save(slice_of((0, 0, 0), orientation=SAGITTAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), tmp_path / "l.dcm")
    with pytest.raises(ReadError, match=r"2 series are there \(mixed orientation\)"):
        read_volume(tmp_path)
    infos = scan(tmp_path)
    (whole,) = (info.index for info in infos if info.n_files == 5)
    check_world_code(read_volume(tmp_path, series=whole))


def test_localizer_of_its_own_is_passed_over(tmp_path: Path) -> None:
    series_of(tmp_path / "a")
    scout = slice_of((0, 0, 0), orientation=SAGITTAL, series="1.9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    save(scout, tmp_path / "l.dcm")
    assert len(scan(tmp_path)) == 2
    check_world_code(read_volume(tmp_path))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"spacing": (2.0, 1.5)}, "mixed spacing"),
        ({"size": (6, 9)}, "mixed size"),
        ({"orientation": CORONAL}, "mixed orientation"),
    ],
)
def test_mixed_series(change: dict[str, Any], fault: str, tmp_path: Path) -> None:
    series_of(tmp_path / "a")
    series_of(tmp_path / "b", start=(0.0, 0.0, 100.0), **change)
    infos = scan(tmp_path)
    assert len(infos) == 2
    for info in infos:
        assert fault in [item.kind.value for item in info.faults]
        check_world_code(info.load().volume(0))
    with pytest.raises(ReadError, match=fault):
        read_volume(tmp_path)


def test_two_series_need_a_choice(tmp_path: Path) -> None:
    series_of(tmp_path / "a")
    series_of(tmp_path / "b", series="1.2.3.5", SeriesNumber=4)
    with pytest.raises(ReadError, match=r"2 series are there.*series=N"):
        read_volume(tmp_path)
    check_world_code(read_volume(tmp_path, series=1))
    with pytest.raises(InputError, match="series must be 0 to 1, got 2"):
        read_volume(tmp_path, series=2)


@pytest.mark.parametrize("tag", ["TemporalPositionIdentifier", "AcquisitionNumber", "TriggerTime", "InstanceNumber"])
def test_series_in_time(tag: str, tmp_path: Path) -> None:
    for t in range(3):

        def at_time(k: int, own: dict[str, Any], t: int = t) -> None:
            own["number"] = 1
            own[tag] = t + 1 if tag != "InstanceNumber" else 10 - t
            own["pixels"] = np.full((6, 8), 1000 + 100 * t + k)

        series_of(tmp_path / str(t), 4, change=at_time)
    (info,) = scan(tmp_path)
    assert (info.n_frames, info.shape) == (3, (4, 6, 8))
    sequence = read_sequence(tmp_path)
    expected = [[100 * t + k for k in range(4)] for t in range(3)]
    if tag == "InstanceNumber":
        expected.reverse()
    np.testing.assert_array_equal(sequence.data[:, :, 0, 0], expected)
    np.testing.assert_array_equal(read_volume(tmp_path, frame=1).data, sequence.data[1])
    with pytest.raises(ReadError, match="choose one with frame=0 to 2"):
        read_volume(tmp_path)


def test_series_in_time_that_lacks_a_slice_is_refused(tmp_path: Path) -> None:
    for t in range(3):
        paths = series_of(tmp_path / str(t), 4, TemporalPositionIdentifier=t + 1)
    paths[2].unlink()
    with pytest.raises(ReadError, match="volumes of the series lack slices"):
        read_volume(tmp_path, frame=0)


def test_echoes_are_volumes_of_their_own(tmp_path: Path) -> None:
    for t in range(2):
        series_of(tmp_path / str(t), modality="MR", EchoTime=10.0 * (t + 1))
    infos = scan(tmp_path)
    assert len(infos) == 2
    for info in infos:
        assert "mixed content" in [fault.kind.value for fault in info.faults]
        check_world_code(info.load().volume(0))


@pytest.mark.parametrize(
    ("tags", "fault"),
    [
        ({"ImagePositionPatient": None}, "missing position"),
        ({"ImageOrientationPatient": None}, "missing position"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "missing position"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "missing position"),
        ({"PixelSpacing": None}, "missing spacing"),
        ({"PixelSpacing": [0, 0]}, "missing spacing"),
        ({"PixelSpacing": [-1, 1]}, "missing spacing"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1"}, "not a volume"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour"),
        ({"BitsAllocated": 12}, "unreadable"),
    ],
)
def test_what_cannot_be_placed_is_refused(tags: dict[str, Any], fault: str, tmp_path: Path) -> None:
    series_of(tmp_path, **tags)
    with pytest.raises(ReadError, match=fault):
        read_volume(tmp_path)
    assert fault in kinds(tmp_path)


def test_ct_without_rescale_is_not_in_hu(tmp_path: Path) -> None:
    series_of(tmp_path, RescaleSlope=None, RescaleIntercept=None)
    assert "not calibrated" in kinds(tmp_path)
    assert read_volume(tmp_path).unit == "a.u."


def test_truncated_file(tmp_path: Path) -> None:
    paths = series_of(tmp_path)
    paths[2].write_bytes(paths[2].read_bytes()[:-40])
    assert "truncated" in kinds(tmp_path)
    with pytest.raises(ReadError, match="1 files end before their pixels do"):
        read_volume(tmp_path)


def test_files_named_by_identifier_lists_and_zips(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    named = [path.rename(path.with_name(f"1.2.840.{k}")) for k, path in enumerate(series_of(folder))]
    check_world_code(read_volume(folder))
    check_world_code(read_volume(named))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in named:
            archive.write(path, f"../../{path.name}")
    check_world_code(read_volume(tmp_path / "a.zip"))
    (info,) = scan(tmp_path / "a.zip")
    check_world_code(info.load().volume(0))
    assert not (tmp_path.parent / "1.2.840.0").exists()


def test_single_slice_says_where_its_third_size_comes_from(tmp_path: Path) -> None:
    save(slice_of((0, 0, 0), SpacingBetweenSlices=4.5), tmp_path / "a.dcm")
    volume = read_volume(tmp_path / "a.dcm")
    assert volume.spacing_mm == pytest.approx((4.5, 2, 1))
    assert "single slice" in kinds(tmp_path)
    check_world_code(volume)


def test_other_files_in_the_folder_do_not_matter(tmp_path: Path) -> None:
    series_of(tmp_path / "a")
    (tmp_path / "README.txt").write_text("words " * 100)
    (tmp_path / "DICOMDIR.bak").write_bytes(b"\x00" * 500)
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4" + bytes(300))
    check_world_code(read_volume(tmp_path))


def test_progress_is_told_and_cancels(tmp_path: Path) -> None:
    for k in range(3):
        series_of(tmp_path / str(k), 40, series=f"1.2.{k}")
    told: list[int] = []
    scan(tmp_path, progress=told.append)
    assert told == [50, 100, 120]

    class Cancelled(Exception):
        pass

    def cancel(count: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        scan(tmp_path, progress=cancel)


def test_headerless_implicit_and_big_endian_files(tmp_path: Path) -> None:
    from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

    for syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian):
        folder = tmp_path / syntax
        for path in series_of(folder):
            dataset = pydicom.dcmread(path)
            if syntax == ExplicitVRBigEndian:
                dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
            pydicom.dcmwrite(path, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
        check_world_code(read_volume(folder))
    bare = tmp_path / "bare"
    for path in series_of(bare):
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        with path.open("wb") as file:
            pydicom.dcmwrite(file, dataset, implicit_vr=True, little_endian=True, enforce_file_format=False)
    check_world_code(read_volume(bare))


def test_volumes_of_b_values_keep_the_order_of_their_making(tmp_path: Path) -> None:
    for t, b_value in enumerate((1000.0, 0.0, 500.0)):

        def at(k: int, own: dict[str, Any], t: int = t) -> None:
            own["number"] = t * 4 + k + 1
            own["pixels"] = np.full((6, 8), 1000 + t)

        series_of(tmp_path / str(t), 4, change=at, DiffusionBValue=b_value, modality="MR")
    sequence = read_sequence(tmp_path)
    assert sequence.meta["frames_by"] == "b-value"
    np.testing.assert_array_equal(sequence.data[:, 0, 0, 0], [0, 1, 2])


@pytest.mark.parametrize("manufacturer", ["SIEMENS", "Acme"])
def test_a_mosaic_without_its_geometry_is_never_read_as_one_slice(manufacturer: str, tmp_path: Path) -> None:
    tags = {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"], "Manufacturer": manufacturer, "modality": "MR"}
    save(slice_of((0, 0, 0), size=(16, 16), **tags), tmp_path / "a.dcm")
    with pytest.raises(ReadError, match="its slices cannot be placed"):
        read_volume(tmp_path / "a.dcm")


def test_a_damaged_file_is_not_passed_over(tmp_path: Path) -> None:
    """It may be the last slice: without it the rest would look whole."""
    paths = series_of(tmp_path)
    last = max(paths, key=lambda path: pydicom.dcmread(path).InstanceNumber)
    last.write_bytes(last.read_bytes()[:132] + b"\x08\x00\x05\x00UL\x04\x00\xff" + bytes(40))
    assert [info.format for info in scan(tmp_path)] == ["DICOM", "damaged DICOM"]
    with pytest.raises(ReadError, match="1 damaged file may belong to the series"):
        read_volume(tmp_path)
    assert read_volume(tmp_path, series=0).shape[0] == 4


def test_microscopic_slices_are_told_apart(tmp_path: Path) -> None:
    series_of(tmp_path, step=(0.0, 0.0, 0.004), spacing=(0.004, 0.004), SliceThickness=0.004)
    assert read_volume(tmp_path).spacing_mm == pytest.approx((0.004, 0.004, 0.004))
