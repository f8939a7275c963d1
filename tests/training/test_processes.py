"""Two processes that train together end where one alone does."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from napari_sparse3d.training.runs import RunStore
from napari_sparse3d.training.session import Data, train


@pytest.mark.slow
def test_two_processes_train_as_one(shapes, settings, tmp_path):
    """deepC2 has no batch statistics, and nothing is drawn: the sum of the shares' gradients is the batch's."""
    plain = {"architecture": "deepc2", "arguments": {}, "augment": {"turns": "none"}}
    # not AdamW: it divides by the gradient's size, and so makes rounding as large as a step
    # and no rate at which the loss jumps: where the larger of two values that a pool compares changes, so do gradients
    how = {"optimizer": "nesterov", "learning_rate": 0.001, "momentum": 0.9, "keep": "last"}
    config = settings(**plain, **how, epochs=2, batch_size=5)
    (tmp_path / "settings.json").write_text(config.model_dump_json())
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "napari_sparse3d.cli", "train", str(shapes), "--settings", str(tmp_path / "settings.json")]
    done = subprocess.run([*command, "--threads", "1", "--runs", str(tmp_path / "two")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (row,) = RunStore(tmp_path / "two").rows()  # one run, written by the first process
    assert (row["status"], row["epoch"]) == ("done", 2)
    alone = train(Data(shapes), config, runs=RunStore(tmp_path / "one"))
    one, two = load_file(alone.model), load_file(f"{row['folder']}/model.safetensors")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=2e-5)
    losses = [epoch["loss"] for epoch in RunStore(tmp_path / "one").find("last")["history"]]
    assert [epoch["loss"] for epoch in row["history"]] == pytest.approx(losses, rel=1e-4)
