"""Labels that come in floating point: rounded where they are all but whole, never cut; else refused, wherever used."""

import csv
from fractions import Fraction

import nibabel
import numpy as np
import pytest

from napari_sparse3d import read_volume
from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.errors import InputError
from napari_sparse3d.io.layers import layer_of
from napari_sparse3d.volume import Volume, whole_labels
from napari_sparse3d.voxels import RangeThreshold, Recipe

MASKS = Recipe(name="masks", threshold=RangeThreshold(low=0.5))


def label_map(path, data, intent="none"):
    path.parent.mkdir(exist_ok=True)
    image = nibabel.Nifti1Image(data, np.eye(4))
    image.header.set_intent(intent)
    nibabel.save(image, path)


def two_labels(dtype, off=0.0):
    """3 voxels of label 1 and 8 of label 2, each less than it by ``off``."""
    data = np.zeros((6, 6, 6), dtype)
    data[1, 1, 1:4] = 1 - off
    data[3:5, 3:5, 3:5] = 2 - off
    return data


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label", "mask", "value"])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("dtype", "off"),
    [(np.uint8, 0), (np.int16, 0)]
    + [(dtype, off) for dtype in (np.float32, np.float64) for off in (0.0, 1e-6, -1e-6, 9e-4, 1e-3, -1e-3)],
)
def test_a_folder_of_label_maps_keeps_its_labels(tmp_path, dtype, off):
    label_map(tmp_path / "labels" / "one.nii.gz", two_labels(dtype, off))
    cases = cases_of(tmp_path)
    assert [case.label for case in cases] == ["1", "2"]
    store = VoxelStore(MASKS, tmp_path / "cache")
    assert [store.get(case).n_active for case in cases] == [3, 8]


@pytest.mark.parametrize("off", [2e-3, 0.1, 0.5, 0.9, np.nan, np.inf])
def test_probabilities_are_no_label_map(tmp_path, off):
    """Cut to integers 1.9 was label 1, of which no voxel was found."""
    label_map(tmp_path / "labels" / "a.nii.gz", two_labels(np.uint8))
    label_map(tmp_path / "labels" / "b.nii.gz", two_labels(np.float32, off))
    with pytest.raises(InputError, match=r"file 2 of 2 in labels/ is no label map: labels must be integers") as refused:
        cases_of(tmp_path)
    assert "\n" not in str(refused.value)
    assert "b.nii" not in str(refused.value)


@pytest.mark.parametrize(("value", "active"), [("2", 8), ("2.0", 8), ("1.0", 3), ("", 11), ("7", 0)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_table_names_the_value_of_a_mask(tmp_path, value, active, dtype):
    label_map(tmp_path / "m.nii.gz", two_labels(dtype, 5e-4 if dtype is np.float32 else 0))
    rows = [{"path": "m.nii.gz", "label": "x", "mask": "m.nii.gz", "value": value}]
    (case,) = cases_of(table(tmp_path / "t.csv", rows))
    assert VoxelStore(MASKS, tmp_path / "cache").get(case).n_active == active


@pytest.mark.parametrize("value", ["", "1"])
def test_a_mask_of_probabilities_is_refused(tmp_path, value):
    label_map(tmp_path / "m.nii.gz", two_labels(np.float32, 0.4))
    rows = [{"path": "m.nii.gz", "label": "x", "mask": "m.nii.gz", "value": value}]
    (case,) = cases_of(table(tmp_path / "t.csv", rows))
    with pytest.raises(InputError, match="labels must be integers"):
        VoxelStore(MASKS, tmp_path / "cache").get(case)


@pytest.mark.parametrize("value", ["left", "1.5", "nan", "1e99"])
def test_a_value_that_is_no_label_is_refused(tmp_path, value):
    label_map(tmp_path / "m.nii.gz", two_labels(np.uint8))
    rows = [{"path": "m.nii.gz", "label": "x", "mask": "m.nii.gz", "value": value}]
    (case,) = cases_of(table(tmp_path / "t.csv", rows))
    with pytest.raises(InputError, match="value of a label map must be a whole number, got"):
        VoxelStore(MASKS, tmp_path / "cache").get(case)


def test_a_nifti_of_labels_in_floating_point_becomes_a_labels_layer(tmp_path):
    label_map(tmp_path / "a.nii.gz", two_labels(np.float32, 1e-6), intent="label")
    data, _, kind = layer_of(read_volume(tmp_path / "a.nii.gz"))
    assert kind == "labels"
    assert data.dtype.kind in "iu"  # napari takes no others
    assert [(data == value).sum() for value in (1, 2)] == [3, 8]


def test_a_nifti_that_says_labels_of_probabilities_keeps_its_values(tmp_path):
    label_map(tmp_path / "a.nii.gz", two_labels(np.float32, 0.25), intent="label")
    volume = read_volume(tmp_path / "a.nii.gz")
    assert layer_of(volume)[2] == "image"
    assert set(np.unique(volume.data)) == {0, 0.75, 1.75}


def test_a_volume_that_claims_labels_is_refused_as_a_layer_of_labels():
    with pytest.raises(InputError, match="labels must be integers"):
        layer_of(Volume(two_labels(np.float64, 0.5), np.eye(4), meta={"labels": True}))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("whole", [-3, 0, 1, 255, 256, 1000])
def test_rounding_is_exact(dtype, whole):
    """Against rational numbers: what the type holds, compared without rounding."""
    near = np.array([whole, whole + 5e-4, whole - 5e-4, whole + 4e-3, whole - 0.5, whole + 0.9995], dtype)
    for value in near:
        exact = Fraction(float(value))
        nearest = round(exact)
        if abs(exact - nearest) <= Fraction(1, 1000):
            (found,) = whole_labels(np.array([value]))
            assert int(found) == nearest
        elif abs(exact - nearest) > Fraction(1, 1000) + Fraction(float(np.spacing(np.abs(value)))):
            with pytest.raises(InputError):
                whole_labels(np.array([value]))


def test_integers_are_given_back_untouched():
    for dtype in (np.int8, np.uint8, np.int64, np.uint64):
        data = np.array([0, 1, np.iinfo(dtype).max], dtype)
        assert whole_labels(data) is data
    assert whole_labels(np.array([True, False])).tolist() == [1, 0]
    with pytest.raises(InputError, match="at most 32 bits"):
        whole_labels(np.array([1e20]))
