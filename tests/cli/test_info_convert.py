"""``info`` and ``convert`` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from dicom_files import check_world_code, series_of
from napari_sparse3d.cli import app
from napari_sparse3d.io import VolumeSequence, read_sequence, read_volume, write_volume
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


def test_convert_that_wrote_nothing_fails(tmp_path: Path) -> None:
    """Also where the only series is none of images: a picture of the screen, a report, a broken file."""
    series_of(tmp_path / "screen", 1, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ImagePositionPatient=None)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.nrrd").write_bytes(b"NRRD0005\ntype: short\n\n")
    for name in ("screen", "broken"):
        for out in ("out", "out.nii.gz"):
            result = call("convert", tmp_path / name, "-o", tmp_path / out)
            assert result.exit_code == 1, result.output
            assert "error:" in result.stderr
            assert not (tmp_path / out).exists()


def test_convert_passes_over_pictures_and_names_broken_files(tmp_path: Path) -> None:
    series_of(tmp_path / "in" / "a")
    series_of(
        tmp_path / "in" / "b", 1, series="1.9", SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ImagePositionPatient=None
    )
    assert call("convert", tmp_path / "in", "-o", tmp_path / "out").exit_code == 0
    (tmp_path / "in" / "c.nrrd").write_bytes(b"NRRD0005\ntype: short\n\n")
    result = call("convert", tmp_path / "in", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "damaged" in result.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1


@pytest.mark.parametrize(
    ("times", "said"), [((0.0, 2.0, 4.0), ""), ((0.0, 1.0, 9.0), "unevenly in time"), (None, "is not known")]
)
def test_convert_says_what_a_file_cannot_hold_of_time(times: tuple | None, said: str, tmp_path: Path) -> None:
    data = np.zeros((3, 4, 4, 4), np.int16)
    write_volume(VolumeSequence(data, np.eye(4), times_s=times), tmp_path / "a.nrrd")
    result = call("convert", tmp_path / "a.nrrd", "-o", tmp_path / "b.nii.gz", "--json")
    (item,) = json.loads(result.stdout)["series"]
    assert result.exit_code == 0
    assert said in " ".join(item["notes"])
    assert bool(item["notes"]) == bool(said)
    assert said in result.stderr
    step = read_sequence(tmp_path / "b.nii.gz").step_s
    assert step == (2.0 if not said else None)
    again = call("convert", tmp_path / "a.nrrd", "-o", tmp_path / "c.nrrd")
    assert again.exit_code == 0
    assert read_sequence(tmp_path / "c.nrrd").times_s == times
