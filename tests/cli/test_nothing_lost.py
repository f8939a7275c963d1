"""No fault of a case, a disk or the environment, and no end at any moment, costs what was done or shows a traceback."""

import contextlib
import inspect
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import zlib
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pyarrow import parquet
from typer.models import OptionInfo
from typer.testing import CliRunner

from napari_sparse3d.cases import parts as parts_module
from napari_sparse3d.cases import run as run_module
from napari_sparse3d.cli import app
from napari_sparse3d.io import nifti as nifti_module
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.training import session as session_module
from napari_sparse3d.voxels import RangeThreshold, Recipe, VoxelSet

SMALL = {"field": 16, "channels": (4, 8), "embedding": 6, "classes": 3}


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def one_line(result, code, *said):
    """One line that names the fault; nothing that the user did not cause passes as a traceback."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, result.stderr
    for text in said:
        assert text in errors[0]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    recipe = Recipe(name="small", threshold=RangeThreshold(low=50), field=16)
    card = load_model("residual").card.model_copy(
        update={"arguments": SMALL, "classes": ("ball", "box", "c"), "recipe": recipe, "name": "small"}
    )
    Model(build_network("residual", **SMALL), card).save(path)
    return path


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(4):
        data = np.zeros((12, 12, 12), np.int16)
        data[2 + number : 9, 3:9, 3:9] = 100
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), folder / f"s{number}.nii.gz")
    return sorted(folder.iterdir())


@pytest.fixture
def tried(monkeypatch):
    """The paths of the scans that `predict` has looked at itself."""
    seen = []
    original = run_module.run_case

    def counted(case, runner):
        seen.append(case.path.name)
        return original(case, runner)

    monkeypatch.setattr(run_module, "run_case", counted)
    return seen


def table(path):
    return parquet.read_table(path).to_pylist()


ERRORS = [
    (zlib.error("Error -3 while decompressing data"), "Error -3"),
    (MemoryError(), "not enough memory"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
    (IndexError("tuple index out of range"), "unexpected IndexError in cases/run.py"),
    (KeyError("PatientName Doe^Jane"), "unexpected KeyError"),
    (RecursionError("maximum recursion depth exceeded"), "unexpected RecursionError"),
    (OSError(5, "Input/output error", "/home/doe/scan.nii"), "Input/output error"),
    (ValueError("negative dimensions are not allowed"), "unexpected ValueError"),
]


@pytest.mark.parametrize(("error", "said"), ERRORS, ids=lambda value: type(value).__name__)
def test_every_failure_of_a_case_is_its_row(scans, model, tmp_path, monkeypatch, error, said):
    original = run_module.read_source

    def second_fails(case, *more, **options):
        if case.path.name == "s1.nii.gz":
            raise error
        return original(case, *more, **options)

    monkeypatch.setattr(run_module, "read_source", second_fails)
    result = run("predict", *scans, "-m", model, "-o", tmp_path / "out.parquet")
    one_line(result, 1, "row 1 of the table", said)
    rows = table(tmp_path / "out.parquet")
    assert [row["status"] for row in rows] == ["done", "failed", "done", "done"]
    assert said in rows[1]["error"]
    for secret in ("Doe", "doe", "/home"):
        assert secret not in rows[1]["error"]
    assert not (tmp_path / "out.parquet.parts").exists()


def test_a_file_with_a_flipped_bit_costs_its_row_alone(scans, model, tmp_path):
    whole = bytearray(scans[1].read_bytes())
    whole[len(whole) // 2] ^= 0x55
    scans[1].write_bytes(whole)
    assert run("predict", *scans, "-m", model, "-o", tmp_path / "out.parquet").exit_code == 1
    assert [row["status"] for row in table(tmp_path / "out.parquet")] == ["done", "failed", "done", "done"]


def interrupted(monkeypatch, scans, model, output, after=2, how=KeyboardInterrupt):
    original = run_module.run_case
    done = []

    def stops(*arguments):
        if len(done) == after:
            raise how
        done.append(1)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "run_case", stops)
        return run("predict", *scans, "-m", model, "-o", output)


@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit(143)])
def test_an_interrupt_keeps_what_is_done_and_the_same_call_goes_on(scans, model, tmp_path, monkeypatch, tried, how):
    output = tmp_path / "out.parquet"
    result = interrupted(monkeypatch, scans, model, output, how=how)
    assert result.exit_code != 0
    assert "2 rows are kept in out.parquet.parts" in result.stderr
    assert not output.exists()
    tried.clear()
    again = run("predict", *scans, "-m", model, "-o", output, "--json")
    assert tried == ["s2.nii.gz", "s3.nii.gz"]
    assert json.loads(again.stdout)["done"] == 4
    rows = table(output)
    straight = tmp_path / "straight.parquet"
    run("predict", *scans, "-m", model, "-o", straight)
    same = [{name: row[name] for name in row if name != "seconds"} for row in rows]
    assert same == [{name: row[name] for name in row if name != "seconds"} for row in table(straight)]
    assert parquet.read_schema(output).names == parquet.read_schema(straight).names
    assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.parquet"]


def test_rows_of_another_call_are_not_taken(scans, model, tmp_path, monkeypatch, tried):
    output = tmp_path / "out.parquet"
    interrupted(monkeypatch, scans, model, output)
    tried.clear()
    other = tmp_path / "other.safetensors"
    loaded = load_model(model)
    next(iter(loaded.network.parameters())).data.add_(1)
    loaded.save(other)
    result = run("predict", *scans, "-m", other, "-o", output)
    assert "rows of another call (other model): starting anew" in result.stderr
    assert len(tried) == 4


def test_a_scan_that_changed_is_looked_at_again(scans, model, tmp_path, monkeypatch, tried):
    output = tmp_path / "out.parquet"
    interrupted(monkeypatch, scans, model, output)
    os.utime(scans[0], (1, 1))
    tried.clear()
    assert run("predict", *scans, "-m", model, "-o", output).exit_code == 0
    assert tried == ["s0.nii.gz", "s2.nii.gz", "s3.nii.gz"]


def test_a_damaged_part_is_named_and_made_anew(scans, model, tmp_path, monkeypatch, tried):
    output = tmp_path / "out.parquet"
    interrupted(monkeypatch, scans, model, output)
    (part,) = (tmp_path / "out.parquet.parts").glob("*.parquet")
    part.write_bytes(part.read_bytes()[:-20])
    tried.clear()
    result = run("predict", *scans, "-m", model, "-o", output)
    assert "000000.parquet of out.parquet.parts is damaged" in result.stderr
    assert len(tried) == 4


def test_rows_reach_the_disk_while_it_works(scans, model, tmp_path, monkeypatch):
    monkeypatch.setattr(parts_module, "PART_S", 0)
    seen = []
    original = run_module.run_case

    def looked(*arguments):
        seen.append(len(list((tmp_path / "out.parquet.parts").glob("*.parquet"))))
        return original(*arguments)

    monkeypatch.setattr(run_module, "run_case", looked)
    assert run("predict", *scans, "-m", model, "-o", tmp_path / "out.parquet").exit_code == 0
    assert seen == [0, 1, 2, 3]


def test_two_processes_do_not_make_one_table(scans, model, tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom napari_sparse3d.files import locked\n"
        "with locked(Path(sys.argv[1]), 'it is made'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    lock = tmp_path / "out.parquet.parts" / "lock"
    call = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        result = run("predict", *scans, "-m", model, "-o", tmp_path / "out.parquet")
        other.kill()
    one_line(result, 2, "out.parquet is being made by another process")


# -- full disks, and folders that may only be read --


def commands(place, elsewhere, scans, model, voxels, embedded, shapes):
    """A call of every option that names what is written, with that in ``place`` and all else where it can be."""
    a_run = elsewhere / "runs"
    return {
        "convert .nii.gz": ("convert", scans[0], "-o", place / "a.nii.gz"),
        "convert .nii": ("convert", scans[0], "-o", place / "a.nii"),
        "convert .nrrd": ("convert", scans[0], "-o", place / "a.nrrd"),
        "convert .npz": ("convert", scans[0], "-o", place / "a.npz", "-r", voxels),
        "convert to a folder": ("convert", scans[0].parent, "-o", place / "many"),
        "voxelize": ("voxelize", scans[0], "-r", voxels, "-o", place / "a.npz"),
        "predict": ("predict", scans[0], "-m", model, "-o", place / "a.parquet"),
        "explain": ("explain", scans[0], "-m", model, "-o", place / "e.nii.gz"),
        "map": ("map", embedded, "-o", place / "b.parquet", "--method", "pca"),
        "export": ("export", model, "--format", "torch", "-o", place / "a.pt2"),
        "train": ("train", shapes, "--runs", place / "runs", "-e", "1", "-r", voxels, *TINY),
        "train -o": ("train", shapes, "--runs", a_run, "-e", "1", "-r", voxels, *TINY, "-o", place / "a.safetensors"),
        "search-params": ("search-params", shapes, "--runs", place / "runs", "--trials", "1", "-r", voxels, *TINY,
                          "-s", "epochs=1"),
        "search-params --storage": ("search-params", shapes, "--runs", a_run, "--trials", "1", "-r", voxels, *TINY,
                                    "-s", "epochs=1", "--storage", f"sqlite:///{place}/study.sqlite"),
        "evaluate": ("evaluate", model, shapes, "--split", "all", "-o", place / "report"),
        "runs --plot": ("runs", "--runs", a_run, "--plot", place / "curves.png"),
        "demo": ("demo", "--no-viewer", "-o", place / "demo"),
    }  # fmt: skip


TINY = ("-s", "arguments.field=16", "-s", "arguments.channels=[4,8]", "-s", "arguments.embedding=8")
IN_FOLDERS = {"many": "s0.nii.gz", "report": "report.md", "demo": "report.html"}
"""A file that the command would replace, of each output that is a folder."""
ONLY_READ = {
    *(
        ("similar", "--table"),
        ("pick", "--table"),
        ("train", "--validation"),
        ("train", "--settings"),
        ("search-params", "--settings"),
    ),
    *(("evaluate", "--runs"), ("runs", "--runs")),
}


def path_options():
    """Command and option, wherever the value of an option is a path."""
    for command in app.registered_commands:
        for name, parameter in inspect.signature(command.callback, eval_str=True).parameters.items():
            for option in getattr(parameter.annotation, "__metadata__", ()):
                if "Path" in str(parameter.annotation) and isinstance(option, OptionInfo):
                    # typer keeps the first name as a default
                    names = [each for each in (option.default, *(option.param_decls or ())) if isinstance(each, str)]
                    yield command.name, "-o" if "-o" in names else next(iter(names), f"--{name.replace('_', '-')}")


def test_every_option_that_names_an_output_is_tried_on_bad_disks(tmp_path):
    """A new option whose value is a path belongs in ``commands``, or in ``ONLY_READ``."""
    calls = commands(tmp_path / "place", tmp_path / "elsewhere", [tmp_path / "scan"], *[tmp_path / "other"] * 4)
    tried = {
        (call[0], option)
        for call in calls.values()
        for option, value in itertools.pairwise(call)
        if isinstance(value, Path) and tmp_path / "place" in value.parents
    }
    asked = set(path_options())
    assert {("convert", "-o"), ("demo", "-o"), ("runs", "--plot"), ("train", "--runs")} <= asked
    assert asked - ONLY_READ == tried


@pytest.fixture
def shapes(tmp_path):
    random = np.random.default_rng(0)
    for kind in ("ball", "box"):
        (tmp_path / "shapes" / kind).mkdir(parents=True)
        for number in range(4):
            indices = np.argwhere(random.random((9, 9, 9)) < 0.2).astype(np.int32)
            made = VoxelSet(indices, np.ones((len(indices), 1), np.float32), (9, 9, 9), np.eye(4))
            made.save(tmp_path / "shapes" / kind / f"{number}.npz")
    return tmp_path / "shapes"


@pytest.mark.parametrize("disk", ["full", "read-only"])
def test_every_command_that_writes_says_it_in_one_line(
    small_disk, tmp_path, scans, model, recipe_file, shapes, monkeypatch, disk
):
    monkeypatch.setenv("NAPARI_SPARSE3D_CACHE", str(tmp_path / "cache"))
    embedded = tmp_path / "embedded.parquet"
    assert run("predict", *scans, "-m", model, "-o", embedded).exit_code == 0
    assert run("train", shapes, "--runs", tmp_path / "runs", "-e", "1", "-r", recipe_file, *TINY).exit_code == 0
    place = small_disk("size=256k")
    every = commands(place, tmp_path, scans, model, recipe_file, embedded, shapes)
    written = {value for call in every.values() for value in call if isinstance(value, Path) and value.parent == place}
    old = {path / IN_FOLDERS[path.name] if path.name in IN_FOLDERS else path for path in written if path.name != "runs"}
    for path in old:
        path.parent.mkdir(exist_ok=True)
        path.write_text("old")
    if disk == "full":
        with pytest.raises(OSError, match="No space"), (place / "all").open("wb") as file:
            file.write(bytes(1 << 20))
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    before = sorted(place.rglob("*"))
    for name, arguments in every.items():
        if name == "demo" and find_spec("nilearn") is None:
            continue
        result = run(*arguments)
        assert result.exit_code in (1, 2), (name, result.output)
        one_line(result, result.exit_code)
        assert {path.read_text() for path in old} == {"old"}, name
        left = {path for path in place.rglob("*") if path.is_file()} - set(before)
        assert not {path for path in left if "runs" not in path.parts and not path.name.endswith(".parts")}, name
        assert not [path for path in place.rglob("*") if "s3d-" in path.name], name


def test_a_disk_that_fills_up_while_it_is_written(small_disk, scans, recipe_file):
    place = small_disk("size=64k")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 64)).astype(np.uint8)
    big = scans[0].with_name("big.nii.gz")
    nibabel.save(nibabel.Nifti1Image(noise, np.eye(4)), big)
    for ending in (".nii.gz", ".nii", ".nrrd"):
        target = place / f"a{ending}"
        target.write_text("old")
        one_line(run("convert", big, "-o", target), 1, "No space left on device")
        assert target.read_text() == "old"
    assert len(list(place.iterdir())) == 3


# -- signals, the environment, nested JSON --


def end_of(process, output, number):
    """Send a signal as soon as the process has begun to write rows."""
    deadline = time.monotonic() + 300
    while not (output.with_name(f"{output.name}.parts") / "call.json").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    return process.communicate(timeout=300)


def test_a_real_sigterm_keeps_the_rows_and_the_next_start_goes_on(scans, model, tmp_path):
    output = tmp_path / "out.parquet"
    many = [scans[0].with_name(f"m{number}.nii.gz") for number in range(200)]
    for path in many:
        path.write_bytes(scans[0].read_bytes())
    call = [
        sys.executable,
        "-m",
        "napari_sparse3d.cli",
        "predict",
        *map(str, many),
        "-m",
        str(model),
        "-o",
        str(output),
    ]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        _, said = end_of(process, output, signal.SIGTERM)
    assert process.returncode == 143, said
    assert "error: ended by SIGTERM" in said
    assert "Traceback" not in said
    assert not output.exists()
    assert run("predict", *many, "-m", model, "-o", output).exit_code == 0
    assert len(table(output)) == 200
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.parquet"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", ["predict", "explain", "convert", "voxelize", "train", "evaluate", "search-params"])
def test_an_ending_that_a_library_swallows_is_not_lost(
    command, number, scans, model, recipe_file, tmp_path, monkeypatch
):
    """A signal may arrive where a library catches whatever is raised; seen in the first case of a `predict`."""
    monkeypatch.setenv("NAPARI_SPARSE3D_CACHE", str(tmp_path / "cache"))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    read = nifti_module.open_image
    met = []

    def swallowing(*args):
        met.append(1)
        if len(met) == 1:
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                os.kill(os.getpid(), number)
        return read(*args)

    monkeypatch.setattr(nifti_module, "open_image", swallowing)
    output = tmp_path / {
        "predict": "a.parquet",
        "voxelize": "a.npz",
        "explain": "a.nrrd",
        "train": "a.safetensors",
    }.get(command, "out")
    runs = ("--runs", tmp_path / "runs")
    call = {
        "predict": (*scans, "-m", model, "-o", output),
        "explain": (scans[0], "-m", model, "-o", output),
        "convert": (scans[0], "-o", output),
        "voxelize": (scans[0], "-r", recipe_file, "-o", output),
        "train": (labelled(scans), "-r", recipe_file, "-e", "1", *TINY, *runs, "-o", output),
        "evaluate": (model, labelled(scans), "--split", "all", "-o", output),
        "search-params": (labelled(scans), "-r", recipe_file, "-s", "epochs=1", *TINY, *runs, "--trials", "2"),
    }[command]
    try:
        result = run(command, *call)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert met
    assert result.exit_code == 143 if number == signal.SIGTERM else result.exit_code in (1, 130), result.output
    assert number == signal.SIGINT or "error: ended by SIGTERM" in result.output
    assert command in ("convert", "voxelize") or not output.exists()  # whose one scan was whole, when they were told
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").glob("*/model.safetensors"))
    if command == "predict":
        assert run(command, *call).exit_code == 0
        assert len(table(output)) == len(scans)


def labelled(scans):
    """The scans as a labelled set of two classes."""
    root = scans[0].parent.with_name("labelled")
    for number, path in enumerate(scans):
        for twice in range(2):
            target = root / ("ball", "box")[number % 2] / f"{number}{twice}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            data = np.asarray(nibabel.load(path).dataobj).copy()
            data[2, 2, 2 + twice] = 100  # no two are one
            nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), target)
    return root


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_search_and_not_the_trial_alone(scans, recipe_file, tmp_path, monkeypatch, number):
    pytest.importorskip("optuna")
    monkeypatch.setenv("NAPARI_SPARSE3D_CACHE", str(tmp_path / "cache"))
    original = session_module.row_of_epoch
    epochs = []

    def sends(epoch, trainer):
        epochs.append(epoch.epoch)
        os.kill(os.getpid(), number)
        return original(epoch, trainer)

    monkeypatch.setattr(session_module, "row_of_epoch", sends)
    call = ("-r", recipe_file, "-s", "epochs=3", *TINY, "--runs", tmp_path / "runs", "--trials", "4", "--json")
    result = run("search-params", labelled(scans), *call)
    assert result.exit_code == 0, result.output
    assert epochs == [1]
    told = json.loads(result.stdout)
    assert (told["trials"], told["pruned"], told["best"], told["stopped_by_signal"]) == (1, 1, None, True)


@pytest.mark.parametrize(
    ("variable", "value"), [("NAPARI_SPARSE3D_ISA", "quantum"), ("NAPARI_SPARSE3D_WINOGRAD_PAIRS", "many"),
                            ("NAPARI_SPARSE3D_RUNS", ""), ("NAPARI_SPARSE3D_CACHE", os.devnull)],
)  # fmt: skip
def test_a_wrong_variable_is_named(scans, monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    one_line(run("info", scans[0]), 2, variable, "or unset it")


def test_nested_texts_are_one_line(scans, shapes, tmp_path):
    deep = {".json": "[" * 90_000, ".toml": "a = " + "[" * 90_000}
    for ending, text in deep.items():
        path = tmp_path / f"deep{ending}"
        path.write_text(text)
        one_line(run("voxelize", scans[0], "-r", path, "-o", tmp_path / "a.npz"), 2, "nested too deep")
        one_line(run("train", shapes, "--settings", path, "--runs", tmp_path / "runs"), 2, "nested too deep")


@pytest.mark.parametrize(
    "training",
    [
        {"test_views": "many"},
        {"test_views": 10**9, "augment": {"turns": "all"}},
        {"test_views": -3},
        {"test_views": 2.5},
        {"test_views": None},
        {"test_views": 4, "augment": "all"},
        {"test_views": 4, "augment": None},
        {"test_views": 4, "augment": {"turns": "bogus"}},
        {"test_views": 4, "augment": {"turns": ["all"]}},
    ],
)
def test_views_of_a_card_that_are_none_are_one_line(model, shapes, tmp_path, training):
    loaded = load_model(model)
    Model(loaded.network, loaded.card.model_copy(update={"training": training})).save(tmp_path / "m.safetensors")
    one_line(run("evaluate", tmp_path / "m.safetensors", shapes, "--split", "all"), 2, "test_views of 1 to 48")
    assert run("evaluate", tmp_path / "m.safetensors", shapes, "--split", "all", "--views", "1").exit_code == 0


def test_arrays_that_hold_no_numbers_are_one_line(tmp_path):
    for dtype, name in ((complex, "complex"), (object, "object")):
        path = tmp_path / f"{name}.npz"
        images = np.ones((4, 5, 5, 5)).astype(dtype)
        labels = np.array([[0], [1], [0], [1]])
        np.savez(path, train_images=images, train_labels=labels, val_images=images, val_labels=labels)
        result = run("train", path, "--runs", tmp_path / "runs", "-e", "1", "-s", "arguments.channels=[4,8]")
        one_line(result, 1)
    assert not list(Path(tmp_path / "runs").glob("*/model.safetensors"))
