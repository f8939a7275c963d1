"""What ended in a traceback, a wrong sentence or nothing while training and searching: it works, or is one line."""

import json
import os
import signal
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.groups import linked_cases
from napari_sparse3d.cli import app
from napari_sparse3d.errors import InputError
from napari_sparse3d.training import search as searching
from napari_sparse3d.training import session
from napari_sparse3d.training.checks import require
from napari_sparse3d.training.runs import RunStore
from napari_sparse3d.training.search import OneOf, Range, check_space, parse_space, search
from napari_sparse3d.training.session import Data, train

WHOLE = {"average": None, "keep": "last"}


def test_a_finished_run_goes_on_to_more_epochs(shapes, settings, tmp_path):
    runs = RunStore(tmp_path)
    first = train(Data(shapes), settings(epochs=1, **WHOLE), name="a", runs=runs)
    before = runs.find(first.run)["history"]
    again = train(Data(shapes), settings(epochs=2, **WHOLE), runs=runs, resume="last")
    assert (again.run, again.status) == (first.run, "done")
    row = runs.find("last")
    assert (row["epoch"], row["epochs"], row["config"]["epochs"]) == (2, 2, 2)
    assert row["history"][:1] == before  # what was trained is not trained again
    # and once more by the command, which takes all else from the run
    done = CliRunner().invoke(
        app, ["train", str(shapes), "--resume", "last", "-e", "3", "--runs", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert [row["epoch"] for row in runs.find("last")["history"]] == [1, 2, 3]
    with pytest.warns(UserWarning, match="has 3 epochs done, more than the 2 that are asked for"):
        train(Data(shapes), settings(epochs=2, **WHOLE), runs=runs, resume="last")
    with pytest.raises(InputError, match="belongs to another training"):
        train(Data(shapes), settings(epochs=4, learning_rate=0.5, **WHOLE), runs=runs, resume="last")


def test_a_process_beside_the_first_answers_to_sigterm(tmp_path):
    """It ends with the others: killed on the spot, it would leave them waiting for it."""
    asked = []

    def run(should_stop):
        asked.append(should_stop())
        os.kill(os.getpid(), signal.SIGTERM)
        asked.append(should_stop())
        yield

    outcome = session._follow(SimpleNamespace(run=run), "run", tmp_path)
    assert (outcome.status, asked) == ("followed", [False, True])


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([20 + 1.7 * number for number in range(24)], "refused"),
        ([20 + 3 * number for number in range(24)], "warned"),
        ([number % 25 for number in range(49)], "warned"),  # an ordinary set for retrieval
        ([0.5 + number % 5 / 2 for number in range(9)], ""),  # half grades
        ([number % 20 / 2 for number in range(40)], ""),
    ],
    ids=["fractions", "whole", "two of each", "grades", "fractions with two of each"],
)
def test_numbers_are_measurements_or_classes(save_shape, settings, tmp_path, labels, said):
    lines = [f"{number}.npz,{label}" for number, label in enumerate(labels)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *lines]))
    for number in range(len(labels)):
        mask = np.zeros((8, 8, 8), bool)
        mask[2:5, 2:5, 2 : 3 + number % 6] = True
        mask.flat[number] = True
        save_shape(tmp_path / f"{number}.npz", mask)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prepared, _ = session.look(Data(tmp_path / "t.csv"), settings())
    assert any("bin them into classes" in str(one.message) for one in caught) == (said == "warned")
    continuous = [problem for problem in prepared.problems if problem.kind == "continuous"]
    assert len(continuous) == (said == "refused")
    if continuous:
        usable = replace(prepared, problems=tuple(continuous))
        with pytest.raises(InputError, match=r"24 numbers of 24 cases, .*regression is not there.*--use-good"):
            require(usable, use_good=False)
        require(usable, use_good=True)


# -- a search ---------------------------------------------------------------------------------------

