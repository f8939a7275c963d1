"""Pixel padding is no image data (PS3.3, C.7.5.1.1.2): not in a volume's range, not in a voxel set, in no mean."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ImplicitVRLittleEndian

from dicom_files import save, series_of
from napari_sparse3d.errors import ReadError
from napari_sparse3d.io import read_sequence, read_volume, scan, write_volume
from napari_sparse3d.measure.histogram import histogram
from napari_sparse3d.sparse.voxelize import voxelize_on
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import voxelize
from napari_sparse3d.voxels.recipe import (
    FractionOfMax,
    OtsuThreshold,
    PercentileThreshold,
    RangeThreshold,
    Recipe,
    ToLongestSide,
    ToSpacing,
)

OUTSIDE = np.zeros((6, 8), bool)
OUTSIDE[:, :3] = OUTSIDE[0, :] = True
REAL = np.arange(48).reshape(6, 8) + 1000
"""Stored numbers of the image data."""


def padded(
    folder: Path, value: int, *, slopes: tuple[float, ...] = (1, 1, 1, 1), implicit: bool = False, **tags: Any
) -> Path:
    """Four slices whose left part and first row hold ``value``."""
    signed = bool(tags.get("PixelRepresentation"))

    def change(k: int, own: dict[str, Any]) -> None:
        own["slope"] = slopes[k]

    pixels = np.where(OUTSIDE, value, REAL).astype(np.int16 if signed else np.uint16)
    tags.setdefault("PixelPaddingValue", value)
    tags.setdefault("intercept", -1024)
    for path in series_of(folder, 4, pixels=pixels, change=change, **tags):
        if implicit:
            dataset = pydicom.dcmread(path)
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
            pydicom.dcmwrite(path, dataset, implicit_vr=True, little_endian=True)
    return folder


def outside_of(volume: Volume) -> np.ndarray:
    return np.broadcast_to(OUTSIDE[::-1, ::-1], volume.shape)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize(
    ("value", "tags"),
    [
        (4095, {"BitsStored": 12, "HighBit": 11}),
        (0, {}),
        (1020, {}),  # amid the image data
        (65535, {}),
        (-2000, {"PixelRepresentation": 1}),
        (32767, {"PixelRepresentation": 1}),
        (-1, {"PixelRepresentation": 1, "BitsStored": 12, "HighBit": 11}),
        (63536, {"BitsStored": 12, "HighBit": 11}),  # -2000 in a word of which only 12 bits count
        (4095, {"BitsStored": 12, "HighBit": 11, "PhotometricInterpretation": "MONOCHROME1"}),
        (4095, {"intercept": 0, "modality": "CT"}),
    ],
)
def test_integers_hold_it_below_every_real_value(
    value: int, tags: dict[str, Any], implicit: bool, tmp_path: Path
) -> None:
    volume = read_volume(padded(tmp_path, value, implicit=implicit, **tags))
    intercept = tags.get("intercept", -1024)
    real = np.broadcast_to((REAL + intercept)[::-1, ::-1], volume.shape)
    outside = outside_of(volume) | (real - intercept == value)
    np.testing.assert_array_equal(volume.data[~outside], real[~outside])
    assert volume.data.dtype.kind in "iu"
    assert np.unique(volume.data[outside]) == volume.meta["padding"]
    assert volume.meta["padding"] < real[~outside].min()
    assert [fault["kind"] for fault in volume.meta["faults"]].count("padding") == 1
    assert f"{outside.sum()} of {outside.size}" in str(volume.meta["faults"])
    assert "padding" in [fault.kind.value for fault in scan(tmp_path)[0].faults]


def test_a_low_value_stays_what_it_is_mapped_to(tmp_path: Path) -> None:
    volume = read_volume(padded(tmp_path, -2000, PixelRepresentation=1))
    assert volume.meta["padding"] == -3024
    assert volume.data.dtype == np.int32 or volume.data.dtype == np.int16


@pytest.mark.parametrize("ends", [(1005, 1010), (1010, 1005)])
def test_a_range_in_either_order_with_both_ends(ends: tuple[int, int], tmp_path: Path) -> None:
    tags = {"PixelPaddingValue": ends[0], "PixelPaddingRangeLimit": ends[1]}
    volume = read_volume(padded(tmp_path, 1007, **tags))
    stored = np.broadcast_to(np.where(OUTSIDE, 1007, REAL)[::-1, ::-1], volume.shape)
    np.testing.assert_array_equal(volume.data == volume.meta["padding"], (stored >= 1005) & (stored <= 1010))


def test_slices_of_other_slopes_have_one_padding(tmp_path: Path) -> None:
    volume = read_volume(padded(tmp_path, 0, slopes=(1, 2, 3, 4), modality="CT"))
    outside = outside_of(volume)
    assert np.unique(volume.data[outside]) == volume.meta["padding"] == -1024
    assert volume.data[~outside].min() > -1024


def test_floats_hold_nan(tmp_path: Path) -> None:
    volume = read_volume(padded(tmp_path, 4095, slopes=(0.5, 0.25, 0.5, 0.5)))
    np.testing.assert_array_equal(np.isnan(volume.data), outside_of(volume))
    assert "padding" not in volume.meta


def test_the_sign_is_that_of_the_pixels_whatever_the_tag_says(tmp_path: Path) -> None:
    for path in sorted(padded(tmp_path, -2000, PixelRepresentation=1).iterdir()):
        dataset = pydicom.dcmread(path)
        dataset.add_new(0x00280120, "US", 63536)
        save(dataset, path)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.data == volume.meta["padding"], outside_of(volume))


def test_nothing_but_padding_is_refused(tmp_path: Path) -> None:
    series_of(tmp_path, 3, pixels=np.full((6, 8), 7), PixelPaddingValue=7)
    with pytest.raises(ReadError, match="every pixel is padding"):
        read_volume(tmp_path)


def test_a_slice_of_nothing_but_padding(tmp_path: Path) -> None:
    def change(k: int, own: dict[str, Any]) -> None:
        own["pixels"] = np.full((6, 8), 4095) if k == 0 else np.where(OUTSIDE, 4095, REAL)

    series_of(tmp_path, 3, change=change, PixelPaddingValue=4095, intercept=0)
    volume = read_volume(tmp_path)
    assert volume.meta["padding"] == volume.data.min() == REAL[~OUTSIDE].min() - 1
    assert (volume.data[0] == volume.meta["padding"]).all()


def test_a_value_that_no_pixel_has_changes_nothing(tmp_path: Path) -> None:
    volume = read_volume(padded(tmp_path, 1000, PixelPaddingValue=60000))
    assert "padding" not in volume.meta
    assert volume.data.min() == -24


def test_volumes_in_time_share_one_value(tmp_path: Path) -> None:
    for t in range(2):
        pixels = np.where(OUTSIDE, 4095, REAL - 500 * t)
        series_of(tmp_path / str(t), 3, pixels=pixels, PixelPaddingValue=4095, TemporalPositionIdentifier=t + 1)
    sequence = read_sequence(tmp_path)
    assert len(sequence) == 2
    outside = np.broadcast_to(OUTSIDE[::-1, ::-1], sequence.data.shape)
    assert np.unique(sequence.data[outside]) == sequence.meta["padding"] == sequence.data.min()


RECIPES = [
    RangeThreshold(low=-1e6, high=1e6),
    RangeThreshold(high=0),
    OtsuThreshold(),
    PercentileThreshold(percentile=0),
    PercentileThreshold(percentile=30),
    FractionOfMax(fraction=0.01),
]
GRIDS = [{}, {"resample": ToSpacing(spacing_mm=(2.5, 1.5, 0.75))}, {"resample": ToLongestSide(voxels=5)}]


@pytest.mark.parametrize("grid", GRIDS, ids=["own", "spacing", "longest side"])
@pytest.mark.parametrize("threshold", RECIPES, ids=str)
@pytest.mark.parametrize("stored", ["integer", "float"])
def test_it_reaches_no_voxel_set(stored: str, threshold: Any, grid: dict[str, Any], tmp_path: Path) -> None:
    slopes = (1, 1, 1, 1) if stored == "integer" else (0.5,) * 4
    volume = read_volume(padded(tmp_path, 4095, slopes=slopes, intercept=0))
    recipe = Recipe(threshold=threshold, features=("intensity", "gradient"), **grid)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        voxels = voxelize(volume, recipe)
        made = voxelize_on("cpu", volume, recipe).numpy() if threshold.kind != "percentile" else voxels
    np.testing.assert_array_equal(made.indices, voxels.indices)
    np.testing.assert_array_equal(made.features, voxels.features)
    # a ramp: nothing of padding in any value, any mean, any difference
    real = np.where(outside_of(volume), np.nan, volume.data.astype(float))
    low, high = np.nanmin(real), np.nanmax(real)
    values = voxels.features[:, 0] * 1000.0  # HU
    assert voxels.n_active == 0 or (values.min() >= low - 1e-3 and values.max() <= high + 1e-3)
    assert np.abs(voxels.features[:, 1:]).max(initial=0.0) * 1000.0 <= 9.0
    if not grid:
        assert np.isfinite(real[tuple(voxels.indices.T)]).all()
        if threshold == RECIPES[0]:
            assert voxels.n_active == np.isfinite(real).sum()


def test_thresholds_are_those_of_the_image_data_alone(tmp_path: Path) -> None:
    data = np.arange(2000).reshape(10, 10, 20) % 997 + 100
    outside = np.zeros(data.shape, bool)
    outside[:, :, :9] = True
    for threshold in RECIPES[2:]:
        crop = voxelize(Volume(data[:, :, 9:].astype(np.int16), np.eye(4)), Recipe(threshold=threshold))
        for whole in (np.where(outside, -5, data).astype(np.int16), np.where(outside, np.nan, data).astype(np.float32)):
            volume = Volume(whole, np.eye(4), meta={"padding": -5})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                voxels = voxelize(volume, Recipe(threshold=threshold))
            np.testing.assert_array_equal(voxels.indices - [0, 0, 9], crop.indices)


def test_the_histogram_does_not_count_it(tmp_path: Path) -> None:
    volume = read_volume(padded(tmp_path, 4095))
    counted = histogram(volume.data, volume.meta["padding"])
    assert counted.counts.sum() == (~outside_of(volume)).sum()
    assert counted.low == (REAL[~OUTSIDE] - 1024).min()


@pytest.mark.parametrize("slope", [1, 0.5])
def test_a_repair_interpolates_nothing_from_it(slope: float, tmp_path: Path) -> None:
    def change(k: int, own: dict[str, Any]) -> None:
        own["position"] = (-10.0, 20.0 + 0.7 * k, 30.0 + 2.5 * k)  # a gantry tilt

    pixels = np.where(OUTSIDE, 4095, 1100)
    series_of(tmp_path, 4, pixels=pixels, change=change, slope=slope, intercept=-1000, PixelPaddingValue=4095)
    volume = read_volume(tmp_path, repair="resample")
    padding = volume.meta.get("padding", np.nan)
    empty = np.isnan(volume.data) if slope == 0.5 else volume.data == padding
    assert 0 < empty.sum() < empty.size
    assert np.unique(volume.data[~empty]) == 1100 * slope - 1000


def test_a_file_of_another_format_holds_the_same_value(tmp_path: Path) -> None:
    volume = read_volume(padded(tmp_path / "in", 4095))
    write_volume(volume, tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "out.nii.gz").data, volume.data)
