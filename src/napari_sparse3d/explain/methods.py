"""An attribution by the name of its method."""

from __future__ import annotations

from torch import nn

from napari_sparse3d.catalog import ATTRIBUTIONS
from napari_sparse3d.errors import CatalogError
from napari_sparse3d.explain.attribution import Attribution
from napari_sparse3d.sparse import SparseTensor


def attribute(network: nn.Module, x: SparseTensor, target: int, method: str) -> Attribution:
    """Attribute the logit of class ``target`` by one of the catalogue's methods.

    Parameters
    ----------
    network : nn.Module
        ``SparseTensor`` in, logits (B, classes) out; in evaluation mode.
    x : SparseTensor
        One volume (batch of 1).
    target : int
        Class, from 0.
    method : str
        A name in ``catalog.ATTRIBUTIONS``.

    Raises
    ------
    InputError
        If there is no such method or class, or nothing is active.
    """
    found = ATTRIBUTIONS[method].load()(network, x, target)
    if not isinstance(found, Attribution):
        raise CatalogError(f"method {method!r} gives a {type(found).__name__}, an Attribution was expected")
    return found
