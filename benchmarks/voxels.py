"""512^3 int16 to coordinates and values, 5 % above the threshold: ours against numpy and, where installed, numba.

    python benchmarks/voxels.py [--threads 2] [--pairs 5] [--only random]

Two volumes: independent voxels (the hardest for a branch), and smooth noise, whose voxels lie in bodies as in a CT.
numba's is the usual pair of loops, parallel over slices: count each slice, then write each from its own start.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pairs import Contender, paired

from napari_sparse3d.bench.workloads import ct512
from napari_sparse3d.voxels.native_threshold import find_voxels

Found = tuple[NDArray[np.int32], NDArray[np.float32]]
HIGH = 32767


def random_volume() -> tuple[NDArray[np.int16], int]:
    """Uniform in [-1000, 3000); the threshold leaves 5 %."""
    return np.random.default_rng(0).integers(-1000, 3000, (512, 512, 512), dtype=np.int16), 2800


def clustered_volume() -> tuple[NDArray[np.int16], int]:
    """The volume of ``napari-sparse3d bench``."""
    made = ct512()
    return made.data, made.low


VOLUMES = {"random": random_volume, "clustered": clustered_volume}


def by_argwhere(data: NDArray[np.int16], low: int) -> Found:
    """As one writes it first: the coordinates, then the values."""
    mask = data >= low
    return np.argwhere(mask).astype(np.int32), data[mask].astype(np.float32)


def numba_finder(threads: int) -> Callable[[NDArray[np.int16], int], Found] | None:
    """The compiled loops, or None without numba."""
    try:
        import numba
    except ImportError:
        return None
    numba.set_num_threads(threads)

    @numba.njit(parallel=True)
    def find(data: Any, low: int) -> Any:
        depth, height, width = data.shape
        counts = np.zeros(depth + 1, np.int64)
        for z in numba.prange(depth):
            here = 0
            for y in range(height):
                for x in range(width):
                    here += data[z, y, x] >= low
            counts[z + 1] = here
        starts = np.cumsum(counts)
        indices = np.empty((starts[-1], 3), np.int32)
        values = np.empty(starts[-1], np.float32)
        for z in numba.prange(depth):
            at = starts[z]
            for y in range(height):
                for x in range(width):
                    if data[z, y, x] >= low:
                        indices[at, 0], indices[at, 1], indices[at, 2] = z, y, x
                        values[at] = data[z, y, x]
                        at += 1
        return indices, values

    return find


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--only", choices=list(VOLUMES))
    given = parser.parse_args()
    loops = numba_finder(given.threads)
    others = {"np.argwhere": by_argwhere} | ({"numba": loops} if loops else {})
    for name, make in VOLUMES.items():
        if given.only not in (None, name):
            continue
        data, low = make()
        expected = by_argwhere(data, low)
        print(f"{name}: {len(expected[0])} voxels, {100 * len(expected[0]) / data.size:.2f} %")
        ours = Contender(lambda d=data, t=low: find_voxels(d, t, HIGH, threads=given.threads), given.threads)
        for other, find in others.items():
            for found in (find_voxels(data, low, HIGH, threads=given.threads), find(data, low)):
                if not all(map(np.array_equal, found, expected)):
                    raise SystemExit(f"ours, numpy and {other} do not find the same voxels: no time counts")
            theirs = Contender(lambda d=data, t=low, f=find: f(d, t), given.threads)
            taken = paired(ours, theirs, given.pairs)
            print(f"  ours {taken.ours_ms:7.2f} ms   {other:12}{taken.theirs_ms:9.2f} ms   ratio {taken.ratio:6.2f}")


if __name__ == "__main__":
    main()
