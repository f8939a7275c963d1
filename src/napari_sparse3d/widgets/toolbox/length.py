"""Units of length of layers and viewers: napari shows each layer in its own, and its sliders in the finest. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=64)
def mm_in(unit: Any) -> float | None:
    """Millimetres in one of a unit, as ``layer.units`` has it; None for what is no length, such as a pixel."""
    if dict(unit.dimensionality) != {"[length]": 1}:
        return None
    return float((1.0 * unit).to("mm").magnitude)


def units_of_world(viewer: Any) -> tuple[Any, ...] | None:
    """The units of the viewer's sliders and cursor, one an axis; None where its layers do not go together."""
    units = getattr(viewer.dims, "units", None) or getattr(viewer.layers.extent, "units", None)
    return None if units is None else tuple(units)


def in_units_of(viewer: Any, layer: Any, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """A point of the viewer's world in the units of a layer, its last axes.

    napari shows a layer in millimetres beside one in micrometres true to scale, but ``layer.world_to_data`` takes the
    layer's own units and the sliders stand in the finest.
    """
    here = np.asarray(point, dtype=np.float64)[-layer.ndim :]
    world = units_of_world(viewer)
    if world is None or len(world) < layer.ndim:
        return here
    return converted(here, world[-layer.ndim :], tuple(layer.units))


def converted(point: NDArray[np.float64], given: Sequence[Any], wanted: Sequence[Any]) -> NDArray[np.float64]:
    """A point in other units, one an axis; what is no length stays."""
    factors = [_factor(one, other) for one, other in zip(given, wanted, strict=True)]
    return np.asarray(point * np.array(factors))


def _factor(given: Any, wanted: Any) -> float:
    if given == wanted:
        return 1.0
    mm, per = mm_in(given), mm_in(wanted)
    return 1.0 if mm is None or per is None else mm / per
