"""A stranger's package adds an architecture with a head and a loss of its own, and an attribution method."""

from __future__ import annotations

import importlib
import json
import re
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from napari_sparse3d.catalog import ARCHITECTURES, ATTRIBUTIONS, LOSSES
from napari_sparse3d.cli import app
from napari_sparse3d.explain.methods import attribute
from napari_sparse3d.models import build_network, densify, load_model
from napari_sparse3d.voxels import VoxelSet

SIDE = 16
REGISTRIES = (ARCHITECTURES, LOSSES, ATTRIBUTIONS)


@pytest.fixture(scope="module")
def installed(install):
    """The stranger's package, in this process."""
    found = install("stranger_network")
    n_threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(found.site)
        importlib.invalidate_caches()
        for registry in REGISTRIES:
            registry.forget()
        yield found
    torch.set_num_threads(n_threads)
    for name in [name for name in sys.modules if name.partition(".")[0] == "stranger_network"]:
        del sys.modules[name]
    for registry in REGISTRIES:
        registry.forget()


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Small and large balls, eight of each."""
    root = tmp_path_factory.mktemp("sizes")
    grid = np.indices((SIDE,) * 3) - 7.5
    for kind, least in (("small", 2.0), ("large", 5.0)):
        (root / kind).mkdir()
        for number in range(8):
            indices = np.argwhere((grid**2).sum(0) < (least + 0.2 * number) ** 2).astype(np.int32)
            VoxelSet(indices, np.ones((len(indices), 1), np.float32), (SIDE,) * 3, np.eye(4)).save(
                root / kind / f"{number}.npz"
            )
    return root


def program(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def voxels():
    random = np.random.default_rng(0)
    indices = np.argwhere(random.random((6, 6, 6)) < 0.2).astype(np.int32)
    return VoxelSet(indices, np.ones((len(indices), 1), np.float32), (6, 6, 6), np.eye(4))


def test_without_it_nobody_knows_them():
    assert "lengths" not in ARCHITECTURES
    assert "length-margin" not in LOSSES
    assert "one left out" not in ATTRIBUTIONS


def test_help_and_lists_show_them(installed):
    words = re.sub(r"\s+", " ", CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "300"}).stdout)
    assert "deepc2, residual, deepc2_wide, lengths" in words
    assert "length-margin" in words
    for command in ("activations", "predict"):
        assert "residual, deepc2_wide, lengths (random weights)" in re.sub(
            r"[\s│]+", " ", CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "300"}).stdout
        )
    checks = {
        check["name"]: check for check in json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["checks"]
    }
    for kind, name in (
        ("architectures", "lengths"),
        ("losses", "length-margin"),
        ("attribution methods", "one left out"),
    ):
        assert name in checks[kind]["found"]
    rows = json.loads(CliRunner().invoke(app, ["models", "--json"]).stdout)["models"]
    (row,) = [row for row in rows if row["name"] == "lengths"]
    assert (row["kind"], row["description"]) == ("architecture", "one convolution, one capsule a class")


def test_it_runs_with_random_weights(installed):
    model = load_model("lengths")
    assert model.card.recipe.name == "shape-40"
    result = model.run(voxels())
    logits = model.network(result.input).detach().numpy()[0]
    np.testing.assert_array_equal(result.probabilities, logits)  # lengths: they need not sum to 1
    assert abs(result.probabilities.sum() - 1) > 1e-3
    assert [row.name for row in result.layers] == ["conv"]


def test_it_is_trained_with_its_own_loss_and_its_model_works(installed, shapes, tmp_path):
    runs = tmp_path / "runs"
    done = program(
        "train", shapes, "-a", "lengths", "-e", 20, "--recipe", recipe(tmp_path), "--runs", runs, "--json",
        "-s", "batch_size=4", "-s", "learning_rate=0.05", "-s", "augment.rotate_degrees=0", "--threads", 1,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    outcome = json.loads(done.stdout)
    kept = json.loads((runs / outcome["run"] / "settings.json").read_text())
    assert kept["loss"] == {"kind": "length-margin", "long": 0.9, "short": 0.1}
    assert kept["arguments"] == {"field": 16, "capsule": 4}
    model = load_model(outcome["model"])
    assert model.card.architecture == "lengths"
    small, large = (model.run(VoxelSet.load(shapes / kind / "3.npz")) for kind in ("small", "large"))
    assert (small.label, large.label) == ("small", "large")
    # and everything that is done with a model
    dense = densify(model)
    answer = dense.probabilities(dense(small.input.dense()))
    torch.testing.assert_close(answer[0].detach().numpy(), small.probabilities, rtol=0, atol=1e-5)
    said = program("runs", "--runs", runs, "--json")
    (row,) = json.loads(said.stdout)["runs"]
    assert row["loss_name"] == "length-margin"
    assert row["margin"] is None
    again = program("evaluate", outcome["model"], shapes, "--split", "all", "--json", "--threads", 1)
    assert json.loads(again.stdout)["accuracy"] > 0.9, again.stderr


def test_its_settings_are_checked_and_said(installed, shapes, tmp_path):
    done = program("train", shapes, "-a", "lengths", "-s", "loss.margin=0.3", "--runs", tmp_path)
    assert done.exit_code == 2
    assert "length-margin takes long, short, not margin" in done.stderr


def test_its_method_attributes(installed):
    network = build_network("lengths", seed=1)
    x = load_model("lengths", seed=1).batch(voxels())
    made = attribute(network, x, 1, "one left out")
    assert made.values.shape == (len(x.indices),)
    features = x.features.clone()
    features[3] = 0
    with torch.no_grad():
        lost = network(x)[0, 1] - network(x.with_features(features, x.background))[0, 1]
    assert float(made.values[3]) == pytest.approx(float(lost), abs=1e-7)


@pytest.mark.gui
def test_the_panels_offer_them(installed, make_napari_viewer):
    from napari_sparse3d.widgets.network.view import NetworkPanel
    from napari_sparse3d.widgets.train.view import TrainPanel

    viewer = make_napari_viewer()
    train, network = TrainPanel(viewer), NetworkPanel(viewer)
    assert train.network.findData("lengths") >= 0
    assert train.network.currentData() == "residual"
    assert train.loss.findText("margin of lengths") >= 0
    assert network.method.findText("one voxel left out") >= 0


def recipe(folder):
    path = folder / "r.toml"
    path.write_text('name = "toy"\n[threshold]\nkind = "range"\nlow = 0.5\n')
    return path
