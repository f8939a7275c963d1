"""Every command that writes, killed (SIGKILL) at random moments: there is the old or the new file, and nothing else.

Half of the moments lie anywhere in a run, half within a few milliseconds of the first half-written file, where it
hurts. ``make test-faults`` kills each command 10 times (50 with ``FULL=1``); the default run kills `convert` twice.
The table of ``docs/reliability.md`` is made of what this prints (``-s``).
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
from pyarrow import parquet

from napari_sparse3d.files import remove_left
from napari_sparse3d.models import build_network, load_model
from napari_sparse3d.models.model import Model
from napari_sparse3d.models.weights import unpack
from napari_sparse3d.voxels import RangeThreshold, Recipe, VoxelSet

KILLS = 50 if os.environ.get("FULL") else 10
PROGRAM = (sys.executable, "-m", "napari_sparse3d.cli")
SMALL = {"field": 16, "channels": (4, 8), "embedding": 6, "classes": 2}
RUN_FILES = {"checkpoint", "best", "model", "settings", "run", "curves", "lock", "stop"}

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills processes as Linux does")


@dataclass(frozen=True)
class Command:
    """A command, the file that it makes (below its folder; None: a run's folder), and how that is read whole."""

    arguments: tuple
    output: str | None
    read: object


def whole_table(path):
    return [row["path"] for row in parquet.read_table(path).to_pylist()]


def whole_image(path):
    return np.asarray(nibabel.load(path).dataobj).sum()


def whole_voxels(path):
    return VoxelSet.load(path).n_active


def whole_program(path):
    import torch

    return len(torch.export.load(path).state_dict)


def save_scan(folder, number):
    data = (np.random.default_rng(number).random((96, 96, 96)) < 0.3).astype(np.int16) * 100
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), folder / f"scan{number}.nii.gz")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A folder with a scan, which is all that `convert` needs."""
    folder = tmp_path_factory.mktemp("scan")
    save_scan(folder, 0)
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    drawn = np.random.default_rng(0)
    for number in range(6):
        save_scan(folder, number)
    scans = sorted(folder.glob("scan*"))
    smaller = {"kind": "longest_side", "voxels": 16}
    recipe = Recipe(name="small", resample=smaller, threshold=RangeThreshold(low=30), field=16)
    recipe.save(folder / "recipe.toml")
    card = load_model("residual").card.model_copy(
        update={"arguments": SMALL, "classes": ("a", "b"), "recipe": recipe, "name": "small"}
    )
    Model(build_network("residual", **SMALL), card).save(folder / "model.safetensors")
    shapes = folder / "shapes"
    for kind, density in (("few", 0.1), ("many", 0.3)):
        (shapes / kind).mkdir(parents=True)
        for number in range(12):
            indices = np.argwhere(drawn.random((12, 12, 12)) < density).astype(np.int32)
            made = VoxelSet(indices, np.ones((len(indices), 1), np.float32), (12, 12, 12), np.eye(4))
            made.save(shapes / kind / f"{number:02}.npz")
    model, rows = str(folder / "model.safetensors"), str(folder / "rows.parquet")
    call = [*PROGRAM, "predict", *map(str, scans), "-m", model, "-o", rows]
    ok = subprocess.run(call, check=False, capture_output=True)
    assert ok.returncode == 0, ok.stderr
    return folder


def commands(inputs, place):
    scans = sorted(inputs.glob("scan*"))
    trained = ("-r", inputs / "recipe.toml", "-s", "arguments.field=16", "-s", "arguments.channels=[4,8]",
               "-s", "arguments.embedding=6", "-s", "checkpoint_seconds=0.01", "--threads", 1)  # fmt: skip
    runs = ("--runs", place / "runs")
    return {
        "convert": Command(("convert", scans[0], "-o", place / "a.nii.gz"), "a.nii.gz", whole_image),
        "voxelize": Command(
            ("voxelize", scans[0], "-r", inputs / "recipe.toml", "-o", place / "a.npz"), "a.npz", whole_voxels
        ),
        "predict": Command(
            ("predict", *scans, "-m", inputs / "model.safetensors", "-o", place / "a.parquet"), "a.parquet", whole_table
        ),
        "map": Command(
            ("map", inputs / "rows.parquet", "-o", place / "b.parquet", "--method", "pca"), "b.parquet", whole_table
        ),
        "export": Command(
            ("export", inputs / "model.safetensors", "--format", "torch", "-o", place / "a.pt2"), "a.pt2", whole_program
        ),
        "train": Command(("train", inputs / "shapes", *runs, "-e", 8, *trained), None, None),
        "search-params": Command(
            ("search-params", inputs / "shapes", *runs, "--trials", 2, "-s", "epochs=2", *trained), None, None
        ),
    }


def start(command, place):
    environment = {
        **os.environ,
        "NAPARI_SPARSE3D_CACHE": str(place.parent / "cache"),
        "TMPDIR": str(place.parent / "scratch"),
        "OMP_NUM_THREADS": "1",
    }
    call = [*PROGRAM, *map(str, command.arguments)]
    return subprocess.Popen(call, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def half_written(place):
    return [*place.parent.rglob(".s3d-*"), *place.parent.rglob("s3d-*")]


def kill_somewhere(command, place, seconds, random_, *, while_writing):
    """SIGKILL at a random moment; whether the process still lived."""
    process = start(command, place)
    deadline = time.monotonic() + (20 * seconds if while_writing else random_.uniform(0, 1.05 * seconds))
    before = set(half_written(place))
    while time.monotonic() < deadline and process.poll() is None:
        if while_writing and set(half_written(place)) - before:
            time.sleep(random_.uniform(0, 0.02))
            break
        time.sleep(0.001)
    lived = process.poll() is None
    process.kill()
    process.communicate()
    return lived and process.returncode == -signal.SIGKILL


def check_whole(command, place, known):
    """What is there under its own name can be read, and is the old file or the new one."""
    if command.output is not None:
        path = place / command.output
        if path.exists():
            assert command.read(path) == known
        return
    for folder in (place / "runs").glob("*/"):
        for path in folder.glob("*.safetensors"):
            unpack(path)


def nothing_else(command, place):
    """After a start that was not killed there is no trace of those that were."""
    assert not half_written(place)
    if command.output is not None:
        assert [path.name for path in place.iterdir()] == [command.output]
        return
    for path in (place / "runs").glob("*/*"):
        assert path.name.partition(".")[0] in RUN_FILES, path.name


def tortured(name, inputs, place, kills):
    place.mkdir(parents=True)
    (place.parent / "scratch").mkdir(exist_ok=True)
    command = commands(inputs, place)[name]
    random_ = random.Random(f"{name} {time.time_ns()}")
    began = time.monotonic()
    first = start(command, place)
    _, said = first.communicate()
    seconds = time.monotonic() - began
    assert first.returncode == 0, said.decode()
    known = command.read(place / command.output) if command.output is not None else None
    hit = 0
    for number in range(kills):
        if number % 2 and command.output is not None:  # sometimes there is no old file
            shutil.rmtree(place)
            place.mkdir()
        hit += kill_somewhere(command, place, seconds, random_, while_writing=number % 2 == 0)
        check_whole(command, place, known)
    last = start(command, place)
    _, said = last.communicate()
    assert last.returncode == 0, said.decode()
    check_whole(command, place, known)
    nothing_else(command, place)
    print(f"\n| {name} killed (SIGKILL) | {hit} of {kills} while it ran | old or new file | it was; nothing left |")
    assert hit, "no kill met a living process: the moments are wrong"


@pytest.mark.faults
@pytest.mark.parametrize("name", ["convert", "voxelize", "predict", "map", "export", "train", "search-params"])
def test_a_command_killed_at_random_moments(name, inputs, tmp_path):
    tortured(name, inputs, tmp_path / "out", KILLS)


def test_a_command_killed_twice(scan, tmp_path):
    tortured("convert", scan, tmp_path / "out", 2)


def test_unpacked_archives_of_killed_processes_are_removed(tmp_path):
    dead = f"s3d-{'-'.join(('000000', '000000', '1', '1'))}-abc"
    (tmp_path / dead).mkdir()
    (tmp_path / dead / "000000.nii").touch()
    os.utime(tmp_path / dead, (0, 0))
    remove_left(tmp_path)
    assert not list(Path(tmp_path).iterdir())
