"""The record of a case: its columns, where its scan is found again, and what tables of earlier versions meant."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from dicom_files import series_of
from napari_sparse3d.cases.sources import cases_of, find_cases, series_at
from napari_sparse3d.cli import app
from napari_sparse3d.cohort import read_cohort
from napari_sparse3d.io import read_volume, scan
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.voxels import RangeThreshold, Recipe

BEFORE = Path(__file__).parent / "tables"
"""Tables that the version before the columns ``prediction`` and ``schema`` wrote, of four scans and a torn one."""
COLUMNS = [
    "path", "series", "series_number", "content", "status", "error", "label", "patient", "modality", "manufacturer",
    "spacing_mm", "prediction", "probability", "probabilities", "embedding", "n_active", "active_percent",
    "outside_training", "recipe", "recipe_hash", "model", "model_hash", "engine", "seconds", "schema",
]  # fmt: skip
SMALL = {"field": 16, "channels": (4, 8), "embedding": 6, "classes": 3}


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    recipe = Recipe(name="small", threshold=RangeThreshold(low=50), field=16)
    card = load_model("residual").card.model_copy(
        update={"arguments": SMALL, "classes": ("a", "b", "c"), "recipe": recipe, "name": "small"}
    )
    Model(build_network("residual", **SMALL), card).save(path)
    return path


def write_nifti(path: Path, size: int) -> Path:
    data = np.zeros((12, 12, 12), np.int16)
    data[2:size, 3:9, 3:9] = 100
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(data, np.diag([1.0, 2.0, 3.0, 1.0])), path)
    return path


def write_dicom(folder: Path, number: int, patient: str = "P1", *, size: int = 6) -> Path:
    """A cube of 100 in 12 slices, as series ``number`` of a patient."""
    values = np.zeros((12, 12, 12), np.int16)
    values[3:size, 3:9, 3:9] = 1100  # less 1000: the header says so

    def change(k: int, own: dict[str, Any]) -> None:
        own |= {"pixels": values[k], "SeriesNumber": number, "PatientID": patient}

    uid = f"1.2.3.{number}.{hashlib.sha256(str(folder).encode()).digest()[0]}"
    series_of(folder, 12, size=(12, 12), spacing=(1.0, 1.0), step=(0, 0, 1), series=uid, change=change)
    return folder


def rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    return found


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two DICOM series in folders of their own, two in one folder, a NIfTI file below another."""
    root = tmp_path / "scans"
    write_dicom(root / "one", 7, "P1", size=6)
    write_dicom(root / "two", 8, "P2", size=7)
    write_dicom(root / "both", 11, "P3", size=8)
    for file in sorted(write_dicom(tmp_path / "aside", 12, "P3", size=9).iterdir()):
        file.rename(root / "both" / f"other_{file.name}")
    write_nifti(root / "more" / "a.nii.gz", 9)
    return root


