"""A loss is one of many, each with its own settings; what was written before each had its own is still read."""

import json

import pytest

from napari_sparse3d.cli.settings import settings_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.training.config import Training, put_setting, starting_settings
from napari_sparse3d.training.losses import loss_of
from napari_sparse3d.training.losses.cross_entropy import CrossEntropy
from napari_sparse3d.training.losses.function import Function
from napari_sparse3d.training.losses.metric_learning import MetricLearning
from napari_sparse3d.training.losses.triplet import Triplet
from napari_sparse3d.training.search import OneOf, Range, check_space, with_settings
from napari_sparse3d.voxels import RangeThreshold, Recipe

TOY = Recipe(name="toy", threshold=RangeThreshold(low=0.5))
FLAT = {
    "name": "cross-entropy", "smoothing": 0.0, "class_weights": "none", "distance": "cosine", "margin": 0.5,
    "pairs": "hardest", "miner": "", "arguments": {}, "classify": 1.0,
}  # fmt: skip
"""As every settings.json had it."""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({}, CrossEntropy()),
        ({"smoothing": 0.1}, CrossEntropy(smoothing=0.1)),
        (FLAT, CrossEntropy()),
        ({**FLAT, "name": "triplet", "margin": 0.2}, Triplet(margin=0.2)),
        (
            {**FLAT, "name": "ArcFaceLoss", "arguments": {"margin": 9}},
            MetricLearning(name="ArcFaceLoss", arguments={"margin": 9}),
        ),
        (
            {"name": "MultiSimilarityLoss", "miner": "BatchHardMiner"},
            MetricLearning(name="MultiSimilarityLoss", miner="BatchHardMiner"),
        ),
        (
            {**FLAT, "name": "own:loss", "class_weights": "balanced"},
            Function(name="own:loss", class_weights="balanced"),
        ),
        ("triplet", Triplet()),
        ("own:loss", Function(name="own:loss")),
        ({"kind": "triplet", "pairs": "random"}, Triplet(pairs="random")),
        ({"kind": "metric-learning", "name": "NTXentLoss"}, MetricLearning(name="NTXentLoss")),
    ],
)
def test_what_is_written_is_the_loss_that_is_meant(written, meant):
    config = Training(recipe=TOY, loss=written)
    assert config.loss == meant
    assert type(config.loss) is type(meant)
    # and written and read again
    assert Training(**json.loads(config.model_dump_json())) == config
    assert Training(**config.model_dump()).loss == meant


BEFORE = {
    "recipe": TOY, "arguments": {}, "epochs": 60, "learning_rate": 1e-5, "schedule": "cosine", "weight_decay": 0.01,
    "sampler": "shuffled", "augment": {},
}  # fmt: skip
"""What a run of then had where it said nothing: its file spells every setting."""


@pytest.mark.parametrize(
    ("loss", "recorded"),
    [
        ({}, "a32e17df493253c2"),
        ({"smoothing": 0.1, "class_weights": "balanced"}, "40129b276725a4f4"),
        ({"name": "triplet", "margin": 0.00001, "pairs": "random", "distance": "squared-l2"}, "a00ba289233de271"),
        (
            {"name": "MultiSimilarityLoss", "miner": "BatchHardMiner", "arguments": {"alpha": 2.0}, "classify": 0.5},
            "fdc0421bf2f14108",
        ),
        ({"name": "own:loss", "class_weights": "balanced"}, "acdb83437a74eada"),
    ],
)
def test_a_run_that_was_begun_before_goes_on(loss, recorded):
    """The hashes were recorded with version 0.1.0 before losses had settings of their own; checkpoints hold them."""
    assert Training(**BEFORE, loss=loss).digest() == recorded
    other = "none" if loss.get("class_weights") == "balanced" else "balanced"
    assert Training(**BEFORE, loss={**loss, "class_weights": other}).digest() != recorded


def test_settings_that_had_no_effect_are_said():
    with pytest.warns(UserWarning, match="without effect on cross-entropy: margin"):
        assert loss_of({"margin": 0.3}) == CrossEntropy()
    with pytest.warns(UserWarning, match="without effect on triplet: miner"):
        assert loss_of({**FLAT, "name": "triplet", "miner": "BatchHardMiner"}) == Triplet()


