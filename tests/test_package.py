"""The package's front door: light to import, everything public within reach."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import napari_sparse3d

HEAVY = ("torch", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "napari", "spconv", "SimpleITK", "nibabel", "pydicom")


def modules_after(code):
    """Which of the heavy modules a fresh interpreter holds after running ``code``."""
    ask = f"{code}\nimport sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_probe_sees_what_is_imported():
    assert "nibabel" in modules_after("import nibabel")


def test_import_is_light():
    assert modules_after("import napari_sparse3d; dir(napari_sparse3d)") == []


def test_recipes_need_nothing_heavy():
    assert modules_after("import napari_sparse3d as ns3; ns3.Recipe.named('mri-110'); ns3.VoxelSet") == []


@pytest.mark.parametrize("name", [*napari_sparse3d.__all__, "__version__"])
def test_every_name_is_there(name):
    assert getattr(napari_sparse3d, name) is not None
    assert name in dir(napari_sparse3d)


def test_star_import():
    namespace = {}
    exec("from napari_sparse3d import *", namespace)
    assert set(napari_sparse3d.__all__) <= set(namespace)


def test_unknown_name():
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = napari_sparse3d.nothing


def test_type_checkers_see_the_same_names():
    source = ast.parse(Path(napari_sparse3d.__file__).read_text())
    (block,) = (node for node in source.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    lazily = {name: f"napari_sparse3d.{home}" for name, home in napari_sparse3d._HOME.items()}
    assert seen == lazily
    assert sorted(seen) == sorted(napari_sparse3d.__all__)
