"""Numbers as people read them: with their unit, and short. No Qt."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from napari_sparse3d.cases.seen import warning
from napari_sparse3d.voxels import Recipe, VoxelSet

_NO_BREAK = "\N{NO-BREAK SPACE}"
RESEARCH_ONLY = "research use only"
RANDOM_WEIGHTS = "Random weights: the classes mean nothing"


def count(n: int, what: str = "") -> str:
    """``195,254 voxels``; one voxel loses its s."""
    noun = what[:-1] if n == 1 and what.endswith("s") else what
    return f"{n:,} {noun}".strip()


def percent(value: float) -> str:
    """Percent with as many digits as matter, never broken over two lines: ``9.76 %``, ``0.0041 %``, ``100 %``."""
    digits = ".0f" if value == 0 or value >= 99.995 else ".2f" if value >= 0.1 else ".2g"
    return f"{value:{digits}}{_NO_BREAK}%"


def size(n_bytes: float) -> str:
    """``7.1 MB`` (powers of 1000)."""
    return _scaled(n_bytes, ("bytes", "kB", "MB", "GB", "TB"))


def work(macs: float) -> str:
    """Multiply-accumulates: ``1.9 GMAC``."""
    return _scaled(macs, ("MAC", "kMAC", "MMAC", "GMAC", "TMAC"))


def seconds(value: float) -> str:
    """``21 ms``, ``1.4 s``, ``2 min``, ``1 h 20 min``."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 90:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def left(done: int, total: int, elapsed_s: float) -> str:
    """What is still to wait: ``2 min left``; nothing while there is nothing to reckon with."""
    if done < 1 or elapsed_s < 0.5 or done >= total:
        return ""
    return f"{seconds(elapsed_s / done * (total - done))} left"


def grid(shape: Sequence[int]) -> str:
    """``93 × 110 × 89``, in the order given; a cube is ``126³``."""
    if len(set(shape)) == 1 and len(shape) == 3:
        return f"{shape[0]}³"
    return " × ".join(str(n) for n in shape)


def spacing(mm: Sequence[float]) -> str:
    """``0.5 × 0.5 × 1 mm``."""
    return " × ".join(f"{value:.3g}" for value in mm) + " mm"


def voxel_size(mm: Sequence[float]) -> str:
    """As :func:`spacing` of (z, y, x); ``4.5 mm`` where all sides are equal."""
    return spacing(mm[:1]) if np.allclose(mm, mm[0], rtol=1e-4) else f"{spacing(mm)} (z, y, x)"


def value(number: float, unit: str) -> str:
    """A value of a volume: whole numbers in HU, three digits otherwise."""
    text = f"{number:,.0f}" if unit == "HU" or abs(number) >= 1000 else f"{number:.3g}"
    return f"{text} {unit}"


def unlike_training(model: str, outside: str | None) -> str:
    """The warning of an input unlike the training's, as every way in has it; "" where there is nothing to say."""
    said = warning(model, outside)
    return f"⚠ {said[:1].upper()}{said[1:]}" if said else ""


def voxel_numbers(voxels: VoxelSet, recipe: Recipe) -> str:
    """Two lines on a voxel set: how many and how much of what; memory against dense; the box around them."""
    first = f"{count(voxels.n_active, 'voxels')} · {percent(voxels.active_percent)} of the grid"
    if recipe.field is not None and max(voxels.shape) > recipe.field:
        first += f" · larger than the field of {recipe.field}³"
    elif recipe.field is not None:
        first += f" · {percent(100 * voxels.n_active / recipe.field**3)} of the field"
    sparse_bytes = voxels.indices.nbytes + voxels.features.nbytes
    dense_bytes = prod(voxels.shape) * voxels.features.shape[1] * voxels.features.itemsize
    spacing_mm = np.linalg.norm(voxels.affine[:3, :3], axis=0).tolist()
    second = f"voxels of {voxel_size(spacing_mm)} · {size(sparse_bytes)} sparse · {size(dense_bytes)} dense"
    ends = voxels.box()
    if ends is None:
        return f"{first}\n{second}"
    box = [last - begin + 1 for begin, last in zip(*ends, strict=True)]
    return f"{first}\n{second}\nbox {grid(box)} in a grid of {grid(voxels.shape)} (z, y, x)"


def _scaled(number: float, units: Sequence[str]) -> str:
    power = 0
    while number >= 999.5 and power < len(units) - 1:
        number, power = number / 1000, power + 1
    digits = 0 if power == 0 or number >= 100 else 1
    return f"{number:.{digits}f} {units[power]}"
