"""Every kind of labelled set: which cases it holds, what their voxels are, and on which side they belong."""

import csv

import nibabel
import numpy as np
import polars as pl
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from napari_sparse3d.cases import store
from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.labels import class_names, label_numbers
from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.errors import InputError
from napari_sparse3d.training.session import Data
from napari_sparse3d.training.split import split_by_patient
from napari_sparse3d.voxels import RangeThreshold, Recipe, ToLongestSide

MASKS = Recipe(name="masks", threshold=RangeThreshold(low=0.5))


def voxels(case, tmp_path, recipe=MASKS):
    return VoxelStore(recipe, tmp_path / "cache").get(case)


@pytest.fixture
def medmnist(tmp_path):
    random = np.random.default_rng(0)
    arrays = {}
    for split, n in (("train", 5), ("val", 3), ("test", 2)):
        arrays[f"{split}_images"] = (random.random((n, 8, 9, 10)) < 0.2).astype(np.uint8) * 255
        arrays[f"{split}_labels"] = np.arange(n)[:, None].astype(np.uint8) % 2
    path = tmp_path / "shapes.npz"
    np.savez_compressed(path, **arrays)
    return path, arrays


def test_medmnist(medmnist, tmp_path):
    path, arrays = medmnist
    cases = cases_of(path)
    assert [case.split for case in cases] == ["train"] * 5 + ["val"] * 3 + ["test"] * 2
    assert class_names(cases) == ("0", "1")
    assert label_numbers(cases[:5], ("healthy", "ill")) == [0, 1, 0, 1, 0]
    found = voxels(cases[6], tmp_path)
    np.testing.assert_array_equal(found.mask(), arrays["val_images"][1] > 0)
    only_test = tmp_path / "test.npz"
    np.savez(only_test, **{key: value for key, value in arrays.items() if key.startswith("test")})
    assert {case.split for case in cases_of(only_test)} == {"test"}


def test_sparse_shapes_with_their_table(tmp_path):
    random = np.random.default_rng(1)
    masks = random.random((4, 6, 7, 8)) < 0.1
    coords = [np.argwhere(mask).astype(np.uint8) for mask in masks]
    offsets = np.concatenate([[0], np.cumsum([len(c) for c in coords])])
    np.savez(
        tmp_path / "s.npz",
        coords=np.concatenate(coords),
        offsets=offsets,
        size=np.array([6, 7, 8]),
        spacing=np.array([2.0, 1, 1]),
    )
    with (tmp_path / "s.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["patient", "split", "grade"])
        table.writerows([["p1", "train", 1], ["p1", "train", 0], ["p2", "val", -1], ["p3", "", 1]])
    cases = cases_of(tmp_path / "s.npz", label_column="grade")
    assert [case.label for case in cases] == ["1", "0", None, "1"]
    assert [case.split for case in cases] == ["train", "train", "val", None]
    assert [case.patient for case in cases] == ["p1", "p1", "p2", "p3"]
    assert "p1" not in repr(cases)  # no identity in what may be printed
    found = voxels(cases[2], tmp_path)
    np.testing.assert_array_equal(found.mask(), masks[2])
    assert np.diag(found.affine).tolist() == [2, 1, 1, 1]
    with pytest.raises(InputError, match="choose one of patient, split, grade"):
        cases_of(tmp_path / "s.npz", label_column="label")


def test_packed_shapes(tmp_path):
    masks = np.random.default_rng(2).random((3, 5, 5, 5)) < 0.4  # 125 bits: the last byte is padded
    masks[2] = masks[0]
    np.savez(tmp_path / "p.npz", X=np.packbits(masks.reshape(3, -1), axis=1), y=np.array([4, 0, 4]))
    cases = cases_of(tmp_path / "p.npz")
    assert [case.label for case in cases] == ["4", "0", "4"]
    np.testing.assert_array_equal(voxels(cases[1], tmp_path).mask(), masks[1])
    assert cases[0].patient == cases[2].patient != cases[1].patient  # equal shapes stay on one side


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_tables(shapes, tmp_path, ending):
    rows = [
        {"path": f"ball/{n:02}.npz", "label": "round", "patient": f"p{n // 2}", "split": ["train", "val"][n % 2]}
        for n in range(4)
    ]
    rows.append({"path": "box/00.npz", "label": None, "patient": None, "split": None})
    table = pl.DataFrame(rows).with_columns(path=pl.concat_str(pl.lit(f"{shapes}/"), "path"))
    write = {".csv": table.write_csv, ".parquet": table.write_parquet}[ending]
    write(tmp_path / f"table{ending}")
    cases = cases_of(tmp_path / f"table{ending}")
    assert [case.label for case in cases] == ["round"] * 4 + [None]
    assert [case.split for case in cases] == ["train", "val", "train", "val", None]
    assert voxels(cases[0], tmp_path).n_active > 0


def test_a_folder_per_class_with_splits_above_or_below(shapes, tmp_path):
    assert len(cases_of(shapes)) == 40
    assert class_names(cases_of(shapes)) == ("ball", "box")
    for where in ("train/ball", "val/ball", "ball/test", "box/train"):
        (tmp_path / where).mkdir(parents=True)
        (tmp_path / where / "a.npz").write_bytes((shapes / "ball/00.npz").read_bytes())
        (tmp_path / where / "notes.txt").write_text("no case")
    found = {case.name: (case.label, case.split) for case in cases_of(tmp_path)}
    assert found == {
        "train/ball/a.npz": ("ball", "train"),
        "val/ball/a.npz": ("ball", "val"),
        "ball/test/a.npz": ("ball", "test"),
        "box/train/a.npz": ("box", "train"),
    }


def test_label_maps_give_a_case_for_each_value(tmp_path):
    """Value 2 lies up, right and in front, in a file stored left to right: it must stay there."""
    data = np.zeros((12, 10, 8), dtype=np.uint8)  # x to the left, y to anterior, z to superior
    data[2:4, 3:6, 1:3] = 1
    data[0:2, 7:9, 5:8] = 2
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    affine = np.diag([-1.0, 1, 1.5, 1])
    nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / "labels" / "one.nii.gz")
    cases = cases_of(tmp_path)
    assert [(case.label, case.name) for case in cases] == [("1", "labels/one.nii.gz[1]"), ("2", "labels/one.nii.gz[2]")]
    assert cases[0].patient == cases[1].patient  # both sides of one scan stay together
    second = voxels(cases[1], tmp_path)
    assert second.n_active == 2 * 2 * 3
    world = second.indices @ second.affine[:3, :3].T + second.affine[:3, 3]
    expected = np.argwhere(data == 2) @ affine[:3, :3].T + affine[:3, 3]
    np.testing.assert_allclose(np.sort(world, axis=0), np.sort(expected[:, ::-1], axis=0), atol=1e-6)


