"""The table of runs, the search, and the commands around them."""

import json
import re
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import pytest
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.cli.settings import setting_value, settings_of
from napari_sparse3d.errors import InputError
from napari_sparse3d.models import load_model
from napari_sparse3d.training.runs import COLUMNS, RunStore
from napari_sparse3d.training.search import OneOf, Range, check_space, parse_space, search, with_settings
from napari_sparse3d.training.session import Data

SEEDS_SHEET = {
    *("dataset", "architecture", "batch_size", "classes", "test_interval", "pair_method", "learning_rate_policy"),
    *("render_size", "margin", "norm", "hash", "server", "status", "epoch", "map", "last_update", "plot", "triplets"),
}


def test_every_column_of_the_sheet_is_there():
    assert set(COLUMNS) >= SEEDS_SHEET


def test_rows_are_sorted_and_filtered(tmp_path):
    table = RunStore(tmp_path)
    for number, value in enumerate((0.7, None, 0.9)):
        table.update(f"r{number}", auc=value, dataset="a" if number else "b", classes=2, history=[{"epoch": 1}])
    assert [row["run"] for row in table.rows(sort_by="auc")] == ["r2", "r0", "r1"]
    assert [row["run"] for row in table.rows(sort_by="auc", descending=False)] == ["r0", "r2", "r1"]
    assert [row["run"] for row in table.rows(sort_by="run", descending=False, where={"dataset": "a"})] == ["r1", "r2"]
    assert len(table.rows(where={"classes": "2"})) == 3
    assert table.rows()[0]["history"] == [{"epoch": 1}]
    for wrong in ({"sort_by": "auc; DROP TABLE runs"}, {"where": {"1=1 OR run": ""}}):
        with pytest.raises(InputError, match="no column"):
            table.rows(**wrong)
    with pytest.raises(InputError, match="no column"):
        table.update("r0", no_such=1)


def test_a_run_is_found_by_a_part_of_its_name(tmp_path):
    table = RunStore(tmp_path)
    first, second = table.new("vessel"), table.new("adrenal")
    assert table.find(first)["run"] == first
    assert table.find(second[-4:])["run"] == second
    for text, hint in (("nothing", "no run"), (first[:4], "2 runs")):
        with pytest.raises(InputError, match=hint):
            table.find(text)


@pytest.mark.parametrize("title", ["../../elsewhere", "a/b", "\x1b[31mred\n\u202eline", "CON", "x" * 500, "<b>ü</b>"])
def test_a_name_of_one_s_own_is_shown_and_decides_nothing(tmp_path, title):
    table = RunStore(tmp_path / "runs")
    run = table.new("first")
    assert table.find(run)["title"] == "first"
    table.update(run, status="running", epoch=1)
    before = {path for path in tmp_path.rglob("*") if path.is_dir()}
    table.rename(run, title)
    assert {path for path in tmp_path.rglob("*") if path.is_dir()} == before
    shown = table.find(run)["title"]
    assert shown == " ".join(shown.split())
    assert shown.isprintable()
    assert len(shown) <= 80
    table.update(run, epoch=2)  # by a process that knows nothing of it
    assert (table.find(run)["title"], table.find(run)["epoch"]) == (shown, 2)
    (tmp_path / "runs" / "runs.sqlite").unlink()
    assert RunStore(tmp_path / "runs").rows()[0]["title"] == shown
    table.rename(run, "")
    assert table.find(run)["title"] is None
    with pytest.raises(InputError, match="no run"):
        table.rename("none", "x")


def test_a_run_is_renamed_on_the_command_line(tmp_path):
    first, _ = RunStore(tmp_path).new(), RunStore(tmp_path).new()
    done = CliRunner().invoke(app, ["runs", first, "--rename", "the small one", "--runs", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    assert RunStore(tmp_path).find(first)["title"] == "the small one"
    assert json.loads(done.stdout)["runs"][0]["title"] == "the small one"
    wrong = CliRunner().invoke(app, ["runs", "--rename", "x", "--runs", str(tmp_path)])
    assert (wrong.exit_code, "--rename is of one run" in wrong.output) == (2, True)


WRITER = """
import sys
from pathlib import Path
from napari_sparse3d.training.runs import RunStore
table = RunStore(Path(sys.argv[1]))
for epoch in range(10):
    table.update(sys.argv[2], epoch=epoch)
"""


def test_several_processes_write_at_once(tmp_path):
    children = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), f"run{n}"]) for n in range(2)]
    assert [child.wait() for child in children] == [0, 0]
    assert {(row["run"], row["epoch"]) for row in RunStore(tmp_path).rows()} == {("run0", 9), ("run1", 9)}


