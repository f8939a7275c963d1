"""Seconds an epoch and peak memory of deepC2 on VesselMNIST3D at 64^3: ours, against the same network dense in torch.

    python benchmarks/train_epoch.py ../shared/data/labelled/vesselmnist3d_64_trainval.npz

Both train on the same batches with the same loss, in interleaved rounds of one process; the time of an epoch is the
median time of a step times the steps of an epoch. Peak memory is measured in a process of its own for each, above what
the process holds before its first step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.models import build_network
from napari_sparse3d.models.networks.deepc2 import FIELD
from napari_sparse3d.sparse import SparseConv3d, SparseMaxPool3d, SparseTensor

Step = Callable[[Tensor, Tensor], float]


def main() -> None:
    """Measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-of", choices=("native", "dense"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    with np.load(asked.data) as stored:
        images = stored["train_images"]
        count = len(images)
        needed = np.random.default_rng(0).permutation(count)[: asked.batch_size * (asked.rounds + 1)]
        masks = torch.from_numpy(images[needed] > 0)
        labels = torch.from_numpy(stored["train_labels"].ravel()[needed].astype(np.int64))
        del images
    batches = list(zip(masks.split(asked.batch_size), labels.split(asked.batch_size), strict=True))
    steps: dict[str, Step] = {"native": sparse_step(), "dense": dense_step()}
    if asked.memory_of:
        before = _forget_peak_mb()
        for masks_, labels_ in batches[:2]:
            steps[asked.memory_of](masks_, labels_)
        print(_status_mb("VmHWM") - before)
        return
    times: dict[str, list[float]] = {name: [] for name in steps}
    losses: dict[str, list[float]] = {name: [] for name in steps}
    for number, batch in enumerate(batches):
        for name, step in steps.items():
            started = perf_counter()
            losses[name].append(step(*batch))
            if number:  # the first round warms up
                times[name].append(perf_counter() - started)
    per_epoch = {name: statistics.median(values) * count / asked.batch_size for name, values in times.items()}
    memory = {name: _memory_of(name, asked) for name in steps}
    print(
        json.dumps(
            {
                "network": "deepC2",
                "cases": count,
                "batch_size": asked.batch_size,
                "threads": asked.threads,
                "seconds_per_epoch": per_epoch,
                "ratio": statistics.median(d / n for d, n in zip(times["dense"], times["native"], strict=True)),
                "peak_mb": memory,
                "memory_ratio": memory["dense"] / max(memory["native"], 1e-9),
                "largest_difference_of_loss": max(abs(a - b) for a, b in zip(*losses.values(), strict=True)),
            },
            indent=1,
        )
    )


def sparse_step() -> Step:
    """A training step of our deepC2; from masks to updated weights."""
    network = build_network("deepc2")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.002, momentum=0.99, nesterov=True)

    def step(masks: Tensor, labels: Tensor) -> float:
        indices = masks.nonzero().int()
        indices[:, 1:] += (FIELD - masks.shape[1]) // 2
        x = SparseTensor(torch.ones(len(indices), 1), indices, FIELD, len(masks), torch.zeros(1))
        return _update(optimizer, functional.cross_entropy(network(x), labels))

    return step


def dense_step() -> Step:
    """The same step with torch's own dense layers and the same weights."""
    source = build_network("deepc2")
    layers: list[nn.Module] = []
    for module in source.layers:  # type: ignore[union-attr]
        if isinstance(module, SparseConv3d):
            dense = nn.Conv3d(module.in_channels, module.out_channels, 2)
            dense.weight.data = module.weight.data.permute(0, 4, 1, 2, 3).contiguous()
            dense.bias.data = module.bias.data.clone()  # type: ignore[union-attr]
            layers.append(dense)
        elif isinstance(module, SparseMaxPool3d):
            layers.append(nn.MaxPool3d(3, 2))
        else:
            layers.append(nn.LeakyReLU(1 / 3))
    network = nn.Sequential(*layers, nn.Flatten(), source.classifier)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.002, momentum=0.99, nesterov=True)

    def step(masks: Tensor, labels: Tensor) -> float:
        grid = torch.zeros(len(masks), 1, FIELD, FIELD, FIELD)
        low = (FIELD - masks.shape[1]) // 2
        inner = slice(low, low + masks.shape[1])
        grid[:, 0, inner, inner, inner] = masks.float()
        return _update(optimizer, functional.cross_entropy(network(grid), labels))

    return step


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def _memory_of(name: str, asked: argparse.Namespace) -> float:
    arguments = [str(asked.data), "--batch-size", str(asked.batch_size), "--threads", str(asked.threads)]
    command = [sys.executable, __file__, *arguments, "--memory-of", name]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _forget_peak_mb() -> float:
    """Let the peak start again from what is held now, in MB (Linux: proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_mb("VmRSS")


def _status_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


if __name__ == "__main__":
    main()
