"""The loop as a whole: it learns, it can be repeated, stopped and killed, and what it keeps is what it measured."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure.bounds import bounds
from napari_sparse3d.measure.judge import judge, measure
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.heads.calibration import fit
from napari_sparse3d.training.checks import prepare
from napari_sparse3d.training.config import Training
from napari_sparse3d.training.loop import Trainer
from napari_sparse3d.training.optimize import Average, learning_rate
from napari_sparse3d.training.predict import predict
from napari_sparse3d.training.runs import CHECKPOINT, COLUMNS, STOP, RunStore
from napari_sparse3d.training.session import Data, train


@pytest.fixture
def trainer(shapes, settings, tmp_path):
    def made(**more):
        config = settings(**more)
        store = VoxelStore(config.recipe, tmp_path / "cache")
        prepared = prepare(cases_of(shapes), store, 16)
        return Trainer(config, prepared.train, prepared.val, prepared.classes, store)

    return made


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"optimizer": "nesterov", "learning_rate": 0.02, "momentum": 0.9},
        {"loss": {"name": "triplet", "pairs": "random"}, "sampler": "pk", "classes_per_batch": 2, "cases_per_class": 6},
        {"loss": {"name": "ArcFaceLoss"}},
        {"sampler": "balanced", "loss": {"class_weights": "balanced", "smoothing": 0.1}, "schedule": "one-cycle"},
    ],
    ids=["adamw", "nesterov", "triplet", "arcface", "balanced"],
)
def test_it_learns(trainer, how):
    """Balls from boxes, by new shapes: the loss falls and most are told apart."""
    made = trainer(epochs=14, **how)
    reports = list(made.run())
    assert reports[-1].loss < reports[0].loss
    last = made.validate()
    found = measure(last.probabilities, last.embeddings, made.val_labels)
    assert found["map" if made.config.loss.on_embeddings else "auc"] > 0.9
    np.testing.assert_allclose(np.linalg.norm(last.embeddings, axis=1), 1, atol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(trainer):
    one, other, third = trainer(epochs=2), trainer(epochs=2), trainer(epochs=2, seed=1)
    for made in (one, other, third):
        torch.rand(int(time.time_ns() % 7))  # whatever was drawn before must not matter
        list(made.run())
    assert equal(weights(one.network), weights(other.network))
    assert not equal(weights(one.network), weights(third.network))


def test_one_thread_and_two_give_the_same_weights(trainer):
    one, two = trainer(epochs=1), trainer(epochs=1)
    list(one.run())
    torch.set_num_threads(2)
    list(two.run())
    assert equal(weights(one.network), weights(two.network))


@pytest.mark.parametrize(
    ("half", "engine"),
    [(torch.bfloat16, "native"), (torch.bfloat16, "dense"), (torch.float16, "dense")],
    ids=["bfloat16, native", "bfloat16, dense", "float16 as on CUDA, dense"],
)
def test_mixed_precision_stays_near_and_resumes(trainer, tmp_path, monkeypatch, half, engine):
    """Half products, float32 weights; float16 also needs its loss scaled, and the scale after a stop."""
    monkeypatch.setattr("napari_sparse3d.training.loop.half_type", lambda _: half)
    small = {"epochs": 1, "arguments": {**ARGUMENTS, "channels": (4, 8)}}  # products of float16 are slow on a CPU
    plain, whole, first, second = (trainer(**small, mixed_precision=mixed) for mixed in (False, True, True, True))
    for made in (plain, whole, first, second):
        made.engine = engine
    assert whole.scaler.is_enabled() == (half is torch.float16)
    (expected,), (report,) = (list(made.run()) for made in (plain, whole))
    assert report.loss == pytest.approx(expected.loss, abs=0.02)
    assert not equal(weights(plain.network), weights(whole.network))
    assert all(weight.dtype is torch.float32 for weight in whole.network.parameters())
    steps = iter(range(1, 100))
    list(first.run(checkpoint=tmp_path / "c.safetensors", should_stop=lambda: next(steps) >= 2))
    second.resume(tmp_path / "c.safetensors")
    assert second.scaler.state_dict() == first.scaler.state_dict()
    list(second.run())
    assert equal(weights(whole.network), weights(second.network))


@pytest.mark.parametrize("stop_after", [1, 4, 7])
@pytest.mark.parametrize("optimizer", ["adamw", "nesterov"])
def test_stopped_and_resumed_it_ends_the_same(trainer, tmp_path, stop_after, optimizer):
    """Stopped after so many of its 12 steps: in the first step, at the end of an epoch, and inside one."""
    whole = trainer(optimizer=optimizer, loss={"name": "ArcFaceLoss"}, arguments={**ARGUMENTS, "dropout": 0.3})
    list(whole.run())
    config = {"optimizer": optimizer, "loss": {"name": "ArcFaceLoss"}, "arguments": {**ARGUMENTS, "dropout": 0.3}}
    steps = iter(range(1, 100))
    first = trainer(**config)
    list(first.run(checkpoint=tmp_path / "c.safetensors", should_stop=lambda: next(steps) >= stop_after))
    assert first.progress.updates == stop_after
    second = trainer(**config)
    second.resume(tmp_path / "c.safetensors")
    list(second.run())
    for part in ("network", "average", "criterion"):
        assert equal(weights(getattr(whole, part)), weights(getattr(second, part))), part
    assert second.progress.history == whole.progress.history


ARGUMENTS = {"field": 16, "channels": (8, 16), "embedding": 8}

CHILD = """
import sys, time, torch
from pathlib import Path
torch.set_num_threads(1)
from napari_sparse3d.training import loop
from napari_sparse3d.training.config import Training
from napari_sparse3d.training.runs import RunStore
from napari_sparse3d.training.session import Data, train
data, settings, runs = map(Path, sys.argv[1:])
save = loop.save_checkpoint

