"""``info`` and ``convert`` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dicom_files import check_world_code, series_of
from napari_sparse3d.cli import app
from napari_sparse3d.io import read_volume, write_volume
from napari_sparse3d.io.phantom import chest_phantom


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(item) for item in arguments])


def test_info_lists_series_with_badges_and_faults(tmp_path: Path) -> None:
    series_of(tmp_path / "a")
    series_of(tmp_path / "b", 6, series="1.9", SeriesNumber=4)[2].unlink()
    result = call("info", tmp_path)
    assert result.exit_code == 0
    assert "✓ clean" in result.output
    assert "! repair" in result.output
    assert "gap: 1 slice is missing" in result.output
    listed = json.loads(call("info", tmp_path, "--json").stdout)["series"]
    assert [item["status"] for item in listed] == ["clean", "repair"]
    assert listed[0]["shape"] == [5, 6, 8]
    assert listed[1]["faults"][0]["kind"] == "gap"


def test_info_of_what_cannot_be_read(tmp_path: Path) -> None:
    assert call("info", tmp_path / "nothing").exit_code == 1
    series_of(tmp_path / "b", 6)[2].unlink()
    assert call("info", tmp_path).exit_code == 1, "nothing there can be read as it is"


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_convert_one_series(ending: str, tmp_path: Path) -> None:
    series_of(tmp_path / "a")
    result = call("convert", tmp_path / "a", "-o", tmp_path / f"out{ending}", "--json")
    assert result.exit_code == 0
    (item,) = json.loads(result.stdout)["series"]
    assert (item["index"], item["status"], item["error"]) == (0, "read", None)
    check_world_code(read_volume(item["out"]))


def test_convert_every_series_and_name_the_refused(tmp_path: Path) -> None:
    series_of(tmp_path / "in" / "a", SeriesDescription="thorax")
    series_of(tmp_path / "in" / "b", 6, series="1.9", SeriesNumber=4)[2].unlink()
    result = call("convert", tmp_path / "in", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    read, refused = json.loads(result.stdout)["series"]
    assert (read["status"], refused["status"]) == ("read", "refused")
    assert "1 slice is missing" in refused["error"]
    assert refused["out"] is None
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["00_CT_thorax.nii.gz"]
    assert "series 1 is refused: gap" in result.stderr
    repaired = call("convert", tmp_path / "in", "--series", 1, "--repair", "resample", "-o", tmp_path / "b.nii.gz")
    assert repaired.exit_code == 0
    assert read_volume(tmp_path / "b.nii.gz").shape[0] == 6


def test_convert_writes_a_series_in_time_as_one_file(tmp_path: Path) -> None:
    for t in range(3):
        series_of(tmp_path / "in" / str(t), 4, TemporalPositionIdentifier=t + 1)
    assert call("convert", tmp_path / "in", "-o", tmp_path / "all.nii.gz").exit_code == 0
    assert call("convert", tmp_path / "in", "--frame", 1, "-o", tmp_path / "one.nii.gz").exit_code == 0
    check_world_code(read_volume(tmp_path / "all.nii.gz", frame=2))
    check_world_code(read_volume(tmp_path / "one.nii.gz"))


def test_convert_to_a_voxel_set(tmp_path: Path) -> None:
    write_volume(chest_phantom(), tmp_path / "a.nii.gz")
    out = tmp_path / "a.npz"
    assert call("convert", tmp_path / "a.nii.gz", "-o", out).exit_code == 2, "a voxel set needs a recipe"
    result = call("convert", tmp_path / "a.nii.gz", "-o", out, "--recipe", "ct-bone-110")
    assert result.exit_code == 0, result.output
    with np.load(out) as arrays:
        assert len(arrays["indices"]) > 1000


@pytest.mark.parametrize("out", ["a.png", "a.dcm"])
def test_convert_to_an_unknown_format_is_a_wrong_call(out: str, tmp_path: Path) -> None:
    series_of(tmp_path / "a")
    assert call("convert", tmp_path / "a", "-o", tmp_path / out).exit_code == 2
    assert call("convert", tmp_path / "a", "-o", tmp_path / "folder", "--to", "png").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