def test_a_search_goes_on_where_it_stopped(shapes, settings, tmp_path):
    table = RunStore(tmp_path)
    space = {"learning_rate": Range(1e-3, 1e-2, log=True), "loss.smoothing": OneOf((0.0, 0.1))}
    first = search(Data(shapes), settings(epochs=1), space, trials=1, runs=table)
    second = search(Data(shapes), settings(epochs=1), space, trials=2, runs=table)
    assert (first.trials, second.trials) == (1, 3)
    assert second.best >= first.best
    assert second.best == max(row["best"] for row in table.rows())
    assert set(second.settings) == set(space)
    config = table.find(second.run)["config"]
    assert config["learning_rate"] == second.settings["learning_rate"]
    assert config["loss"]["smoothing"] == second.settings["loss.smoothing"]


def test_spaces_are_parsed():
    space = parse_space(["a=1:4", "b=1e-4:1e-2:log", "c=x|2"], setting_value)
    assert space == {"a": Range(1, 4), "b": Range(1e-4, 1e-2, log=True), "c": OneOf(("x", 2))}
    assert space["a"].whole
    assert not space["b"].whole


@pytest.mark.parametrize("text", ["a", "a=1", "a=1:2:3", "a=x:y"])
def test_what_is_no_space(text):
    with pytest.raises(InputError, match="LOW:HIGH"):
        parse_space([text], setting_value)


def test_a_space_must_name_settings(settings):
    check_space(settings(), {"arguments.dropout": Range(0, 1), "augment.scale": Range(0.0, 0.2)})
    with pytest.raises(InputError, match="no setting 'learning'"):
        check_space(settings(), {"learning": Range(0, 1)})
    with pytest.raises(InputError, match="low to high"):
        check_space(settings(), {"learning_rate": Range(1, 0)})
    assert with_settings(settings(), {"augment.scale": 0.3}).augment.scale == 0.3