def save_and_wait(path, parts, optimizer, progress, *more):
    save(path, parts, optimizer, progress, *more)
    if progress.epoch == 1 and progress.step == 2:
        time.sleep(600)

loop.save_checkpoint = save_and_wait
train(Data(data), Training(**__import__("json").loads(settings.read_text())), name="child", runs=RunStore(runs))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_killed_in_the_middle_of_an_epoch_and_resumed(shapes, settings, tmp_path):
    """A process of its own, killed with SIGKILL: nothing can run afterwards, only what is on disk counts."""
    config = settings(epochs=3, checkpoint_seconds=1e-6)  # the child writes a checkpoint after every step
    (tmp_path / "settings.json").write_text(config.model_dump_json())
    arguments = [str(shapes), str(tmp_path / "settings.json"), str(tmp_path / "runs")]
    child = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], env=os.environ.copy())
    try:
        deadline = time.monotonic() + 120
        while _position(tmp_path / "runs") != (1, 2):
            assert child.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline, "it never came to the middle of its second epoch"
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    table = RunStore(tmp_path / "runs")
    assert table.find("last")["status"] == "interrupted"
    config = settings(epochs=3)
    killed = train(Data(shapes), config, resume="last", runs=table)
    straight = train(Data(shapes), config, runs=RunStore(tmp_path / "others"))
    assert (killed.status, straight.status) == ("done", "done")
    assert equal(load_file(killed.model), load_file(straight.model))
    assert killed.metrics == straight.metrics
    row = table.find(killed.run)
    assert row["epoch"] == 3
    assert row["cpu_seconds"] > 0


def _position(runs):
    """(epoch, step) of the one checkpoint below ``runs``, or None."""
    for path in runs.glob(f"*/{CHECKPOINT}"):
        # by one open file: safe_open opens it twice, and it is replaced all the time
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        progress = json.loads(header["__metadata__"]["training"])["progress"]
        return progress["epoch"], progress["step"]
    return None


