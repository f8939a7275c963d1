"""The user's own network, ``module:factory``: trained, kept, loaded, exported, traced, densified; never imported on a
file's word."""

import json
import os
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import Model, ModelCard, build_network, densify, load_model
from napari_sparse3d.models.export import export_model
from napari_sparse3d.voxels import VoxelSet
from napari_sparse3d.voxels.recipe import Recipe

SOURCE = """
from pathlib import Path
from types import SimpleNamespace
import torch
from torch import nn
from napari_sparse3d.sparse import GlobalMaxPool, SparseSequential, SubMConv3d

Path(__file__).with_name("imported").touch()


class Small(nn.Module):
    # derived from nothing of the package: the contract alone
    def __init__(self, in_features, classes, width=6, field=16):
        super().__init__()
        self.field, self.in_features, self.classes = field, in_features, classes
        self.layers = SparseSequential(SubMConv3d(in_features, width, 3), nn.ReLU())
        self.pool = GlobalMaxPool()
        self.last = nn.Linear(width, classes)

    def describe(self, x):
        return self.pool(self.layers(x))

    def logits(self, described):
        return self.last(described)

    def forward(self, x):
        return self.logits(self.describe(x))


def wide(in_features, classes):
    return Small(in_features, classes, width=12)


def nothing(in_features, classes):
    return nn.Linear(in_features, classes)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with the user's module, importable from here."""
    (tmp_path / "my_networks.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_networks", None)


def voxels():
    indices = np.argwhere(np.random.default_rng(0).random((9, 9, 9)) < 0.2).astype(np.int32)
    return VoxelSet(indices, np.ones((len(indices), 1), np.float32), (9, 9, 9), np.eye(4))


def model(architecture="my_networks:Small", **arguments):
    card = ModelCard(
        name="mine",
        architecture=architecture,
        arguments={"in_features": 1, "classes": 3, **arguments},
        recipe=Recipe.named("shape-40"),
        classes=("a", "b", "c"),
        trained=True,
    )
    return Model(build_network(architecture, seed=5, **card.arguments).eval(), card)


def test_it_is_kept_and_loaded_by_who_names_it(own):
    made = model(width=7)
    made.save(own / "mine.safetensors")
    again = load_model(f"my_networks:Small={own / 'mine.safetensors'}")
    one, two = made.run(voxels()), again.run(voxels())
    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    assert one.probabilities.sum() == pytest.approx(1)
    logits = made.network(one.input)
    torch.testing.assert_close(torch.from_numpy(one.probabilities), functional.softmax(logits, 1)[0].detach())
    assert [row.name for row in one.layers] == ["0"]
    assert one.activations("0").features.shape[1] == 7


def test_a_files_word_imports_nothing(own):
    model().save(own / "mine.safetensors")
    sys.modules.pop("my_networks")
    (own / "imported").unlink()
    for name in (own / "mine.safetensors", str(own / "mine.safetensors")):
        with pytest.raises(InputError, match=r"'my_networks:Small', code that is not part of this package.*name it"):
            load_model(name)
    with pytest.raises(InputError, match="holds weights of 'my_networks:Small', not of 'my_networks:wide'"):
        load_model(f"my_networks:wide={own / 'mine.safetensors'}")
    assert not (own / "imported").exists()
    assert "my_networks" not in sys.modules


@pytest.mark.parametrize("name", ["os:system", "subprocess:call", "builtins:eval", "os:path.join"])
def test_a_card_that_names_what_is_there_anyway_runs_nothing(own, tmp_path, name, monkeypatch):
    called = []
    monkeypatch.setattr(os, "system", lambda *a, **k: called.append(a))
    made = model()
    evil = Model(made.network, made.card.model_copy(update={"architecture": name, "arguments": {"command": "true"}}))
    evil.save(tmp_path / "evil.safetensors")
    with pytest.raises(InputError, match="code that is not part of this package"):
        load_model(tmp_path / "evil.safetensors")
    assert not called


def test_ours_is_not_loaded_as_theirs(own):
    card = model().card.model_copy(update={"architecture": "residual", "arguments": {"classes": 3, "field": 16}})
    Model(build_network("residual", classes=3, field=16), card).save(own / "ours.safetensors")
    with pytest.raises(InputError, match="holds weights of 'residual', not of 'my_networks:Small'"):
        load_model(f"my_networks:Small={own / 'ours.safetensors'}")


