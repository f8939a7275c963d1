"""An engine from another package: it appears everywhere, and computes what the dense reference does."""

import json

import numpy as np
import pytest

from napari_sparse3d.voxels import VoxelSet


@pytest.fixture
def there(install):
    return install("stranger_engine")


@pytest.fixture
def voxels(tmp_path):
    generator = np.random.default_rng(0)
    indices = np.argwhere(generator.random((9, 10, 11)) < 0.2).astype(np.int32)
    file = tmp_path / "voxels.npz"
    VoxelSet(indices, np.ones((len(indices), 2), np.float32), (9, 10, 11), np.eye(4)).save(file)
    return file


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


def test_it_agrees_with_the_dense_reference_forward_and_backward(there):
    assert there.python(AGREES) == "agrees\n"


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


def test_it_is_known_and_chosen_when_asked_for(there):
    there.python(CHOSEN)


def test_help_and_doctor_name_it(there):
    assert "stranger (numpy)" in " ".join(there.command("predict", "--help").replace("│", " ").split())
    checks = {check["name"]: check for check in json.loads(there.command("doctor", "--json"))["checks"]}
    assert checks["engine stranger"]["state"] == "ok"
    assert checks["engine stranger"]["found"] == "gather, multiply, scatter by numpy"


def test_networks_run_on_it_from_the_command_line(there, voxels, tmp_path):
    layers = {
        engine: json.loads(there.command("activations", voxels, "--model", "nodule", "--engine", engine, "--json"))
        for engine in ("stranger", "dense")
    }
    assert layers["stranger"]["engine"] == "stranger"
    np.testing.assert_allclose(layers["stranger"]["embedding"], layers["dense"]["embedding"], atol=1e-5)
    table = tmp_path / "out.parquet"
    there.command("predict", voxels, "--model", "nodule", "--engine", "stranger", "-o", table)
    import polars as pl

    assert pl.read_parquet(table)["engine"].to_list() == ["stranger"]


def test_bench_measures_it(there):
    said = there.command("bench", "-w", "object40", "--engine", "stranger", "--rounds", 1, "--no-memory", "--json")
    rows = json.loads(said)["workloads"]
    assert {(row["engine"], row["pass"]) for row in rows} == {
        (engine, mode) for engine in ("native", "stranger") for mode in ("forward", "forward+backward")
    }