def test_a_checkpoint_of_another_training_is_refused(trainer, tmp_path):
    made = trainer(epochs=1)
    list(made.run(checkpoint=tmp_path / "c.safetensors"))
    with pytest.raises(InputError, match="another training"):
        trainer(epochs=2).resume(tmp_path / "c.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="no checkpoint"):
        trainer(epochs=1).resume(tmp_path / "c.safetensors")


def test_a_run_is_written_down_by_itself(shapes, settings, tmp_path):
    events = []
    config = settings(loss={"name": "triplet", "margin": 0.4}, sampler="pk", epochs=2)
    table = RunStore(tmp_path)
    outcome = train(
        Data(shapes), config, name="mine", runs=table, measure=measure, judge=judge, bounds=bounds, report=events.append
    )
    row = table.find("last")
    assert set(row) == set(COLUMNS)
    empty = {name for name, value in row.items() if value is None}
    assert empty == {"plot", "error"}  # the command line draws the plot
    assert row["dataset"] == shapes.name
    assert (row["classes"], row["batch_size"], row["margin"], row["norm"]) == (2, 8, 0.4, "cosine")
    assert (row["pair_method"], row["learning_rate_policy"], row["render_size"]) == ("hardest", "cosine", 16)
    assert (row["status"], row["epoch"], row["selected_by"]) == ("done", 2, "map")
    assert row["triplets"] > 0
    assert [entry["epoch"] for entry in row["history"]] == [1, 2]
    assert Training(**row["config"]).digest() == config.digest()
    assert [event["event"] for event in events] == ["check", "epoch", "epoch", "done"]
    assert (row["title"], row["split"], row["chance"]) == ("mine", events[0]["split"], events[1]["bounds"]["chance"])
    assert sum(events[0]["val_classes"].values()) == events[0]["val"] == row["val_cases"]
    assert [entry["val_map_chance"] for entry in row["history"]] == [event["bounds"]["chance"] for event in events[1:3]]
    assert {"epoch", "epochs", "loss", "val", "best", "seconds_left"} <= set(events[1])
    assert json.dumps(events)
    assert outcome.metrics["intervals"]["auc"]


def test_the_model_file_is_what_was_measured(shapes, settings, tmp_path):
    """Loaded from its file and run on one case at a time it gives the card's own figures."""
    config = settings(epochs=3, sampler="balanced")
    outcome = train(Data(shapes), config, runs=RunStore(tmp_path), measure=measure, judge=judge)
    model = load_model(outcome.model)
    assert model.card.trained
    assert model.card.classes == ("ball", "box")
    prepared = prepare(cases_of(shapes), store := VoxelStore(config.recipe), 16)
    results = [model.run(store.get(case), engine="native") for case in prepared.val]
    found = judge(
        np.stack([result.probabilities for result in results]),
        np.stack([result.embedding for result in results]),
        np.array([model.card.classes.index(case.label) for case in prepared.val]),
    )
    expected = model.card.metrics["validation"]
    assert found["auc"] == expected["auc"]
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert outcome.model.stat().st_mode == ordinary.stat().st_mode  # others may read it as they may any file
    assert found["map"] == pytest.approx(expected["map"])
    assert found["confusion"] == expected["confusion"]


def test_stopped_by_a_file_it_keeps_its_best(shapes, settings, tmp_path):
    table = RunStore(tmp_path)

    def stop(event):
        if event["event"] == "epoch" and event["epoch"] == 2:
            (tmp_path / event["run"] / STOP).touch()

    outcome = train(Data(shapes), settings(epochs=50), runs=table, report=stop)
    assert outcome.status == "stopped"
    assert table.find("last")["epoch"] == 2
    assert load_model(outcome.model).card.trained
    again = train(Data(shapes), settings(epochs=50, patience=1), runs=table)
    assert again.status == "done"  # out of patience is an end like any other
    assert table.find("last")["epoch"] < 50


def test_a_failure_is_written_down(shapes, settings, tmp_path):
    table = RunStore(tmp_path)
    with pytest.raises(InputError, match="the loss is"):
        train(Data(shapes), settings(learning_rate=1e30, clip=None, optimizer="nesterov", epochs=20), runs=table)
    assert table.find("last")["status"] == "failed"
    assert "the loss is" in table.find("last")["error"]


def test_views_are_averaged(trainer):
    made = trainer(epochs=1)
    list(made.run())
    cases, store = made.val_cases, made.store
    single = predict(made.averaged, cases, store)
    same = predict(made.averaged, cases, store, views=1, view_kind="all")
    np.testing.assert_array_equal(single.probabilities, same.probabilities)
    several = predict(made.averaged, cases, store, views=8, view_kind="all")
    assert not np.allclose(single.probabilities, several.probabilities)
    np.testing.assert_allclose(several.probabilities.sum(1), 1, atol=1e-6)
    # a case and its mirror image have the same 48 views
    every = predict(made.averaged, cases[:1], store, views=48, view_kind="all")
    mirrored = _Mirrored(store)
    np.testing.assert_allclose(
        predict(made.averaged, cases[:1], mirrored, views=48, view_kind="all").probabilities,
        every.probabilities,
        atol=1e-5,
    )


def test_probabilities_fit_the_validation_cases(shapes, settings, tmp_path):
    """What is written into the card is what the network that was not calibrated gives, corrected; views and all."""
    made = {}
    for how in ("validation", "none"):
        config = settings(sampler="balanced", epochs=3, test_views=4, calibrate=how)
        outcome = train(Data(shapes), config, runs=RunStore(tmp_path / how), measure=measure, judge=judge)
        made[how] = load_model(outcome.model)
    assert "calibration" not in made["none"].card.training
    kept = made["validation"].card.training["calibration"]
    assert kept["to"] == "validation"
    prepared = prepare(cases_of(shapes), store := VoxelStore(made["none"].card.recipe), 16)
    labels = np.array([made["none"].card.classes.index(case.label) for case in prepared.val])

    def probabilities(how):
        return predict(made[how].network, prepared.val, store, views=4, view_kind="all").probabilities

    plain = probabilities("none")
    correction = fit(plain, labels)
    assert (kept["scale"], *kept["bias"]) == pytest.approx((correction.scale, *correction.bias), rel=1e-3)
    assert not np.allclose(plain, probabilities("validation"))
    np.testing.assert_allclose(probabilities("validation"), correction.applied(plain), atol=1e-4)
    cards = [made[how].card.metrics["validation"] for how in ("validation", "none")]
    assert cards[0]["auc"] == cards[1]["auc"]


def test_swapped_labels_are_said_and_leave_a_ranking(shapes, settings, tmp_path):
    """The validation cases have each other's labels: the model goes on to rank them, and everybody is told."""
    from dataclasses import replace

    class Swapped(Data):
        def cases(self):
            other = {"ball": "box", "box": "ball"}
            # one box is there twice, and would have two labels
            cases = [case for case in super().cases() if case.name != "box/19.npz"]
            return [
                replace(case, split="val", label=other[case.label])
                if case.name[-6:-4] >= "14"
                else replace(case, split="train")
                for case in cases
            ]

    config = settings(epochs=6, keep="last")
    with pytest.warns(UserWarning, match=r"below chance on validation \(AUC 0\.\d\d\): are the labels swapped\?"):
        outcome = train(
            Swapped(shapes),
            config,
            runs=RunStore(tmp_path),
            measure=measure,
            judge=judge,
            card={"limits": "small shapes"},
        )
    kept = load_model(outcome.model)
    assert kept.card.limits.startswith("small shapes; below chance on validation")
    assert kept.card.training["calibration"]["scale"] >= 0.1
    prepared = prepare(Swapped(shapes).cases(), store := VoxelStore(kept.card.recipe), 16)
    found = predict(kept.network, prepared.val, store, views=1).probabilities
    assert len(np.unique(found[:, 1])) == len(prepared.val)


class _Mirrored:
    def __init__(self, store):
        self.store = store

    def get(self, case):
        voxels = self.store.get(case)
        mask = voxels.mask()[::-1]
        indices = np.argwhere(mask).astype(np.int32)
        return type(voxels)(indices, np.ones((len(indices), 1), np.float32), voxels.shape, voxels.affine)


def test_true_frequencies_come_back(shapes, settings, tmp_path):
    """Trained as if classes were equal, the mean probability comes near the classes' true share."""
    from dataclasses import replace

    class Few(Data):
        def cases(self):
            return [case for case in super().cases() if case.label == "ball" or case.name < "box/04"]

    config = settings(sampler="balanced", epochs=6, calibrate="frequencies")
    kept = train(Few(shapes), config, runs=RunStore(tmp_path / "a"), measure=measure)
    plain = train(Few(shapes), config.model_copy(update={"calibrate": "none"}), runs=RunStore(tmp_path / "b"))
    one, other = load_model(kept.model).network.classifier, load_model(plain.model).network.classifier
    difference = (one.bias - other.bias).detach().numpy()
    counts = np.array([16, 3])  # of training: a fifth of each class validates
    np.testing.assert_allclose(difference, np.log(counts / counts.sum() * 2), atol=1e-5)
    assert torch.equal(one.weight, other.weight)
    assert replace(Few(shapes), use_good=True).path == shapes


def test_schedules():
    recipe = {"threshold": {"kind": "range", "low": 0.5}}

    def rates(**how):
        config = Training(recipe=recipe, epochs=10, learning_rate=1.0, **how)
        return [learning_rate(config, epoch) for epoch in (0, 2.5, 5, 7, 9, 10)]

    np.testing.assert_allclose(rates(schedule="constant"), 1)
    np.testing.assert_allclose(rates(schedule="cosine")[::5], [1, 0], atol=1e-9)
    assert rates(schedule="cosine")[2] == pytest.approx(0.5)
    assert rates(schedule="one-cycle")[0] == pytest.approx(0.04)
    assert rates(schedule="one-cycle")[1] == pytest.approx(1)
    np.testing.assert_allclose(rates(schedule="step"), [1, 1, 1, 0.1, 0.01, 0.01])
    assert rates(schedule="constant", warmup_epochs=5)[1] == pytest.approx(0.5)


def test_the_average_is_exponential():
    network = torch.nn.Linear(1, 1, bias=False)
    average = Average(network, 0.9)
    expected = network.weight.item()
    for step in range(1, 200):
        with torch.no_grad():
            network.weight.fill_(float(step))
        average.update(network, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.network.weight.item() == pytest.approx(expected, rel=1e-5)
    assert expected == pytest.approx(199 - 9, abs=0.1)  # a ramp is followed 1 / (1 - decay) - 1 steps behind
    copied = Average(network, None)
    with torch.no_grad():
        network.weight.fill_(7.0)
    copied.update(network, 1)
    assert copied.network.weight.item() == 7


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"epochs": 0}, "epochs"),
        ({"no_such": 1}, "no_such"),
        ({"augment": {"rotate_degrees": 60}}, "rotate_degrees"),
        ({"loss": {"pairs": "best"}}, "pairs"),
        ({"recipe": {"threshold": {"kind": "range", "low": 1}, "features": ("gradient",)}}, "direction"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, wrong, hint):
    with pytest.raises(InputError, match=hint):
        settings(**wrong)


def test_settings_decide_the_digest(settings):
    assert settings().digest() == settings(checkpoint_seconds=5).digest()
    assert settings().digest() != settings(learning_rate=0.02).digest()
    assert build_network("residual", **ARGUMENTS).field == 16