optuna = pytest.importorskip("optuna")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rate=0:0.1:log", "begins above 0, got 0; leave out :log"),
        ("learning_rate=-1:0.1:log", "begins above 0"),
        ("learning_rate=0.1:0.01", "from low to high"),
        ("learning_rate=NaN:1", "from low to high"),
        ("learning_rate=0:Infinity", "from low to high"),
        ("learning_rate=true:false", "NAME=LOW:HIGH"),
        ("lerning_rate=0.1:1", "did you mean 'learning_rate'"),
    ],
)
def test_a_space_that_is_none_is_one_line(settings, text, said):
    def value(word):
        try:
            return json.loads(word)
        except ValueError:
            return word

    with pytest.raises(InputError, match=said) as caught:
        check_space(settings(), parse_space([text], value))
    assert "\n" not in str(caught.value)


def test_an_impossible_trial_is_recorded_and_the_next_begins(shapes, settings, tmp_path, monkeypatch):
    tried = iter([9, 1, 9, 2])  # a warm-up of so many epochs; what the loss says of a learning rate of nan
    monkeypatch.setattr(searching, "_suggest", lambda trial, name, allowed, study: next(tried))

    def refusing(data, config, **more):
        if config.batch_size == 9:
            raise InputError("the loss is nan in epoch 1")
        return SimpleNamespace(run="r", asked=False, status="done")

    monkeypatch.setattr(searching, "train", refusing)
    monkeypatch.setattr(RunStore, "find", lambda self, run: {"best": 0.5})
    events = []
    found = search(
        Data(shapes), settings(), {"batch_size": Range(1, 9)}, trials=4, runs=RunStore(tmp_path), report=events.append
    )
    assert (found.trials, found.failed, found.best) == (4, 2, 0.5)
    assert [event["message"] for event in events] == ["the loss is nan in epoch 1"] * 2


@pytest.mark.parametrize("fails", [False, True], ids=["stops", "fails"])
def test_a_signal_before_the_first_epoch_ends_the_search(shapes, settings, tmp_path, monkeypatch, fails):
    steps, events = [], []

    def signals(*_):
        steps.append(1)
        os.kill(os.getpid(), signal.SIGTERM)
        if fails:  # in whatever the run then ends, the signal was for the search
            raise InputError("the loss is nan in epoch 1")

    monkeypatch.setattr(session.Trainer, "_step", signals)
    space, runs = {"learning_rate": Range(0.001, 0.01)}, RunStore(tmp_path)
    found = search(Data(shapes), settings(), space, trials=3, runs=runs, report=events.append)
    assert (len(steps), found.trials, found.failed, found.pruned) == (1, 1, int(fails), int(not fails))
    assert found.best is None
    assert found.stopped_by_signal
    assert [event["event"] for event in events] == ["check", *["error"] * fails]
    if fails:
        return
    (tmp_path / "s.json").write_text(settings().model_dump_json())
    call = ["search-params", str(shapes), "--settings", str(tmp_path / "s.json"), "--runs", str(tmp_path)]
    result = CliRunner().invoke(app, [*call, "--search", "learning_rate=0.001:0.01"])
    assert result.exit_code == 0, result.output
    assert "stopped by a signal; study 'search' keeps what its 2 trials gave" in result.stderr
    assert len(steps) == 2


def test_a_trial_that_is_stopped_alone_is_not_held_against_its_settings(shapes, settings, tmp_path, monkeypatch):
    def stops(trainer, *_):  # as the panel stops a run
        for file in tmp_path.glob("*/settings.json"):
            (file.parent / "stop").touch()

    monkeypatch.setattr(session.Trainer, "_step", stops)
    found = search(Data(shapes), settings(), {"seed": Range(0, 9)}, trials=2, runs=RunStore(tmp_path))
    assert (found.trials, found.failed, found.pruned, found.stopped_by_signal) == (2, 0, 2, False)


def test_settings_that_fit_no_network_are_an_impossible_trial(shapes, settings, tmp_path):
    space = {"arguments.field": OneOf((15, 17))}
    found = search(Data(shapes), settings(epochs=1), space, trials=2, runs=RunStore(tmp_path))
    assert (found.trials, found.failed, found.best) == (2, 2, None)
    (tmp_path / "s.json").write_text(settings().model_dump_json())
    call = ["search-params", str(shapes), "--trials", "1", "--search", "arguments.field=15|17", "--study", "other"]
    result = CliRunner().invoke(app, [*call, "--settings", str(tmp_path / "s.json"), "--runs", str(tmp_path)])
    assert result.exit_code == 1
    assert "none of 1 trials has finished: 1 failed" in result.stderr