@pytest.mark.parametrize(
    ("loss", "hint"),
    [
        ({"kind": "triplet", "miner": "x"}, "triplet takes smoothing, .*classify, distance, margin, pairs, not miner"),
        ({"kind": "cross-entropy", "margin": 1}, "cross-entropy takes smoothing, class_weights, not margin"),
        ({"kind": "tripplet"}, "no loss 'tripplet'; choose cross-entropy, triplet"),
        ("tripplet", "choose cross-entropy, triplet, a class of pytorch-metric-learning, module:function"),
        ({"name": "triplet", "margin": 0}, "loss.*margin.*greater than 0"),
        ({"kind": "metric-learning"}, "name: Field required"),
        ({"name": "triplet", "no_such": 1}, "not no_such"),
        (7, "loss"),
    ],
)
def test_what_is_no_loss_is_refused_in_one_line(loss, hint):
    with pytest.raises(InputError, match=hint) as caught:
        Training(recipe=TOY, loss=loss)
    assert "\n" not in str(caught.value)


def test_another_loss_keeps_of_the_settings_what_it_takes(tmp_path):
    values = {"loss": {**FLAT, "name": "triplet", "smoothing": 0.2, "margin": 0.3}}
    put_setting(values, "loss.name", "cross-entropy")
    assert loss_of(values["loss"]) == CrossEntropy(smoothing=0.2)
    put_setting(values, "loss.name", "NTXentLoss")
    assert loss_of(values["loss"]) == MetricLearning(name="NTXentLoss", smoothing=0.2)
    put_setting(values, "loss.kind", "triplet")
    put_setting(values, "loss.margin", 0.7)
    assert loss_of(values["loss"]) == Triplet(margin=0.7, smoothing=0.2)
    for order in (("loss.kind", "loss.name"), ("loss.name", "loss.kind")):
        values = {"loss": {}}
        for name in order:
            put_setting(values, name, {"loss.kind": "metric-learning", "loss.name": "NTXentLoss"}[name])
        assert loss_of(values["loss"]) == MetricLearning(name="NTXentLoss")
    assert starting_settings(loss="own:loss")["loss"] == {"kind": "function", "name": "own:loss"}
    # the options of the command line, in any order
    for assignments in (["loss.margin=0.2", "loss.name=triplet"], ["loss.name=triplet", "loss.margin=0.2"]):
        assert settings_of(None, None, {}, assignments).loss == Triplet(margin=0.2, smoothing=0.1)
    similar = settings_of(None, None, {"loss.name": "MultiSimilarityLoss"}, ["loss.arguments.alpha=3"])
    assert similar.loss == MetricLearning(name="MultiSimilarityLoss", arguments={"alpha": 3}, smoothing=0.1)
    (tmp_path / "s.json").write_text(json.dumps({"loss": {**FLAT, "name": "triplet"}}))
    assert settings_of(tmp_path / "s.json", None, {"loss.name": "cross-entropy"}, []).loss == CrossEntropy()


def test_losses_are_searched_with_the_settings_of_each():
    config = Training(recipe=TOY, loss="cross-entropy")
    space = {"loss.name": OneOf(("cross-entropy", "triplet")), "loss.margin": Range(0.1, 0.9)}
    check_space(config, space)
    assert with_settings(config, {"loss.margin": 0.3, "loss.name": "triplet"}).loss == Triplet(margin=0.3)
    assert with_settings(config, {"loss.margin": 0.3, "loss.name": "cross-entropy"}).loss == CrossEntropy()
    with pytest.raises(InputError, match=r"no setting 'loss\.margin'"):
        check_space(config, {"loss.margin": Range(0.1, 0.9)})
    triplet = Training(recipe=TOY, loss="triplet")
    check_space(triplet, {"loss.margin": Range(0.1, 0.9)})
    assert with_settings(triplet, {"loss.margin": 0.4}).loss == Triplet(margin=0.4)
