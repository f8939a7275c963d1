"""``explain``: the numbers of Python, in the scan's own geometry, nothing where nothing is active."""

import json
import sys

import nibabel
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import napari_sparse3d as ns3
from napari_sparse3d.cli import app
from napari_sparse3d.explain.explanation import explain
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.voxels import RangeThreshold, Recipe, ToSpacing, VoxelSet

SMALL = {"field": 32, "channels": (4, 8), "embedding": 6, "classes": 3}
METHODS = ["class-activation-map", "integrated-gradients", "gradient-x-input"]
RAS_OF_SAR = np.eye(4)[[2, 1, 0, 3]]
"""World (S, A, R) to nibabel's (R, A, S)."""


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def voxelized(scan, model):
    return ns3.voxelize(ns3.read_volume(scan), load_model(model).card.recipe)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Oblique, anisotropic, stored in an unusual order; a part of it is active."""
    i, j, k = np.indices((14, 12, 8))
    data = (((i - 6) / 4) ** 2 + ((j - 7) / 4) ** 2 + ((k - 3) / 3) ** 2 < 1) * 200
    affine = np.diag([-1.0, 0.8, 2.0, 1.0])
    turn = np.array([[np.cos(0.3), -np.sin(0.3), 0], [np.sin(0.3), np.cos(0.3), 0], [0, 0, 1]])
    affine[:3, :3], affine[:3, 3] = turn @ affine[:3, :3], (30, -12, 7)
    path = tmp_path_factory.mktemp("scan") / "part.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data.transpose(0, 2, 1).astype(np.int16), affine[:, [0, 2, 1, 3]]), path)
    return path


@pytest.fixture(scope="module", params=[1.7, 0.93], ids=["coarser", "finer"])
def model(request, tmp_path_factory):
    """One that sees voxels larger, or on most axes smaller, than those of the scan."""
    recipe = Recipe(
        name="part", resample=ToSpacing(spacing_mm=request.param), threshold=RangeThreshold(low=50), field=32
    )
    card = load_model("residual").card.model_copy(
        update={"arguments": SMALL, "classes": ("a", "b", "1"), "recipe": recipe, "name": "small"}
    )
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    network = build_network("residual", seed=5, **SMALL)
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():  # the branches of the blocks begin with 0
            weight += 0.3 * torch.randn(weight.shape, generator=drawn)
    Model(network, card).save(path)
    return path


def test_it_lies_where_the_voxels_are(scan, model, tmp_path):
    """Each voxel of the scan, through true millimetres and by nibabel alone, has the value of the nearest voxel."""
    for name in ("a.nii.gz", "a.npz"):
        done("explain", scan, "-m", model, "-o", tmp_path / name)
    voxels, image = VoxelSet.load(tmp_path / "a.npz"), nibabel.load(tmp_path / "a.nii.gz")
    volume = ns3.read_volume(scan)
    values = np.asarray(image.dataobj)
    assert image.shape == tuple(reversed(volume.shape))
    np.testing.assert_allclose(image.affine @ RAS_OF_SAR, RAS_OF_SAR @ volume.affine, atol=1e-4)
    known = {tuple(at): value for at, value in zip(voxels.indices.tolist(), voxels.features[:, 0], strict=True)}
    to_voxels = np.linalg.inv(RAS_OF_SAR @ voxels.affine) @ image.affine
    every = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1).reshape(-1, 3)
    places = (np.c_[every, np.ones(len(every))] @ to_voxels.T)[:, :3]
    clear = (np.abs(places - np.floor(places) - 0.5) > 1e-3).all(axis=1)  # half way either will do
    assert clear.mean() > 0.5
    expected = [known.get(tuple(at), 0.0) for at in np.rint(places[clear]).astype(int).tolist()]
    np.testing.assert_array_equal(values[tuple(every[clear].T)], np.array(expected, np.float32))
    assert 0 < np.count_nonzero(values) < values.size / 2
    assert (values > 0).any()
    assert (values < 0).any()


@pytest.mark.parametrize("method", METHODS)
def test_the_numbers_of_python(scan, model, tmp_path, method):
    record = json.loads(
        done(
            "explain", scan, "-m", model, "-o", tmp_path / "a.npz", "--method", method, "--class", "b", "--json"
        ).stdout
    )
    loaded, voxels = load_model(model), voxelized(scan, model)
    expected = explain(loaded.run(voxels), voxels, "b", method)
    written = VoxelSet.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(written.indices, voxels.indices)
    np.testing.assert_array_equal(written.features[:, 0], expected.values)
    values = written.features[:, 0]
    assert (record["class"], record["class_number"]) == ("b", 1)
    assert record["method"].replace("×", "x").replace(" ", "-") == method
    assert (record["lowest"], record["highest"]) == (values.min(), values.max())
    assert (record["n_for"], record["n_against"]) == ((values > 0).sum(), (values < 0).sum())
    assert record["sum"] == pytest.approx(values.sum(dtype=float))


def test_integrated_gradients_add_up_over_the_written_voxels(scan, model, tmp_path):
    done("explain", scan, "-m", model, "-o", tmp_path / "a.npz", "--method", "integrated-gradients", "--class", "0")
    loaded = load_model(model)
    voxels = voxelized(scan, model)
    x = loaded.run(voxels).input
    with torch.no_grad():
        rest = x.with_features(torch.zeros_like(x.features), x.background)
        whole = float(loaded.network(x)[0, 0] - loaded.network(rest)[0, 0])
    assert VoxelSet.load(tmp_path / "a.npz").features.sum() == pytest.approx(whole, rel=0.05)


def test_a_name_goes_before_a_number_and_the_answer_before_both(scan, model, tmp_path):
    out = tmp_path / "a.npz"
    call = ("explain", scan, "-m", model, "-o", out, "--json")
    assert json.loads(done(*call, "--class", "1").stdout)["class_number"] == 2
    record = json.loads(done(*call).stdout)
    loaded = load_model(model)
    assert record["class"] == loaded.run(voxelized(scan, model)).label


def test_a_saved_set_is_explained_on_its_own_grid(scan, model, tmp_path):
    saved = tmp_path / "v.npz"
    voxelized(scan, model).save(saved)
    said = done("explain", saved, "-m", model, "-o", tmp_path / "a.nrrd", "--repair", "magnitude")
    assert "taken as it is: --repair" in said.stderr
    voxels, volume = VoxelSet.load(saved), ns3.read_volume(tmp_path / "a.nrrd")
    assert volume.shape == voxels.shape
    np.testing.assert_allclose(volume.affine, voxels.affine, atol=1e-6)
    assert not volume.data[~voxels.mask()].any()


def test_random_weights_are_said_and_a_package_that_is_missing_too(scan, model, tmp_path, monkeypatch):
    result = done("explain", scan, "-m", "residual", "-o", tmp_path / "a.npz")
    assert "random weights, the classes mean nothing" in result.stderr
    assert "is 0 at every voxel; choose another method" in result.stderr  # so its branches begin
    assert not VoxelSet.load(tmp_path / "a.npz").features.any()
    monkeypatch.setitem(sys.modules, "captum", None)
    result = run("explain", scan, "-m", model, "-o", tmp_path / "b.npz", "--method", "regions-left-out")
    assert result.exit_code == 2
    assert "captum is not installed; pip install captum" in result.stderr
    assert not (tmp_path / "b.npz").exists()
