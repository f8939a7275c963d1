"""npe2, Python and the command line: the same volume, recipe and model give the same bits."""

import json

import npe2
import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

import napari_sparse3d as ns3
from napari_sparse3d.cli import app
from napari_sparse3d.io.layers import scan_of
from napari_sparse3d.voxels import Recipe


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def python(scan_file, recipe_file):
    volume = ns3.read_volume(scan_file)
    voxels = ns3.voxelize(volume, Recipe.load(recipe_file))
    assert voxels.n_active > 1000
    return voxels, ns3.load_model("deepc2").run(voxels)


def same(ours, other):
    for name in ("indices", "features", "affine"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(other, name))
    assert ours.shape == other.shape


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_napari_reader(python, scan_file, recipe_file, folder):
    path = scan_file.parent if folder else scan_file
    npe2.PluginManager.instance().discover()  # as napari does when it starts
    ((data, kwargs, _),) = npe2.read([str(path)], stack=False, plugin_name="napari-sparse3d")
    voxels = ns3.voxelize(scan_of(data, kwargs["metadata"], kwargs["name"]), Recipe.load(recipe_file))
    same(python[0], voxels)
    np.testing.assert_array_equal(ns3.load_model("deepc2").run(voxels).embedding, python[1].embedding)


def test_voxelize(python, scan_file, recipe_file, tmp_path):
    out = tmp_path / "v.npz"
    record = json.loads(run("voxelize", scan_file, "--recipe", recipe_file, "-o", out, "--json").stdout)
    same(python[0], ns3.VoxelSet.load(out))
    assert record["n_active"] == python[0].n_active
    assert record["shape"] == list(python[0].shape)
    assert Recipe(**record["recipe"]) == Recipe.load(recipe_file)


def test_activations(python, scan_file, recipe_file):
    record = json.loads(run("activations", scan_file, "-m", "deepc2", "-r", recipe_file, "--json").stdout)
    result = python[1]
    np.testing.assert_array_equal(np.array(record["embedding"], np.float32), result.embedding)
    assert record["input"] == {
        "side": 126,
        "active_sites": python[0].n_active,
        "active_percent": pytest.approx(100 * python[0].n_active / 126**3),
    }
    assert [row["name"] for row in record["layers"]] == [row.name for row in result.layers]
    assert [row["active_sites"] for row in record["layers"]] == [row.active_sites for row in result.layers]


def test_predict(python, scan_file, recipe_file, tmp_path):
    out = tmp_path / "p.parquet"
    run("predict", scan_file, "-m", "deepc2", "-r", recipe_file, "-o", out)
    (row,) = parquet.read_table(out).to_pylist()
    np.testing.assert_array_equal(np.array(row["embedding"], np.float32), python[1].embedding)
    np.testing.assert_array_equal(np.array(row["probabilities"], np.float32), python[1].probabilities)
    assert (row["prediction"], row["label"]) == (python[1].label, None)
    assert row["probability"] == python[1].probabilities.max()


def test_saved_voxels_go_on_where_the_scan_left(python, scan_file, recipe_file, tmp_path):
    out = tmp_path / "v.npz"
    run("voxelize", scan_file, "-r", recipe_file, "-o", out)
    record = json.loads(run("activations", out, "--json").stdout)
    np.testing.assert_array_equal(np.array(record["embedding"], np.float32), python[1].embedding)


def test_formats(scan_file, recipe_file, tmp_path):
    record = json.loads(run("activations", scan_file, "-r", recipe_file, "--json").stdout)
    assert list(record) == ["input", "layers", "engine", "device", "embedding"]
    layer = ["name", "kind", "channels", "side", "active_sites", "active_percent", "nonzero_percent", "macs", "ms"]
    assert all(list(row) == layer for row in record["layers"])
    assert len(record["embedding"]) == 192

    out = tmp_path / "p.parquet"
    run("predict", scan_file, "-m", "deepc2", "-r", recipe_file, "-o", out)
    columns = (
        "path, series, series_number, content, status, error, label, patient, modality, manufacturer, spacing_mm, "
        "prediction, probability, probabilities, embedding, n_active, active_percent, outside_training, recipe, "
        "recipe_hash, model, model_hash, engine, seconds, schema"
    )
    assert parquet.read_schema(out).names == columns.split(", ")


def test_tables_for_people(scan_file, recipe_file):
    result = run("activations", scan_file, "-r", recipe_file)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "input", "conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "conv4", "pool4", "conv5", "pool5", "conv6",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    assert "engine native on cpu" in result.stderr


def test_engines_agree(scan_file, recipe_file):
    embeddings = [
        json.loads(run("activations", scan_file, "-r", recipe_file, "--engine", engine, "--json").stdout)["embedding"]
        for engine in ("native", "dense")
    ]
    np.testing.assert_allclose(*embeddings, atol=1e-5)
