"""Ranges of greys for a layer: a CT's windows in HU, a part of the values of any other scan. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_sparse3d.catalog.windows import WINDOWS
from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.toolbox.sources import in_patient

_SAMPLED = 500_000
"""Values, by every so many-th voxel of each axis: enough for percentiles that a picture is seen by."""


@dataclass(frozen=True)
class Greys:
    """One choice: ``percent`` are those of the values below which all is black, and above which all is white."""

    title: str
    limits: tuple[float, float] | None = None
    percent: tuple[float, float] | None = None


OF_HU = tuple(Greys(window.title, limits=window.limits_hu) for window in WINDOWS)
OF_OTHERS = (
    Greys("All values", percent=(0, 100)),
    Greys("1 to 99 %", percent=(1, 99)),
    Greys("5 to 95 %", percent=(5, 95)),
    Greys("50 to 99.5 %", percent=(50, 99.5)),
)
"""MR has no unit, so what is bright in one scan says nothing of another: parts of its own values."""


def is_ct(layer: Any) -> bool:
    """Whether a layer's values are HU, as whoever read it says."""
    return in_patient(layer) and layer.metadata.get("unit") == "HU"


def choices_for(layer: Any) -> tuple[Greys, ...]:
    """Those that mean something for a layer."""
    return OF_HU if is_ct(layer) else OF_OTHERS


def limits_of(layer: Any, greys: Greys) -> tuple[float, float]:
    """What becomes black and what white.

    Raises
    ------
    InputError
        If the values do not differ.
    """
    if greys.limits is not None:
        return greys.limits
    assert greys.percent is not None
    step = max(1, round((np.prod(layer.data.shape[-3:]) / _SAMPLED) ** (1 / 3)))
    data = layer.data[len(layer.data) // 2] if layer.ndim == 4 else layer.data
    # the ends are those of every voxel
    sample = np.asarray(data if greys.percent == (0, 100) else data[::step, ::step, ::step])
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        raise InputError("no value of this scan is a finite number")
    low, high = (float(value) for value in np.percentile(sample, greys.percent))
    if low >= high:
        raise InputError(f"these parts of its values are one value, {low:g}; choose others")
    return low, high


def said_of(layer: Any, greys: Greys, limits: tuple[float, float]) -> str:
    """What was done, in a line."""
    low, high = limits
    if greys.percent is None:
        return f"{greys.title}: {low:g} to {high:g} HU (level {(low + high) / 2:g}, width {high - low:g})"
    unit = layer.metadata.get("unit", "a.u.") if in_patient(layer) else "a.u."
    first, last = greys.percent
    return f"{low:.4g} to {high:.4g} {unit}: {first:g} to {last:g} % of its values"
