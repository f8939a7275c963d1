"""A variable that cannot be used is named in one line: by every command, from Python, in a panel."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

import napari_sparse3d as ns3
from napari_sparse3d.cli import app
from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import RangeThreshold, Recipe

WRONG = [
    ("NAPARI_SPARSE3D_ISA", "quantum"),
    ("NAPARI_SPARSE3D_ISA", "AVX2"),
    ("NAPARI_SPARSE3D_WINOGRAD_PAIRS", "many"),
    ("NAPARI_SPARSE3D_WINOGRAD_PAIRS", "nan"),
    ("SPARSE3D_WINOGRAD_PAIRS", "-1"),
    ("NAPARI_SPARSE3D_RUNS", " "),
    ("NAPARI_SPARSE3D_CACHE", os.devnull),
    ("NAPARI_SPARSE3D_HOME", "a\nb"),
]
VOLUME = Volume(np.full((4, 5, 6), 100, np.int16), np.eye(4), "HU", "CT", "box")
RECIPE = Recipe(name="half", threshold=RangeThreshold(low=50), field=16)
COMMANDS = sorted(str(command.name) for command in app.registered_commands)


def arguments(command: str, scan: Path, folder: Path) -> list[str]:
    """A call that does something, had nothing been wrong."""
    out = {
        "convert": ("-o", folder / "a.nrrd"),
        "voxelize": ("-r", "mri-110", "-o", folder / "a.npz"),
        "activations": ("-m", "deepc2"),
        "predict": ("-m", "adrenal", "-o", folder / "a.parquet"),
        "explain": ("-m", "adrenal", "-o", folder / "a.nrrd"),
        "map": ("-o", folder / "a.parquet"),
        "similar": ("--table", scan, "-m", "adrenal"),
    }
    if command in ("export", "evaluate"):
        return [command, "adrenal", *([str(folder)] if command == "evaluate" else [])]
    if command in ("demo", "doctor", "runs", "models", "bench"):
        return [command]
    return [command, str(scan), *map(str, out.get(command, ()))]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(VOLUME.data, np.eye(4)), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_every_command_names_it(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    for command in COMMANDS:
        done = CliRunner().invoke(app, arguments(command, scan, tmp_path))
        errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        assert (done.exit_code, len(errors)) == (2, 1), (command, done.output)
        assert name in errors[0]
        assert "or unset it" in errors[0]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_every_call_from_python_names_it(scan: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    from napari_sparse3d.engine.native import NativeEngine
    from napari_sparse3d.voxels.native_threshold import find_voxels

    monkeypatch.setenv(name, value)
    calls: list[Callable[[], Any]] = [
        lambda: ns3.voxelize(VOLUME, RECIPE),
        lambda: ns3.read_volume(scan),
        lambda: ns3.scan(scan),
        lambda: ns3.load_model("deepc2"),
        lambda: find_voxels(VOLUME.data, 0, 1),
        NativeEngine,
    ]
    for call in calls:
        with pytest.raises(InputError, match=name):
            call()
    monkeypatch.delenv(name)
    assert ns3.voxelize(ns3.read_volume(scan), RECIPE).n_active == VOLUME.data.size


LACKING = "neon" if platform.machine() in ("x86_64", "AMD64") else "avx512"


def test_an_instruction_set_of_another_processor() -> None:
    """The kernels choose once a process, so another process asks them."""
    code = """
import numpy as np, napari_sparse3d as ns3
from napari_sparse3d.voxels import RangeThreshold
volume = ns3.Volume(np.full((4, 5, 6), 100, np.int16), np.eye(4), "HU", "CT", "box")
recipe = ns3.Recipe(name="half", threshold=RangeThreshold(low=50), field=16)
voxels = ns3.VoxelSet(np.zeros((1, 3), np.int32), np.ones((1, 1), np.float32), (4, 5, 6), np.eye(4))
for call in (lambda: ns3.voxelize(volume, recipe), lambda: ns3.load_model("deepc2").run(voxels)):
    try:
        call()
    except ns3.EngineError as error:
        print(error)
"""
    environment = {**os.environ, "NAPARI_SPARSE3D_ISA": LACKING}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [f"NAPARI_SPARSE3D_ISA={LACKING}" in line for line in done.stdout.splitlines()] == [True, True]
