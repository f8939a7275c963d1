"""Networks by the name of their architecture."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from napari_sparse3d.catalog import ARCHITECTURES, is_own, load_own
from napari_sparse3d.errors import InputError
from napari_sparse3d.models.network import as_network
from napari_sparse3d.text import did_you_mean


def build_network(architecture: str, *, seed: int = 0, **arguments: Any) -> nn.Module:
    """Make a network with random weights that depend on ``seed`` alone.

    Parameters
    ----------
    architecture : str
        A name in ``catalog.ARCHITECTURES``; or ``module:factory``, the user's own callable. That is imported, so it
        must be the user's word, never one that only a file says.
    seed : int
    **arguments
        Of the architecture: ``in_features``, ``classes``, and its own.

    Raises
    ------
    InputError
        If there is no such architecture, it does not take these arguments, or what it gives is no network.
    """
    factory = _factory(architecture)
    _check_arguments(architecture, factory, arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            network = factory(**arguments)
        except InputError:
            raise
        except (TypeError, ValueError, RuntimeError) as error:  # what torch's layers raise for sizes that are none
            raise InputError(f"architecture {architecture!r} cannot be made from {arguments}: {error}") from error
    return as_network(network, architecture)


def _check_arguments(architecture: str, factory: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
    try:
        takes = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # a callable of C says nothing of its parameters
        return
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in takes.values()):
        return
    if unknown := [name for name in arguments if name not in takes]:
        own = [name for name in takes if name not in ("in_features", "classes")]
        raise InputError(
            f"architecture {architecture!r} cannot be made from {arguments}: it takes "
            f"{', '.join(own) or 'no arguments'}, not {', '.join(unknown)}{did_you_mean(unknown[0], own)}"
        )


def check_architecture(architecture: str) -> None:
    """Raise ``InputError``, without importing anything, unless it is a name in the catalogue or ``module:factory``."""
    if not is_own(architecture):
        ARCHITECTURES[architecture]


def _factory(architecture: str) -> Callable[..., Any]:
    if is_own(architecture):
        own: Callable[..., Any] = load_own(architecture, kind="architecture", what="factory")
        return own
    named: Callable[..., Any] = ARCHITECTURES[architecture].load()
    return named
