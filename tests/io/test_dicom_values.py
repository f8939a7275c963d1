"""Where values come from: real world value mappings, whole numbers of any size, elements whose type is unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_files import check_world_code, save, series_of, slice_of
from napari_sparse3d import ReadError
from napari_sparse3d.io import read_volume, scan

STORED = np.arange(48).reshape(6, 8) + 100


def mapping(first: int, last: int, *, unit: str = "", **tags: Any) -> Dataset:
    item = Dataset()
    vr = "SS" if first < 0 else "US"
    item.add_new(0x00409216, vr, first)
    item.add_new(0x00409211, vr, last)
    for keyword, value in tags.items():
        setattr(item, keyword, value)
    if unit:
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = unit, "UCUM", "unit"
        item.MeasurementUnitsCodeSequence = [code]
    return item


def line(first: int, last: int, slope: float, intercept: float, unit: str = "") -> Dataset:
    return mapping(first, last, unit=unit, RealWorldValueSlope=slope, RealWorldValueIntercept=intercept)


def with_mappings(folder: Path, items: list[Dataset], *, rescale: bool, implicit: bool = False, **tags: Any) -> Path:
    for path in series_of(folder, 3, pixels=STORED, modality="MR", **tags):
        dataset = pydicom.dcmread(path)
        if rescale:
            dataset.RescaleSlope, dataset.RescaleIntercept = 3, -7
        else:
            del dataset.RescaleSlope, dataset.RescaleIntercept
        dataset.RealWorldValueMappingSequence = items
        save(dataset, path)
        if implicit:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    return folder


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(("slope", "intercept"), [(2.0, -3142.0), (0.5, 0.25)])
def test_the_only_mapping_is_applied(slope: float, intercept: float, implicit: bool, tmp_path: Path) -> None:
    items = [line(0, 4095, slope, intercept, "ms")]
    volume = read_volume(with_mappings(tmp_path, items, rescale=False, implicit=implicit))
    np.testing.assert_array_equal(volume.data[1], (STORED * slope + intercept)[::-1, ::-1])
    assert volume.unit == "ms"
    assert "real world" in str(volume.meta["faults"])


@pytest.mark.parametrize("implicit", [False, True])
def test_beside_a_rescale_it_is_kept_and_said(implicit: bool, tmp_path: Path) -> None:
    items = [line(0, 4095, 0.5, 1.0, "Hz")]
    volume = read_volume(with_mappings(tmp_path, items, rescale=True, implicit=implicit))
    np.testing.assert_array_equal(volume.data[0], (STORED * 3 - 7)[::-1, ::-1])
    assert volume.unit == "a.u."
    assert volume.meta["real_world_values"] == [
        {"first": 0.0, "last": 4095.0, "slope": 0.5, "intercept": 1.0, "unit": "Hz"}
    ]
    assert "values" in [fault.kind.value for fault in scan(tmp_path)[0].faults]


def test_a_table(tmp_path: Path) -> None:
    table = [float(k) ** 2 for k in range(48)]
    items = [mapping(100, 147, RealWorldValueLUTData=table)]
    volume = read_volume(with_mappings(tmp_path, items, rescale=False))
    np.testing.assert_array_equal(volume.data[0], np.array(table).reshape(6, 8)[::-1, ::-1])


def test_parts_of_one_unit_and_another_measure(tmp_path: Path) -> None:
    items = [line(100, 109, 2, 0, "s"), line(110, 140, 1, 1000, "s"), line(0, 4095, 1, 5, "mm")]
    volume = read_volume(with_mappings(tmp_path, items, rescale=False))
    expected = np.where(STORED <= 109, STORED * 2.0, np.where(STORED <= 140, STORED + 1000.0, np.nan))
    np.testing.assert_array_equal(volume.data[0], expected[::-1, ::-1])
    assert [item["unit"] for item in volume.meta["real_world_values"]] == ["mm"]


def test_what_is_not_mapped_has_no_value(tmp_path: Path) -> None:
    volume = read_volume(with_mappings(tmp_path, [line(110, 4095, 1, 0)], rescale=False))
    unmapped = np.broadcast_to((STORED < 110)[::-1, ::-1], volume.shape)
    np.testing.assert_array_equal(volume.data == volume.meta["padding"], unmapped)
    assert volume.data[~unmapped].min() == 110


@pytest.mark.parametrize("implicit", [False, True])
def test_signed_ends(implicit: bool, tmp_path: Path) -> None:
    items = [line(-1024, 3071, 2, 0, "[hnsf'U]")]
    folder = with_mappings(tmp_path, items, rescale=False, implicit=implicit, PixelRepresentation=1)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.data[0], (STORED * 2)[::-1, ::-1])
    assert volume.unit == "HU"
    assert "padding" not in volume.meta


def enhanced(per_frame: list[dict[str, Dataset]], shared: dict[str, Dataset]) -> Dataset:
    n = len(per_frame)
    dataset = slice_of((0, 0, 0), pixels=STORED, modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1")
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"):
        delattr(dataset, keyword)
    dataset.NumberOfFrames, dataset.PixelData = n, np.stack([STORED] * n).astype(np.uint16).tobytes()
    groups = []
    for k, own in enumerate(per_frame):
        group, position, orientation, measures = Dataset(), Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, orientation.ImageOrientationPatient = [0, 0, 2.0 * k], [1, 0, 0, 0, 1, 0]
        measures.PixelSpacing, measures.SliceThickness = [1, 1], 2
        group.PlanePositionSequence, group.PlaneOrientationSequence = [position], [orientation]
        group.PixelMeasuresSequence = [measures]
        for keyword, item in own.items():
            setattr(group, keyword, [item])
        groups.append(group)
    common = Dataset()
    for keyword, item in shared.items():
        setattr(common, keyword, [item])
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [common], groups
    return dataset


def test_functional_groups_shared_and_of_a_frame(tmp_path: Path) -> None:
    keyword = "RealWorldValueMappingSequence"
    frames: list[dict[str, Dataset]] = [{keyword: line(0, 65535, 10, 0, "ms")}, {}, {}]
    save(enhanced(frames, {keyword: line(0, 65535, 2, 1, "ms")}), tmp_path / "a.dcm")
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.data[:, -1, -1], [1000, 201, 201])
    assert volume.unit == "ms"


def test_functional_groups_beside_a_rescale(tmp_path: Path) -> None:
    transform = Dataset()
    transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = 4, 0, "US"
    shared = {
        "RealWorldValueMappingSequence": line(0, 65535, 2, 1, "ms"),
        "PixelValueTransformationSequence": transform,
    }
    save(enhanced([{}, {}], shared), tmp_path / "a.dcm")
    volume = read_volume(tmp_path)
    assert volume.data[0, -1, -1] == 400
    assert volume.meta["real_world_values"][0]["slope"] == 2


@pytest.mark.parametrize(
    ("signed", "slope", "intercept"), [(False, 1, 0), (True, 1, 0), (True, 3, -5), (False, 1, -1024), (False, 7, 1)]
)
def test_whole_numbers_of_any_size_stay_what_they_are(signed: bool, slope: int, intercept: int, tmp_path: Path) -> None:
    numbers = 2**24 + 1 + 2 * np.arange(48, dtype=np.int64).reshape(6, 8)
    for path in series_of(tmp_path, 2, pixels=np.zeros((6, 8)), slope=slope, intercept=intercept):
        dataset = pydicom.dcmread(path)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 32, 32, 31
        dataset.PixelRepresentation = int(signed)
        dataset.PixelData = numbers.astype(np.int32 if signed else np.uint32).tobytes()
        save(dataset, path)
    volume = read_volume(tmp_path)
    assert volume.data.dtype.kind in "iu"
    np.testing.assert_array_equal(volume.data[0], (numbers * slope + intercept)[::-1, ::-1])


def test_fractions_of_large_numbers_are_doubles(tmp_path: Path) -> None:
    numbers = 2**30 + 1 + 2 * np.arange(48, dtype=np.int64).reshape(6, 8)
    for path in series_of(tmp_path, 2, pixels=np.zeros((6, 8)), slope=0.5, intercept=0):
        dataset = pydicom.dcmread(path)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 32, 32, 31
        dataset.PixelData = numbers.astype(np.uint32).tobytes()
        save(dataset, path)
    np.testing.assert_array_equal(read_volume(tmp_path).data[0], (numbers * 0.5)[::-1, ::-1])


@pytest.mark.parametrize(("numbers", "kind"), [(STORED + 0.25, np.float32), (STORED + 2.0**24 + 1, np.float64)])
def test_double_pixels(numbers: np.ndarray, kind: type, tmp_path: Path) -> None:
    dataset = enhanced([{}, {}], {})
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.30"
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.BitsAllocated = 64
    dataset.DoubleFloatPixelPaddingValue = float(numbers[0, 0])
    dataset.DoubleFloatPixelData = np.stack([numbers] * 2).astype("<f8").tobytes()
    save(dataset, tmp_path / "a.dcm")
    volume = read_volume(tmp_path)
    assert volume.data.dtype == kind
    expected = numbers.copy()
    expected[0, 0] = np.nan
    np.testing.assert_array_equal(volume.data[0], expected[::-1, ::-1])


UNKNOWN = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "InstanceNumber", "Modality", "SeriesInstanceUID",
    "SliceThickness",
)  # fmt: skip


@pytest.mark.parametrize("deflated", [False, True])
def test_any_element_may_be_of_unknown_type(deflated: bool, tmp_path: Path) -> None:
    """PS3.5, 6.2.2: an explicit file may hold any element as UN; the dictionary knows it."""
    for path in series_of(tmp_path, 3):
        dataset = pydicom.dcmread(path)
        for keyword in UNKNOWN:
            element = dataset[keyword]
            number = {"US": "<H"}.get(element.VR)
            raw = np.array(element.value, number).tobytes() if number else _text(element.value)
            dataset[keyword] = _as_unknown(element.tag, raw)
        if deflated:
            dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
        dataset.save_as(path)
    volume = read_volume(tmp_path)
    assert volume.unit == "HU"
    check_world_code(volume)


def _text(value: Any) -> bytes:
    parts = value if isinstance(value, pydicom.multival.MultiValue) else [value]
    text = "\\".join(str(part) for part in parts).encode()
    return text + b" " * (len(text) % 2)


def _as_unknown(tag: Any, raw: bytes) -> pydicom.dataelem.RawDataElement:
    return pydicom.dataelem.RawDataElement(tag, "UN", len(raw), raw, 0, False, True)


# --- some slices only -------------------------------------------------------------------------------------------------


def _mapped(k: int, how: str) -> Dataset:
    dataset = slice_of((0.0, 0.0, 2.5 * k), number=k + 1, pixels=np.full((6, 8), 100 + k), Manufacturer="Philips")
    if how == "rescale":
        if k % 2:
            del dataset.RescaleSlope, dataset.RescaleIntercept
    elif how == "scale":
        if k % 2:
            dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.25)
    else:
        del dataset.RescaleSlope, dataset.RescaleIntercept
        if k % 2:
            item = Dataset()
            item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 65535
            item.RealWorldValueSlope, item.RealWorldValueIntercept = 2.0, -10.0
            dataset.RealWorldValueMappingSequence = [item]
    return dataset


@pytest.mark.parametrize("how", ["rescale", "scale", "real world"])
def test_a_mapping_that_half_of_the_slices_have_is_refused(how: str, tmp_path: Path) -> None:
    for k in range(4):
        save(_mapped(k, how), tmp_path / f"{k}.dcm")
    with pytest.raises(ReadError, match="mapped to values in different ways"):
        read_volume(tmp_path)


def test_a_rescale_that_changes_nothing_may_be_absent(tmp_path: Path) -> None:
    for k in range(4):
        dataset = slice_of((0.0, 0.0, 2.5 * k), modality="MR", number=k + 1, pixels=np.full((6, 8), 100 + k))
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        if k % 2:
            del dataset.RescaleSlope, dataset.RescaleIntercept
        save(dataset, tmp_path / f"{k}.dcm")
    assert read_volume(tmp_path).data[:, 0, 0].tolist() == [100, 101, 102, 103]


@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_slope_of_zero_is_no_mapping(slope: float, tmp_path: Path) -> None:
    """One slice without counts may have it; all of them would make every value the same."""
    for k in range(4):
        save(slice_of((0.0, 0.0, 2.5 * k), number=k + 1, slope=1, RescaleSlope=slope * k), tmp_path / f"{k}.dcm")
    if slope:
        read_volume(tmp_path)
    else:
        with pytest.raises(ReadError, match="slope is 0"):
            read_volume(tmp_path)
