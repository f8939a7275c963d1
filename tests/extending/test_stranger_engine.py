"""An engine from another package: it appears everywhere, and computes what the dense reference does."""

import json

import numpy as np
import pytest

from napari_sparse3d.voxels import VoxelSet


@pytest.fixture(scope="module")
def there(install):
    return install("stranger_engine")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a voxel set, and what the commands write beside it."""
    folder = tmp_path_factory.mktemp("engine")
    indices = np.argwhere(np.random.default_rng(0).random((9, 10, 11)) < 0.2).astype(np.int32)
    VoxelSet(indices, np.ones((len(indices), 2), np.float32), (9, 10, 11), np.eye(4)).save(folder / "voxels.npz")
    return folder


@pytest.fixture(scope="module")
def said(there, folder):
    """What the commands print, all of them called in one process where the package is installed."""
    voxels, out = folder / "voxels.npz", folder / "out.parquet"
    activations = ("activations", voxels, "--model", "nodule", "--json", "--engine")
    calls = {
        "help": ("predict", "--help"),
        "doctor": ("doctor", "--json"),
        "stranger": (*activations, "stranger"),
        "dense": (*activations, "dense"),
        "predict": ("predict", voxels, "--model", "nodule", "--engine", "stranger", "-o", out),
        "bench": ("bench", "-w", "object40", "--engine", "stranger", "--rounds", 1, "--no-memory", "--json"),
    }
    return there.commands(calls)


AGREES = """
import torch
from napari_sparse3d.sparse import *
from napari_sparse3d.models import load_model

torch.manual_seed(0)
indices = (torch.rand(2, 9, 8, 7) < 0.25).nonzero().int()
features, ground = torch.randn(len(indices), 3), torch.randn(3)
layers = SparseSequential(
    SparseConv3d(3, 6, (3, 2, 3), stride=2, padding=1), torch.nn.LeakyReLU(0.3), SubMConv3d(6, 6, 3),
    SparseMaxPool3d(2, 1), SparseBatchNorm(6), torch.nn.ReLU(), SparseAvgPool3d(2, 1), SparseConvTranspose3d(6, 4, 2),
)

def run(engine, background):
    x = SparseTensor(features.clone().requires_grad_(), indices, (9, 8, 7), 2, background)
    with use_engine(engine):
        y = layers(x)
        gradients = torch.autograd.grad(y.features.square().sum(), [x.features, *layers.parameters()])
        return y.features, y.indices, *gradients

assert "stranger" in engine_names()
for background in (None, ground):
    for ours, theirs in zip(run("stranger", background), run("dense", background), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
print("agrees")
"""


CHOSEN = """
from napari_sparse3d.catalog import ENGINES
from napari_sparse3d.engine.choice import choose
from napari_sparse3d.bench import contenders
from napari_sparse3d.bench.workloads import object40
import sys
assert not ENGINES.broken, ENGINES.broken
assert "stranger_engine.engine" not in sys.modules
assert choose("auto", "cpu").engine == "native"
assert str(choose("stranger")).startswith("engine stranger on cpu: engine stranger was asked for"), choose("stranger")
for mode in ("forward", "forward+backward"):
    assert "stranger" in contenders.names(object40(), mode, "cpu")
"""


def test_it_is_chosen_when_asked_for_and_agrees_with_the_dense_reference_both_ways(there):
    assert there.python(CHOSEN + AGREES) == "agrees\n"


def test_help_and_doctor_name_it(said):
    assert "stranger (numpy)" in " ".join(said["help"].replace("│", " ").split())
    checks = {check["name"]: check for check in json.loads(said["doctor"])["checks"]}
    assert checks["engine stranger"]["state"] == "ok"
    assert checks["engine stranger"]["found"] == "gather, multiply, scatter by numpy"


def test_networks_run_on_it_from_the_command_line(said, folder):
    layers = {engine: json.loads(said[engine]) for engine in ("stranger", "dense")}
    assert layers["stranger"]["engine"] == "stranger"
    np.testing.assert_allclose(layers["stranger"]["embedding"], layers["dense"]["embedding"], atol=1e-5)
    import polars as pl

    assert pl.read_parquet(folder / "out.parquet")["engine"].to_list() == ["stranger"]


def test_bench_measures_it(said):
    rows = json.loads(said["bench"])["workloads"]
    assert {(row["engine"], row["pass"]) for row in rows} == {
        (engine, mode) for engine in ("native", "stranger") for mode in ("forward", "forward+backward")
    }
