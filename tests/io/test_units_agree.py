"""What ``info`` says of the unit is what reading gives: by the header's word, by our own note, and by the values."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from detached_files import write_metaimage, write_nrrd
from dicom_files import series_of
from napari_sparse3d import read_sequence, read_volume
from napari_sparse3d.cli import app
from napari_sparse3d.io import VolumeSequence, scan, write_volume
from napari_sparse3d.volume import Volume

info = importlib.import_module("napari_sparse3d.cli.info")  # the package has the command under this name


def ct(dtype: str = "int16", slope: float = 1.0) -> np.ndarray:
    data = np.full((16, 16, 16), -1000.0)
    data[4:12, 4:12, 4:12] = 200
    return (data / slope).astype(dtype)


def mr(dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, (16, 16, 16)).astype(dtype)


def _nifti(folder: Path, data: np.ndarray, slope: float = 1.0, inter: float = 0.0, kind=nibabel.Nifti1Image) -> None:
    image = kind(data, np.eye(4))
    image.header.set_slope_inter(slope, inter)
    nibabel.save(image, folder / "a.nii.gz")


def _written(folder: Path, name: str, unit: str, data: np.ndarray) -> None:
    write_volume(Volume(data, np.eye(4), unit), folder / name)


def _in_time(folder: Path) -> None:
    write_volume(VolumeSequence(np.stack([ct()] * 3), np.eye(4), "HU", "CT"), folder / "a.nii")


def _damaged(folder: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), np.nan, np.float32), np.eye(4)), folder / "a.nii")


CASES = {
    "CT as integers": (lambda folder: _nifti(folder, ct()), "HU"),
    "CT as floats": (lambda folder: _nifti(folder, ct("float32"), kind=nibabel.Nifti2Image), "HU"),
    "CT unsigned with an intercept": (lambda folder: _nifti(folder, (ct() + 1024).astype("uint16"), 1, -1024), "HU"),
    "CT in bytes, scaled": (lambda folder: _nifti(folder, ct("int8", 10.0), 10.0), "HU"),
    "MR as integers": (lambda folder: _nifti(folder, mr()), "a.u."),
    "MR unsigned": (lambda folder: _nifti(folder, mr("uint8")), "a.u."),
    "MGH": (lambda folder: nibabel.save(nibabel.MGHImage(ct("float32"), np.eye(4)), folder / "a.mgz"), "HU"),
    "our note of HU on what looks like MR": (lambda folder: _written(folder, "a.nii.gz", "HU", mr()), "HU"),
    "our note of none on what looks like CT": (lambda folder: _written(folder, "a.nii", "a.u.", ct()), "a.u."),
    "our note in NRRD": (lambda folder: _written(folder, "a.nrrd", "Bq/mL", mr()), "Bq/mL"),
    "in time": (_in_time, "HU"),
    "DICOM": (lambda folder: series_of(folder / "a"), "HU"),
    "DICOM of MR": (lambda folder: series_of(folder / "a", Modality="MR"), "a.u."),
    "nothing that can be read": (_damaged, ""),
}


def listed(path: Path) -> list[dict]:
    return json.loads(CliRunner().invoke(app, ["info", str(path), "--json"]).stdout)["series"]


@pytest.mark.parametrize("what", CASES)
def test_info_and_reading_agree(what: str, tmp_path: Path) -> None:
    make, unit = CASES[what]
    make(tmp_path)
    (item,) = listed(tmp_path)
    assert item["unit"] == unit
    (found,) = scan(tmp_path)
    assert found.unit in (unit, ""), "a header alone never says another unit"
    if unit:
        assert read_volume(tmp_path, frame=0).unit == unit == found.unit_as_read()


@pytest.mark.parametrize("write", [write_nrrd, write_metaimage])
@pytest.mark.parametrize("unit", ["HU", "a.u."])
def test_detached_and_attached_headers(write, unit: str, tmp_path: Path) -> None:
    name = "a.nrrd" if write is write_nrrd else "a.mha"
    write(tmp_path / name)
    assert listed(tmp_path)[0]["unit"] == read_volume(tmp_path).unit


def test_of_many_files_values_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "MOST_LOOKED_AT", 1)
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        _nifti(tmp_path / str(number), ct())
    result = CliRunner().invoke(app, ["info", str(tmp_path)])
    assert "2 files name no unit" in result.stderr
    assert "unit not known" in result.stdout
    assert [item["unit"] for item in listed(tmp_path)] == ["", ""]


def test_the_cure_that_is_named_is_there(tmp_path: Path) -> None:
    _in_time(tmp_path)
    with pytest.raises(ValueError, match="read all of them with read_sequence"):
        read_volume(tmp_path)
    assert len(read_sequence(tmp_path)) == 3