def test_settings_that_are_searched_need_not_fit_before(shapes, settings, tmp_path, monkeypatch):
    """The field is too small for every case: the trials may choose another, or smaller cases."""
    done = SimpleNamespace(run="r", status="done")
    monkeypatch.setattr(searching, "train", lambda *a, **k: done)
    monkeypatch.setattr(RunStore, "find", lambda self, run: {"best": 0.5})
    small = settings(arguments={"field": 8, "channels": (8, 16)})
    for name in ("arguments.field", "recipe.threshold.low", "architecture"):
        values = ("residual", "deepc2") if name == "architecture" else (16, 24)
        runs = RunStore(tmp_path / name)
        assert search(Data(shapes), small, {name: OneOf(values)}, trials=1, runs=runs).best == 0.5
        with pytest.raises(InputError, match="holds no cases"):
            search(Data(tmp_path / name), small, {name: OneOf(values)}, trials=1, runs=runs)
    with pytest.raises(InputError, match="larger than the network's field of 8"):
        search(Data(shapes), small, {"batch_size": Range(1, 9)}, trials=1, runs=RunStore(tmp_path / "other"))


def test_what_is_wrong_with_the_data_ends_a_search_at_once(settings, tmp_path):
    (tmp_path / "set").mkdir()
    with pytest.raises(InputError, match="holds no cases"):
        search(Data(tmp_path / "set"), settings(), {"seed": Range(0, 9)}, trials=2, runs=RunStore(tmp_path))


def test_a_study_with_other_choices_is_one_line(shapes, settings, tmp_path, monkeypatch):
    done = SimpleNamespace(run="r", asked=False, status="done")
    monkeypatch.setattr(searching, "train", lambda *a, **k: done)
    monkeypatch.setattr(RunStore, "find", lambda self, run: {"best": 0.5})

    def go(space):
        return search(Data(shapes), settings(), space, trials=1, runs=RunStore(tmp_path))

    go({"sampler": OneOf(("shuffled", "balanced"))})
    for other in (OneOf(("balanced", "pk")), OneOf(("shuffled", "balanced", "pk"))):
        with pytest.raises(InputError, match=r"study 'search' was begun with other choices for sampler.*--study"):
            go({"sampler": other})
    assert go({"sampler": OneOf(("shuffled", "balanced"))}).trials == 4


def test_the_usual_space_is_that_of_the_loss(settings):
    own = settings(loss={"kind": "function", "name": "mine:loss"})
    assert "loss.smoothing" not in searching.default_space(own)
    check_space(own, searching.default_space(own))
    assert searching.default_space(settings()) == searching.DEFAULT_SPACE


# -- intervals --------------------------------------------------------------------------------------


def test_what_belongs_together_is_drawn_together(tmp_path):
    def case(number, **more):
        return Case(f"{number}", tmp_path / f"{number}.npz", "voxels", number=number, **more)

    alone = [case(number) for number in range(4)]
    assert linked_cases(alone, list("abcd")) is None  # nobody knows patients: over cases
    twice = linked_cases(alone, list("abca"))  # one content twice
    assert twice.kind == "groups of equal content"
    one, two, three, four = twice.groups
    assert one == four
    assert len({one, two, three}) == 3
    some = [case(0, patient="p"), case(1, patient="p"), case(2), case(3)]
    partly = linked_cases(some, list("abbd"))
    assert partly.kind == "groups of equal patient or content"  # some are known
    first, second, third, fourth = partly.groups  # the patient links 0 and 1, the content 1 and 2
    assert first == second == third != fourth
    known = [case(number, patient=f"p{number}") for number in range(3)]
    assert linked_cases(known, list("abc")).kind == "patients"
    assert len(set(linked_cases(known, list("abc")).groups)) == 3
    several = [Case("a", tmp_path / "a", "mask", item, number=number) for number, item in enumerate("12")]
    assert linked_cases(several, list("ab")).kind == "groups of equal file"
    packed = [Case(str(n), tmp_path / "a.npz", "packed", str(n), patient=same) for n, same in enumerate("aab")]
    assert linked_cases(packed, list("aab")).kind == "groups of equal content"  # whose patients nobody knows
    assert linked_cases(packed[1:], list("ab")) is None