@pytest.mark.parametrize("ending", ["off", "stl", "ply", "obj"])
def test_meshes(tmp_path, ending):
    (tmp_path / "ball").mkdir()
    trimesh.creation.icosphere(subdivisions=3, radius=4.0).export(tmp_path / "ball" / f"a.{ending}")
    (case,) = cases_of(tmp_path)
    recipe = Recipe(threshold=RangeThreshold(low=0.5), resample=ToLongestSide(voxels=24))
    found = voxels(case, tmp_path, recipe)
    assert found.shape == (24, 24, 24)
    assert (np.ptp(found.indices, axis=0) + 1).tolist() == [24, 24, 24]
    assert found.n_active * found.affine[0, 0] ** 3 == pytest.approx(4 / 3 * np.pi * 4**3, rel=0.03)


def test_a_mesh_lies_where_its_axes_say(tmp_path):
    """A box long in z, short in x: axis 0 of the volume is z."""
    (tmp_path / "box").mkdir()
    trimesh.creation.box(extents=(1, 2, 4)).export(tmp_path / "box" / "a.stl")
    (case,) = cases_of(tmp_path)
    assert voxels(case, tmp_path, Recipe(threshold=RangeThreshold(low=0.5))).shape == (40, 20, 10)


def test_the_cache_is_keyed_by_content_and_recipe(medmnist, tmp_path, monkeypatch):
    path, arrays = medmnist
    case = cases_of(path)[0]
    first = VoxelStore(MASKS, tmp_path / "cache")
    assert first.key(case) == VoxelStore(MASKS.model_copy(update={"name": "other", "field": 64})).key(case)
    assert first.key(case) != VoxelStore(Recipe(threshold=RangeThreshold(low=0.6))).key(case)
    assert first.key(case) != first.key(cases_of(path)[1])
    made = first.get(case)
    with monkeypatch.context() as patched:
        patched.setattr(store, "read_source", lambda *_: pytest.fail("was made a second time"))
        again = VoxelStore(MASKS, tmp_path / "cache").get(case)
    np.testing.assert_array_equal(again.indices, made.indices)
    before = first.key(case)
    arrays["train_images"][0] = 255 - arrays["train_images"][0]
    np.savez(path, **arrays)
    assert first.key(case) != before
    assert first.get(case).n_active == 8 * 9 * 10 - made.n_active


def test_a_set_larger_than_memory_is_read_again(medmnist, tmp_path):
    path, arrays = medmnist
    tight = VoxelStore(MASKS, tmp_path / "cache", memory_mb=0.004)
    cases = cases_of(path)
    for _ in range(2):
        for case in cases:
            part, number = case.item.split(":")
            assert tight.get(case).n_active == (arrays[f"{part}_images"][int(number)] > 0).sum()
    assert len(tight._held) < len(cases)
    assert tight._held_bytes <= 4000


