"""Sparse tensors to test on, drawn once for every engine."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Case:
    """Where the active sites are, before features are drawn."""

    shape: tuple[int, int, int]
    batch_size: int
    indices: torch.Tensor

    def features(self, channels, seed=0, dtype=torch.float32):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(len(self.indices), channels, generator=generator, dtype=torch.double).to(dtype)


def scattered(shape=(7, 6, 9), batch_size=2, density=0.2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    active = torch.rand(batch_size, *shape, generator=generator) < density
    return Case(shape, batch_size, active.nonzero().int().contiguous())


def _at(shape, batch_size, *sites):
    return Case(shape, batch_size, torch.tensor(sites, dtype=torch.int32).reshape(-1, 4))


def _borders(shape=(6, 5, 7)):
    active = torch.ones(1, *shape, dtype=torch.bool)
    active[:, 1:-1, 1:-1, 1:-1] = False
    return Case(shape, 1, active.nonzero().int().contiguous())


def _shuffled():
    case = scattered(seed=3)
    order = torch.randperm(len(case.indices), generator=torch.Generator().manual_seed(5))
    return Case(case.shape, case.batch_size, case.indices[order].contiguous())


CASES = {
    "scattered": scattered(),
    "one voxel": _at((6, 6, 6), 1, (0, 3, 2, 4)),
    "no voxel": _at((6, 6, 6), 1),
    "an empty volume in the batch": _at((6, 6, 6), 3, (0, 1, 1, 1), (2, 5, 5, 5)),
    "full grid": scattered((6, 5, 6), 1, density=2.0),
    "every border": _borders(),
    "corners": _at((6, 6, 6), 1, *[(0, z, y, x) for z in (0, 5) for y in (0, 5) for x in (0, 5)]),
    "rows in any order": _shuffled(),
    "wider than a word": scattered((5, 5, 150), 1, density=0.1),
}
