"""The engine in use, and the one lookup by name.

The operators of this package are executed by an *engine*: ``native`` (our C++ kernels, CPU), ``dense`` (plain torch,
the reference), ``spconv`` (CUDA), or one that another package brings. What each must offer is in :mod:`contract`; the
catalogue knows them all (:data:`napari_sparse3d.catalog.ENGINES`), and this package depends on none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

import torch

from napari_sparse3d.catalog import ENGINES, EngineInfo
from napari_sparse3d.errors import CatalogError, DeviceMemoryError, EngineError
from napari_sparse3d.sparse.contract import Engine, Plan

_Function = TypeVar("_Function", bound=Callable[..., Any])


def _constant_in_compiled(function: _Function) -> _Function:
    """A compiled network keeps the engine that it was compiled for.

    What ``torch.compiler.assume_constant_result`` does, which first loads torch's compiler, sympy with it: as long as
    torch itself takes, for who never compiles.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


_requested: ContextVar[str] = ContextVar("napari_sparse3d_engine", default="auto")


@contextmanager
def use_engine(name: str) -> Iterator[None]:
    """Run the operators in the ``with`` block on engine ``name``; ``"auto"``: the best on each device.

    Raises
    ------
    EngineError
        If there is no such engine.
    DeviceMemoryError
        If the card has no memory left for what is done in the block.
    """
    if name != "auto":
        engine(name)
    token = _requested.set(name)
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(_out_of_memory(str(error))) from error
    finally:
        _requested.reset(token)


def _out_of_memory(message: str) -> str:
    amount = re.search(r"Tried to allocate ([\d.]+ \w+)", message)
    asked = amount[1] if amount else "more than there is"
    return (
        f"the card has no memory left: {asked} was asked for; use a smaller batch, a recipe that keeps fewer voxels "
        "(a smaller longest side, a higher threshold), or --device cpu"
    )


@_constant_in_compiled
def engine_name(device_type: str) -> str:
    """The engine that runs operators on tensors of this device: what was requested, or the best there is.

    Raises
    ------
    EngineError
        If none was requested, and no engine computes on such a device.
    """
    requested = _requested.get()
    return _automatic(device_type) if requested == "auto" else requested


@_constant_in_compiled
def follows_autocast(name: str) -> bool:
    """Whether this engine's convolutions get their inputs in autocast's type."""
    return engine(name).follows_autocast


@cache
def _automatic(device_type: str) -> str:
    on_device = engines_for(device_type)
    if not on_device:
        raise EngineError(f"no engine computes on {device_type!r}; move the tensors to the CPU or a CUDA card")
    usable = (info.name for info in on_device if not why_not(info, device_type))
    return next(usable, on_device[0].name)  # of which the lookup says what is missing


def engines_for(device_type: str) -> list[EngineInfo]:
    """What ``auto`` chooses from on this kind of device, installed or not: the best first."""
    willing = [info for info in ENGINES.values() if info.rank >= 0 and device_type in info.devices]
    return sorted(willing, key=lambda info: -info.rank)


def why_not(info: EngineInfo, device_type: str) -> str:
    """What keeps an engine from computing on a kind of device here, with the cure; "" where nothing does."""
    if info.missing:
        return info.missing
    try:
        return engine(info.name).lacks(device_type)
    except EngineError as error:
        return str(error)


def engine_names() -> list[str]:
    """The names of all engines that are known: ours, and those of installed packages."""
    return list(ENGINES)


@cache
def engine(name: str) -> Engine[Plan]:
    """The engine of this name.

    Raises
    ------
    EngineError
        If there is none of this name, or what it needs cannot be imported.
    """
    try:
        engine: Engine[Plan] = ENGINES[name].load()()
    except CatalogError as error:
        raise EngineError(str(error)) from error
    return engine
