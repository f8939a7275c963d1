"""What a model was trained on stands in its card, is the default of ``evaluate``, and tells what is unlike it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import bundled_models, load_model

RECIPE = 'name = "masks"\n[threshold]\nkind = "range"\nlow = 0.5\n'
SMALL = ("-s", "arguments.field=16", "-s", "arguments.channels=[4,8]", "-s", "arguments.embedding=8")


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def measured(*arguments: Any) -> Any:
    done = run("evaluate", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def write_mask(path: Path, seed: int, *, spacing: float = 1.0, values: Any = None) -> Path:
    """About 30 % of a grid of 12, no two alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.random.default_rng(seed).random((12, 12, 12)) < 0.3
    data = mask.astype(np.uint8) if values is None else values
    nibabel.save(nibabel.Nifti1Image(data, np.diag([spacing, spacing, spacing, 1.0])), path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and the set without a split on whose 16 of 20 cases it was trained."""
    root = tmp_path_factory.mktemp("seen")
    for number in range(20):
        write_mask(root / "set" / "ab"[number % 2] / f"{number:02}.nii.gz", number)
    (root / "r.toml").write_text(RECIPE)
    words = ("train", root / "set", "-e", 1, "-r", root / "r.toml", *SMALL, "--runs", root / "runs")
    done = run(*words, "-o", root / "m.safetensors")
    assert done.exit_code == 0, done.output
    return root


def test_the_split_that_was_drawn_is_kept_and_is_the_default(trained: Path) -> None:
    card = load_model(trained / "m.safetensors").card
    assert card.split is not None
    assert {side: len(hashes) for side, hashes in card.split.items()} == {"train": 16, "val": 4}
    found = measured(trained / "m.safetensors", trained / "set")
    assert (found["split"], found["n"], found["trained_on"]) == ("val", 4, 0)
    # whatever the files are called now, and wherever they lie
    shutil.copytree(trained / "set", trained / "moved")
    for path in sorted((trained / "moved").rglob("*.gz")):
        path.rename(path.with_name(f"x{path.name}"))
    again = measured(trained / "m.safetensors", trained / "moved")
    assert (again["n"], again["accuracy"]) == (4, found["accuracy"])


@pytest.mark.parametrize(("split", "n", "on"), [("val", 4, 0), ("train", 16, 16), ("all", 20, 16)])
def test_what_was_trained_on_is_said(trained: Path, split: str, n: int, on: int, tmp_path: Path) -> None:
    asked = (trained / "m.safetensors", trained / "set", "--split", split)
    found = measured(*asked, "-o", tmp_path)
    assert (found["n"], found["trained_on"]) == (n, on)
    first = run("evaluate", *asked).stdout.splitlines()[0]
    report = (tmp_path / "report.md").read_text().splitlines()[0]
    for line in (first, report):
        assert (f"{on} of them trained on" in line) == (on > 0)
    assert json.loads((tmp_path / "figures.json").read_text())["trained_on"] == on


def test_training_cases_in_another_sets_test_split_are_left_out(trained: Path, tmp_path: Path) -> None:
    rows = [f"{trained}/set/{'ab'[n % 2]}/{n:02}.nii.gz,{'ab'[n % 2]},test" for n in range(20)]
    rows += [f"{write_mask(tmp_path / f'{n}.nii.gz', n)},{'ab'[n % 2]},test" for n in range(30, 34)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    found = measured(trained / "m.safetensors", tmp_path / "t.csv")
    assert (found["split"], found["n"], found["trained_on"], found["trained_on_left_out"]) == ("test", 8, 0, 16)
    assert "16 that it was trained on left out" in run("evaluate", trained / "m.safetensors", tmp_path / "t.csv").stdout


def test_a_model_that_does_not_know_says_so(trained: Path, tmp_path: Path) -> None:
    model = load_model(trained / "m.safetensors")
    before = type(model)(model.network, model.card.model_copy(update={"split": None, "seen": None}))
    before.save(tmp_path / "before.safetensors")
    found = measured(tmp_path / "before.safetensors", trained / "set")
    assert (found["split"], found["n"], found["trained_on"]) == ("all", 20, None)
    assert "is not known" in run("evaluate", tmp_path / "before.safetensors", trained / "set").stdout.splitlines()[0]


def test_any_split_of_a_set_can_be_asked_for(trained: Path, tmp_path: Path) -> None:
    rows = [
        f"{write_mask(tmp_path / f'{n}.nii.gz', n)},{'ab'[n % 2]},{'Fold 3' if n < 46 else 'rest'}"
        for n in range(40, 50)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    assert measured(trained / "m.safetensors", tmp_path / "t.csv", "--split", "Fold 3")["n"] == 6
    done = run("evaluate", trained / "m.safetensors", tmp_path / "t.csv", "--split", "fold 4")
    assert done.exit_code == 2
    assert "Fold 3, rest" in done.stderr


def test_unlabelled_and_unmeasurable_cases_are_named(trained: Path, tmp_path: Path) -> None:
    rows = [f"{write_mask(tmp_path / f'{n}.nii.gz', n)},{'ab'[n % 2]}" for n in range(50, 54)]
    rows.append(f"{write_mask(tmp_path / 'x.nii.gz', 60)}, NA")
    rows.append(f"{write_mask(tmp_path / 'y.nii.gz', 61)},c")
    rows.append(f"{write_mask(tmp_path / 'z.nii.gz', 62, values=np.ones((17, 4, 4), np.uint8))},a")
    (tmp_path / "t.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    done = run("evaluate", trained / "m.safetensors", tmp_path / "t.csv", "--json")
    found = json.loads(done.stdout)
    assert (done.exit_code, found["n"], found["unlabelled"]) == (1, 4, 1)
    for line, said in zip(
        found["failed"], ("has no label", "is labelled 'c', which is none", "larger than"), strict=True
    ):
        assert said in line
    done = run("evaluate", trained / "m.safetensors", tmp_path / "t.csv", "--json", "--skip-unlabelled")
    assert len(json.loads(done.stdout)["failed"]) == 2


def test_python_measures_as_the_command_does(trained: Path) -> None:
    from napari_sparse3d.cases.measured import cases_in_split, measurable
    from napari_sparse3d.cases.sources import cases_of
    from napari_sparse3d.cases.store import VoxelStore
    from napari_sparse3d.engine.choice import choose
    from napari_sparse3d.training.evaluation import Views, evaluate_model

    model = load_model(trained / "m.safetensors")
    store = VoxelStore(model.card.recipe)
    asked = cases_in_split(cases_of(trained / "set"), "train", model, store)
    evaluation = evaluate_model(
        model,
        measurable(asked, model, store),
        store,
        dataset="set",
        split=asked.split,
        views=Views(1, "none"),
        choice=choose(),
    )
    assert evaluation.figures == measured(trained / "m.safetensors", trained / "set", "--split", "train")


def test_views_are_at_most_the_symmetries_of_a_cube(trained: Path) -> None:
    from napari_sparse3d.training.evaluation import MOST_VIEWS, views_of

    card = load_model(trained / "m.safetensors").card
    for count in (0, MOST_VIEWS + 1):
        with pytest.raises(InputError, match=f"1 to {MOST_VIEWS}, the symmetries of a cube, got {count}"):
            views_of(card, count)
    done = run("evaluate", trained / "m.safetensors", trained / "set", "--views", MOST_VIEWS + 1)
    assert done.exit_code == 2
    assert f"less than or equal to {MOST_VIEWS} " in done.stderr


# --- what it was like -------------------------------------------------------------------------------------------------


def test_the_card_knows_what_training_saw(trained: Path) -> None:
    seen = load_model(trained / "m.safetensors").card.seen
    assert seen is not None
    counts = [100 * (np.random.default_rng(n).random((12, 12, 12)) < 0.3).sum() / 16**3 for n in range(20)]
    assert seen.active_percent is not None
    assert min(counts) <= seen.active_percent[0] < seen.active_percent[1] <= max(counts)
    assert (seen.longest_side, seen.spacing_mm) == ((12, 12), (1.0, 1.0))
    assert (seen.values, seen.units) == (("mask",), ("a.u.",))
    card = run("models", trained / "m.safetensors").stdout
    assert "train: 16 cases, val: 4 cases" in card
    assert "seen.values" in card


LARGE = np.pad(np.random.default_rng(1).random((12, 12, 12)) < 0.3, (0, 3)).astype(np.uint8)
GREY = np.arange(12**3).reshape(12, 12, 12).astype(np.int16) % 7


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({}, ""),
        ({"values": GREY}, "it is a scan, in training were masks"),
        ({"values": np.pad(np.ones((3, 3, 3), np.uint8), (0, 9))}, "% of the field is active"),
        (
            {"values": np.pad(np.random.default_rng(1).random((12, 12, 12)) < 0.3, (0, 3)).astype(np.uint8)},
            "longest side",
        ),
        ({"spacing": 0.4}, "its voxels are 0.4 to 0.4 mm, in training 1 to 1"),
    ],
)
def test_whatever_is_unlike_it_is_said_on_every_way_in(
    trained: Path, how: dict[str, Any], said: str, tmp_path: Path
) -> None:
    scan = write_mask(tmp_path / "one.nii.gz", 1, **how)  # which training has seen
    out = tmp_path / "out.parquet"
    model = ("-m", trained / "m.safetensors")
    done = run("predict", scan, *model, "-o", out, "--json")
    (row,) = parquet.read_table(out).to_pylist()
    assert (said in row["outside_training"]) if said else (row["outside_training"] == "")
    assert json.loads(done.stdout)["outside_training"] == bool(said)
    assert ("do not trust" in done.stderr) == bool(said)
    done = run("activations", scan, *model, "--json")
    assert json.loads(done.stdout)["outside_training"] == row["outside_training"]
    assert ("do not trust" in done.stderr) == bool(said)
    done = run("similar", scan, "--table", out, *model, "--json")
    assert json.loads(done.stdout)["outside_training"] == row["outside_training"]
    write_mask(tmp_path / "set" / "a" / "x.nii.gz", 1, **how)
    write_mask(tmp_path / "set" / "b" / "x.nii.gz", 99)
    assert measured(trained / "m.safetensors", tmp_path / "set", "--split", "all")["outside_training"] == bool(said)


def test_nothing_is_claimed_of_random_weights(trained: Path, tmp_path: Path) -> None:
    scan = write_mask(tmp_path / "one.nii.gz", 1)
    assert run("predict", scan, "-m", "deepc2", "-r", trained / "r.toml", "-o", tmp_path / "o.parquet").exit_code == 0
    assert parquet.read_table(tmp_path / "o.parquet")["outside_training"].to_pylist() == [None]


@pytest.mark.parametrize("name", sorted(bundled_models()))
def test_a_bundled_model_refuses_to_be_trusted_on_a_whole_head(name: str, tmp_path: Path) -> None:
    from napari_sparse3d.io import sample_head_mri_path

    Path(tmp_path / "r.toml").write_text(
        'name = "head"\nfeatures = ["occupancy", "depth"]\n[resample]\nkind = "longest_side"\nvoxels = 60\n'
        '[threshold]\nkind = "fraction_of_max"\nfraction = 0.3\n'
    )
    scan = sample_head_mri_path()
    done = run("predict", scan, "-m", name, "-r", tmp_path / "r.toml", "-o", tmp_path / "o.parquet")
    assert "do not trust" in done.stderr
    (row,) = parquet.read_table(tmp_path / "o.parquet").to_pylist()
    assert "it is a scan, in training were masks" in row["outside_training"]
    listed = {row["name"]: row["takes"] for row in json.loads(run("models", "--json").stdout)["models"]}
    assert listed[name].startswith("masks")
