"""Who sees what layers do: it belongs to a call, never to the layers.

Layers are shared: by the threads that run one model at the same time, and by all calls to come. So nothing is put on
them to look at one call; they ask the context that they are called in (see :mod:`contextvars`) who watches there.
An observer is held by whoever opened it alone, so one that an interrupt cut off is gone with the call that it cut off.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar
from weakref import ref

import torch
from torch import nn


class Observer(ABC):
    """Is called around each layer that it sees.

    Attributes
    ----------
    content_with_bounds : bool
        Whether it need not see layers of which it is known that nothing on the way is infinite or not a number.
    """

    content_with_bounds: ClassVar[bool] = False

    @abstractmethod
    def sees(self, module: nn.Module) -> bool:
        """Whether it wants to be called around this layer, which then runs on its own and not in one with others."""

    @abstractmethod
    def around(self, module: nn.Module, inputs: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        """Run the layer, once, and return its output, or what shall go on in its place."""


_observers: ContextVar[tuple[ref[Observer], ...]] = ContextVar("napari_sparse3d_observers", default=())


@contextmanager
def observed_by(observer: Observer) -> Iterator[None]:
    """Layers that are called in the ``with`` block, by this thread, are seen by ``observer``."""
    token = _observers.set((*(each for each in _observers.get() if each() is not None), ref(observer)))
    try:
        yield
    finally:
        _observers.reset(token)


@contextmanager
def unobserved() -> Iterator[None]:
    """Nobody sees what this thread calls in the ``with`` block."""
    token = _observers.set(())
    try:
        yield
    finally:
        _observers.reset(token)


def observers_here() -> Sequence[Observer]:
    """Who watches in this context; nobody while torch compiles."""
    if torch.compiler.is_compiling() or not (here := _observers.get()):
        return ()
    return [one for one in (each() for each in here) if one is not None]


def observers_of(module: nn.Module) -> Sequence[Observer]:
    """Who sees this layer here."""
    return [one for one in observers_here() if one.sees(module)]


def observed(module: nn.Module, *inputs: Any) -> Any:
    """Call a module that does not ask for itself who sees it, as a ``SparseModule`` does."""
    return run_observed(observers_of(module), module, inputs, partial(module, *inputs))


def run_observed(
    observers: Sequence[Observer], module: nn.Module, inputs: tuple[Any, ...], run: Callable[[], Any]
) -> Any:
    """Run a layer with all of them around it, the last one outermost."""
    for each in observers:
        run = partial(each.around, module, inputs, run)
    return run()
