"""One 3^3 submanifold convolution, 32 to 32 channels, over site sets of every density: ours against spconv on the CPU.

    python benchmarks/density_sweep.py [--threads 2] [--pairs 7] [--only ball]

Indices are new in each run, so that index and plan are part of the work. spconv runs on one thread: with two it races.
"""

from __future__ import annotations

import argparse

import torch
from pairs import Contender, Run, paired
from scenes import SWEEP, indices_of
from torch import Tensor

from napari_sparse3d.engine.plain_spconv import PlainSpconv
from napari_sparse3d.sparse import SparseTensor, SubMConv3d

CHANNELS = 32


def forwards(indices: Tensor, shape: tuple[int, int, int]) -> tuple[Run, Run]:
    """Ours and spconv's forward pass with the same weights, after seeing that they agree."""
    torch.manual_seed(0)
    layer = SubMConv3d(CHANNELS, CHANNELS, 3, bias=False)
    plain = PlainSpconv([layer], on_cpu=True)
    features = torch.randn(len(indices), CHANNELS)
    given = indices.numpy()

    def fresh() -> Tensor:  # by numpy: a copy by torch would leave its threads spinning beside the work
        return torch.from_numpy(given.copy())

    def ours() -> Tensor:
        with torch.no_grad():
            return layer(SparseTensor(features, fresh(), shape, 1, None)).features

    def theirs() -> Tensor:
        with torch.no_grad():
            return plain(features, fresh(), shape, 1).features

    torch.set_num_threads(1)
    difference = (ours() - theirs()).abs().max().item()
    if difference > 1e-4:
        raise SystemExit(f"ours and spconv differ by {difference:.1e}: no time counts")
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", default="", help="scenes whose name starts so")
    given = parser.parse_args()
    print(f"{'scene':28}{'sites':>9}{'ours, ms':>10}{'spconv, ms':>12}{'ratio':>8}")
    for name, make in SWEEP.items():
        if not name.startswith(given.only):
            continue
        mask = make()
        indices = indices_of(mask)
        ours, theirs = forwards(indices, mask.shape)
        found = paired(Contender(ours, given.threads), Contender(theirs, 1), given.pairs)
        row = f"{found.ours_ms:>10.2f}{found.theirs_ms:>12.2f}{found.ratio:>8.2f}"
        print(f"{name:28}{len(indices):>9}{row}", flush=True)


if __name__ == "__main__":
    main()
