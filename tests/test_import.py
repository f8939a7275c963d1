"""Importing a part of the package loads no more than that part may use (in a fresh process: this one has it all)."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = {"torch", "spconv", "cumm", "napari", "vispy", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "pyqtgraph"}


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after this statement."""
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", f"{statement}\n{report}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_probe_sees_what_is_loaded() -> None:
    assert {"torch", "qtpy"} <= loaded_by("import torch, qtpy")


def test_import_of_the_package_is_light() -> None:
    loaded = loaded_by("import napari_sparse3d")
    assert "napari_sparse3d" in loaded
    assert not loaded & HEAVY
    # what makes up most of the time that an import takes, each a second or a large part of one
    assert not loaded & {
        "scipy",
        "pydicom",
        "highdicom",
        "nibabel",
        "SimpleITK",
        "nilearn",
        "matplotlib",
        "pandas",
        "polars",
    }


def test_networks_load_torch_and_neither_its_compiler_nor_what_files_need() -> None:
    modules = "import json, sys; print(json.dumps(sorted(sys.modules)))"

    def modules_of(statement: str) -> set[str]:
        done = subprocess.run([sys.executable, "-c", f"{statement}\n{modules}"], capture_output=True, check=True)
        return set(json.loads(done.stdout.splitlines()[-1]))

    beside_torch = modules_of("import napari_sparse3d.models") - modules_of("import torch")
    compiler = {"torch._dynamo", "torch._inductor", "sympy"}
    for_files = {"pydantic", "polars", "pyarrow", "pandas", "matplotlib", "scipy"}
    assert "napari_sparse3d.models" in beside_torch
    assert not beside_torch & (compiler | for_files)
    load = (
        "import napari_sparse3d as s; from napari_sparse3d.catalog import TRAINED; [s.load_model(m) for m in TRAINED]"
    )
    assert not modules_of(load) & compiler
    # the probe sees them: compiling does load torch's compiler
    assert compiler - {"torch._inductor"} <= modules_of("import torch; torch.compile(torch.nn.Identity())")


def test_reading_and_voxels_work_without_torch_and_qt() -> None:
    assert not loaded_by("import napari_sparse3d.io, napari_sparse3d.voxels") & HEAVY


def test_only_widgets_load_qt_and_only_a_request_loads_spconv() -> None:
    parts = ("sparse", "engine", "models", "measure", "explain", "pictures", "training", "cohort", "bench", "cli")
    assert not loaded_by(f"import {', '.join(f'napari_sparse3d.{part}' for part in parts)}") & (HEAVY - {"torch"})
