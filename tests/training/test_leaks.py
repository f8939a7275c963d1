"""Labels as spreadsheets write them, and cases on both sides of a split, are found before the first epoch."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dicom_files import save, series_of, slice_of
from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.groups import groups_of, patients_of
from napari_sparse3d.cases.labels import class_names, label_of
from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.cli import app
from napari_sparse3d.training.checks import Prepared, prepare
from napari_sparse3d.training.split import split_by_patient
from napari_sparse3d.voxels import RangeThreshold, Recipe

MASKS = Recipe(name="masks", threshold=RangeThreshold(low=0.5))


def shape(number: int) -> Any:
    """No two of them are alike."""
    return np.random.default_rng(number).random((9, 9, 9)) < 0.3


def write_scan(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(100 * shape(number).astype(np.uint8), np.eye(4)), path)
    return path


def look(path: Path, cache: Path) -> Prepared:
    return prepare(cases_of(path), VoxelStore(MASKS, cache), 16)


def problems(path: Path, cache: Path) -> list[tuple[str, int]]:
    return [(problem.kind, int(problem.case.split()[1])) for problem in look(path, cache).problems]


@pytest.mark.parametrize(
    "text", ["", " ", "\t", "nan", "NaN", "NAN", "NA", "n/a", "<NA>", "#N/A", "NULL", "-1", "-1.0"]
)
def test_missing_is_missing(text: str) -> None:
    assert label_of(text) is None


@pytest.mark.parametrize(
    ("text", "label"),
    [("1.0", "1"), ("1", "1"), (" 1 ", "1"), ("1.", "1"), ("1e0", "1"), ("+1.0", "1"), ("-2.0", "-2"), ("0.50", "0.5"),
     ("007", "007"), ("none", "none"), ("ball ", "ball"), ("1.0.2", "1.0.2"), ("nanny", "nanny"), ("1e999", "1e999"),
     (True, "True"), (3, "3"), (3.0, "3")],
)  # fmt: skip
def test_numbers_are_numbers_and_names_are_names(text: object, label: str) -> None:
    assert label_of(text) == label


def test_a_table_with_one_empty_row_has_two_classes(tmp_path: Path) -> None:
    for number in range(6):
        write_scan(tmp_path / f"{number}.nii.gz", number)
    labels = ["1", "1.0", "0.0", "0", "NaN", " "]
    lines = [f"{number}.nii.gz,{label}" for number, label in enumerate(labels)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    assert class_names(cases_of(tmp_path / "t.csv")) == ("0", "1")
    named = [problem for problem in look(tmp_path / "t.csv", tmp_path / "c").problems if problem.kind == "no label"]
    assert [problem.case.split()[1] for problem in named] == ["4", "5"]


def test_missing_labels_of_arrays(tmp_path: Path) -> None:
    images = np.stack([shape(number) for number in range(4)]).astype(np.uint8)
    np.savez(tmp_path / "m.npz", train_images=images, train_labels=np.array([[1.0], [-1.0], [np.nan], [1.0]]))
    assert [case.label for case in cases_of(tmp_path / "m.npz")] == ["1", "-1", None, "1"]


COLUMNS = ("patient", "patient_id", "subject", "participant_id", "Patient_ID")


@pytest.mark.parametrize("column", COLUMNS)
def test_one_patient_on_both_sides_by_any_column(column: str, tmp_path: Path) -> None:
    rows = []
    for number in range(8):
        write_scan(tmp_path / f"{number}.nii.gz", number)
        rows.append(f"{number}.nii.gz,{'ab'[number % 2]},{'val' if number >= 6 else 'train'},p{number % 7}")
    (tmp_path / "t.csv").write_text("\n".join([f"path,label,split,{column}", *rows]) + "\n")
    assert problems(tmp_path / "t.csv", tmp_path / "c") == [("patient on both sides", 0)]  # 0 and 7 are p0


def copies(way: str, tmp_path: Path) -> Path:
    """A set in which case 0, for training, shows what the first case for validation shows."""
    masks = [shape(number) for number in range(8)]
    masks[6] = masks[0]
    if way in ("same bytes", "packed otherwise"):
        rows = []
        for number in range(8):
            write_scan(tmp_path / f"{number}.nii.gz", 0 if number == 6 else number)
            rows.append(f"{number}.nii.gz,{'ab'[number % 2]},{'val' if number >= 6 else 'train'}")
        if way == "packed otherwise":
            (tmp_path / "6.nii").write_bytes(gzip.decompress((tmp_path / "6.nii.gz").read_bytes()))
            rows[6] = rows[6].replace(".gz", "")
        (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
        return tmp_path / "t.csv"
    if way == "folders":
        for number in range(8):
            side = "val" if number >= 6 else "train"
            write_scan(tmp_path / "set" / side / "ab"[number % 2] / f"{number}.nii.gz", 0 if number == 6 else number)
        return tmp_path / "set"
    path = tmp_path / "s.npz"
    labels = np.arange(8)[:, None] % 2
    images = np.stack(masks).astype(np.uint8)
    if way == "medmnist":
        np.savez(path, train_images=images[:6], train_labels=labels[:6], val_images=images[6:], val_labels=labels[6:])
    else:
        coords = [np.argwhere(mask).astype(np.uint8) for mask in masks]
        offsets = np.concatenate([[0], np.cumsum([len(each) for each in coords])])
        np.savez(path, coords=np.concatenate(coords), offsets=offsets, size=np.array([9, 9, 9]))
        rows = [f"{'val' if number >= 6 else 'train'},{'ab'[number % 2]}" for number in range(8)]
        path.with_suffix(".csv").write_text("\n".join(["split,label", *rows]) + "\n")
    return path


@pytest.mark.parametrize("way", ["same bytes", "packed otherwise", "folders", "medmnist", "sparse"])
def test_identical_content_on_both_sides(way: str, tmp_path: Path) -> None:
    assert problems(copies(way, tmp_path), tmp_path / "c") == [("content on both sides", 0)]
    # once more with what the cache holds
    assert problems(copies(way, tmp_path), tmp_path / "c") == [("content on both sides", 0)]


def test_one_content_with_two_labels(tmp_path: Path) -> None:
    rows = []
    for number in range(8):
        write_scan(tmp_path / f"{number}.nii.gz", 2 if number == 5 else number)
        rows.append(f"{number}.nii.gz,{'ab'[number % 2]}")
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    prepared = look(tmp_path / "t.csv", tmp_path / "c")
    assert [problem.kind for problem in prepared.problems] == ["two labels", "two labels"]
    assert "'a'" in prepared.problems[0].message
    assert "'b'" in prepared.problems[0].message
    assert len(prepared.train) + len(prepared.val) == 6  # which of the two is right?


def test_a_drawn_split_keeps_equal_content_together(tmp_path: Path) -> None:
    for number in range(40):
        write_scan(tmp_path / "set" / "ab"[number % 2] / f"{number:02}.nii.gz", number // 4 * 4 + number % 2)
    for seed in range(5):
        prepared = prepare(cases_of(tmp_path / "set"), VoxelStore(MASKS, tmp_path / "c"), 16, seed=seed)
        assert prepared.problems == ()
        sides = [{prepared.contents[case] for case in side} for side in (prepared.train, prepared.val)]
        assert sides[0]
        assert sides[1]
        assert not sides[0] & sides[1]


def write_dicom(folder: Path, number: int, patient: str) -> None:
    values = 1000 + 100 * shape(number).astype(np.int16)

    def change(k: int, own: dict[str, Any]) -> None:
        own |= {"pixels": values[k], "SeriesNumber": number, "PatientID": patient}

    series_of(folder, 9, size=(9, 9), spacing=(1.0, 1.0), step=(0, 0, 1), series=f"1.2.{number + 1}", change=change)


def test_one_patient_on_both_sides_by_the_tags(tmp_path: Path) -> None:
    for number in range(8):
        side = "val" if number >= 6 else "train"
        write_dicom(tmp_path / "set" / side / "ab"[number % 2] / str(number), number, f"P{number % 7}")
    (problem,) = look(tmp_path / "set", tmp_path / "c").problems
    assert problem.kind == "patient on both sides"
    assert "P0" not in str(problem)


def test_a_patient_in_a_table_is_the_one_in_the_tags(tmp_path: Path) -> None:
    rows = []
    for number in range(8):
        write_dicom(tmp_path / str(number), number, f"P{number}")
        rows.append(f"{number},{'ab'[number % 2]},{'val' if number >= 6 else 'train'},{'P0' if number == 7 else ''}")
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split,patient", *rows]) + "\n")
    assert problems(tmp_path / "t.csv", tmp_path / "c") == [("patient on both sides", 0)]


def test_a_drawn_split_keeps_the_patients_of_the_tags_together(tmp_path: Path) -> None:
    for number in range(16):
        write_dicom(tmp_path / "set" / "ab"[number // 8] / f"{number:02}", number, f"P{number // 2}")
    prepared = look(tmp_path / "set", tmp_path / "c")
    sides = [{int(case.path.name) // 2 for case in side} for side in (prepared.train, prepared.val)]
    assert sides[1]
    assert not sides[0] & sides[1]


def test_one_patient_alone_is_split_by_case_and_that_is_said(tmp_path: Path) -> None:
    """An anonymiser may have called them all alike."""
    for number in range(8):
        write_dicom(tmp_path / "set" / "ab"[number % 2] / str(number), number, "ANON")
    with pytest.warns(UserWarning, match="nothing about other patients"):
        prepared = look(tmp_path / "set", tmp_path / "c")
    assert prepared.val


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.sampled_from("ab"))), st.integers(0, 3))
def test_no_link_crosses_the_split(rows: list[tuple[int, int, str]], seed: int) -> None:
    """Against brute force: whoever can be reached over patients and contents is on one side."""
    patients, contents = (
        [f"{value}" if value else "" for value in column] for column in ([r[0] for r in rows], [r[1] for r in rows])
    )
    cases = [Case(f"c{i}", Path(), "voxels", label=label) for i, (_, _, label) in enumerate(rows)]
    groups = groups_of(patients, contents) if rows else []
    decided = split_by_patient(cases, groups=groups, seed=seed)
    reach = [{i} for i in range(len(rows))]
    for _ in rows:
        for i in range(len(rows)):
            for j in range(len(rows)):
                if any(values[i] and values[i] == values[j] for values in (patients, contents)):
                    reach[i] |= reach[j]
    for i, reached in enumerate(reach):
        assert {decided[j].split for j in reached} == {decided[i].split}
        assert {groups[j] for j in reached} == {groups[i]}
        assert {j for j in range(len(rows)) if groups[j] == groups[i]} == reached


def test_whatever_read_volume_opens_is_a_case(tmp_path: Path) -> None:
    for number, label in enumerate("ab"):
        folder = tmp_path / "set" / label
        write_scan(folder / "x.nii.gz", number)
        nibabel.save(nibabel.Nifti1Pair(shape(number + 2).astype(np.uint8), np.eye(4)), folder / "pair.img")
        nibabel.save(nibabel.MGHImage(shape(number + 4).astype(np.uint8), np.eye(4)), folder / "m.mgz")
        (folder / "notes.txt").write_text("no case")
        (folder / "Thumbs.db").write_bytes(b"\0")
    found = sorted(case.name for case in cases_of(tmp_path / "set"))
    assert found == [f"{label}/{name}" for label in "ab" for name in ("m.mgz", "pair.hdr", "x.nii.gz")]
    (tmp_path / "t.csv").write_text("path,label\nset/a/m.mgz,a\nset/a/pair.hdr,b\nset/a/notes.txt,b\n")
    cases = cases_of(tmp_path / "t.csv")
    store = VoxelStore(MASKS, tmp_path / "c")
    assert store.get(cases[0]).n_active == shape(4).sum()
    assert store.get(cases[1]).n_active == shape(2).sum()
    with pytest.raises(ValueError, match="not DICOM, NIfTI"):
        store.get(cases[2])


def test_train_says_it_in_one_line(tmp_path: Path) -> None:
    place = copies("same bytes", tmp_path)
    (tmp_path / "r.toml").write_text('name = "m"\n[threshold]\nkind = "range"\nlow = 0.5\n')
    words = ["train", place, "-e", 1, "-r", tmp_path / "r.toml", "--runs", tmp_path / "runs", "--json"]
    done = CliRunner().invoke(app, [str(word) for word in words], env={"NAPARI_SPARSE3D_CACHE": str(tmp_path / "c")})
    assert done.exit_code == 1
    assert "with the same content is for validation" in json.loads(done.stdout)["error"]


def tagged(path: Path, number: int, patient: str) -> Path:
    """One DICOM file under this name, or as the only one of a zip."""
    pixels = (100 * shape(number)[0, :6, :8]).astype(np.uint16)
    dataset = slice_of((0, 0, 0), series=f"1.2.{number}", pixels=pixels, PatientName=patient, PatientID=patient)
    if path.suffix != ".zip":
        return save(dataset, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(save(dataset, path.with_name("one.dcm")), "one.dcm")
    path.with_name("one.dcm").unlink()
    return path


@pytest.mark.parametrize("name", ["a", "a.dcm", "a.DCM", "a.ima", "a.dicom", "1.2.840.1", "a.img", "a.zip"])
def test_persons_are_known_whatever_a_file_of_theirs_is_called(name: str, tmp_path: Path) -> None:
    """Of the tags of a case count the patient, whose cases stay together, and the words that no label may hold."""
    tagged(tmp_path / "Quentin Zebedaeus benign" / name, 0, "Zebedaeus^Quentin")
    tagged(tmp_path / "malignant" / name, 1, "Other^Person")
    cases = cases_of(tmp_path)
    assert [case.label for case in cases] == ["benign", "malignant"]
    known = patients_of(cases)
    assert all(known)
    assert len(set(known)) == 2


def test_what_is_no_dicom_has_no_tags(tmp_path: Path) -> None:
    write_scan(tmp_path / "a" / "x.nii.gz", 0)
    (tmp_path / "b").mkdir()
    np.savez(tmp_path / "b" / "x.npz", coords=np.zeros((1, 3)))
    assert patients_of([Case.at(tmp_path / "a" / "x.nii.gz"), Case.at(tmp_path / "b" / "x.npz")]) == ["", ""]
