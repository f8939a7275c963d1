"""Which voxels drove a class: from the gradient at the input, or from a layer's sites (class-activation map).

A voxel or site that is not stored holds the background and gets no value: the maps speak of what is active.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_sparse3d.analysis.grids import Grid, recording_grids
from napari_sparse3d.errors import InputError
from napari_sparse3d.models.trace import recording
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.observers import Observer, observed_by

METHODS = ("class-activation map", "integrated gradients", "gradient × input", "regions left out")


@dataclass(frozen=True, eq=False)
class Attribution:
    """A value for each site.

    Attributes
    ----------
    indices : Tensor
        (N, 4) int32 [b, z, y, x], on the grid of ``spatial_shape``.
    values : Tensor
        (N,) float32; above 0 where a site speaks for the class, below where against. In units of the logit.
    spatial_shape : tuple of int
        (D, H, W).
    grid : Grid
        Where the sites lie over the network's input.
    layer : str
        The layer that was looked at; ``"input"``.
    """

    indices: Tensor
    values: Tensor
    spatial_shape: tuple[int, int, int]
    grid: Grid
    layer: str


def attribute(network: nn.Module, x: SparseTensor, target: int, method: str) -> Attribution:
    """Attribute the logit of class ``target`` by one of :data:`METHODS`.

    Raises
    ------
    InputError
        If there is no such method or class, or nothing is active.
    """
    from napari_sparse3d.analysis.regions import regions_left_out

    methods: dict[str, Callable[[nn.Module, SparseTensor, int], Attribution]] = {
        "gradient × input": gradient_times_input,
        "integrated gradients": integrated_gradients,
        "class-activation map": class_activation_map,
        "regions left out": regions_left_out,
    }
    if method not in methods:
        raise InputError(f"there is no method {method!r}; choose {', '.join(METHODS)}")
    return methods[method](network, x, target)


def gradient_times_input(network: nn.Module, x: SparseTensor, target: int) -> Attribution:
    """Gradient of the logit at each voxel, times how much the voxel differs from the background.

    Parameters
    ----------
    network : nn.Module
        ``SparseTensor`` in, logits (B, classes) out; in evaluation mode.
    x : SparseTensor
        One volume (batch of 1).
    target : int
        Class, from 0.

    References
    ----------
    Shrikumar, Greenside, Shcherbina, Kundaje. Not Just a Black Box. 2016.
    """
    check_one_volume(x)
    gradient, _ = _gradient(network, x, x.features, target)
    return at_input(x, ((x.features - baseline(x)) * gradient).sum(1))


def integrated_gradients(network: nn.Module, x: SparseTensor, target: int, steps: int = 16) -> Attribution:
    """The gradient, averaged on the way from background to the voxels as they are, times the difference.

    The values sum to the logit minus the logit of the same sites holding the background (completeness), up to the error
    of the midpoint rule with this number of steps.

    Parameters
    ----------
    network, x, target
        As in :func:`gradient_times_input`.
    steps : int
        Points on the way.

    References
    ----------
    Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017, equation 1.
    """
    found: list[Attribution] = []

    def finish() -> Generator[int, None, None]:
        found.append((yield from integrated_gradients_by_step(network, x, target, steps)))

    for _ in finish():
        pass
    return found[0]


def integrated_gradients_by_step(
    network: nn.Module, x: SparseTensor, target: int, steps: int = 16
) -> Generator[int, None, Attribution]:
    """As :func:`integrated_gradients`; yields the number of points that are done, so that the caller can stop."""
    check_one_volume(x)
    base = baseline(x)
    difference = x.features - base
    total = torch.zeros_like(x.features)
    for step in range(steps):
        gradient, _ = _gradient(network, x, base + (step + 0.5) / steps * difference, target)
        total += gradient
        yield step + 1
    return at_input(x, (difference * total / steps).sum(1))


def class_activation_map(network: nn.Module, x: SparseTensor, target: int, layer: str | None = None) -> Attribution:
    """A layer's features, each channel weighted by its mean gradient, straight at the layer's sites.

    Parameters
    ----------
    network, x, target
        As in :func:`gradient_times_input`.
    layer : str, optional
        Name in the per-layer table. By default the last with a side of at least 8 sites (coarser maps show nothing),
        or the finest there is.

    Raises
    ------
    InputError
        If there is no such layer.

    References
    ----------
    Selvaraju et al. Grad-CAM. ICCV 2017, equations 1 and 2, without the rectification, so that what speaks against the
    class is seen as well.
    """
    check_one_volume(x)
    outputs, grids = _run(network, x)
    name = layer if layer is not None else _map_layer(outputs)
    if name not in outputs:
        raise InputError(f"there is no layer {name!r}; choose {', '.join(outputs)}")
    kept, gradient = _gradient_at(network, x, target, name)
    weights = gradient.mean(0) if len(gradient) else gradient.new_zeros(gradient.shape[1])
    difference = kept.features if kept.background is None else kept.features - kept.background
    values = (difference @ weights).detach().float().cpu()
    return Attribution(kept.indices.cpu(), values, kept.spatial_shape, grids.get(name, Grid()), name)


def _map_layer(outputs: dict[str, tuple[int, ...]]) -> str:
    fine = [name for name, shape in outputs.items() if max(shape) >= 8]
    return (fine or list(outputs))[-1] if outputs else ""


def _run(network: nn.Module, x: SparseTensor) -> tuple[dict[str, tuple[int, ...]], dict[str, Grid]]:
    """The sides of all layers, and their grids."""
    with torch.no_grad(), recording(network) as (rows, _), recording_grids(network) as grids:
        network(x)
    return {row.name: (row.side,) for row in rows}, grids


def _gradient_at(network: nn.Module, x: SparseTensor, target: int, layer: str) -> tuple[SparseTensor, Tensor]:
    """What a layer gave, and the gradient of the logit with respect to it."""
    modules = dict(network.named_modules())
    module = modules.get(f"layers.{layer}", modules.get(layer))
    if module is None:
        raise InputError(f"there is no layer {layer!r}")
    keeper = _Keeper(module)
    with observed_by(keeper), torch.enable_grad():
        logit = network(x)[0, target]
        (gradient,) = torch.autograd.grad(logit, keeper.kept[-1].features)
    return keeper.kept[-1], gradient


class _Keeper(Observer):
    """Keeps what a layer gives, and makes the gradient stop there."""

    def __init__(self, module: nn.Module) -> None:
        self.kept: list[SparseTensor] = []
        self._module = module

    def sees(self, module: nn.Module) -> bool:
        return module is self._module

    def around(self, module: nn.Module, inputs: tuple[Any, ...], run: Callable[[], Any]) -> SparseTensor:
        output: SparseTensor = run()
        features = output.features.detach().requires_grad_()
        self.kept.append(output.with_features(features, output.background))
        return self.kept[-1]


def _gradient(network: nn.Module, x: SparseTensor, features: Tensor, target: int) -> tuple[Tensor, float]:
    with torch.enable_grad():
        rows = features.detach().clone().requires_grad_()
        logits = network(x.with_features(rows, x.background))
        if not 0 <= target < logits.shape[1]:
            raise InputError(f"the network has {logits.shape[1]} classes, numbered from 0; got {target}")
        (gradient,) = torch.autograd.grad(logits[0, target], rows)
    return gradient, float(logits[0, target].detach())


def baseline(x: SparseTensor) -> Tensor:
    """(1, C): what a voxel holds where nothing is active."""
    return torch.zeros_like(x.features[:1]) if x.background is None else x.background[None]


def at_input(x: SparseTensor, values: Tensor) -> Attribution:
    """Of (N,) values at the input's voxels."""
    return Attribution(x.indices.cpu(), values.detach().float().cpu(), x.spatial_shape, Grid(), "input")


def check_one_volume(x: SparseTensor) -> None:
    """Raise ``InputError`` unless there is one volume with active voxels."""
    if x.batch_size != 1:
        raise InputError(f"attribution takes one volume, got a batch of {x.batch_size}")
    if len(x.indices) == 0:
        raise InputError("nothing is active, so nothing can have driven the class; choose another threshold")
