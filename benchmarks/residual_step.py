"""A training step of a whole residual network on a batch of clinical shapes: ours against the same in dense torch.

    python benchmarks/residual_step.py [--data vesselmnist3d_64_trainval.npz] [--threads 2] [--pairs 5]

A step is forward, cross entropy, backward, and one SGD update with momentum; indices are new in each. The dense network
is what one would write without this package: ``nn.Conv3d``, ``nn.BatchNorm3d`` and ``nn.ReLU`` of the same sizes on a
(B, 1, 64, 64, 64) grid. It does the same work a site, not the same sum: it also computes, and normalises over, cells
that are empty. Without ``--data`` the shapes are tubes as wide as vessels.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pairs import Contender, Run, paired
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from napari_sparse3d.models import ResidualNet
from napari_sparse3d.sparse import SparseTensor

SIDE = 64
BATCH = 8
CHANNELS = (16, 32, 64, 128)


class DenseResidualNet(nn.Module):
    """``ResidualNet`` as a dense network: the same layers, channels and head."""

    def __init__(self, channels: Sequence[int] = CHANNELS, classes: int = 2, embedding: int = 128) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(1, channels[0], 3, 1), nn.BatchNorm3d(channels[0]), nn.ReLU()]
        for stage, width in enumerate(channels):
            if stage:
                layers += [_convolution(channels[stage - 1], width, 2, 2), nn.BatchNorm3d(width), nn.ReLU()]
            layers.append(DenseBlock(width))
        self.layers = nn.Sequential(*layers)
        self.project = nn.Linear(2 * channels[-1], embedding)
        self.classifier = nn.Linear(embedding, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, Z, Y, X) -> logits (B, classes)."""
        y = self.layers(x)
        pooled = torch.cat([y.mean((2, 3, 4)), y.amax((2, 3, 4))], 1)
        return self.classifier(functional.relu(self.project(pooled)))


class DenseBlock(nn.Module):
    """Two 3^3 convolutions, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (_convolution(channels, channels, 3, 1) for _ in range(2))
        self.norm1, self.norm2 = nn.BatchNorm3d(channels), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, Z, Y, X), the same shape."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + x)


def _convolution(c_in: int, c_out: int, kernel: int, stride: int) -> nn.Conv3d:
    return nn.Conv3d(c_in, c_out, kernel, stride, padding=1 if kernel == 3 else 0, bias=False)


def tubes(seed: int = 0) -> NDArray[np.bool_]:
    """(BATCH, 64, 64, 64) bool: smooth random walks with round cross-sections of radius 3 to 6."""
    random = np.random.default_rng(seed)
    grid = np.indices((SIDE,) * 3).reshape(3, -1).T.astype(np.float32)
    found = np.zeros((BATCH, SIDE**3), dtype=bool)
    for volume in found:
        position, heading, radius = np.full(3, SIDE / 2), random.standard_normal(3), random.uniform(3, 6)
        for _ in range(40):
            heading += 0.5 * random.standard_normal(3)
            position = np.clip(position + 3 * heading / np.linalg.norm(heading), radius, SIDE - 1 - radius)
            volume |= ((grid - position) ** 2).sum(1) <= radius**2
    return found.reshape(BATCH, *(SIDE,) * 3)


def shapes(path: Path | None) -> NDArray[np.bool_]:
    """The first volumes of a MedMNIST archive of side 64, or :func:`tubes`."""
    if path is None:
        return tubes()
    with np.load(path) as stored:
        return stored["train_images"][:BATCH] > 127


def steps(masks: NDArray[np.bool_]) -> dict[str, Run]:
    """A training step of each network."""
    sites = np.argwhere(masks).astype(np.int32)
    ones = torch.ones(len(sites), 1)
    labels = torch.arange(BATCH) % 2
    grid = torch.from_numpy(masks[:, None].astype(np.float32))
    grid_last = grid.contiguous(memory_format=torch.channels_last_3d)
    torch.manual_seed(0)
    ours = ResidualNet(field=SIDE, channels=CHANNELS)
    dense, dense_last = DenseResidualNet(), DenseResidualNet().to(memory_format=torch.channels_last_3d)

    def sparse_input() -> SparseTensor:
        return SparseTensor(ones, torch.from_numpy(sites.copy()), SIDE, BATCH, torch.zeros(1))

    def step(network: nn.Module, x: object, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(x), labels).backward()
        optimizer.step()

    def runner(network: nn.Module, make: object) -> Run:
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
        return lambda: step(network, make() if callable(make) else make, optimizer)

    return {
        "ours": runner(ours, sparse_input),
        "dense": runner(dense, grid),
        "dense channels-last": runner(dense_last, grid_last),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--against", choices=["dense", "dense channels-last"], nargs="+", default=["dense"])
    parser.add_argument("--profile", action="store_true", help="print where our own step spends its time, and stop")
    given = parser.parse_args()
    masks = shapes(given.data)
    runs = steps(masks)
    print(f"{BATCH} volumes of {SIDE}^3, {int(masks.sum())} sites, {100 * masks.mean():.2f} % active")
    if given.profile:
        torch.set_num_threads(given.threads)
        for _ in range(3):
            runs["ours"]()
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for _ in range(5):
                runs["ours"]()
        print(seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=30, max_name_column_width=60))
        return
    for name in given.against:
        found = paired(Contender(runs["ours"], given.threads), Contender(runs[name], given.threads), given.pairs)
        print(
            f"ours {found.ours_ms:8.1f} ms   {name:20}{found.theirs_ms:9.1f} ms   ratio {found.ratio:6.2f}", flush=True
        )


if __name__ == "__main__":
    main()
