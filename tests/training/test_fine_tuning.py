"""A training that begins with the weights of a trained model: which are taken, which are not, and what is said."""

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.cli import app
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import Model, build_network, load_model
from napari_sparse3d.models.fine_tuning import take_weights
from napari_sparse3d.training.checks import prepare
from napari_sparse3d.training.loop import Trainer
from napari_sparse3d.training.runs import CHECKPOINT, STOP, RunStore
from napari_sparse3d.training.session import Data, train
from napari_sparse3d.voxels import Recipe


@pytest.fixture(scope="module")
def trained(shapes, settings, tmp_path_factory):
    """A model of balls and boxes, as a file."""
    runs = RunStore(tmp_path_factory.mktemp("first"))
    return train(Data(shapes), settings(epochs=2), name="first", runs=runs).model


@pytest.fixture
def trainer(shapes, settings, tmp_path):
    def made(start, classes=None, **more):
        config = settings(**more)
        store = VoxelStore(config.recipe, tmp_path / "cache")
        prepared = prepare(cases_of(shapes), store, 16)
        train_cases, val_cases, names = prepared.train, prepared.val, classes or prepared.classes
        if classes:
            called = dict(zip(prepared.classes, classes, strict=False))
            train_cases, val_cases = ([replace(c, label=called[c.label]) for c in s] for s in (train_cases, val_cases))
        return Trainer(config, train_cases, val_cases, names, store, start=start)

    return made


def head(state):
    return {name: value for name, value in state.items() if name.startswith("classifier.")}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_classes_take_all_weights(trained, trainer):
    model = load_model(trained)
    made = trainer(model)
    assert equal(made.network.state_dict(), model.network.state_dict())
    assert equal(made.averaged.state_dict(), model.network.state_dict())  # what would be validated
    assert made.taken.anew == ()
    assert set(made.taken.taken) == {key.rpartition(".")[0] for key in model.network.state_dict()}
    assert not equal(made.network.state_dict(), trainer(None).network.state_dict())


@pytest.mark.parametrize(
    "classes", [("cube", "sphere"), ("box", "ball"), ("ball", "box", "cone")], ids=["named", "swapped", "more"]
)
def test_other_classes_take_all_but_the_head(trained, trainer, classes):
    model = load_model(trained)
    made, fresh = trainer(model, classes), trainer(None, classes)
    ours, theirs = made.network.state_dict(), model.network.state_dict()
    body = [name for name in ours if name not in head(ours)]
    assert all(torch.equal(ours[name], theirs[name]) for name in body)
    assert equal(head(ours), head(fresh.network.state_dict()))
    assert made.taken.anew == ("classifier",)


def test_it_goes_on_learning_from_there(trained, shapes, settings, tmp_path):
    model, events = load_model(trained), []
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    tuned = train(
        Data(shapes), settings(epochs=1, average=None), runs=RunStore(tmp_path), start=model, report=events.append
    )
    assert [event["event"] for event in events] == ["check", "start", "epoch", "done"]
    assert events[1]["model"] == "first"
    assert equal(model.network.state_dict(), before)  # the model itself is left as it is
    card = load_model(tuned.model).card
    assert card.training["start"] == {"name": "first", "digest": model.digest()}
    assert not equal(load_model(tuned.model).network.state_dict(), before)


def test_a_run_that_was_stopped_ends_with_the_same_weights(trained, shapes, settings, tmp_path):
    model, config = load_model(trained), settings(epochs=3)
    whole = train(Data(shapes), config, runs=RunStore(tmp_path / "a"), start=model)
    runs = RunStore(tmp_path / "b")

    def after_one(report):
        return report.epoch == 1

    part = train(Data(shapes), config, runs=runs, start=model, on_epoch=after_one)
    assert part.status == "stopped"
    kept = type(config)(**json.loads((runs.folder / part.run / "settings.json").read_text()))
    rest = train(Data(shapes), kept, runs=runs, resume=part.run)  # needs the model no more
    assert equal(load_model(rest.model).network.state_dict(), load_model(whole.model).network.state_dict())
    # before there is a checkpoint it does
    for file in (runs.folder / part.run).glob(f"{CHECKPOINT.split('.', 1)[0]}*"):
        file.unlink()
    (runs.folder / part.run / STOP).unlink(missing_ok=True)
    with pytest.raises(InputError, match="begins with the weights of model 'first'; give it again"):
        train(Data(shapes), kept, runs=runs, resume=part.run)
    # and another model's weights are another training
    assert kept.digest() != config.digest()


def test_what_does_not_fit_is_said(trained, trainer, shapes, settings, tmp_path):
    model = load_model(trained)
    with pytest.raises(InputError, match=r"'layers\.\S+' is \(8, .*there, \(4, .*here; train with the model's own"):
        trainer(model, arguments={"field": 16, "channels": (4, 16), "embedding": 8})
    with pytest.raises(InputError, match="recipe of the same features"):
        trainer(model, recipe=Recipe.named("shape-64"))
    with pytest.raises(InputError, match="do not fit"):
        trainer(model, arguments={"field": 16, "channels": (8, 16), "embedding": 8, "blocks": 0})
    deeper = Model(build_network("residual", field=16, channels=(8, 16), embedding=8, blocks=2), model.card)
    with pytest.raises(InputError, match=r"this network has no 'layers\.stage"):
        take_weights(build_network("residual", field=16, channels=(8, 16), embedding=8), deeper, ("a", "b"))
    for start, hint in ((load_model("residual"), "random weights"), (load_model("vessel"), "")):
        if hint:
            with pytest.raises(InputError, match=hint):
                train(Data(shapes), settings(), runs=RunStore(tmp_path), start=start)
    with pytest.raises(InputError, match="is a residual, the settings ask for deepc2"):
        train(Data(shapes), settings(architecture="deepc2", arguments={}), runs=RunStore(tmp_path), start=model)


def test_the_command_takes_architecture_arguments_and_recipe_and_says_what_it_took(trained, shapes, tmp_path):
    def call(*more):
        return CliRunner().invoke(app, ["train", str(shapes), "--runs", str(tmp_path), *map(str, more)])

    done = call("--from", trained, "-e", 1, "--json", "-s", "augment.rotate_degrees=0", "--classes", "")
    assert done.exit_code == 0, done.output
    assert "from first: the weights of layers.stem" in done.stderr
    assert "random:" not in done.stderr
    run = json.loads(done.stdout)["run"]
    kept = json.loads((tmp_path / run / "settings.json").read_text())
    assert kept["arguments"] == {"field": 16, "channels": [8, 16], "embedding": 8}
    assert kept["recipe"]["name"] == "toy"
    assert str(trained) not in (tmp_path / run / "settings.json").read_text()
    # from a run, by its name
    again = call("--from", run, "-e", 1, "--json", "-s", "arguments.dropout=0.1")
    assert again.exit_code == 0, again.output
    assert f"from {run}: the weights" in again.stderr
    for more, hint in (
        (("--from", "deepc2"), "random weights"),
        (("--from", trained, "-a", "deepc2"), "the settings ask for deepc2"),
        (("--from", "nothing"), "no run is called"),
        (("--from", tmp_path / "none.safetensors"), "no model file"),
    ):
        failed = call(*more)
        assert failed.exit_code in (1, 2)
        assert hint in failed.stderr
