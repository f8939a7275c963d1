"""What a user can get wrong: one clear line, an exit code, no traceback, nothing half-written."""

import gzip
import json

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.voxels import RangeThreshold, Recipe, VoxelSet

INPUT, CALL = 1, 2


def write_nifti(path, data):
    nibabel.save(nibabel.Nifti1Image(data, np.diag([2, 1, 1, 1])), path)
    return path


@pytest.fixture
def good_scan(tmp_path):
    z, y, x = np.indices((12, 14, 16))
    ball = ((z - 6) ** 2 + (y - 7) ** 2 + (x - 8) ** 2 < 20) * 100
    return write_nifti(tmp_path / "good.nii.gz", ball.astype(np.int16))


@pytest.fixture
def scan(request, tmp_path, good_scan):
    """The scan that a case names, made where it is needed."""
    folder = tmp_path / "scans"
    folder.mkdir()
    kind = request.param
    path = folder / f"{kind}.nii.gz"
    if kind == "missing":
        return path
    if kind == "empty folder":
        return folder
    if kind == "text":
        path.write_text("this is a letter, not a scan\n" * 20)
    elif kind == "text in gzip":
        path.write_bytes(gzip.compress(b"this is a letter, not a scan\n" * 40))
    elif kind == "truncated":
        whole = write_nifti(tmp_path / "whole.nii.gz", np.random.default_rng(0).normal(size=(20, 20, 20)))
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif kind == "no values":
        write_nifti(path, np.full((8, 8, 8), np.nan, np.float32))
    elif kind == "flat image":
        write_nifti(path, np.ones((16, 16), np.int16))
    elif kind == "all zero":
        write_nifti(path, np.zeros((8, 8, 8), np.int16))
    return path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def check(result, exit_code, *said):
    """One line that says ``said``, the exit code, and no traceback."""
    assert result.exit_code == exit_code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, result.stderr
    for words in said:
        assert words in errors[0]
    assert "Traceback" not in result.output
    assert len(errors[0]) < 600


def nothing_written(folder, name):
    assert not (folder / name).exists()
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def out_for(command):
    return {"voxelize": "out.npz", "convert": "out.nrrd", "predict": "out.parquet", "explain": "out.nii"}.get(command)


def call(command, scan, folder, *more):
    """A complete, otherwise right call of ``command``."""
    options = {
        "info": (),
        "convert": ("-o", folder / "out.nrrd"),
        "voxelize": ("--recipe", "mri-110", "-o", folder / "out.npz"),
        "activations": ("--model", "deepc2"),
        "predict": ("--model", "deepc2", "-o", folder / "out.parquet"),
        "explain": ("--model", "deepc2", "-o", folder / "out.nii"),
    }[command]
    return run(command, scan, *options, *more)


COMMANDS = ["info", "convert", "voxelize", "activations", "predict", "explain"]
RUNS_VOXELS = ["voxelize", "activations", "predict", "explain"]
UNREADABLE = {
    "missing": "no such file or folder",
    "empty folder": "empty",
    "text": "",
    "text in gzip": "",
    "truncated": "",
}


# a file that is cut in its voxels looks sound to info, which reads headers only
UNREADABLE_BY = [
    (command, kind) for command in COMMANDS for kind in UNREADABLE if (command, kind) != ("info", "truncated")
]


@pytest.mark.parametrize(("command", "scan"), UNREADABLE_BY, indirect=["scan"])
@pytest.mark.parametrize("more", [(), ("--json",)], ids=["", "json"])
def test_scan_that_cannot_be_read(command, scan, tmp_path, more):
    result = call(command, scan, tmp_path, *more)
    check(result, INPUT, UNREADABLE[scan.name.removesuffix(".nii.gz").replace("scans", "empty folder")])
    if command != "predict":  # its table has a row for the failure, and is whole
        nothing_written(tmp_path, out_for(command) or "nothing")
    if more:
        assert isinstance(json.loads(result.stdout), dict)
    else:
        assert result.stdout == ""


@pytest.mark.parametrize("command", RUNS_VOXELS)
@pytest.mark.parametrize(
    ("scan", "said"),
    [
        ("no values", "NaN"),
        ("all zero", "positive maximum"),
        ("flat image", ""),
    ],
    indirect=["scan"],
)
def test_scan_that_cannot_be_used(command, scan, said, tmp_path):
    check(call(command, scan, tmp_path), INPUT, said)
    if command != "predict":
        nothing_written(tmp_path, out_for(command) or "nothing")


@pytest.mark.parametrize("command", RUNS_VOXELS)
def test_threshold_that_leaves_nothing(command, good_scan, tmp_path):
    high = tmp_path / "high.toml"
    Recipe(name="high", threshold=RangeThreshold(low=5000)).save(high)
    result = call(command, good_scan, tmp_path, "--recipe", high)
    check(result, INPUT, "recipe 'high'", "leaves no voxel", "go from 0 to 100", "choose a threshold inside")
    if command != "predict":
        nothing_written(tmp_path, out_for(command) or "nothing")


RECIPES = {
    "low above high": ('[threshold]\nkind = "range"\nlow = 300\nhigh = 100', "low 300 is above high 100; swap them"),
    "no TOML": ("threshold = ", "this is no TOML"),
    "no recipe": ("colour = 3", "colour is no part of a recipe"),
}


