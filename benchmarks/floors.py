"""deepC2 on the packaged head MRI: ours against this machine's floor, and one thread against two.

    python benchmarks/floors.py [--rounds 41]

The floor is operations / measured GEMM rate + bytes / measured copy rate, of the pairs that are there: every layer's
input read once and its output written once, three times of both where gradients are taken. Rates are measured before
and after, and the better counts. Winograd multiplies less than the floor counts, so a ratio below 1 is no error.
"""

from __future__ import annotations

import argparse

import torch
from pairs import Contender, Run, paired, rates
from torch import Tensor

from napari_sparse3d.bench.workloads import NetworkWorkload, mri110
from napari_sparse3d.sparse import SparseTensor


def passes(workload: NetworkWorkload) -> dict[str, Run]:
    """Forward, and forward with the gradients of all weights; site sets and plans made anew."""
    background = torch.zeros(1)

    def run() -> Tensor:
        fresh = workload.indices.detach()
        return workload.layers(SparseTensor(workload.features, fresh, workload.shape, 1, background)).features

    def forward() -> None:
        with torch.no_grad():
            run()

    def both() -> None:
        workload.layers.zero_grad(set_to_none=True)
        run().square().sum().backward()

    return {"forward": forward, "forward+backward": both}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=41)
    given = parser.parse_args()
    workload = mri110()
    least = workload.work()
    print(
        f"mri110: {len(workload.indices)} sites, {least.operations / 1e9:.2f} GFLOP, {least.moved_bytes / 1e6:.0f} MB"
    )
    before = {threads: rates(threads) for threads in (1, 2)}
    taken = {}
    for name, run in passes(workload).items():
        taken[name] = paired(Contender(run, 2), Contender(run, 1), given.rounds)
        found = taken[name]
        print(f"{name:18} 2 threads {found.ours_ms:7.2f} ms   1 thread {found.theirs_ms:7.2f} ms   ", end="")
        print(f"ratio {found.ratio:5.2f}", flush=True)
    for threads, first in before.items():
        again = rates(threads)
        best = type(first)(max(first.operations_s, again.operations_s), max(first.bytes_s, again.bytes_s))
        print(f"{threads} threads: GEMM {best.operations_s / 1e9:.0f} GFLOP/s, copy {best.bytes_s / 1e9:.1f} GB/s")
        for name, work in {
            "forward": (least.operations, least.moved_bytes),
            "forward+backward": least.both_ways,
        }.items():
            floor = best.floor_ms(*work)
            ms = taken[name].ours_ms if threads == 2 else taken[name].theirs_ms
            print(f"  {name:18} floor {floor:7.2f} ms   over the floor {ms / floor:5.2f}")


if __name__ == "__main__":
    main()
