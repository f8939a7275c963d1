"""The native engine against spconv on the CPU and dense torch, in one process, in interleaved pairs.

    python benchmarks/kernels.py [object40 mri110 subm32 map ct512] [--threads 2] [--pairs 7]

Prints, for each workload, the median time of each engine and the median of the pair ratios. Other processes move the
times, hardly the ratios.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from pairs import Contender, Run, one_of, paired
from torch import Tensor, nn

from napari_sparse3d.bench.workloads import mri110
from napari_sparse3d.engine.native import NativeEngine
from napari_sparse3d.models.networks.deepc2 import DeepC2
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.sparse.window import Geometry, Window


def compare(name: str, ours: Run, others: dict[str, tuple[Run, int]], threads: int, pairs: int) -> None:
    """``others``: what to run, and on how many threads (spconv is right on one only)."""
    for other, (run, count) in others.items():
        taken = paired(Contender(ours, threads), Contender(run, count), pairs)
        print(
            f"{name:24} ours {taken.ours_ms:9.2f} ms   {other:16} {taken.theirs_ms:9.2f} ms   ratio {taken.ratio:6.2f}",
            flush=True,
        )


def fresh(sites: Tensor) -> Tensor:
    """The same sites as another tensor, so that nothing made from them is found again."""
    return sites.detach()


def shell() -> Tensor:
    """object40: a sphere shell of radius 18 in the 126 field."""
    radius = np.sqrt(((np.indices((126,) * 3) - 62.5) ** 2).sum(0))
    sites = np.argwhere(np.abs(radius - 18) < 0.5)
    return torch.from_numpy(np.pad(sites, ((0, 0), (1, 0))).astype(np.int32)).contiguous()


def deepc2(name: str, sites: Tensor, threads: int, pairs: int) -> None:
    import spconv.pytorch as spconv
    from spconv.core import ConvAlgo

    model = DeepC2()
    layers: list[nn.Module] = []
    for module in model.layers:
        if hasattr(module, "weight"):
            out, *_, inside = module.weight.shape
            algo = ConvAlgo.Native
            layers.append(spconv.SparseConv3d(inside, out, 2, bias=True, algo=algo))
        elif isinstance(module, nn.LeakyReLU):
            layers.append(nn.LeakyReLU(1 / 3))
        else:
            layers.append(spconv.SparseMaxPool3d(3, 2, algo=ConvAlgo.Native))
    theirs = spconv.SparseSequential(*layers)
    ones, ground = torch.ones(len(sites), 1), torch.zeros(1)

    def dense_layers(x: Tensor) -> Tensor:
        for module in model.layers:
            if hasattr(module, "weight"):
                x = nn.functional.conv3d(x, module.weight.permute(0, 4, 1, 2, 3), module.bias)
            elif isinstance(module, nn.LeakyReLU):
                x = module(x)
            else:
                x = nn.functional.max_pool3d(x, 3, 2)
        return x

    def ours() -> Tensor:  # a new index tensor each time: site sets and plans are part of the work
        return model.layers(SparseTensor(ones, fresh(sites), 126, 1, ground)).features

    def spconv_forward() -> Tensor:
        return theirs(spconv.SparseConvTensor(ones, fresh(sites), [126] * 3, 1)).features

    def dense_forward() -> Tensor:
        grid = torch.zeros(1, 1, 126, 126, 126)
        grid[0, 0][tuple(sites[:, 1:].long().T)] = 1
        return dense_layers(grid)

    # spconv's bias works only where gradients are on; it cannot go backward on the CPU
    with torch.no_grad():
        difference = (ours() - dense_forward().flatten(1)).abs().max().item()
    print(f"{name}: {len(sites)} sites, largest difference from dense {difference:.1e}")

    def quiet(run: Callable[[], Tensor]) -> Run:
        def forward() -> Tensor:
            with torch.no_grad():
                return run()

        return forward

    others: dict[str, tuple[Run, int]] = {
        "spconv 1 thread": (spconv_forward, 1),
        "dense": (quiet(dense_forward), threads),
    }
    compare(f"{name} forward", quiet(ours), others, threads, pairs)

    def backward(run: Callable[[], Tensor]) -> Run:
        def both() -> None:
            model.zero_grad(set_to_none=True)
            run().square().sum().backward()

        return both

    dense = {"dense": (backward(dense_forward), threads)}
    compare(f"{name} forward+backward", backward(ours), dense, threads, max(3, pairs // 2))


def submanifold(sites: Tensor, threads: int, pairs: int) -> None:
    import spconv.pytorch as spconv
    from spconv.core import ConvAlgo

    native = NativeEngine()
    pool = Geometry(Window((3, 3, 3), (2, 2, 2)), 1, (126,) * 3, (62,) * 3)
    pooled = native.output_sites(Sites(sites, (126,) * 3, 1), pool).indices
    window = Window.submanifold((3, 3, 3))
    parts = []
    for at, side, channels in ((sites, 126, 32), (pooled, 62, 64)):
        layer = spconv.SubMConv3d(channels, channels, 3, bias=False, algo=ConvAlgo.Native)
        low, high = at[:, 1:].min(0).values, at[:, 1:].max(0).values
        grid = torch.zeros(1, channels, *(high - low + 1).tolist()).to(memory_format=torch.channels_last_3d)
        features = torch.randn(len(at), channels)
        grid[0].permute(1, 2, 3, 0)[tuple((at[:, 1:] - low).long().T)] = features
        weight = (torch.randn(channels, 3, 3, 3, channels) * 0.05).requires_grad_()
        parts.append((at, side, features, weight, layer, grid, grid.clone().requires_grad_()))

    def ours() -> None:
        for at, side, features, weight, *_ in parts:
            geometry = Geometry(window, 1, (side,) * 3, (side,) * 3)
            new = Sites(fresh(at), (side,) * 3, 1)
            native.convolution(features, weight.detach(), None, None, native.plan(new, new, geometry))

    def ours_backward() -> None:
        for at, side, features, weight, *_ in parts:
            geometry = Geometry(window, 1, (side,) * 3, (side,) * 3)
            new = Sites(fresh(at), (side,) * 3, 1)
            plan = native.plan(new, new, geometry)
            made = native.convolution(features, weight.detach(), None, None, plan)
            native.convolution_backward(made, features, weight.detach(), None, plan)

    def theirs() -> None:
        for at, side, features, _, layer, *_ in parts:
            layer(spconv.SparseConvTensor(features, fresh(at), [side] * 3, 1))

    def dense() -> None:
        with torch.no_grad():
            for *_, weight, _, grid, _ in parts:
                nn.functional.conv3d(grid, weight.permute(0, 4, 1, 2, 3), padding=1)

    def dense_backward() -> None:
        for *_, weight, _, _, grid in parts:
            made = nn.functional.conv3d(grid, weight.permute(0, 4, 1, 2, 3), padding=1)
            made.backward(made.detach())

    compare("subm32 forward", ours, {"spconv 1 thread": (theirs, 1), "dense cropped": (dense, threads)}, threads, pairs)
    back: dict[str, tuple[Run, int]] = {"dense cropped": (dense_backward, threads)}
    compare("subm32 forward+backward", ours_backward, back, threads, max(3, pairs // 2))


def neighbour_map(sites: Tensor, threads: int, pairs: int) -> None:
    from spconv.core import ConvAlgo
    from spconv.pytorch import ops

    native = NativeEngine()
    geometry = Geometry(Window.submanifold((3, 3, 3)), 1, (126,) * 3, (126,) * 3)

    def ours() -> None:
        new = Sites(fresh(sites), (126,) * 3, 1)
        native.neighbours(native.plan(new, new, geometry))

    def theirs() -> None:
        ops.get_indice_pairs(
            sites, 1, [126] * 3, ConvAlgo.Native, [3] * 3, [1] * 3, [1] * 3, [1] * 3, [0] * 3, subm=True
        )

    compare("3^3 map", ours, {"spconv 1 thread": (theirs, 1)}, threads, pairs)


def ct512(threads: int, pairs: int) -> None:
    from napari_sparse3d.voxels.native_threshold import count_voxels, find_voxels

    data = np.random.default_rng(0).integers(-1000, 3000, (512, 512, 512), dtype=np.int16)
    low = float(np.quantile(data[::37, ::5, ::7], 0.95))
    argwhere: Run = lambda: np.argwhere(data >= low).astype(np.int32)  # noqa: E731
    compare("ct512", lambda: find_voxels(data, low, 1e9, threads=threads), {"np.argwhere": (argwhere, 1)}, threads, 3)
    counting: Run = lambda: np.count_nonzero(data >= low)  # noqa: E731
    count: Run = lambda: count_voxels(data, low, 1e9, threads=threads)  # noqa: E731
    compare("ct512 count", count, {"numpy": (counting, 1)}, threads, pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    names = ["object40", "mri110", "subm32", "map", "ct512"]
    parser.add_argument("workloads", nargs="*", type=one_of(names), default=names)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=7)
    given = parser.parse_args()
    sites = mri110().indices
    for workload in given.workloads:
        if workload == "object40":
            deepc2("object40", shell(), given.threads, given.pairs)
        elif workload == "ct512":
            ct512(given.threads, given.pairs)
        elif workload == "mri110":
            deepc2("mri110", sites, given.threads, given.pairs)
        elif workload == "subm32":
            submanifold(sites, given.threads, given.pairs)
        else:
            neighbour_map(sites, given.threads, given.pairs)


if __name__ == "__main__":
    main()
