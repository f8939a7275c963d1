"""Cohorts: found, embedded, kept, mapped; in Python and by the commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.cohort import Cohort, cohort_of, find_cases, read_cohort, rows_of, write_rows
from napari_sparse3d.cohort.embed import embed_cases, thumbnail
from napari_sparse3d.errors import InputError
from napari_sparse3d.io.write import write_volume
from napari_sparse3d.models import Model, load_model
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Recipe, VoxelSet, voxelize


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("deepc2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class with small scans, a voxel set, and a file that cannot be read."""
    root = tmp_path_factory.mktemp("cohort")
    grid = np.stack(np.meshgrid(*[np.arange(20) - 9.5] * 3, indexing="ij"))
    for number in range(3):
        for label, inside in (
            ("ball", (grid**2).sum(0) < (6 + number) ** 2),
            ("box", np.abs(grid).max(0) < 5 + number),
        ):
            (root / label).mkdir(exist_ok=True)
            write_volume(Volume(100 * inside.astype(np.uint8), np.eye(4)), root / label / f"case{number}.nii.gz")
    volume = Volume(100 * (np.abs(grid).max(0) < 4).astype(np.uint8), np.eye(4))
    voxelize(volume, Recipe.named("shape-40")).save(root / "box" / "set.npz")
    (root / "ball" / "broken.nii.gz").write_bytes(b"no scan")
    return root


def test_cases_of_a_folder_take_its_sub_folders_as_labels(folder: Path) -> None:
    cases = find_cases(folder)
    assert sorted((case.path.name, case.label) for case in cases) == [
        *((f"case{n}.nii.gz", label) for n in range(3) for label in ("ball", "box")),
        ("set.npz", "box"),
    ]


def test_cases_of_a_table_lie_beside_it(folder: Path, tmp_path: Path) -> None:
    table = folder / "cases.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "age"], ["ball/case0.nii.gz", "ball", "61"]])
    (case,) = find_cases(table)
    table.unlink()
    assert case.path == folder / "ball" / "case0.nii.gz"
    assert (case.label, case.about) == ("ball", {"age": "61"})
    (tmp_path / "wrong.csv").write_text("file\nx\n")
    with pytest.raises(InputError, match="no column 'path'"):
        find_cases(tmp_path / "wrong.csv")


def test_an_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        find_cases(tmp_path)


def test_embedding_is_that_of_the_model_and_a_failure_is_a_row(folder: Path, model: Model, tmp_path: Path) -> None:
    from napari_sparse3d.cases.case import Case
    from napari_sparse3d.io import read_volume

    recipe = Recipe.named("shape-40")
    path = folder / "ball" / "case2.nii.gz"
    rows = list(embed_cases([Case.at(path), Case.at(folder / "ball" / "broken.nii.gz")], model, recipe=recipe))
    expected = model.run(voxelize(read_volume(path), recipe))
    np.testing.assert_array_equal(np.float32(rows[0]["embedding"]), expected.embedding)
    assert rows[0]["prediction"] == expected.label
    assert rows[1]["status"] == "failed"
    assert rows[1]["error"]
    cohort = cohort_of(rows)
    assert (len(cohort), cohort.n_failed) == (1, 1)
    write_rows(rows, tmp_path / "t.parquet")
    back = read_cohort(tmp_path / "t.parquet")
    np.testing.assert_array_equal(back.embeddings, cohort.embeddings)
    assert back.thumbnails is not None
    assert back.thumbnails.shape == (1, 48, 48)
    assert back.column("name") == cohort.column("name")
    assert rows_of(back)[0]["path"] == str(path)


def test_a_thumbnail_has_superior_up_and_anterior_left() -> None:
    indices = np.array([[0, 0, 5], [9, 9, 5]], dtype=np.int32)
    picture = thumbnail(VoxelSet(indices, np.ones((2, 1), np.float32), (10, 10, 10), np.eye(4)))
    assert picture[0, 0] == 255  # high z, high y: superior and anterior
    assert picture[-1, -1] == 255
    assert picture[6:-6].max() == 0


