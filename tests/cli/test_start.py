"""What a command imports when it is started as the program is: no library that it does not use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from dicom_files import series_of

PROGRAM = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from napari_sparse3d.cli import main
main()
"""
NEVER = {
    "pandas",
    "highdicom",
    "SimpleITK",
    "matplotlib",
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "qtpy",
    "napari",
}


def started(*arguments: Any) -> tuple[str, set[str]]:
    """What a command prints, and the modules that its process holds at the end."""
    call = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, set(json.loads(done.stderr.splitlines()[-1]))


def test_info_and_voxelize_load_neither_torch_nor_dicom(scan_file: Path, recipe_file: Path, tmp_path: Path) -> None:
    for call in (("info", scan_file), ("voxelize", scan_file, "-r", recipe_file, "-o", tmp_path / "a.npz")):
        _, modules = started(*call)
        assert "nibabel" in modules
        assert not modules & (NEVER | {"torch", "pydicom", "gdcm", "requests", "pyarrow"})


def test_predict_loads_torch_and_what_writes_its_table(scan_file: Path, recipe_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.parquet"
    _, modules = started("predict", scan_file, "-m", "deepc2", "-r", recipe_file, "-o", output)
    assert output.is_file()
    assert {"torch", "nibabel", "pyarrow"} <= modules
    assert not modules & (NEVER | {"pydicom", "gdcm", "requests"})


def test_what_is_left_out_is_there_for_those_who_use_it(tmp_path: Path) -> None:
    """A folder of both: DICOM by pydicom, and a NIfTI file with DICOM in its header, which pydicom cannot parse."""
    series_of(tmp_path / "series")
    image = nibabel.Nifti1Image(np.zeros((5, 6, 7), np.int16), np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(2, b"no data set"))
    nibabel.save(image, tmp_path / "a.nii.gz")
    printed, modules = started("info", "--json", tmp_path)
    assert {"nibabel", "pydicom"} <= modules
    assert sorted(series["format"] for series in json.loads(printed)["series"]) == ["DICOM", "NIfTI-1"]


@pytest.mark.parametrize(("user", "unused"), [("nibabel", "pydicom"), ("pyarrow", "pandas")])
def test_only_the_one_that_asks_goes_without(user: str, unused: str) -> None:
    statements = f"""
import sys
from napari_sparse3d.cli.optional_imports import leave_out_what_is_optional
finders = list(sys.meta_path)
leave_out_what_is_optional()
import {user}
assert {unused!r} not in sys.modules
assert {user}.__spec__.loader is {user}.__loader__ and type({user}.__loader__).__name__ == "SourceFileLoader"
import {unused}
assert {unused}.__version__
import nibabel, pyarrow, nibabel.nifti1
assert sys.meta_path == finders
assert not nibabel.nifti1.have_dicom and pyarrow.array([1.5]).to_pylist() == [1.5]
"""
    done = subprocess.run([sys.executable, "-c", statements], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
