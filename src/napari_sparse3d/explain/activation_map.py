"""Which sites of a layer drove a class: the layer's features, weighted by their gradients (Grad-CAM)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.attribution import Attribution, check_one_volume
from napari_sparse3d.explain.grids import Grid, recording_grids
from napari_sparse3d.models.trace import recording
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse.recorder import LayerCall, recording_layers


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
    output, gradient = _gradient_at(network, x, target, name)
    weights = gradient.mean(0) if len(gradient) else gradient.new_zeros(gradient.shape[1])
    difference = output.features if output.background is None else output.features - output.background
    values = (difference @ weights).detach().float().cpu()
    return Attribution(output.indices.cpu(), values, output.spatial_shape, grids.get(name, Grid()), name)


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
    leaves: list[SparseTensor] = []

    def begin_there(call: LayerCall) -> SparseTensor:
        features = call.output.features.detach().requires_grad_()
        leaves.append(call.output.with_features(features, call.output.background))
        return leaves[-1]

    with recording_layers(network, begin_there, only=layer), torch.enable_grad():
        logit = network(x)[0, target]
        (gradient,) = torch.autograd.grad(logit, leaves[-1].features)
    return leaves[-1], gradient
