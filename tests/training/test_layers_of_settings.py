"""One set of defaults, and layers over it: a file, options, and --set change what they say and nothing else."""

import json

import pytest
import tomli_w

from napari_sparse3d.cli.settings import settings_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import load_model
from napari_sparse3d.training.config import Augmentation, Training, layered, put_setting, starting_settings
from napari_sparse3d.training.losses.triplet import Triplet
from napari_sparse3d.voxels import Recipe


def bare(**named):
    return settings_of(None, None, named, [])


def flat(values, prefix=""):
    """Dotted names, by another way than the project's."""
    if not isinstance(values, dict) or not values:
        return {prefix: values}
    return {name: each for key, inner in values.items() for name, each in flat(inner, f"{prefix}/{key}").items()}


def differences(one, other):
    one, other = (flat(json.loads(each.model_dump_json())) for each in (one, other))
    return {name.strip("/").replace("/", ".") for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


def test_the_command_python_and_an_empty_file_begin_alike(tmp_path):
    for name, content in (("empty.toml", ""), ("empty.json", "{}")):
        (tmp_path / name).write_text(content)
        assert settings_of(tmp_path / name, None, {}, []) == bare() == Training() == Training(**starting_settings())
    assert bare().recipe == Recipe.named("shape-64")
    assert Training().changed() == {}
    for architecture in ("residual", "deepc2", "deepc2_wide"):
        assert bare(architecture=architecture) == Training(architecture=architecture)
        assert Training(architecture=architecture) == Training(**starting_settings(architecture))


SOME = [
    {"epochs": 3, "seed": 7, "batch_size": 4},
    {"epochs": 3, "augment": {"scale": 0.2}, "loss": {"smoothing": 0.3}},
    {"arguments": {"dropout": 0.1, "field": 32}, "sampler": "pk"},
    {"loss": {"class_weights": "balanced"}, "optimizer": "nesterov", "augment": {"turns": "all"}},
    {"arguments": {"channels": [8, 8, 8, 8]}, "keep": "last", "clip": 1.0},
]


@pytest.mark.parametrize("said", SOME)
def test_three_settings_change_three_settings(said, tmp_path):
    names = {name.strip("/").replace("/", ".") for name in flat(said)}
    (tmp_path / "s.toml").write_text(tomli_w.dumps(said))
    (tmp_path / "s.json").write_text(json.dumps(said))
    assert len(names) == 3
    in_file = settings_of(tmp_path / "s.toml", None, {}, [])
    assert differences(in_file, bare()) == names == in_file.changed().keys()
    assert in_file == settings_of(tmp_path / "s.json", None, {}, [])
    dotted = {name.strip("/").replace("/", "."): value for name, value in flat(said).items()}
    assert in_file == settings_of(None, None, {}, [f"{name}={json.dumps(value)}" for name, value in dotted.items()])


def test_each_layer_goes_over_those_below(tmp_path):
    (tmp_path / "s.toml").write_text(
        'epochs = 7\nseed = 5\n[augment]\nscale = 0.2\n[recipe]\nfeatures = ["occupancy"]\n'
    )
    found = settings_of(tmp_path / "s.toml", None, {"epochs": 8, "seed": None}, ["augment.turns=all", "epochs=9"])
    assert (found.epochs, found.seed, found.augment.scale, found.augment.turns) == (9, 5, 0.2, "all")
    assert found.recipe.features == ("occupancy",)
    assert found.recipe.threshold == Recipe.named("shape-64").threshold
    assert found.recipe.name != "shape-64"  # which it is no more
    other = settings_of(tmp_path / "s.toml", "mri-110", {}, ["recipe.field=96"])
    assert other.recipe.model_dump(exclude={"name", "field"}) == Recipe.named("mri-110").model_dump(
        exclude={"name", "field"}
    )
    assert other.recipe.field == 96
    # a recipe that says how its threshold is found is one by itself, as in a file of its own
    (tmp_path / "r.toml").write_text('[recipe.threshold]\nkind = "otsu"\n')
    assert settings_of(tmp_path / "r.toml", None, {}, []).recipe == Recipe.from_toml('[threshold]\nkind = "otsu"\n')
    assert settings_of(None, None, {}, ["recipe=shape-40"]).recipe == Recipe.named("shape-40")


def test_a_part_of_a_recipe_that_is_called_by_its_name(tmp_path):
    (tmp_path / "s.toml").write_text('recipe = "mri-110"\n')
    (tmp_path / "part.toml").write_text("[recipe]\nfield = 64\n")
    named = Recipe.named("mri-110")
    expected = named.model_copy(update={"name": "mri-110, changed", "field": 64})
    assert named.field != 64
    assert settings_of(tmp_path / "s.toml", None, {}, []).recipe == named
    assert settings_of(tmp_path / "s.toml", None, {}, ["recipe.field=64"]).recipe == expected
    for assigned in (["recipe=mri-110", "recipe.field=64"], ["recipe.field=64", "recipe=mri-110"]):
        assert settings_of(None, None, {}, assigned).recipe == expected
    assert settings_of(tmp_path / "part.toml", None, {}, ["recipe=mri-110"]).recipe == named
    again = settings_of(tmp_path / "s.toml", None, {}, ["recipe.field=64", 'recipe.features=["occupancy"]']).recipe
    assert (again.name, again.field, again.features) == ("mri-110, changed", 64, ("occupancy",))
    assert settings_of(None, None, {}, ["recipe=mri-110", "recipe.name=mine"]).recipe.name == "mine"
    inner = settings_of(None, None, {}, ["recipe=mri-110", "recipe.components.keep=1"]).recipe
    assert inner.components == named.components.model_copy(update={"keep": 1})
    values = {"recipe": "none-such"}
    with pytest.raises(InputError, match="none-such"):
        put_setting(values, "recipe.field", 64)
    whole = layered({"recipe": "mri-110"}, {"recipe": {"field": 64}})["recipe"]
    assert Recipe(**whole) == expected
    over = layered({"recipe": "none-such", "loss": "triplet"}, {"recipe": named.model_dump(), "loss": {"margin": 0.2}})
    assert Recipe(**over["recipe"]) == named
    assert over["loss"] == {"kind": "triplet", "margin": 0.2}


def test_a_whole_part_goes_before_what_is_in_it():
    for assigned in (["loss.margin=0.2", "loss=triplet"], ["loss=triplet", "loss.margin=0.2"]):
        assert settings_of(None, None, {}, assigned).loss.margin == 0.2
    for assigned in (
        ['augment={"turns":"all"}', "augment.scale=0.3"],
        ["augment.scale=0.3", 'augment={"turns":"all"}'],
    ):
        augment = settings_of(None, None, {}, assigned).augment
        assert (augment.turns, augment.scale) == ("all", 0.3)


def test_another_loss_and_another_network_bring_their_own(tmp_path):
    (tmp_path / "s.toml").write_text('[loss]\nkind = "triplet"\nmargin = 0.2\n')
    in_file = settings_of(tmp_path / "s.toml", None, {}, [])
    assert in_file.loss == Triplet(margin=0.2, smoothing=0.1)
    assert in_file == settings_of(None, None, {"loss.name": "triplet"}, ["loss.margin=0.2"])
    (tmp_path / "n.toml").write_text('architecture = "residual"\n[arguments]\ndropout = 0.5\n')
    assert settings_of(tmp_path / "n.toml", None, {"architecture": "deepc2"}, []).arguments == {}
    (tmp_path / "w.toml").write_text('architecture = "deepc2_wide"\n[arguments]\nchannels = [4, 4, 4, 4, 4, 4]\n')
    assert settings_of(tmp_path / "w.toml", None, {}, []).arguments == {"channels": [4] * 6}


@pytest.mark.parametrize("arguments", [{}, {"channels": [8, 16]}, {"dropout": 0.0}])
def test_the_file_of_a_run_is_taken_as_it_stands(arguments, tmp_path):
    """Its arguments may lack some, which the network then has by itself, not those of the defaults."""
    ran = Training(arguments=arguments, augment=Augmentation(turns="all"), loss={"kind": "triplet"}, epochs=2)
    (tmp_path / "settings.json").write_text(ran.model_dump_json())
    assert settings_of(tmp_path / "settings.json", None, {}, []) == ran
    assert differences(settings_of(tmp_path / "settings.json", None, {"epochs": 4}, []), ran) == {"epochs"}


def test_a_model_to_begin_with_is_a_layer_below_the_file(tmp_path):
    model = load_model("vessel")
    mine = settings_of(None, None, {}, [], model)
    assert mine.recipe == model.card.recipe
    assert mine.arguments == {k: v for k, v in model.card.arguments.items() if k not in ("in_features", "classes")}
    (tmp_path / "s.toml").write_text("epochs = 3\n[arguments]\ndropout = 0.05\n")
    assert differences(settings_of(tmp_path / "s.toml", None, {}, [], model), mine) == {"epochs", "arguments.dropout"}


def test_a_model_to_begin_with_goes_over_the_file_of_a_run(tmp_path):
    """That holds every setting: the recipe of its run would replace the model's without a word."""
    model = load_model("vessel")
    mine = settings_of(None, None, {}, [], model)
    for ran in (
        Training(epochs=2, seed=9, recipe="shape-40", arguments={**mine.arguments, "dropout": 0.4, "stem": 3}),
        Training(architecture="deepc2_wide", recipe="mri-110", epochs=2, seed=9),
    ):
        (tmp_path / "settings.json").write_text(ran.model_dump_json())
        found = settings_of(tmp_path / "settings.json", None, {}, [], model)
        assert (found.architecture, found.arguments, found.recipe) == (mine.architecture, mine.arguments, mine.recipe)
        assert (found.epochs, found.seed, found.loss) == (2, 9, ran.loss)
        over = settings_of(tmp_path / "settings.json", "shape-64", {}, ["arguments.dropout=0.3"], model)
        assert over.recipe == Recipe.named("shape-64")
        assert over.arguments == {**mine.arguments, "dropout": 0.3}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("epoch=3", "epochs"),
        ("learningrate=1", "learning_rate"),
        ("augment.rotate=3", "rotate_degrees"),
        ("rotate_degrees=3", "augment.rotate_degrees"),
        ("margin=1", "loss.margin"),
        ("augmnt.scale=1", "augment"),
        ("loss.smothing=1", "smoothing"),
        ("arguments.chanels=[1]", "channels"),
        ("sampler=balenced", "balanced"),
        ("augment.turns=al", "all"),
        ("architecture=residul", "residual"),
        ("architecture=deepC2_wide", "deepc2_wide"),
        ("loss.name=tripplet", "triplet"),
        ("recipe.treshold.low=3", "threshold"),
        ("recipe=mri110", "mri-110"),
    ],
)
def test_a_typo_is_one_sentence_with_what_may_be_meant(typed, meant):
    with pytest.raises(InputError, match=rf"did you mean '{meant}'\?") as caught:
        settings_of(None, None, {}, [typed])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "typed", ["epochs.x=3", "arguments=3", "augment=7", "loss=7", "recipe=7", "epochs=many", "xyzzy=1"]
)
def test_what_is_no_setting_is_one_sentence(typed):
    with pytest.raises(InputError) as caught:
        settings_of(None, None, {}, [typed])
    assert "\n" not in str(caught.value)
    assert typed.partition("=")[0].partition(".")[0] in str(caught.value)


def test_layers_leave_what_they_are_given_as_it_is():
    below = starting_settings()
    before = json.dumps(below, default=str)
    layered(below, {"augment": {"scale": 0.9}, "arguments": {"channels": [1, 2]}})["arguments"]["dropout"] = 9
    assert json.dumps(below, default=str) == before
