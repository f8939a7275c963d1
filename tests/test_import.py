"""Importing a part of the package loads no more than that part may use (in a fresh process: this one has it all)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

QT_AND_CARDS = {"spconv", "cumm", "napari", "vispy", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "pyqtgraph"}
HEAVY = {"torch", *QT_AND_CARDS}
# what makes up most of the time that an import takes, each a second or a large part of one
SLOW = {"scipy", "pydicom", "highdicom", "nibabel", "SimpleITK", "nilearn", "matplotlib", "pandas", "polars"}
COMPILER = {"torch._dynamo", "torch._inductor", "sympy"}
FOR_FILES = {"pydantic", "polars", "pyarrow", "pandas", "matplotlib", "scipy"}
PARTS = ("sparse", "engine", "models", "measure", "explain", "pictures", "training", "cohort", "bench", "cli")

RUN = """
import numpy as np, napari_sparse3d as s
one = s.VoxelSet(np.zeros((1, 3), np.int32), np.ones((1, 1), np.float32), (4, 5, 6), np.eye(4))
s.load_model("deepc2").run(one, device="cpu")
"""

SERVE = """
import json, sys
for line in sys.stdin:
    exec(json.loads(line), {})
    print(json.dumps(sorted(sys.modules)), flush=True)
"""


def loaded_by(*statements: str) -> list[set[str]]:
    """The modules that a fresh interpreter holds after each of these statements, one after another."""
    calls = "\n".join(map(json.dumps, statements))
    done = subprocess.run([sys.executable, "-c", SERVE], input=calls, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    held = [set(json.loads(line)) for line in done.stdout.splitlines()]
    assert len(held) == len(statements)
    return held


@pytest.fixture(scope="module")
def light() -> list[set[str]]:
    return loaded_by("import napari_sparse3d", "import napari_sparse3d.io, napari_sparse3d.voxels")


@pytest.fixture(scope="module")
def networks() -> list[set[str]]:
    return loaded_by(
        "import torch",
        "import napari_sparse3d.models",
        "import napari_sparse3d as s; from napari_sparse3d.catalog import TRAINED; [s.load_model(m) for m in TRAINED]",
        f"import {', '.join(f'napari_sparse3d.{part}' for part in PARTS)}",
        RUN,
        "import torch; torch.compile(torch.nn.Identity()); import qtpy",
    )


def test_the_probe_sees_what_is_loaded(networks: list[set[str]]) -> None:
    first, *_, last = networks
    assert "torch" in first
    assert "qtpy" in last
    assert COMPILER - {"torch._inductor"} <= last  # compiling does load torch's compiler


def test_import_of_the_package_is_light(light: list[set[str]]) -> None:
    package, _ = light
    assert "napari_sparse3d" in package
    assert not package & HEAVY
    assert not package & SLOW


def test_reading_and_voxels_work_without_torch_and_qt(light: list[set[str]]) -> None:
    _, reading = light
    assert {"napari_sparse3d.io", "napari_sparse3d.voxels"} <= reading
    assert not reading & HEAVY


def test_networks_load_torch_and_neither_its_compiler_nor_what_files_need(networks: list[set[str]]) -> None:
    torch, models, trained, *_ = networks
    beside_torch = models - torch
    assert "napari_sparse3d.models" in beside_torch
    assert not beside_torch & (COMPILER | FOR_FILES)
    assert not trained & COMPILER


def test_only_widgets_load_qt_and_only_a_request_loads_spconv(networks: list[set[str]]) -> None:
    parts, after_a_run = networks[3:5]
    assert {f"napari_sparse3d.{part}" for part in PARTS} <= parts
    assert not (parts | after_a_run) & QT_AND_CARDS
    assert "napari_sparse3d.engine.native" in after_a_run
