"""The stub of the kernels' Python module is what the built module offers."""

import importlib.util
import inspect
from pathlib import Path

import pytest

from napari_sparse3d import _kernels

ROOT = Path(__file__).parents[2]


def script():
    pytest.importorskip("nanobind")
    spec = importlib.util.spec_from_file_location("kernel_stub", ROOT / "scripts" / "kernel_stub.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stub_is_current():
    committed = (ROOT / "src" / "napari_sparse3d" / "_kernels.pyi").read_text()
    assert script().stub() == committed, "make stub"


def test_the_stub_names_everything():
    committed = (ROOT / "src" / "napari_sparse3d" / "_kernels.pyi").read_text()
    for name, member in inspect.getmembers(_kernels):
        if not name.startswith("_"):
            assert f"class {name}:" in committed or f"def {name}(" in committed, name
            assert member.__module__ == "napari_sparse3d._kernels"


def test_arguments_go_by_name():
    """A list of numbers without names is refused: two of one type that change places would not be seen."""
    with pytest.raises(TypeError):
        _kernels.index_sites(0, 0, 1, (4, 4, 4), 1)
    assert _kernels.index_sites(indices=0, rows=0, batch_size=1, shape=(4, 4, 4), threads=1).count == 0
    for kind in (_kernels.Float32, _kernels.Float64):
        with pytest.raises(TypeError):
            kind.leaky_relu_backward(0, 0, 0.5, 0, 0, 1)


def test_types_are_shipped():
    assert (ROOT / "src" / "napari_sparse3d" / "py.typed").is_file()
