"""What is wrong with a set is said before the first epoch, with the file's name and what to do."""

import hashlib
import shutil

import numpy as np
import polars as pl
import pytest

from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.errors import InputError
from napari_sparse3d.training.checks import prepare, require
from napari_sparse3d.training.runs import RunStore
from napari_sparse3d.training.session import Data, train


@pytest.fixture
def look(settings, tmp_path):
    def looked(path):
        return prepare(cases_of(path), VoxelStore(settings().recipe, tmp_path / "cache"), 16)

    return looked


@pytest.fixture
def bad(shapes, save_shape, tmp_path):
    """A table over good shapes, and one of everything that is wrong."""
    root = tmp_path / "bad"
    shutil.copytree(shapes, root)
    random = np.random.default_rng(7)
    for name in ("nameless", "again", "strange"):  # of their own content: none of them is another fault too
        save_shape(root / "ball" / f"{name}.npz", random.random((12, 12, 12)) < 0.3)
    (root / "ball" / "torn.npz").write_bytes((root / "ball" / "00.npz").read_bytes()[:100])
    save_shape(root / "box" / "empty.npz", np.zeros((16, 16, 16), dtype=bool))
    save_shape(root / "box" / "large.npz", np.ones((17, 4, 4), dtype=bool))
    rows = [
        {
            "path": f"{kind}/{n:02}.npz",
            "label": kind,
            "patient": f"{kind}{n}",
            "split": "val" if n % 5 == 0 else "train",
        }
        for kind in ("ball", "box")
        for n in range(20)
    ]
    rows += [
        {"path": "ball/torn.npz", "label": "ball", "patient": "x1", "split": "train"},
        {"path": "box/empty.npz", "label": "box", "patient": "x2", "split": "train"},
        {"path": "box/large.npz", "label": "box", "patient": "x3", "split": "val"},
        {"path": "box/gone.npz", "label": "box", "patient": "x4", "split": "train"},
        {"path": "ball/nameless.npz", "label": "", "patient": "x5", "split": "train"},
        {"path": "ball/again.npz", "label": "ball", "patient": "ball0", "split": "train"},
        {"path": "ball/strange.npz", "label": "cone", "patient": "x6", "split": "val"},
    ]
    pl.DataFrame(rows).write_csv(root / "table.csv")
    return root / "table.csv"


def test_a_good_set_has_no_problems(look, shapes):
    prepared = look(shapes)
    assert prepared.problems == ()
    assert (len(prepared.train), len(prepared.val)) == (32, 8)
    require(prepared, use_good=False)
    low, high = prepared.active_percent
    assert 0 < low < high < 100


def test_every_problem_is_named(look, bad):
    prepared = look(bad)
    root = bad.parent
    files = (
        "ball/torn",
        "box/empty",
        "box/large",
        "box/gone",
        "ball/nameless",
        "ball/again",
        "ball/strange",
    )  # rows 40 to 46
    kinds = ("unreadable", "empty", "too large", "unreadable", "no label", "patient on both sides", "unknown class")
    found = {(problem.case, problem.kind) for problem in prepared.problems}
    assert found == {
        (
            f"case {number} ({hashlib.sha256(file.read_bytes()).hexdigest()[:8]})"
            if file.exists()
            else f"case {number}",
            kind,
        )
        for number, (file, kind) in enumerate(zip((root / f"{name}.npz" for name in files), kinds, strict=True), 40)
    }
    with pytest.raises(InputError, match=r"7 problem\(s\) before the first epoch") as error:
        require(prepared, use_good=False)
    text = str(error.value)
    assert "\n" not in text
    assert all(case in text for case, _ in found)
    assert "--use-good" in text
    assert "ball0" not in text  # the patient is nobody's business
    assert ".npz" not in text  # nor what the files are called
    require(prepared, use_good=True)


def test_training_starts_only_if_the_user_says_so(bad, settings, tmp_path):
    table = RunStore(tmp_path / "runs")
    with pytest.raises(InputError, match="before the first epoch"):
        train(Data(bad), settings(), runs=table)
    assert table.rows() == []  # nothing was started
    outcome = train(Data(bad, use_good=True), settings(epochs=1), runs=table)
    assert outcome.status == "done"
    assert table.find("last")["train_cases"] == 32


def test_one_class_cannot_be_trained_on(look, shapes, tmp_path):
    shutil.copytree(shapes / "ball", tmp_path / "one" / "ball")
    prepared = look(tmp_path / "one")
    assert [problem.kind for problem in prepared.problems] == ["one class"]
    with pytest.raises(InputError, match="second class"):
        require(prepared, use_good=True)


def test_no_case_for_validation(look, shapes, tmp_path):
    shutil.copytree(shapes, tmp_path / "set" / "train")
    with pytest.raises(InputError, match="left for validation"):
        require(look(tmp_path / "set"), use_good=True)


def test_a_second_set_for_validation(shapes, save_shape, settings, tmp_path):
    random = np.random.default_rng(3)
    for kind in ("ball", "box"):
        (tmp_path / "others" / kind).mkdir(parents=True)
        for number in range(3):
            save_shape(tmp_path / "others" / kind / f"{number:02}.npz", random.random((9, 9, 9)) < 0.4)
    outcome = train(Data(shapes, validation=tmp_path / "others"), settings(epochs=1), runs=RunStore(tmp_path))
    assert RunStore(tmp_path).find(outcome.run)["val_cases"] == 6
    with pytest.raises(InputError, match=r"case 0 \(.*is for training, but case 40 \(.*with the same content"):
        train(Data(shapes, validation=shapes), settings(epochs=1), runs=RunStore(tmp_path))


def test_names_for_numbered_classes(settings, tmp_path, shapes):
    for number, kind in enumerate(("ball", "box")):
        shutil.copytree(shapes / kind, tmp_path / "set" / str(number))
    data = Data(tmp_path / "set", class_names=("round", "square"))
    outcome = train(data, settings(epochs=1), runs=RunStore(tmp_path / "runs"))
    from napari_sparse3d.models import load_model

    assert load_model(outcome.model).card.classes == ("round", "square")
    with pytest.raises(InputError, match="class names"):
        train(Data(shapes, class_names=("a", "b")), settings(epochs=1), runs=RunStore(tmp_path / "runs"))
