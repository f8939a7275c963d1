"""Checkpoints, the table of runs and the cache: damaged, locked, full, killed; nothing of a training is lost by it."""

import json
import sqlite3
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.errors import InputError
from napari_sparse3d.files import Locked, locked
from napari_sparse3d.models.weights import Damaged, pack, unpack
from napari_sparse3d.training.checkpoint import load_weights, save_weights
from napari_sparse3d.training.runs import BEST, CHECKPOINT, LOCK, TABLE, RunStore
from napari_sparse3d.training.session import Data, train
from napari_sparse3d.voxels import RangeThreshold, Recipe

TENSORS = {"a": torch.arange(12.0).reshape(3, 4), "b": torch.tensor(3), "empty": torch.zeros(0, 2)}
TENSORS["half"] = TENSORS["a"].bfloat16()
PACKED = pack(TENSORS, {"note": "1"})


def test_what_is_packed_is_unpacked(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(PACKED)
    tensors, notes = unpack(tmp_path / "w.safetensors")
    assert notes == {"note": "1"}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert load_file(tmp_path / "w.safetensors").keys() == TENSORS.keys()  # others read it as before


@hypothesis_settings(max_examples=300)
@given(place=st.integers(0, len(PACKED) - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_gives_other_weights(tmp_path_factory, place, bit):
    damaged = bytearray(PACKED)
    damaged[place] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / "flipped.safetensors"
    path.write_bytes(damaged)
    try:
        tensors, notes = unpack(path)
    except Damaged:
        return
    # a bit of the checksum's own name turns it into one of the notes
    assert notes != {"note": "1"} or all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("length", [0, 4, 100, len(PACKED) - 1])
def test_no_cut_gives_other_weights(tmp_path, length):
    (tmp_path / "cut.safetensors").write_bytes(PACKED[:length])
    with pytest.raises(Damaged):
        unpack(tmp_path / "cut.safetensors")


def flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def stopped(shapes, settings, tmp_path):
    """A run of six epochs that was asked to end after three, and the weights of one that was not."""
    config = settings(epochs=6)
    table = RunStore(tmp_path / "runs")
    outcome = train(Data(shapes), config, runs=table, on_epoch=lambda epoch: epoch.epoch == 3)
    assert outcome.status == "stopped"
    straight = train(Data(shapes), config, runs=RunStore(tmp_path / "straight"))
    return table, outcome.run, config, load_file(straight.model)


def test_a_damaged_checkpoint_is_said_and_the_one_before_gives_the_same_weights(stopped, shapes):
    table, run, config, expected = stopped
    flip(table.folder / run / CHECKPOINT)
    with pytest.warns(UserWarning, match=r"checkpoint\.safetensors is damaged"):
        outcome = train(Data(shapes), config, resume=run, runs=table)
    assert outcome.status == "done"
    assert equal(load_file(outcome.model), expected)


def test_a_cut_best_is_said_and_the_one_before_is_used(tmp_path):
    network, path = torch.nn.Linear(3, 2), tmp_path / BEST
    kept = {}
    for epoch in (1, 4, 4):  # the last one once more, after a resume: that does not push out the one before
        torch.nn.init.constant_(network.weight, epoch)
        save_weights(path, network, epoch)
        kept[epoch] = {name: value.clone() for name, value in network.state_dict().items()}
    weights, epoch = load_weights(path, pytest.fail)
    assert (equal(weights, kept[4]), epoch) == (True, 4)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=rf"{BEST} is damaged"):
        weights, epoch = load_weights(path, warnings.warn)
    assert (equal(weights, kept[1]), epoch) == (True, 1)
    assert load_weights(tmp_path / "none.safetensors", pytest.fail) is None


def test_without_any_best_the_last_weights_are_kept(stopped, shapes):
    table, run, config, _ = stopped
    folder = table.folder / run
    done = train(Data(shapes), config, resume=run, runs=table)
    for path in folder.glob("best*"):
        path.write_bytes(b"torn")
    with pytest.warns(UserWarning, match="no weights of a best epoch can be read: those after epoch 6 are kept"):
        again = train(Data(shapes), config, resume=run, runs=table)
    assert again.status == done.status == "done"
    assert again.model.exists()


# -- the table of runs --


@pytest.fixture
def table(tmp_path):
    store = RunStore(tmp_path / "runs")
    for number in range(3):
        store.update(store.new(f"r{number}"), auc=number / 10, status="done", history=[{"epoch": number}])
    return store


def rows(store):
    return sorted((row["run"], row["auc"], row["status"], str(row["history"])) for row in store.rows())


@pytest.mark.parametrize("damage", ["removed", "empty", "no database", "torn"])
def test_a_damaged_table_is_made_anew_from_the_runs(table, damage):
    expected, path = rows(table), table.folder / TABLE
    if damage == "removed":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "no database":
        path.write_bytes(b"this is a letter" * 1000)
    else:
        content = bytearray(path.read_bytes())
        content[100:4096] = bytes(3996)
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
    other = RunStore(table.folder)
    if damage in ("no database", "torn"):
        with pytest.warns(UserWarning, match="the table of runs is damaged"):
            assert rows(other) == expected
    else:
        assert rows(other) == expected
    with sqlite3.connect(path) as database:  # and the table itself holds them again
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (3,)
    database.close()


def test_a_locked_table_blocks_nothing_and_hears_of_it_later(table, monkeypatch):
    monkeypatch.setattr("napari_sparse3d.training.runs._PATIENCE_S", 0.1)
    run = table.new("late")
    blocker = sqlite3.connect(table.folder / TABLE)
    blocker.execute("BEGIN EXCLUSIVE")
    with pytest.warns(UserWarning, match="takes nothing now"):
        table.update(run, status="done", auc=0.9)
    with pytest.warns(UserWarning, match="cannot be read now"):
        assert table.find(run)["auc"] == 0.9
    blocker.rollback()
    blocker.close()
    assert RunStore(table.folder).find(run)["status"] == "done"


def test_a_full_disk_under_the_table_ends_no_training(small_disk):
    store = RunStore(small_disk("size=128k"))
    run = store.new("r")
    with pytest.raises(OSError, match="No space"), (store.folder / "all").open("wb") as file:
        file.write(bytes(1 << 20))
    with pytest.warns(UserWarning, match="training goes on|takes nothing now"):
        store.update(run, history=[{"epoch": n} for n in range(5000)])


def test_only_a_live_training_is_shown_as_running(table):
    run = table.new("mine")
    assert table.find(run)["status"] == "interrupted"
    code = (
        "import sys\nfrom pathlib import Path\nfrom napari_sparse3d.files import locked\n"
        "with locked(Path(sys.argv[1]), 'it is trained'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    call = [sys.executable, "-c", code, str(table.folder / run / LOCK)]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        assert table.find(run)["status"] == "running"
        other.kill()
    assert table.find(run)["status"] == "interrupted"


def test_a_run_is_trained_by_one_process_at_a_time(stopped, shapes):
    table, run, config, _ = stopped
    with locked(table.folder / run / LOCK, "elsewhere"), pytest.raises(Locked, match=f"run {run} is being trained"):
        train(Data(shapes), config, resume=run, runs=table)


# -- the cache --


@pytest.fixture
def case(shapes):
    path = shapes / "ball" / "00.npz"
    return Case("ball/00.npz", path, "voxels", label="ball")


RECIPE = Recipe(name="toy", threshold=RangeThreshold(low=0.5))


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_data(case, small_disk, tmp_path):
    place = small_disk("size=16k")
    with pytest.raises(OSError, match="No space"), (place / "all").open("wb") as file:
        file.write(bytes(1 << 20))
    store = VoxelStore(RECIPE, place)
    with pytest.warns(UserWarning, match="the cache of voxel sets cannot be written"):
        voxels = store.get(case)
    np.testing.assert_array_equal(voxels.indices, VoxelStore(RECIPE, tmp_path).get(case).indices)


def test_a_training_goes_on_without_a_cache(shapes, settings, small_disk, tmp_path):
    place = small_disk("size=16k")
    with pytest.raises(OSError, match="No space"), (place / "all").open("wb") as file:
        file.write(bytes(1 << 20))
    events = []
    with pytest.warns(UserWarning, match="cannot be written"):
        train(Data(shapes), settings(epochs=1), runs=RunStore(tmp_path), cache=place, report=events.append)
    assert events[0]["problems"] == []


def test_no_damage_of_an_entry_gives_other_voxels(case, tmp_path, recwarn):
    expected = VoxelStore(RECIPE, tmp_path).get(case)
    (entry,) = tmp_path.rglob("*.npz")
    whole = entry.read_bytes()
    damaged = 0
    for place in range(0, len(whole), 7):
        content = bytearray(whole)
        content[place] ^= 0x10
        entry.write_bytes(content)
        found = VoxelStore(RECIPE, tmp_path).get(case)
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.features, expected.features)
        np.testing.assert_array_equal(found.affine, expected.affine)
        damaged += entry.read_bytes() == whole  # it was made anew
    assert damaged > 50
    assert any("is damaged and made anew" in str(warning.message) for warning in recwarn.list)


def test_a_row_of_a_run_is_plain_json(table):
    run = table.rows()[0]["run"]
    row = json.loads((table.folder / run / "run.json").read_text())
    assert row["run"] == run
    with pytest.raises(InputError, match="no column"):
        table.update(run, no_such=1)
