"""The formats' libraries take seconds to import: each comes with the first file of its kind."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from detached_files import write_metaimage, write_nrrd
from dicom_files import series_of
from napari_sparse3d import io
from napari_sparse3d.io import sample_head_mri_path

LIBRARIES = {"pydicom", "highdicom", "SimpleITK", "gdcm", "nibabel"}  # nibabel itself imports pydicom


def loaded_by(statement: str) -> set[str]:
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{statement}\n{report}"], capture_output=True, text=True, check=True)
    return LIBRARIES & set(json.loads(done.stdout.splitlines()[-1]))


def test_the_names_alone_load_none() -> None:
    assert not loaded_by("import napari_sparse3d.napari_reader")
    assert not loaded_by("from napari_sparse3d.io import SeriesInfo, read_volume, sample_head_mri, scan")


def test_a_nifti_file_loads_neither_highdicom_nor_simpleitk() -> None:
    loaded = loaded_by(f"import napari_sparse3d as n; n.read_volume({str(sample_head_mri_path())!r})")
    assert "nibabel" in loaded
    assert not loaded & {"highdicom", "SimpleITK"}


def test_a_dicom_series_loads_neither_highdicom_nor_simpleitk(tmp_path: Path) -> None:
    series_of(tmp_path)
    loaded = loaded_by(f"import napari_sparse3d as n; n.read_volume({str(tmp_path)!r})")
    assert "pydicom" in loaded
    assert not loaded & {"highdicom", "SimpleITK"}


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_nrrd_and_metaimage_load_no_simpleitk(ending: str, tmp_path: Path) -> None:
    write = write_nrrd if ending == ".nrrd" else write_metaimage
    path = write(tmp_path / f"a{ending}")
    loaded = loaded_by(f"import napari_sparse3d as n; n.read_volume({str(path)!r})")
    assert not loaded & {"highdicom", "SimpleITK"}


def test_type_checkers_see_the_same_names() -> None:
    source = ast.parse(Path(io.__file__).read_text())
    (block,) = (node for node in source.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"napari_sparse3d.io.{home}" for name, home in io._HOME.items()}
    assert sorted(seen) == sorted(io.__all__)
    assert set(io.__all__) <= set(dir(io))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = io.nothing
