"""Who does the work: each contender is a function of no arguments, made once for a workload, a pass and a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from napari_sparse3d.bench.workloads import NetworkWorkload, VolumeWorkload, Workload
from napari_sparse3d.catalog import ENGINES
from napari_sparse3d.engine.plain_spconv import PlainSpconv
from napari_sparse3d.sparse import SparseConv3d, SparseMaxPool3d, SparseTensor, SubMConv3d, use_engine
from napari_sparse3d.sparse.contract import Rows
from napari_sparse3d.sparse.sites import Sites
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import RangeThreshold, Recipe, voxelize

Run = Callable[[], object]
PRECISIONS = ("fp32", "tf32", "fp16")
_RIVALS = ("spconv", "torch gather", "dense")
"""What the engines are measured against. On the CPU, spconv and dense are these programs as their users call them, not
the engines of this package that stand on them."""


def names(workload: Workload, mode: str, device: str) -> list[str]:
    """Who can do this workload and pass (``"forward"`` or ``"forward+backward"``) on this device."""
    if isinstance(workload, VolumeWorkload):
        cards = ["torch cuda"] if device != "cpu" else []
        return ["native", "numpy", "torch", *cards] if mode == "forward" else []
    engines = {name: info.devices for name, info in ENGINES.items() if name not in _RIVALS}
    cpu = [*(name for name, devices in engines.items() if "cpu" in devices)]
    if mode == "forward":
        cpu.append("spconv")  # its backward pass does not exist on the CPU
    cpu += ["torch gather", "dense", "dense channels-last"]
    if all(isinstance(layer, SubMConv3d) for layer in workload.layers):
        cpu.append("dense cropped")  # without padding, a crop would shift what a stride sees
    if device == "cpu":
        return cpu
    on_card = ["spconv", "dense", *(name for name, devices in engines.items() if "cuda" in devices)]
    return [*cpu, *(f"{kind} cuda {precision}" for kind in on_card for precision in PRECISIONS)]


def all_names() -> list[str]:
    """Whoever there may be, for any workload, on any device."""
    cards = (f"{kind} cuda {precision}" for kind in ("spconv", "dense") for precision in PRECISIONS)
    own = ("dense channels-last", "dense cropped", "numpy", "torch", "torch cuda")
    return list(dict.fromkeys([*ENGINES, *_RIVALS, *own, *cards]))


def is_asked_for(name: str, asked: Iterable[str]) -> bool:
    """Whether a contender's name is, or begins with, one of those asked for."""
    return any(name == each or name.startswith(f"{each} ") for each in asked)


def make(name: str, workload: Workload, mode: str, device: str) -> Run:
    """One contender.

    Raises
    ------
    EngineError, ImportError
        If what it needs is not installed.
    """
    if isinstance(workload, VolumeWorkload):
        return _volume(name, workload, device)
    kind, _, precision = name.partition(" cuda ")
    place = device if precision else "cpu"
    backward = mode == "forward+backward"
    if kind == "dense" or kind.startswith("dense "):
        run = _dense(workload, place, backward, cropped="cropped" in kind, last="last" in kind or precision == "fp16")
    elif kind == "spconv" and place == "cpu":
        return _plain_spconv(workload)
    else:
        run = _engine(workload, "spconv" if kind == "torch gather" else kind, place, backward)
    return _in_mode(run, precision, gather=kind == "torch gather")


def _engine(workload: NetworkWorkload, engine: str, device: str, backward: bool) -> Run:
    layers = deepcopy(workload.layers).to(device)
    features = workload.features.to(device, copy=True).requires_grad_(backward and workload.of_features)
    rows = Rows(features, torch.zeros(features.shape[1], device=device))

    def run() -> object:
        # the same sites as another tensor: what was made from the last one is not found again
        indices = workload.indices.to(device).detach()
        x = SparseTensor._at(rows, Sites(indices, workload.shape, 1))
        if not backward:
            with torch.no_grad():
                return layers(x).features
        y = layers(x).features
        return _gradients(y, features, layers)

    def with_engine() -> object:
        with use_engine(engine):
            return run()

    with_engine()
    return with_engine