def test_the_columns_are_those_of_the_contract(archive: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert run("predict", archive, "-m", model, "-o", out).exit_code == 0
    schema = parquet.read_schema(out)
    assert schema.names == COLUMNS
    assert schema.field("embedding").type == schema.field("probabilities").type == pa.list_(pa.float32())
    for row in rows(out):
        assert row["status"] == "done"
        assert (row["label"], row["schema"]) == (None, 2)
        assert row["prediction"] in "abc"
        assert len(row["model_hash"]) == len(row["recipe_hash"]) == len(row["content"]) == 64


def test_a_row_finds_its_scan_again(archive: Path, model: Path, tmp_path: Path) -> None:
    """By path and number, which `info` says alike; by content, which is a hash of what is read."""
    out = tmp_path / "out.parquet"
    assert run("predict", archive, "-m", model, "-o", out).exit_code == 0
    found = rows(out)
    assert [(row["path"], row["series"], row["series_number"]) for row in found] == [
        (str(archive / "one"), 0, 7),
        (str(archive / "two"), 0, 8),
        (str(archive / "both"), 0, 11),
        (str(archive / "both"), 1, 12),
        (str(archive / "more" / "a.nii.gz"), 0, None),
    ]
    listed = json.loads(run("info", archive, "--json").stdout)["series"]
    assert [(row["path"], row["series"], row["series_number"]) for row in found] == [
        (str(archive / item["path"]), item["series"], item["series_number"]) for item in listed
    ]
    for row in found:
        volume = read_volume(row["path"], series=row["series"])
        total = hashlib.sha256(f"{volume.data.dtype.newbyteorder('<').str} {volume.shape} {volume.unit}\n".encode())
        total.update(volume.data.tobytes() + (volume.affine + 0.0).tobytes())
        assert row["content"] == total.hexdigest()
        assert row["spacing_mm"] == pytest.approx(volume.spacing_mm)
        assert row["patient"] == (scan(row["path"])[row["series"]].patient or None)
    assert found[2]["patient"] == found[3]["patient"] != found[0]["patient"]
    assert len({row["content"] for row in found}) == 5


def test_a_failure_names_which(archive: Path, model: Path, tmp_path: Path) -> None:
    torn = archive / "more" / "torn.nii.gz"
    torn.write_bytes(b"torn")
    out = tmp_path / "out.parquet"
    done = run("predict", archive, "-m", model, "-o", out)
    assert done.exit_code == 1
    (row,) = [row for row in rows(out) if row["status"] == "failed"]
    assert (row["path"], row["series"]) == (str(torn), 0)
    assert row["error"].startswith("series 0 is refused")
    digits = hashlib.sha256(b"torn").hexdigest()[:8]
    assert f"row 5 of the table (series 0, {digits}): series 0 is refused" in done.stderr
    assert "torn.nii" not in done.stderr


def test_series_left_out_are_counted(archive: Path, model: Path, tmp_path: Path) -> None:
    def scout(k: int, own: dict[str, Any]) -> None:
        own |= {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesNumber": 1}

    series_of(archive / "scout", 3, size=(12, 12), spacing=(1.0, 1.0), step=(0, 0, 9), series="1.2.9", change=scout)
    out = tmp_path / "out.parquet"
    done = json.loads(run("predict", archive, "-m", model, "-o", out, "--json").stdout)
    assert (done["done"], done["failed"], done["left_out"]) == (5, 0, 1)
    assert "1 scouts, reports or the like left out" in run("predict", archive, "-m", model, "-o", out).stderr


def test_a_table_is_an_input_of_predict(archive: Path, model: Path, tmp_path: Path) -> None:
    table = archive / "cases.csv"
    table.write_text(
        "path,series,label,participant_id,age\none,,1.0,P9,61\nboth,1, NA ,,\nmore/a.nii.gz,,ball,0123456789abcdef,\n"
    )
    out = tmp_path / "out.parquet"
    done = run("predict", table, "-m", model, "-o", out)
    assert done.exit_code == 0, done.output
    found = rows(out)
    assert [row["path"] for row in found] == [str(archive / name) for name in ("one", "both", "more/a.nii.gz")]
    assert [row["series"] for row in found] == [None, 1, None]
    assert [row["label"] for row in found] == ["1", None, "ball"]
    assert found[1]["patient"] == scan(archive / "both")[1].patient
    assert found[2]["patient"] == "0123456789abcdef"
    assert "P9" not in str(found)
    # what is written is understood when it is read: its predictions are no labels
    again = cases_of(out)
    assert [(case.label, case.path) for case in again] == [(row["label"], Path(row["path"])) for row in found]
    assert all("prediction" not in case.about for case in again)


def test_the_rows_of_a_table_that_changed_are_made_anew(archive: Path, tmp_path: Path) -> None:
    from napari_sparse3d.cases.parts import state_of

    states = []
    for text in ("path,label\none,a\n", "path,label\none,b\n", "path,label\none,a\n"):
        (archive / "t.csv").write_text(text)
        states.append(state_of(find_cases(archive / "t.csv")[0]))
    assert states[0] == states[2] != states[1]


def test_a_table_of_the_first_version_is_understood() -> None:
    stored = rows(BEFORE / "predicted_schema_1.parquet")
    assert "prediction" not in stored[0]
    cohort = read_cohort(BEFORE / "predicted_schema_1.parquet")
    assert list(cohort.column("prediction")) == [row["label"] for row in stored if row["embedding"]] == ["c"] * 4
    assert list(cohort.column("label")) == [None] * 4
    # nor is a prediction taken for the truth where the table names cases
    assert {case.label for case in cases_of(BEFORE / "predicted_schema_1.parquet")} == {None}


def test_a_cohort_of_the_first_version_keeps_its_labels() -> None:
    cohort = read_cohort(BEFORE / "embedded_schema_1.parquet")
    assert list(cohort.column("label")) == ["ball", "ball", "box", "box"]
    assert list(cohort.column("prediction")) == ["c"] * 4
    assert cohort.thumbnails is not None
    assert [case.label for case in cases_of(BEFORE / "embedded_schema_1.parquet")] == ["ball", "ball", "box", "box"]


def test_labels_of_somebody_elses_table_stay(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"label": ["x"], "embedding": [[1.0, 0.0]]}), tmp_path / "t.parquet")
    assert list(read_cohort(tmp_path / "t.parquet").column("label")) == ["x"]


def test_a_table_of_a_later_version_is_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"schema": [99], "embedding": [[1.0, 0.0]]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="version 99"):
        read_cohort(tmp_path / "t.parquet")


def test_a_series_whose_files_are_spread_is_at_the_root(tmp_path: Path) -> None:
    """No folder below holds all of it: what lies beside its parts cannot be counted there either."""
    root = tmp_path / "scans"
    write_dicom(root / "a", 1)
    write_dicom(root / "b", 2, size=7)
    for file in sorted((root / "b").iterdir())[:6]:
        file.rename(root / "a" / f"moved_{file.name}")
    for case in series_at(root).cases:
        assert case.path == root
        assert case.info is not None
        again = read_volume(case.path, series=case.series)
        np.testing.assert_array_equal(again.data, read_volume(case.info).data)
