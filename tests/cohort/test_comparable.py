"""Embeddings of different models or recipes are never compared; a case is not its own neighbour."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from dicom_files import blocks_in_one_folder, series_of
from napari_sparse3d.cli import app
from napari_sparse3d.cohort import read_cohort
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.voxels import RangeThreshold, Recipe

SMALL = {"field": 16, "channels": (4, 8), "embedding": 6, "classes": 3}
RECIPE = Recipe(name="small", threshold=RangeThreshold(low=50), field=16)


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def save_model(path: Path, seed: int) -> Path:
    """All of one name: that tells nothing."""
    card = load_model("residual").card.model_copy(
        update={"arguments": SMALL, "classes": ("a", "b", "c"), "recipe": RECIPE, "name": "small"}
    )
    Model(build_network("residual", seed=seed, **SMALL), card).save(path)
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three series in one folder, one scan beside it; two models of one name."""
    blocks_in_one_folder(tmp_path / "scans" / "ct", zip(("P1", "P2", "P3"), (6, 8, 9), strict=True))
    data = np.zeros((12, 12, 12), np.int16)
    data[2:7, 2:9, 2:9] = 100
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "scans" / "a.nii.gz")
    save_model(tmp_path / "one.safetensors", 1)
    save_model(tmp_path / "two.safetensors", 2)
    monkeypatch.chdir(tmp_path)
    assert run("predict", "scans", "-m", "one.safetensors", "-o", "one.parquet").exit_code == 0
    return tmp_path


def similar(*arguments: Any) -> Any:
    done = run("similar", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_another_model_of_the_same_name_and_length_is_refused(place: Path) -> None:
    assert similar("scans/a.nii.gz", "--table", "one.parquet", "-m", "one.safetensors", "-k", 9)["n_cohort"] == 4
    done = run("similar", "scans/a.nii.gz", "--table", "one.parquet", "-m", "two.safetensors")
    assert done.exit_code == 1
    assert "another model" in done.stderr
    assert "--model" in done.stderr
    assert "predict" in done.stderr


def test_another_recipe_is_refused_and_another_name_for_it_is_not(place: Path) -> None:
    RECIPE.model_copy(update={"name": "called otherwise", "field": 32}).save(place / "same.toml")
    Recipe(name="small", threshold=RangeThreshold(low=60), field=16).save(place / "other.toml")
    asked = ("similar", "scans/a.nii.gz", "--table", "one.parquet", "-m", "one.safetensors", "-r")
    assert run(*asked, "same.toml").exit_code == 0
    done = run(*asked, "other.toml")
    assert done.exit_code == 1
    assert "another recipe" in done.stderr
    assert "--recipe" in done.stderr


@pytest.mark.parametrize("what", ["model", "recipe"])
def test_maps_of_a_mixture_are_refused(place: Path, what: str) -> None:
    Recipe(name="small", threshold=RangeThreshold(low=60), field=16).save(place / "other.toml")
    call = {"model": ("-m", "two.safetensors"), "recipe": ("-m", "one.safetensors", "-r", "other.toml")}[what]
    assert run("predict", "scans", *call, "-o", "two.parquet").exit_code == 0
    # whether they are two tables or one
    joined = pa.concat_tables([parquet.read_table("one.parquet"), parquet.read_table("two.parquet")])
    parquet.write_table(joined, "joined.parquet")
    for tables in (("one.parquet", "two.parquet"), ("joined.parquet",)):
        done = run("map", *tables, "-o", "map.parquet", "--method", "pca")
        assert done.exit_code == 1
        assert f"embedded by 2 {what}s" in done.stderr
        assert "predict" in done.stderr
        assert not Path("map.parquet").exists()
    assert run("map", "one.parquet", "one.parquet", "-o", "map.parquet", "--method", "pca").exit_code == 0


def test_what_does_not_say_its_model_is_not_mixed_with_what_does(place: Path) -> None:
    table = parquet.read_table("one.parquet")
    parquet.write_table(table.drop_columns(["model_hash", "recipe_hash"]), "before.parquet")
    with pytest.raises(InputError, match="4 of 8 cases do not say which model"):
        read_cohort([Path("one.parquet"), Path("before.parquet")])
    asked = ("similar", "scans/a.nii.gz", "--table", "before.parquet", "-m")
    done = run(*asked, "one.safetensors")
    assert done.exit_code == 0
    assert "not certain" in done.stderr
    # of another name it is refused all the same
    done = run(*asked, "deepc2", "-r", "shape-40")
    assert done.exit_code == 1
    assert "another model" in done.stderr


def test_a_case_of_a_folder_is_not_its_own_neighbour(place: Path) -> None:
    asked = ("--table", "one.parquet", "-m", "one.safetensors", "-k", 9)
    rows = parquet.read_table("one.parquet").to_pylist()
    for series in range(3):
        own = next(row for row in rows if row["series_number"] == series + 1)
        for way in (("scans", "--series", series), ("scans/ct", "--series", series)):
            found = similar(*way, *asked)
            assert found["of"] == {"path": own["path"], "series": own["series"], "content": own["content"]}
            others = {(case["path"], case["series"]) for case in found["cases"]}
            assert len(others) == 3
            assert (own["path"], own["series"]) not in others
    assert "scans/a.nii.gz" not in {case["path"] for case in similar("scans/a.nii.gz", *asked)["cases"]}


def test_a_moved_case_is_known_by_its_content_and_a_copy_is_shown(place: Path) -> None:
    asked = ("--table", "one.parquet", "-m", "one.safetensors", "-k", 9)
    shutil.copy("scans/a.nii.gz", "copy.nii.gz")
    nearest = similar("copy.nii.gz", *asked)["cases"][0]
    assert (nearest["path"], nearest["distance"]) == ("scans/a.nii.gz", pytest.approx(0, abs=1e-6))
    Path("scans/a.nii.gz").unlink()
    assert "scans/a.nii.gz" not in {case["path"] for case in similar("copy.nii.gz", *asked)["cases"]}


def test_the_patient_of_a_scan_is_known_from_its_tags(place: Path) -> None:
    """Another series of patient P1, that is not in the cohort."""

    def change(k: int, own: dict[str, Any]) -> None:
        own |= {"pixels": np.full((12, 12), 1100, np.int16), "SeriesNumber": 77, "PatientID": "P1"}

    series_of(place / "new", 12, size=(12, 12), spacing=(1.0, 1.0), step=(0, 0, 1), series="1.2.77", change=change)
    asked = ("--table", "one.parquet", "-m", "one.safetensors", "-k", 9)
    found = similar("new", *asked)["cases"]
    assert {case["series_number"] for case in found} == {2, 3, None}
    assert {case["series_number"] for case in similar("new", *asked, "--not-patient", "P2")["cases"]} == {1, 3, None}
