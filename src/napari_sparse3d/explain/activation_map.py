"""Which sites of a layer drove a class: the layer's features, weighted by their gradients (Grad-CAM)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.attribution import Attribution, check_one_volume
from napari_sparse3d.explain.grids import Grid, recording_grids
from napari_sparse3d.models.trace import recording
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.observers import Observer, observed_by
from napari_sparse3d.sparse.recorder import layers


def class_activation_map(network: nn.Module, x: SparseTensor, target: int, layer: str | None = None) -> Attribution:
    """A layer's features, each channel weighted by its mean gradient, straight at the layer's sites.

    Parameters
    ----------
    network, x, target
        As in :func:`napari_sparse3d.explain.gradients.gradient_times_input`.
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
    sides, grids = _run(network, x)
    name = layer if layer is not None else _map_layer(sides)
    if name not in sides:
        raise InputError(f"there is no layer {name!r}; choose {', '.join(sides)}")
    kept, gradient = _gradient_at(network, x, target, name)
    weights = gradient.mean(0) if len(gradient) else gradient.new_zeros(gradient.shape[1])
    difference = kept.features if kept.background is None else kept.features - kept.background
    values = (difference @ weights).detach().float().cpu()
    return Attribution(kept.indices.cpu(), values, kept.spatial_shape, grids.get(name, Grid()), name)


def _map_layer(sides: dict[str, int]) -> str:
    fine = [name for name, side in sides.items() if side >= 8]
    return (fine or list(sides))[-1] if sides else ""


def _run(network: nn.Module, x: SparseTensor) -> tuple[dict[str, int], dict[str, Grid]]:
    """The sides of all layers, and their grids."""
    with torch.no_grad(), recording(network) as (rows, _), recording_grids(network) as grids:
        network(x)
    return {row.name: row.side for row in rows}, grids


def _gradient_at(network: nn.Module, x: SparseTensor, target: int, layer: str) -> tuple[SparseTensor, Tensor]:
    """What a layer gave, and the gradient of the logit with respect to it."""
    keeper = _Keeper(dict(layers(network))[layer])
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
