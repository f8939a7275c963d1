"""An attribution by the name of its method."""

from __future__ import annotations

from collections.abc import Generator

from torch import nn

from napari_sparse3d.catalog import ATTRIBUTIONS
from napari_sparse3d.catalog.attributions import AttributionInfo
from napari_sparse3d.errors import CatalogError, InputError
from napari_sparse3d.explain.attribution import Attribution
from napari_sparse3d.explain.steps import result_of
from napari_sparse3d.sparse import SparseTensor


def method_of(name: str) -> AttributionInfo:
    """A method that can be used here, by its name or as the command line spells it; ``""``: the first of all.

    Raises
    ------
    CatalogError
        If there is none of that name.
    InputError
        If it needs a package that is not installed: with the line that installs it.
    """
    spelled = {info.spelled: each for each, info in ATTRIBUTIONS.items()}
    info = ATTRIBUTIONS[spelled.get(name, name) if name else next(iter(ATTRIBUTIONS))]
    if info.missing:
        raise InputError(f"the method {info.title!r} cannot be used: {info.missing}, or choose another method")
    return info


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
        If there is no such method or class, what the method needs is not installed, or nothing is active.
    """
    return result_of(attribute_by_step(network, x, target, method))


def attribute_by_step(
    network: nn.Module, x: SparseTensor, target: int, method: str
) -> Generator[tuple[int, int], None, Attribution]:
    """As :func:`attribute`; yields how many steps are done, of how many, where the method goes by steps."""
    info = method_of(method)
    by_step = info.load_by_step()
    said = info.load()(network, x, target) if by_step is None else (yield from by_step(network, x, target))
    if not isinstance(said, Attribution):
        raise CatalogError(f"method {info.name!r} gives a {type(said).__name__}, an Attribution was expected")
    return said
