"""A stranger's package adds a format of which an image is a folder: every way in and out takes it."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sparse3d.catalog import FORMATS, FormatInfo
from napari_sparse3d.cli import app
from napari_sparse3d.errors import InputError, ReadError
from napari_sparse3d.io import VolumeSequence, read_sequence, read_volume, scan, write_volume
from napari_sparse3d.io.formats import opens
from napari_sparse3d.io.sources import files_behind
from napari_sparse3d.volume import Volume

HERE = Path(__file__).parent
AFFINE = np.array([[2.5, 0, 0, -7], [0, 0.8, 0.1, 4], [0, -0.1, 1.1, 30], [0, 0, 0, 1]])


@pytest.fixture
def stranger(tmp_path_factory, monkeypatch):
    """The package, installed: importable, with its entry point."""
    place = tmp_path_factory.mktemp("installed")
    shutil.copy(HERE / "shape_folder.py", place)
    about = place / "shape_folder-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shape-folder\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[napari_sparse3d.formats]\nshape = shape_folder:SHAPE\n")
    monkeypatch.syspath_prepend(place)
    importlib.invalidate_caches()
    FORMATS.forget()
    yield FORMATS["shape"]
    monkeypatch.undo()
    sys.modules.pop("shape_folder", None)
    FORMATS.forget()


def volume() -> Volume:
    z, y, x = np.ogrid[:12, :14, :10]
    inside = (z - 5.5) ** 2 + (y - 6.5) ** 2 + (x - 4.5) ** 2 <= 16
    data = np.where(inside, 300 + 10 * z + y + x, -1000).astype(np.int16)
    return Volume(data, AFFINE, "HU", "CT")


@pytest.fixture
def folder(tmp_path, stranger) -> Path:
    write_volume(volume(), tmp_path / "in" / "one.shape")
    return tmp_path / "in" / "one.shape"


def same(found: Volume) -> None:
    np.testing.assert_array_equal(found.data, volume().data)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-5)
    assert (found.unit, found.modality) == ("HU", "CT")


def call(*arguments):
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_without_the_package_it_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "one.shape").mkdir()
    (tmp_path / "one.shape" / "shape.json").write_text("{}")
    assert "shape" not in FORMATS
    with pytest.raises(ReadError, match=r"none of 1 files is a scan \(DICOM, NIfTI"):
        scan(tmp_path)
    with pytest.raises(InputError, match=r"written as \.nii\.gz, \.nii or \.nrrd, got 'b\.shape'"):
        write_volume(volume(), tmp_path / "b.shape")


def test_it_is_written_whole_and_never_over_another(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["shape.json", "voxels.raw"]
    same(read_volume(folder))
    with pytest.raises(InputError, match="is there already"):
        write_volume(volume(), folder)
    same(read_volume(folder))
    assert [path.name for path in folder.parent.iterdir()] == ["one.shape"], "nothing is left beside it"


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path, stranger: FormatInfo, monkeypatch) -> None:
    import shape_folder

    def half(data, scan, path):
        path.mkdir()
        (path / "shape.json").write_text("{")
        raise OSError("full")

    monkeypatch.setattr(shape_folder, "write_shape", half)
    with pytest.raises(OSError, match="full"):
        write_volume(volume(), tmp_path / "one.shape")
    assert list(tmp_path.iterdir()) == []


def test_found_below_a_folder_beside_others(folder: Path) -> None:
    write_volume(volume(), folder.parent / "two.nii.gz")
    shutil.copytree(folder, folder.parent / "deeper" / "by its content")
    found = scan(folder.parent)
    assert sorted(info.format for info in found) == ["NIfTI-1", "Shape folder", "Shape folder"]
    for info in found:
        same(read_volume(info))


def test_a_damaged_one_among_others_is_listed_with_the_reason(folder: Path) -> None:
    write_volume(volume(), folder.parent / "two.nii.gz")
    (folder / "shape.json").write_text("{")
    found = {info.format: info for info in scan(folder.parent)}
    assert "shape.json is damaged" in found["unreadable"].reason
    with pytest.raises(ReadError, match=r"shape\.json is damaged"):
        read_volume(folder)


def test_a_fault_of_the_package_is_one_line(folder: Path, monkeypatch) -> None:
    import shape_folder

    monkeypatch.setattr(shape_folder, "scan_shape", lambda folder: 1 / 0)
    write_volume(volume(), folder.parent / "two.nii.gz")
    assert (
        "reader of Shape folder failed: ZeroDivisionError"
        in {i.format: i for i in scan(folder.parent)}["unreadable"].reason
    )


def test_in_a_zip(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for number in range(2):
            for file in folder.iterdir():
                archive.write(file, f"Doe Jane/{number}.shape/{file.name}")
    first, second = scan(tmp_path / "a.zip")
    same(read_volume(first))
    same(read_volume(second))
    assert "Doe" not in repr(first) + first.title


def test_in_a_zip_nothing_climbs_out(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"x/{file.name}")
        archive.writestr("x/../../../escaped.txt", "out")
        archive.writestr("x/sub/../../up.txt", "out")
    same(read_volume(tmp_path / "a.zip"))
    assert not list(tmp_path.parent.rglob("escaped.txt"))


def test_info_and_convert_from_and_to_it(folder: Path, tmp_path: Path) -> None:
    (listed,) = json.loads(call("info", folder, "--json"))["series"]
    assert (listed["format"], listed["shape"], listed["unit"]) == ("Shape folder", [12, 14, 10], "HU")
    call("convert", folder, "-o", tmp_path / "a.nii.gz")
    call("convert", tmp_path / "a.nii.gz", "-o", tmp_path / "back.shape")
    same(read_volume(tmp_path / "back.shape"))
    call("convert", folder.parent, "-o", tmp_path / "all", "--to", "shape")
    (made,) = (tmp_path / "all").iterdir()
    same(read_volume(made))
    assert ".shape" in call("convert", "--help")
    assert "Shape folder" in " ".join(call("info", "--help").replace("│", " ").split())


def test_a_series_in_time_says_what_the_format_cannot_hold(tmp_path: Path, stranger: FormatInfo) -> None:
    data = np.stack([volume().data] * 3)
    write_volume(VolumeSequence(data, AFFINE, "HU", "CT", times_s=(0, 1, 9)), tmp_path / "a.nrrd")
    made = json.loads(call("convert", tmp_path / "a.nrrd", "-o", tmp_path / "a.shape", "--json"))["series"][0]
    assert "which Shape folder has no field for" in made["notes"][0]
    assert len(read_sequence(tmp_path / "a.shape")) == 3
    same(read_volume(tmp_path / "a.shape", frame=2))


def test_voxels_and_predictions(folder: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    call("voxelize", folder, "--recipe", "ct-bone-110", "-o", tmp_path / "a.npz")
    call("predict", folder, folder.parent, "--model", "deepc2", "--recipe", "ct-bone-110", "-o", tmp_path / "p.parquet")
    rows = parquet.read_table(tmp_path / "p.parquet").to_pylist()
    assert [row["status"] for row in rows] == ["done", "done"]
    assert rows[0]["embedding"] == rows[1]["embedding"]


def test_the_napari_reader(folder: Path) -> None:
    npe2 = pytest.importorskip("npe2")
    npe2.PluginManager.instance().discover()
    for path in (folder, folder.parent):
        ((data, kwargs, kind),) = npe2.read([str(path)], stack=False, plugin_name="napari-sparse3d")
        assert kind == "image"
        np.testing.assert_array_equal(data, volume().data)
        assert kwargs["metadata"]["unit"] == "HU"


def test_where_else_it_is_known(folder: Path) -> None:
    assert opens(folder)
    assert set(files_behind(folder)) == set(folder.iterdir())
    assert FORMATS.ending_of("Doe_Jane.shape") == ".shape"
    (info,) = scan(folder)
    assert info.title == "one", "its ending is no part of its name"
