"""Output sites and plans are made once per geometry and live exactly as long as the indices they start from.

They are kept for the index tensor (see :mod:`kept`): layers that share sites share plans, forward and backward share
plans, and nothing is left when the input goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from torch import Tensor

from napari_sparse3d.sparse.arrays import check_indices
from napari_sparse3d.sparse.engine import Engine, Place
from napari_sparse3d.sparse.kept import kept, version
from napari_sparse3d.sparse.window import Geometry


def output_sites(engine: Engine, indices: Tensor, geometry: Geometry) -> Tensor:
    """(M, 4) int32 [b, z, y, x]: the output sites of ``indices``; the same tensor each time it is asked for."""
    made: Tensor = _once(indices, (engine.name, geometry), lambda: engine.output_sites(indices, geometry))
    return made


def plan(engine: Engine, in_indices: Tensor, out_indices: Tensor, geometry: Geometry) -> Any:
    """The engine's plan from ``in_indices`` to ``out_indices``."""
    check_indices(out_indices)
    if out_indices is in_indices:
        return _once(in_indices, (engine.name, geometry, None), lambda: engine.plan(in_indices, in_indices, geometry))
    key = (engine.name, geometry, id(out_indices))
    made, target = _once(in_indices, key, lambda: (engine.plan(in_indices, out_indices, geometry), ref(out_indices)))
    if target() is not out_indices:  # another tensor has taken over this id
        made = engine.plan(in_indices, out_indices, geometry)
        kept(in_indices)[key, version(in_indices)] = made, ref(out_indices)
    return made


def chain(engine: Engine, indices: Tensor, places: Sequence[Place]) -> tuple[Tensor, Any]:
    """The sites (M, 4) that the last of some layers writes to, and the engine's plan of them all."""
    places = tuple(places)
    sites, made = _once(indices, (engine.name, places), lambda: engine.plan_chain(indices, places))
    return indices if sites is None else sites, made


def _once(indices: Tensor, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    check_indices(indices)
    made = kept(indices)
    versioned = key, version(indices)
    found = made.get(versioned)
    if found is None:
        found = made.setdefault(versioned, make())  # of several threads, all get what the first of them made
    return found