def test_with_random_weights_it_runs_too(own):
    made = load_model("my_networks:wide", seed=3)
    assert (made.card.recipe.n_channels, made.card.recipe.field, made.card.trained) == (1, 16, False)
    assert made.run(voxels()).embedding.shape == (12,)


def test_it_is_densified_and_exported(own):
    made = model()
    result = made.run(voxels())
    dense = densify(made)
    values = result.input.dense()
    torch.testing.assert_close(dense(values), made.network(result.input), rtol=0, atol=1e-5)
    export_model(made, own / "mine.pt2", format="torch")
    found = torch.export.load(own / "mine.pt2").module()(values)
    np.testing.assert_allclose(found[0][0].detach().numpy(), result.probabilities, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1][0].detach().numpy(), result.embedding, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("my_networks:nothing", r"lacks field, classes, describe\(\), logits\(\).*DescribingNetwork"),
        ("my_networks:SimpleNamespace", "gives a SimpleNamespace|lacks"),
        ("my_networks:missing", "missing.*give module:factory, importable from here"),
        ("no_such_module:Net", "no_such_module.*give module:factory"),
        ("os:sep", "is no factory"),
        ("residual2", "no architecture 'residual2'; choose deepc2, residual"),
    ],
)
def test_what_is_no_network_is_named(own, name, hint):
    with pytest.raises(InputError, match=hint) as caught:
        build_network(name, in_features=1, classes=2)
    assert "\n" not in str(caught.value)


def test_a_module_that_fails_is_one_line(own):
    (own / "broken_networks.py").write_text("def f(:\n")
    with pytest.raises(InputError, match=r"broken_networks:f'.*give module:factory") as caught:
        build_network("broken_networks:f")
    assert "\n" not in str(caught.value)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Calls the program as one would from this folder, which is on no path and of which nothing is imported yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_SPARSE3D_CACHE", str(tmp_path / "cache"))
    n_threads = torch.get_num_threads()

    def call(*arguments):
        with monkeypatch.context() as one_call:
            one_call.setattr(sys, "path", [entry for entry in sys.path if entry not in ("", str(tmp_path))])
            sys.modules.pop("my_networks", None)
            return CliRunner().invoke(app, [str(argument) for argument in arguments])

    yield call
    sys.modules.pop("my_networks", None)
    torch.set_num_threads(n_threads)


def test_it_is_trained_from_the_folder_where_it_lies(tmp_path, program):
    (tmp_path / "my_networks.py").write_text(SOURCE)
    grid = np.indices((16,) * 3) - 7.5
    for kind, radius in (("small", 2.5), ("large", 6.0)):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for number in range(5):
            indices = np.argwhere((grid**2).sum(0) < (radius + 0.2 * number) ** 2).astype(np.int32)
            VoxelSet(indices, np.ones((len(indices), 1), np.float32), (16,) * 3, np.eye(4)).save(
                tmp_path / "set" / kind / f"{number}.npz"
            )
    (tmp_path / "r.toml").write_text('name = "toy"\n[threshold]\nkind = "range"\nlow = 0.5\n')
    call = ["train", "set", "-e", 1, "-r", "r.toml", "--threads", 1, "--json", "-s", "arguments.width=5"]
    done = program(*call, "-a", "my_networks:Small")
    assert done.exit_code == 0, done.stderr
    outcome = json.loads(done.stdout)
    settings = tmp_path / "runs" / outcome["run"] / "settings.json"
    assert json.loads(settings.read_text())["architecture"] == "my_networks:Small"
    (tmp_path / "imported").unlink()
    for refused in (
        program("evaluate", outcome["model"], "set", "--split", "all"),
        program("train", "set", "--settings", settings),
        program("train", "set", "--resume", "last"),
    ):
        assert refused.exit_code == 2
        assert "code that is not part of this package" in refused.stderr
    assert not (tmp_path / "imported").exists()
    again = program(*call, "--from", f"my_networks:Small={outcome['model']}")
    assert again.exit_code == 0, again.stderr
    assert "the weights of layers.0, last" in again.stderr
