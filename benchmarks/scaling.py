"""What a 3^3 submanifold convolution (32 to 32) costs as active sites grow, and as the grid around them grows.

    python benchmarks/scaling.py sites grid [--threads 2] [--most 10000000] [--out docs/images]

``sites``: smooth blobs of 10^4 to 10^7 active sites, in the smallest power-of-two grid that they fill by at most a
tenth (10^7 in 512^3). ``grid``: the same 10^5 sites in grids of 128^3 to 1024^3, once as one blob in the middle, once
scattered evenly over the grid; scattered sites have fewer neighbours in a larger grid, so their products get fewer.
Forward only; indices are new in each run, so that index and plan are part of it. Medians of repeated runs. Writes
``scaling.json`` beside the charts, and adds to it where one of the two is left out.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from pairs import Contender, milliseconds, one_of
from scenes import indices_of, smooth_noise
from torch import Tensor

from napari_sparse3d.sparse import SparseTensor, SubMConv3d

CHANNELS = 32
SITES = (10_000, 31_600, 100_000, 316_000, 1_000_000, 3_160_000, 10_000_000)
GRIDS = (128, 256, 512, 1024)
FIXED_SITES = 100_000


def blobs(n: int) -> tuple[Tensor, int]:
    """About ``n`` smooth sites, and the side of their grid."""
    side = 64
    while side**3 < 10 * n and side < 512:
        side *= 2
    return indices_of(smooth_noise(side, n / side**3)), side


def blob_in_the_middle(side: int) -> Tensor:
    """The same sites for every side, moved."""
    indices = indices_of(smooth_noise(128, FIXED_SITES / 128**3))
    indices[:, 1:] += (side - 128) // 2
    return indices


def scattered_evenly(side: int) -> Tensor:
    """``FIXED_SITES`` different cells drawn from the whole grid."""
    cells = np.random.default_rng(0).choice(side**3, FIXED_SITES, replace=False, shuffle=False)
    found = np.stack(np.unravel_index(np.sort(cells), (side,) * 3), 1).astype(np.int32)
    return torch.from_numpy(np.pad(found, ((0, 0), (1, 0))))


def forward(indices: Tensor, side: int) -> Callable[[], object]:
    """A pass through the public module."""
    torch.manual_seed(0)
    layer = SubMConv3d(CHANNELS, CHANNELS, 3, bias=False)
    features = torch.randn(len(indices), CHANNELS)
    given = indices.numpy()

    def run() -> object:
        with torch.no_grad():
            return layer(SparseTensor(features, torch.from_numpy(given.copy()), side, 1, None)).features

    return run


def measure(scenes: list[Callable[[], tuple[Tensor, int]]], threads: int) -> list[dict[str, float]]:
    """One scene after the other, so that only one is in memory; repeated for at least a third of a second each."""
    rows = []
    for make in scenes:
        indices, side = make()
        run = Contender(forward(indices, side), threads)
        once = milliseconds(run)
        times = [milliseconds(run) for _ in range(int(np.clip(300 / once, 3, 21)))]
        rows.append({"side": side, "sites": len(indices), "ms": median(times)})
        print(f"{side:>5}^3{len(indices):>10} sites{rows[-1]['ms']:>10.2f} ms", flush=True)
        del indices, run
        gc.collect()
    return rows


def measure_in_turn(scenes: dict[str, list[tuple[Tensor, int]]], threads: int) -> dict[str, list[dict[str, float]]]:
    """All scenes once in each round, so that what else the machine does falls on all alike."""
    runs = {name: [Contender(forward(indices, side), threads) for indices, side in row] for name, row in scenes.items()}
    times: dict[str, list[list[float]]] = {name: [[] for _ in row] for name, row in runs.items()}
    for _ in range(15):
        for name, row in runs.items():
            for taken, run in zip(times[name], row):
                taken.append(milliseconds(run))
    found = {
        name: [
            {"side": side, "sites": len(indices), "ms": median(taken)}
            for (indices, side), taken in zip(row, times[name])
        ]
        for name, row in scenes.items()
    }
    for name, rows in found.items():
        for row in rows:
            print(f"{name:12}{row['side']:>5}^3{row['sites']:>10} sites{row['ms']:>10.2f} ms")
    return found


def chart_of_sites(rows: list[dict[str, float]], path: Path) -> None:
    """Milliseconds against sites, beside a line of the same cost a site as the middle size."""
    sites, ms = (np.array([row[key] for row in rows]) for key in ("sites", "ms"))
    middle = len(rows) // 2
    figure, axes = _axes("active sites", "forward pass, ms")
    axes.plot(sites, ms[middle] / sites[middle] * sites, color="0.6", linestyle="--", label="cost grows as sites")
    axes.plot(sites, ms, marker="o", label="3³ submanifold, 32 to 32")
    _save(figure, axes, path)


def chart_of_grids(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Milliseconds against the side of the grid, one curve a placement."""
    figure, axes = _axes("side of the grid, voxels", "forward pass, ms")
    for name, rows in curves.items():
        axes.plot([row["side"] for row in rows], [row["ms"] for row in rows], marker="o", label=name)
    axes.set_xticks(GRIDS, [str(side) for side in GRIDS])
    axes.minorticks_off()
    highest = max(row["ms"] for rows in curves.values() for row in rows)
    axes.set_ylim(1, 10 ** np.ceil(np.log10(highest * 1.5)))
    _save(figure, axes, path)


def _axes(x: str, y: str):  # type: ignore[no-untyped-def]
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "napari-sparse3d"  # the same figures give the same file
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.2, 3.4), layout="constrained")
    axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    axes.grid(which="major", color="0.9")
    return figure, axes


def _save(figure, axes, path: Path) -> None:  # type: ignore[no-untyped-def]
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", type=one_of(["sites", "grid"]), default=["sites", "grid"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=int, default=SITES[-1], help="leave out larger site sets (10^7 takes 5 GB)")
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    kept = given.out / "scaling.json"
    found: dict[str, list[dict[str, float]]] = json.loads(kept.read_text()) if kept.exists() else {}
    if "sites" in given.parts:
        found["sites"] = measure([lambda n=n: blobs(n) for n in SITES if n <= given.most], given.threads)
    if "grid" in given.parts:
        places = {"one blob": blob_in_the_middle, "scattered": scattered_evenly}
        scenes = {name: [(place(side), side) for side in GRIDS] for name, place in places.items()}
        found |= measure_in_turn(scenes, given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found, indent=1))
    if "sites" in found:
        chart_of_sites(found["sites"], given.out / "scaling-sites.svg")
    curves = {name: rows for name, rows in found.items() if name != "sites"}
    if curves:
        chart_of_grids(curves, given.out / "scaling-grid.svg")


if __name__ == "__main__":
    main()