def test_a_damaged_cache_is_made_anew(medmnist, tmp_path):
    case = cases_of(medmnist[0])[0]
    expected = voxels(case, tmp_path).n_active
    (kept,) = (tmp_path / "cache").rglob("*.npz")
    kept.write_bytes(kept.read_bytes()[:40])
    assert voxels(case, tmp_path).n_active == expected


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2), st.sampled_from([None, None, "train", "val"]))),
    st.integers(0, 5),
)
def test_patients_stay_together(rows, seed):
    side = {}  # a set that contradicts itself is the checks' business, not the split's
    cases = [
        Case(f"c{i}", None, "voxels", label=str(label), split=split and side.setdefault(p, split), patient=f"p{p}")
        for i, (p, label, split) in enumerate(rows)
    ]
    decided = split_by_patient(cases, validation=0.3, seed=seed)
    sides = {}
    for before, after in zip(cases, decided):
        assert after.split in ("train", "val")
        assert before.split in (None, after.split)
        sides.setdefault(after.patient, set()).add(after.split)
    assert all(len(one) == 1 for one in sides.values())
    assert decided == split_by_patient(cases, validation=0.3, seed=seed)


def test_the_split_takes_its_share_of_each_class():
    cases = [Case(f"c{i}", None, "voxels", label="rare" if i < 10 else "common", patient=f"p{i}") for i in range(110)]
    val = [case for case in split_by_patient(cases) if case.split == "val"]
    assert sum(case.label == "rare" for case in val) == 2
    assert sum(case.label == "common" for case in val) == 20


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("a.npz", b"no zip", "no .npz"),
        ("a.txt", b"", "no labelled set"),
        ("a.csv", b"file,label\nx,1\n", "no column 'path'"),
        ("a.csv", b"path,class\nx,1\n", "no column 'label'"),
        ("a.csv", b"path,label,split\nx,1,holdout\n", "holdout"),
    ],
)
def test_what_is_no_labelled_set(tmp_path, name, content, hint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=hint):
        cases_of(tmp_path / name)


def test_nothing_and_an_empty_folder(tmp_path):
    with pytest.raises(FileNotFoundError):
        cases_of(tmp_path / "none")
    with pytest.raises(InputError, match="folder per class"):
        cases_of(tmp_path)


def test_the_official_files(data_dir):
    """What the published sets are known to hold."""
    cases = cases_of(data_dir / "labelled" / "vesselmnist3d_28_trainval.npz")
    assert [sum(case.split == split for case in cases) for split in ("train", "val", "test")] == [1335, 191, 0]
    assert sum(case.label == "1" for case in cases if case.split == "train") == 150
    nodules = cases_of(data_dir / "labelled" / "lidc_nodules" / "lidc_nodules_open.npz", label_column="label_malignant")
    assert len(nodules) == 2043
    assert class_names(nodules) == ("0", "1")
    assert sum(case.label is None for case in nodules) == 1068


@pytest.mark.filterwarnings("ignore:.*marked for validation and are trained on")
def test_a_label_column_of_one_of_two_sets(medmnist, tmp_path):
    """Refused only where neither set has its labels in a table; one beside arrays with labels of their own is none."""
    path, _ = medmnist
    scan = nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
    for name in ("a", "b"):
        (tmp_path / "folders" / name).mkdir(parents=True)
        nibabel.save(scan, tmp_path / "folders" / name / "1.nii.gz")
    folders, table = tmp_path / "folders", tmp_path / "t.csv"
    table.write_text("path,grade,label\nfolders/a/1.nii.gz,low,x\nfolders/b/1.nii.gz,high,y\n")
    np.savez(tmp_path / "s.npz", coords=np.zeros((2, 3), np.uint8), offsets=[0, 1, 2], size=[4] * 3, spacing=[1.0] * 3)
    (tmp_path / "s.csv").write_text("grade\nlow\nhigh\n")
    path.with_suffix(".csv").write_text("grade\n0\n")
    for first, second in ((table, folders), (folders, table), (tmp_path / "s.npz", folders), (path, table)):
        cases = Data(first, second, "grade").cases()
        of_table = [case.label for case in cases if case.split == ("train" if second in (folders, path) else "val")]
        assert of_table == ["low", "high"]
        others = {case.label for case in cases if case.split == ("val" if second in (folders, path) else "train")}
        assert others == ({"0", "1"} if path in (first, second) else {"a", "b"})
    for first, second in ((folders, None), (folders, folders), (path, None), (folders, path), (path, folders)):
        with pytest.raises(InputError, match=r"'grade' is of a table.*leave --label out"):
            Data(first, second, "grade").cases()
    with pytest.raises(InputError, match="no column 'size'"):
        Data(table, folders, "size").cases()
