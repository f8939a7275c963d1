"""The methods of attribution by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.explain.activation_map import class_activation_map
from napari_sparse3d.explain.attribution import Attribution
from napari_sparse3d.explain.gradients import gradient_times_input, integrated_gradients
from napari_sparse3d.explain.regions import regions_left_out
from napari_sparse3d.sparse import SparseTensor

METHODS = ("class-activation map", "integrated gradients", "gradient × input", "regions left out")


def attribute(network: nn.Module, x: SparseTensor, target: int, method: str) -> Attribution:
    """Attribute the logit of class ``target`` by one of :data:`METHODS`.

    Raises
    ------
    InputError
        If there is no such method or class, or nothing is active.
    """

    methods: dict[str, Callable[[nn.Module, SparseTensor, int], Attribution]] = {
        "gradient × input": gradient_times_input,
        "integrated gradients": integrated_gradients,
        "class-activation map": class_activation_map,
        "regions left out": regions_left_out,
    }
    if method not in methods:
        raise InputError(f"there is no method {method!r}; choose {', '.join(METHODS)}")
    return methods[method](network, x, target)