def _gradients(output: Tensor, features: Tensor, network: nn.Module) -> tuple[Tensor, ...]:
    """Of the features, where they ask for one, and of all weights."""
    return torch.autograd.grad(output.sum(), [each for each in (features, *network.parameters()) if each.requires_grad])


def _plain_spconv(workload: NetworkWorkload) -> Run:
    layers = PlainSpconv(workload.layers, on_cpu=True)

    def run() -> object:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # with more it races: results differ from call to call
        try:
            with torch.no_grad():
                return layers(workload.features, workload.indices.clone(), workload.shape, 1)
        finally:
            torch.set_num_threads(threads)

    run()
    return run


def _dense(workload: NetworkWorkload, device: str, backward: bool, *, cropped: bool, last: bool) -> Run:
    network = nn.Sequential(*map(_dense_layer, workload.layers)).to(device)
    indices = workload.indices.long()
    shape = list(workload.shape)
    if cropped:
        start, end = indices[:, 1:].amin(0), indices[:, 1:].amax(0) + 1
        indices = indices - torch.tensor([0, *start.tolist()])
        shape = (end - start).tolist()
    at = tuple(indices.to(device).unbind(1))
    features = workload.features.to(device)
    layout = torch.channels_last_3d if last else torch.contiguous_format
    network = network.to(memory_format=layout)  # type: ignore[call-overload]

    def run() -> object:
        grid = features.new_zeros(1, *shape, features.shape[1])
        grid[at] = features
        values = grid.permute(0, 4, 1, 2, 3).contiguous(memory_format=layout)
        if not backward:
            with torch.no_grad():
                return network(values)
        values.requires_grad_(workload.of_features)
        return _gradients(network(values), values, network)

    run()
    return run


def _dense_layer(layer: nn.Module) -> nn.Module:
    if isinstance(layer, SparseConv3d | SubMConv3d):
        w = layer.window
        dense = nn.Conv3d(layer.in_channels, layer.out_channels, w.kernel, w.stride, w.padding, w.dilation, bias=False)
        with torch.no_grad():
            dense.weight.copy_(layer.weight.permute(0, 4, 1, 2, 3))
        return dense
    if isinstance(layer, SparseMaxPool3d):
        return nn.MaxPool3d(layer.window.kernel, layer.window.stride)
    return layer


def _volume(name: str, workload: VolumeWorkload, device: str) -> Run:
    data, low = workload.data, workload.low
    if name == "native":
        volume = Volume(data, np.eye(4), "HU")
        recipe = Recipe(name="bench", threshold=RangeThreshold(low=low), features=("intensity",))
        return _warm(lambda: voxelize(volume, recipe))
    if name == "numpy":

        def by_numpy() -> object:
            mask = data >= low
            return np.argwhere(mask).astype(np.int32), data[mask].astype(np.float32)

        return _warm(by_numpy)
    there: Tensor = torch.from_numpy(data)
    if name == "torch cuda":
        there = there.to(device)

    def by_torch() -> object:
        mask = there >= low
        return mask.nonzero().int(), there[mask].float()

    return _warm(by_torch)


def _warm(run: Run) -> Run:
    run()
    return run


def _in_mode(run: Run, precision: str, *, gather: bool) -> Run:
    def in_mode() -> object:
        with settings(precision, gather=gather):
            return run()

    return _warm(in_mode)


@contextmanager
def settings(precision: str, *, gather: bool) -> Iterator[None]:
    """The precision on a card; ``gather``: the engine's products by torch alone (gather, matrix product, scatter)."""
    matmul: Any = torch.backends.cuda.matmul
    before = matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.use_deterministic_algorithms(gather or before[2])
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        with torch.autocast("cuda", dtype=torch.float16, enabled=precision == "fp16"):
            yield
    finally:
        matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before[:2]
        torch.use_deterministic_algorithms(before[2])
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
