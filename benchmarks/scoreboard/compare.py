"""Whether two images are the same, and if not, in what: checks that fail for a mirrored, moved or reordered volume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoreboard.images import Image

CORNER_MM = 1e-3
"""How far a corner may lie off: NIfTI keeps affines in single precision, which moves one by up to 1.1e-4 mm."""
OF_THE_RANGE = 1e-5
"""How far a value may lie off, as a part of the reference's range: single precision of rescaled values."""
STEP_S = 1e-3
AXES = {0: "L-R", 1: "P-A", 2: "I-S"}


@dataclass(frozen=True)
class Difference:
    """One respect in which two images differ.

    Parameters
    ----------
    kind : str
        ``"shape"``, ``"place"``, ``"mirrored"``, ``"volumes"``, ``"order"``, ``"values"`` or ``"step"``.
    detail : str
        The figures, in words.
    """

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


def differences(ours: Image, theirs: Image) -> tuple[Difference, ...]:
    """Everything in which ``ours`` differs from ``theirs``; empty when they are the same image.

    A time step that only one of them claims is no difference; two that disagree are.
    """
    if ours.data.shape[:3] != theirs.data.shape[:3]:
        return (Difference("shape", f"{ours.size} against {theirs.size}"),)
    found = [*_place(ours, theirs), *_content(ours.data, theirs.data), *_step(ours, theirs)]
    return tuple(found)


def same_grid(ours: Image, theirs: Image) -> bool:
    """Whether the voxels of both lie in the same places."""
    return ours.data.shape[:3] == theirs.data.shape[:3] and not list(_place(ours, theirs))


def same(ours: Image, theirs: Image) -> bool:
    """Whether nothing differs: ``not differences(ours, theirs)``, without looking for what it is."""
    return same_grid(ours, theirs) and same_values(ours.data, theirs.data) and not list(_step(ours, theirs))


def same_values(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    """Whether two arrays of one shape hold the same values, as float32 or to a 1e-5 of the reference's range."""
    if ours.shape != theirs.shape:
        return False
    finite = theirs[np.isfinite(theirs)].astype(np.float64)
    greatest = np.abs(finite).max(initial=0)
    allowed = max(OF_THE_RANGE * np.ptp(finite) if finite.size else 0, np.finfo(np.float32).eps * greatest)
    sample = tuple(slice(None, None, step) for step in (7, 5, 3))  # most unequal images differ here already
    return _within(ours[sample], theirs[sample], allowed) and _within(ours, theirs, allowed)


def _within(ours: NDArray[Any], theirs: NDArray[Any], allowed: float) -> bool:
    finite = np.isfinite(theirs)
    if not np.array_equal(np.isfinite(ours), finite):
        return False
    apart = ours[finite].astype(np.float64) - theirs[finite].astype(np.float64)
    return bool(np.abs(apart).max(initial=0) <= allowed) and np.array_equal(
        ours[~finite].astype(np.float64), theirs[~finite].astype(np.float64), equal_nan=True
    )


def matching_volumes(ours: Image, theirs: Image) -> dict[int, int]:
    """Which volume of ``theirs`` each volume of ``ours`` equals; each is used once, the one in the same place first."""
    if not same_grid(ours, theirs):
        return {}
    return _pairs(ours.data, theirs.data)


def corners(shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """(8, 3) the world positions of the corner voxels of a grid (X, Y, Z)."""
    index = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in shape[:3]))], dtype=float)
    return (index @ affine.T)[:, :3]


def _place(ours: Image, theirs: Image) -> Iterator[Difference]:
    # a grid of one voxel along an axis has its step there nowhere in its corners: one voxel more makes it count
    shape = tuple(max(n, 2) for n in theirs.data.shape[:3])
    off = np.abs(corners(shape, ours.affine) - corners(shape, theirs.affine)).max()
    if not off <= CORNER_MM:
        yield Difference("place", f"corners up to {off:.4g} mm off")


def _content(ours: NDArray[Any], theirs: NDArray[Any]) -> Iterator[Difference]:
    count, expected = ours.shape[3], theirs.shape[3]
    if count != expected:
        yield Difference("volumes", f"{count} against {expected}, {_shared(ours, theirs)}")
    elif not same_values(ours, theirs):
        pairs = _pairs(ours, theirs)
        if len(pairs) == count:
            yield Difference("order", "the same volumes as " + _run(pairs[volume] for volume in range(count)))
        else:
            yield from _unequal(ours, theirs, [volume for volume in range(count) if volume not in pairs])


def _shared(ours: NDArray[Any], theirs: NDArray[Any]) -> str:
    said = [f"{len(_pairs(ours, theirs))} of them equal"]
    for axis, letters in AXES.items():
        mirrored = len(_pairs(np.flip(ours, axis), theirs))
        said += [f"{mirrored} mirrored along {letters}"] * (mirrored > 0)
    return ", ".join(said)


def _unequal(ours: NDArray[Any], theirs: NDArray[Any], volumes: list[int]) -> Iterator[Difference]:
    which = f"volumes {_run(volumes)} of {ours.shape[3]}" if ours.shape[3] > 1 else "the volume"
    mine, other = ours[..., volumes], theirs[..., volumes]
    for axis, letters in AXES.items():
        if same_values(np.flip(mine, axis), other):
            yield Difference("mirrored", f"{which} along {letters}")
            return
    apart = np.abs(mine.astype(float) - other.astype(float))
    share = np.count_nonzero(apart > OF_THE_RANGE * np.ptp(other)) / apart.size
    yield Difference("values", f"{which} by up to {np.nanmax(apart):.4g}, in {100 * share:.3g} % of the voxels")


def _step(ours: Image, theirs: Image) -> Iterator[Difference]:
    if ours.step_s is not None and theirs.step_s is not None and abs(ours.step_s - theirs.step_s) > STEP_S:
        yield Difference("step", f"{ours.step_s:g} s against {theirs.step_s:g} s")


def _pairs(ours: NDArray[Any], theirs: NDArray[Any]) -> dict[int, int]:
    left = list(range(theirs.shape[3]))
    found: dict[int, int] = {}
    for volume in range(ours.shape[3]):
        nearest = sorted(left, key=lambda other: abs(other - volume))
        match = next((other for other in nearest if same_values(ours[..., volume], theirs[..., other])), None)
        if match is not None:
            found[volume] = match
            left.remove(match)
    return found


def _run(numbers: Any) -> str:
    listed = [str(number) for number in numbers]
    return " ".join(listed[:12]) + (" ..." if len(listed) > 12 else "")