# --- the commands -----------------------------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(shapes, settings, tmp_path_factory):
    """A run made by the command, with its events."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "settings.json").write_text(settings().model_dump_json())
    arguments = ("train", shapes, "--settings", folder / "settings.json", "-e", 2, "--threads", 1, "--name", "toy")
    done = run(*arguments, "--runs", folder / "runs", "-o", folder / "toy.safetensors", "--json-lines")
    assert done.exit_code == 0, done.output
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def test_train_tells_its_events_line_by_line(trained):
    folder, events = trained
    assert [event["event"] for event in events] == ["check", "epoch", "epoch", "done"]
    assert events[0]["classes"] == {"ball": 16, "box": 16}
    assert events[1]["epochs"] == 2  # the option goes before the file
    assert load_model(folder / "toy.safetensors").card.name == "toy"
    assert (folder / "runs" / events[-1]["run"] / "curves.png").stat().st_size > 1000


def test_train_tells_what_is_wrong(shapes, tmp_path):
    done = run("train", tmp_path / "none", "--runs", tmp_path, "--json-lines")
    assert done.exit_code == 1
    (event,) = map(json.loads, done.stdout.splitlines())
    assert event["event"] == "error"
    assert event["message"] == "no such file or folder"
    for wrong in (("-s", "epochs"), ("-s", "no_such=1"), ("-a", "no_such"), ("-o", "x.pt"), ("--resume", "none")):
        assert run("train", shapes, "--runs", tmp_path, *wrong).exit_code == 2, wrong


def test_runs_shows_compares_and_plots(trained, tmp_path):
    folder, events = trained
    done = run("runs", "--runs", folder / "runs", "--json", "--sort", "auc", "-w", "status=done")
    (row,) = json.loads(done.stdout)["runs"]
    assert row["run"] == events[-1]["run"]
    assert row["plot"]
    assert run("runs", "--runs", folder / "runs", "--plot", tmp_path / "p.png").exit_code == 0
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert "toy" in run("runs", "--runs", folder / "runs", "--columns", "run").stdout
    assert run("runs", "--runs", folder / "runs", "--columns", "nothing").exit_code == 2
    assert run("runs", "--runs", folder / "runs", "--sort", "nothing").exit_code == 2
    assert run("runs", "--runs", tmp_path / "none").exit_code == 0


def test_runs_are_copied_to_mlflow(trained, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed; pip install mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions want to be asked for a plain folder
    folder, events = trained
    uri = (tmp_path / "mlruns").as_uri()
    done = run("runs", "--runs", folder / "runs", "--mlflow", uri)
    assert done.exit_code == 0, done.output
    client = mlflow.MlflowClient(uri)
    (copied,) = client.search_runs([client.get_experiment_by_name("napari-sparse3d").experiment_id])
    assert copied.info.run_name == events[-1]["run"]
    assert copied.data.params["augment.turns"] == "all"
    curve = client.get_metric_history(copied.info.run_id, "val_auc")
    assert [(point.step, point.value) for point in curve] == [(e["epoch"], e["val"]["auc"]) for e in events[1:3]]
    assert copied.info.status == "FINISHED"


def test_runs_without_mlflow_say_how_to_get_it(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    done = run("runs", "--runs", trained[0] / "runs", "--mlflow", "file:nowhere")
    assert done.exit_code == 2
    assert "pip install mlflow" in done.output


def test_evaluate_writes_a_report(trained, shapes, tmp_path):
    folder, _ = trained
    arguments = (shapes, "--split", "all", "--runs", folder / "runs", "--json", "-o", tmp_path)
    found = json.loads(run("evaluate", "last", *arguments).stdout)
    assert found["n"] == 40
    assert sum(map(sum, found["confusion"])) == 40
    low, high = found["intervals"]["accuracy"]
    assert low <= found["accuracy"] <= high
    assert {"accuracy", "balanced_accuracy", "auc", "map", "nn", "ft", "st", "dcg", "e32", "ece"} <= set(found)
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "evaluation.png", "figures.json"}
    by_file = json.loads(run("evaluate", folder / "toy.safetensors", *arguments).stdout)
    assert by_file["auc"] == found["auc"]
    assert run("evaluate", "last", shapes, "--split", "test", "--runs", folder / "runs").exit_code == 2
    assert run("evaluate", "no-such-run", shapes, "--runs", folder / "runs").exit_code == 2


def test_evaluate_names_what_it_cannot_read(trained, shapes, tmp_path):
    folder, _ = trained
    for kind in ("ball", "box"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            (tmp_path / kind / f"{number}.npz").write_bytes((shapes / kind / f"0{number}.npz").read_bytes())
    (tmp_path / "box" / "torn.npz").write_bytes(b"torn")
    done = run("evaluate", folder / "toy.safetensors", tmp_path, "--split", "all", "--json")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["n"] == 6
    (line,) = found["failed"]
    assert re.match(r"case 6 \([0-9a-f]{8}\): the file is no voxel set", line)


def test_models_lists_and_shows(trained):
    folder, _ = trained
    rows = json.loads(run("models", "--json").stdout)["models"]
    assert {"deepc2", "residual"} <= {row["name"] for row in rows}
    card = json.loads(run("models", folder / "toy.safetensors", "--json").stdout)
    assert card["trained"]
    assert card["metrics"]["validation"]["n"] == 8
    assert "toy" in run("models", folder / "toy.safetensors").stdout
    assert run("models", "nothing").exit_code == 2


def test_search_params_by_command(trained, shapes, tmp_path):
    folder, _ = trained
    done = run(
        *("search-params", shapes, "--settings", folder / "settings.json", "-s", "epochs=1", "--trials", 1),
        *("--search", "learning_rate=1e-3:1e-2:log", "--runs", tmp_path, "--json"),
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["trials"] == 1
    assert set(found["settings"]) == {"learning_rate"}
    assert run("search-params", shapes, "--search", "nonsense=1:2", "--runs", tmp_path).exit_code == 2


def test_settings_come_from_file_then_options_then_set(settings, tmp_path):
    (tmp_path / "s.toml").write_text('epochs = 7\n[loss]\nname = "triplet"\n[recipe.threshold]\nkind = "otsu"\n')
    found = settings_of(tmp_path / "s.toml", None, {"epochs": 8, "seed": None}, ["loss.margin=0.2", "epochs=9"])
    assert (found.epochs, found.loss.name, found.loss.margin) == (9, "triplet", 0.2)
    assert found.sampler == "balanced"  # where the file says nothing, as without it
    start = settings_of(None, None, {}, [])
    assert (start.recipe.name, start.sampler, start.arguments["stem_stride"]) == ("shape-64", "balanced", 2)
    stages = settings_of(None, None, {}, ["arguments.channels=[4,8]"]).arguments
    assert stages == {"field": 64, "stem_stride": 2, "channels": [4, 8], "dropout": 0.3}  # blocks were for four stages
    assert settings_of(None, None, {"architecture": "deepc2"}, []).arguments == {}
    for text in ("[1]", "{"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(InputError):
            settings_of(tmp_path / "bad.json", None, {}, [])


@pytest.mark.parametrize("storage", ["study.db", "nosuch://host/study", "sqlite:////no/such/folder/study.db"])
def test_a_storage_that_is_no_database_is_one_line(shapes, tmp_path, storage):
    call = ["search-params", str(shapes), "--runs", str(tmp_path), "--trials", "1", "--storage", storage]
    result = CliRunner().invoke(app, [*call, "-r", "shape-64"])
    assert isinstance(result.exception, SystemExit), result.exception
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "--storage" in errors[0]


@pytest.mark.parametrize("error", ["server", "disk"])
def test_an_mlflow_that_takes_nothing_is_one_line(tmp_path, monkeypatch, error):
    """Not the library, which need not be installed: what it raises."""
    mlflow = ModuleType("mlflow")
    mlflow.exceptions = SimpleNamespace(MlflowException=type("MlflowException", (Exception,), {}))

    def refuses(uri):
        raise mlflow.exceptions.MlflowException("no\nserver") if error == "server" else OSError(28, "No space left")

    mlflow.set_tracking_uri = refuses
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    RunStore(tmp_path).new("a")
    result = CliRunner().invoke(app, ["runs", "--runs", str(tmp_path), "--mlflow", "http://nowhere"])
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert ("no server" if error == "server" else "No space left") in line
