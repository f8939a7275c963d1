"""The active sites of a grid, with all that is made from them once: indices, output sites, plans.

Layers that share sites share a :class:`Sites`, and with it plans; forward and backward share plans; and nothing is left
when the last tensor on these sites goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import RLock, local
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import ref

import torch
from torch import Tensor

from napari_sparse3d.sparse.arrays import check_indices
from napari_sparse3d.sparse.memo import memo_of, version
from napari_sparse3d.sparse.window import Geometry, Triple

if TYPE_CHECKING:
    from napari_sparse3d.sparse.contract import C, Engine, N, P, Place, Program, RunsChains, RunsNetworks

_T = TypeVar("_T")
_S = TypeVar("_S", bound="Sites | None")
_CHECKED = "checked"
_BEGIN = RLock()


class _Making(local):
    """What this thread is making something from just now: it was looked at when that began."""

    def __init__(self) -> None:
        self.stores: list[_Store] = []


_MAKING = _Making()


class _Memo(dict[Any, Any]):
    """What was made from indices in one state; unlike a plain dictionary it can be referred to weakly."""


class _Store:
    """What was made from indices, and in which state they were then."""

    __slots__ = ("memo", "state")

    def __init__(self) -> None:
        self.state: object = None  # looked at when something is first made
        self.memo = _Memo()

    def once(self, key: Any, make: Callable[[], _T]) -> _T:
        """See :meth:`Sites.once`."""
        memo = self.memo
        value: _T | None = memo.get(key)
        if value is None:
            _MAKING.stores.append(self)
            try:
                # of several threads, all get what the first of them made
                value = memo.setdefault(key, _for_training_too(make))
            finally:
                _MAKING.stores.pop()
        return value


def _for_training_too(make: Callable[[], _T]) -> _T:
    """What may be used in training later, though it is first asked for in inference."""
    if not torch.is_inference_mode_enabled():
        return make()
    with torch.inference_mode(False):
        return make()


class Sites:
    """Where the rows of sparse tensors stand.

    Parameters
    ----------
    indices : Tensor
        (N, 4) int32 [b, z, y, x], contiguous, unique, in any order. Not checked here: see :meth:`check`.
    shape : (int, int, int)
        The grid (D, H, W).
    batch_size : int
        Number of volumes.
    """

    __slots__ = ("_store", "batch_size", "indices", "shape")

    indices: Tensor
    shape: Triple
    batch_size: int
    _store: _Store | None

    def __init__(self, indices: Tensor, shape: Triple, batch_size: int) -> None:
        self.indices, self.shape, self.batch_size = indices, shape, batch_size
        self._store = None  # begun when something is first made: torch.compile makes sites too, and nothing from them

    @classmethod
    def of(cls, standing: Sites | Tensor, shape: Triple, batch_size: int) -> Sites:
        """Sites themselves if they are of this grid; of a bare tensor of indices those that it was given before.

        A bare tensor comes from users, and from torch, whose operators take nothing but tensors.
        """
        if isinstance(standing, Sites):
            if standing.shape == shape and standing.batch_size == batch_size:
                return standing
            standing = standing.indices
        check_indices(standing)
        sites = cls(standing, shape, batch_size)
        sites._store = memo_of(standing).setdefault((shape, batch_size), _Store())
        return sites

    @classmethod
    def trusted(cls, indices: Tensor, shape: Triple, batch_size: int, known: Mapping[Any, Any] | None = None) -> Sites:
        """Sites that are known to lie inside and to be unique: no engine looks at them again to see.

        ``known`` is what has been made from them already, by the keys of :meth:`once`.
        """
        sites = cls(indices, shape, batch_size)
        store = sites._store = _Store()
        store.state = version(indices)
        store.memo[_CHECKED] = True
        store.memo.update(known or {})
        return sites

    def __len__(self) -> int:
        return self.indices.shape[0]

    def __reduce__(self) -> tuple[Any, ...]:
        # without what was made: engines' objects belong to this process, and to these indices
        return Sites, (self.indices, self.shape, self.batch_size)

    def __repr__(self) -> str:
        return f"Sites({len(self)} on {self.shape}, batch {self.batch_size}, {self.indices.device})"

    # -- what is made from them --

    def once(self, key: Any, make: Callable[[], _T]) -> _T:
        """What ``make`` gives, made when it is first asked for under this key.

        It must not hold these sites, nor their indices: it lives as long as they do, and they would live for ever.
        """
        return self._current().once(key, make)

    def check(self, inspect: Callable[[Sites], None]) -> None:
        """Let ``inspect`` raise ``InputError`` if a site cannot be; once, and not where they are trusted."""

        def passed() -> bool:
            inspect(self)
            return True

        self.once(_CHECKED, passed)

    def output(self, engine: Engine[P], geometry: Geometry) -> Sites:
        """The sites that a layer of this geometry writes to; the same object each time, unless written to since."""
        return self._still_as_made((engine.name, geometry), lambda: (engine.output_sites(self, geometry), None))[0]

    def plan(self, engine: Engine[P], out: Sites, geometry: Geometry) -> P:
        """The engine's plan from these sites to others, or to themselves."""
        store = self._current()
        target = (store if out is self else out._current()).memo
        if target is store.memo:
            return store.once((engine.name, geometry, None), lambda: engine.plan(self, out, geometry))
        key = (engine.name, geometry, id(target))
        plan, writes = store.once(key, lambda: (engine.plan(self, out, geometry), ref(target)))
        if writes() is not target:  # others have taken over this id
            plan = engine.plan(self, out, geometry)
            store.memo[key] = plan, ref(target)
        return plan

    def chain(self, engine: RunsChains[C], places: Sequence[Place]) -> tuple[Sites, C]:
        """The sites that the last of some layers writes to, and the engine's plan of them all."""
        key = (engine.name, tuple(places))
        sites, plan, _ = self._still_as_made(key, lambda: engine.plan_chain(self, places))
        return self if sites is None else sites, plan

    def network(self, engine: RunsNetworks[C, N], program: Program) -> tuple[Sites, C]:
        """The sites that a whole network writes to, and the engine's plan of it."""
        sites, plan, _ = self._still_as_made((engine.name, program), lambda: engine.plan_network(self, program))
        return self if sites is None else sites, plan

    def _still_as_made(self, key: Any, make: Callable[[], tuple[_S, _T]]) -> tuple[_S, _T, object]:
        """Sites, what belongs to them and their state then: made once, and again where they were written to since.

        Their indices are those of the tensor that a layer gives, which is a user's to write to.
        """
        store = self._current()
        held = store.memo.get(key)
        if held is not None and held[0] is not None and held[0].state() != held[2]:
            store.memo.pop(key, None)
        return store.once(key, lambda: _with_state(*make()))

    @property
    def seen(self) -> object:
        """The state of the indices when something was last taken from here."""
        return None if self._store is None else self._store.state

    def state(self) -> object:
        """The state of the indices now: another when they have been written to."""
        return self._current().state

    def _current(self) -> _Store:
        """What was made from the indices as they are now. Whoever takes something from there asks here first."""
        store = self._store
        if store is None:
            with _BEGIN:  # of several threads, all get the store of the first of them
                if self._store is None:
                    self._store = _Store()
                store = self._store
        if store in _MAKING.stores:
            return store
        check_indices(self.indices)
        state = version(self.indices)
        if store.state is None:
            store.state = state
        elif store.state != state:
            store.state, store.memo = state, _Memo()
        return store


def _with_state(sites: _S, plan: _T) -> tuple[_S, _T, object]:
    """With the state in which the engine left the sites: they were looked at when they were made, most of them."""
    if sites is None:
        return sites, plan, None
    return sites, plan, sites.state() if sites.seen is None else sites.seen