def test_a_thumbnail_has_no_holes_where_voxels_are_larger_than_pixels_or_smaller() -> None:
    for n in (10, 100):
        indices = np.argwhere(np.ones((n, n, 1))).astype(np.int32)
        plate = VoxelSet(indices, np.ones((len(indices), 1), np.float32), (n, n, 1), np.diag([2.0, 1.0, 1.0, 1.0]))
        picture = thumbnail(plate)
        assert (picture[:, 12:36] > 0).all()  # twice as high as wide
        assert picture[:, :12].max() == picture[:, 36:].max() == 0


def test_the_case_itself_and_its_patient_are_left_out(tmp_path: Path) -> None:
    from napari_sparse3d.cohort.same import same_case

    rows = [
        {"path": str(tmp_path / path), "series": series, "patient": patient, "status": "done", "embedding": [1.0, 0.0]}
        for path, series, patient in [
            ("a", 0, "p"),
            ("a", 1, "q"),
            ("b", None, "p"),
            ("c", None, None),
            ("d", None, ""),
        ]
    ]
    cohort = cohort_of(rows)
    marked = {
        "one series of a folder": (tmp_path / "a", 0, None, [0, 2]),
        "the whole folder": (tmp_path / "x" / ".." / "a", None, None, [0, 1, 2]),
        "a case without a patient": (tmp_path / "c", None, None, [3]),
        "a case from elsewhere": (tmp_path / "e", None, "q", [1]),
        "nothing known": (None, None, None, []),
    }
    for path, series, patient, expected in marked.values():
        found = same_case(cohort, path, series, patient)
        assert [number for number, word in enumerate(found) if word] == expected


def test_embeddings_of_two_models_are_refused() -> None:
    with pytest.raises(InputError, match="one model"):
        cohort_of([{"embedding": [1.0, 0.0]}, {"embedding": [1.0]}])


def test_map_and_similar_on_the_command_line(folder: Path, model: Model, tmp_path: Path) -> None:
    recipe = Recipe.named("shape-40")
    rows = list(embed_cases(find_cases(folder), model, recipe=recipe))
    table = tmp_path / "cohort.parquet"
    write_rows(rows, table)

    said = call("map", str(table), "-o", str(tmp_path / "map.parquet"), "--json")
    assert said["n"] == len(rows)
    placed = read_cohort(tmp_path / "map.parquet")
    np.testing.assert_allclose(placed.column("x"), np.array(said["positions"])[:, 0], rtol=1e-6)

    path = folder / "ball" / "case1.nii.gz"
    asked = ("--table", str(table), "--model", "deepc2", "-r", "shape-40", "-k", "3", "--json")
    said = call("similar", str(path), *asked)
    assert len(said["cases"]) == 3
    assert str(path) not in [case["path"] for case in said["cases"]]
    copy = tmp_path / "the same scan elsewhere.nii.gz"
    copy.write_bytes(path.read_bytes())
    said = call("similar", str(copy), *asked)
    assert said["cases"][0]["path"] == str(path)
    assert said["cases"][0]["distance"] == pytest.approx(0, abs=1e-6)
    distances = [case["distance"] for case in said["cases"]]
    assert distances == sorted(distances)


def call(*words: str) -> dict:  # type: ignore[type-arg]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_keys_order_series_by_number_and_survive_missing_columns():
    """Equals in `similar` stand by path, then series 9 before 10."""
    numbered = Cohort({"path": ["b", "a", "a", None], "series": [1, 10, 9, None]}, np.eye(4, dtype=np.float32))
    keys = numbered.keys()
    assert sorted(range(4), key=keys.__getitem__) == [3, 2, 1, 0]
    assert len(set(Cohort({}, np.eye(2, dtype=np.float32)).keys())) == 1