@pytest.mark.parametrize("command", RUNS_VOXELS)
@pytest.mark.parametrize(("text", "said"), RECIPES.values(), ids=list(RECIPES))
def test_recipe_that_is_none(command, text, said, good_scan, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(text)
    check(call(command, good_scan, tmp_path, "--recipe", recipe), CALL, "r.toml", said)
    nothing_written(tmp_path, out_for(command) or "nothing")


@pytest.mark.parametrize("command", RUNS_VOXELS)
def test_recipe_that_is_not_there(command, good_scan, tmp_path):
    check(call(command, good_scan, tmp_path, "--recipe", "mri-111"), CALL, "there is no recipe 'mri-111'")
    check(call(command, good_scan, tmp_path, "--recipe", tmp_path / "no.toml"), CALL, "no.toml")
    nothing_written(tmp_path, out_for(command) or "nothing")


@pytest.mark.parametrize("command", ["activations", "predict", "explain"])
@pytest.mark.parametrize("content", [b"weights, honestly", b"", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_model_file_that_is_none(command, content, good_scan, tmp_path):
    model = tmp_path / "m.safetensors"
    model.write_bytes(content)
    check(call(command, good_scan, tmp_path, "--model", model), CALL, "m.safetensors")
    nothing_written(tmp_path, out_for(command) or "nothing")


@pytest.mark.parametrize("command", ["activations", "predict", "explain"])
def test_model_engine_or_device_that_is_not_there(command, good_scan, tmp_path):
    check(call(command, good_scan, tmp_path, "--model", "deepc3"), CALL, "there is no model 'deepc3'", "deepc2")
    check(call(command, good_scan, tmp_path, "--model", tmp_path / "no.safetensors"), CALL, "no.safetensors")
    check(call(command, good_scan, tmp_path, "--engine", "steam"), CALL, "there is no engine 'steam'", "native")
    check(call(command, good_scan, tmp_path, "--device", "abacus"), CALL, "there is no device 'abacus'", "cpu")
    nothing_written(tmp_path, out_for(command) or "nothing")


@pytest.mark.parametrize(
    ("command", "wrong"), [("voxelize", "out.zip"), ("predict", "out.csv"), ("explain", "out.csv")]
)
def test_output_that_cannot_be_written(command, wrong, good_scan, tmp_path):
    check(call(command, good_scan, tmp_path, "-o", tmp_path / wrong), CALL, "the output must end in")
    folder = tmp_path / out_for(command)
    folder.mkdir()
    check(call(command, good_scan, tmp_path), CALL, "is a folder")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("command", ["voxelize", "predict", "explain"])
def test_folder_that_cannot_be_made(command, good_scan, tmp_path):
    name = out_for(command)
    result = call(command, good_scan, tmp_path, "-o", good_scan / name)  # below a file
    check(result, CALL, "good.nii.gz")  # tried before the work: the call is wrong


@pytest.mark.parametrize("content", ["", "voxels, honestly"])
@pytest.mark.parametrize("command", ["activations", "predict", "explain"])
def test_voxel_set_that_is_none(command, content, tmp_path):
    path = tmp_path / "a.npz"
    path.write_text(content)
    check(call(command, path, tmp_path), INPUT, "the file is no voxel set")


def test_predict_goes_on_after_a_failure(good_scan, tmp_path):
    from pyarrow import parquet

    missing = tmp_path / "missing.nii"
    voxels = tmp_path / "v.npz"
    assert run("voxelize", good_scan, "--recipe", "mri-110", "-o", voxels).exit_code == 0
    table = tmp_path / "table.parquet"
    result = run("predict", good_scan, missing, voxels, "--model", "deepc2", "-o", table)
    check(result, INPUT, "row 1 of the table", "no such file")
    assert "missing" not in result.stderr  # a name may be a patient's: the table has it

    rows = parquet.read_table(table).to_pylist()
    assert [row["status"] for row in rows] == ["done", "failed", "done"]
    assert [row["path"] for row in rows] == [str(good_scan), str(missing), str(voxels)]
    assert rows[1]["label"] is rows[1]["embedding"] is rows[1]["series"] is None
    assert "no such file" in rows[1]["error"]
    assert rows[0]["embedding"] == rows[2]["embedding"]
    assert rows[0]["n_active"] == VoxelSet.load(voxels).n_active


def test_predict_names_each_series_of_a_folder(good_scan, tmp_path):
    from pyarrow import parquet

    folder = tmp_path / "many"
    (folder / "below").mkdir(parents=True)
    for name in ("a.nii.gz", "below/b.nii.gz"):
        (folder / name).write_bytes(good_scan.read_bytes())
    (folder / "c.nii.gz").write_text("no scan")
    table = tmp_path / "table.parquet"
    result = run("predict", folder, "--model", "deepc2", "-o", table)
    rows = {row["path"]: row for row in parquet.read_table(table).to_pylist()}
    assert {path: row["status"] for path, row in rows.items()} == {
        str(folder / "a.nii.gz"): "done",
        str(folder / "below" / "b.nii.gz"): "done",
        str(folder / "c.nii.gz"): "failed",
    }
    assert all(row["series"] == 0 for row in rows.values())
    place = list(rows).index(str(folder / "c.nii.gz"))
    check(result, INPUT, f"row {place} of the table")


def test_values_that_are_not_finite_are_said_and_survived(tmp_path):
    data = np.zeros((8, 8, 8), np.float32)
    data[2:6, 2:6, 2:6] = 100
    data[0, 0, 0] = np.nan
    scan = write_nifti(tmp_path / "hole.nii.gz", data)
    result = run("voxelize", scan, "--recipe", "mri-110", "-o", tmp_path / "v.npz", "--json")
    assert result.exit_code == 0
    assert "warning: 1 of 512 values" in result.stderr
    assert json.loads(result.stdout)["n_active"] > 0


@pytest.mark.parametrize(
    "arguments", [["fly"], ["info"], ["info", "a", "b"], ["voxelize", "a"], ["info", "--colour", "a"]]
)
def test_calls_that_are_none(arguments):
    result = run(*arguments)
    assert result.exit_code == CALL
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
