"""Which sides of the patient stand at the edges of the canvas. No Qt, no napari: directions in, letters out.

Directions are in napari's world as this plugin fills it, (I, P, L). In that order they are right-handed: I x P = L.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.io.patient_world import DISPLAY_AXES

_OPPOSITE = {"I": "S", "P": "A", "L": "R"}
_COUNTS_FROM = 0.35
"""A direction has the letter of each axis along which it goes by at least this part of its length, about 20 degrees."""
_SEEN_FROM = {
    "I": "the feet",
    "S": "the head",
    "A": "the front",
    "P": "behind",
    "L": "the left",
    "R": "the right",
}
_CONVENTIONS = {
    ("R", "A"): "radiological",
    ("R", "S"): "radiological",
    ("A", "S"): "radiological",
    ("L", "A"): "neurological",
    ("L", "S"): "neurological",
}
"""By the letters on the left and at the top of a slice; rolled otherwise it has no name."""


@dataclass(frozen=True)
class Sides:
    """The letters at the four edges, and how the patient is looked at.

    Attributes
    ----------
    left, right, top, bottom : str
        One of R, L, A, P, S, I; several, the nearest first, where an edge lies between them; ``""`` along time.
    convention : str
        ``"radiological · seen from the feet"``; ``"mirrored: ..."`` where a view in 3D exchanges left and right.
    """

    left: str
    right: str
    top: str
    bottom: str
    convention: str


def sides_of_plane(displayed: Sequence[int], *, down: bool = True, right: bool = True) -> Sides:
    """What stands at the edges of a slice.

    Parameters
    ----------
    displayed : sequence of int
        The world axis along rows' order (from top to bottom) and the one along columns, 0 to 2 for I, P, L; less than 0
        for an axis that is none of the patient's.
    down, right : bool
        Whether these axes grow downwards and to the right, as they do unless the camera was told otherwise.
    """
    vertical, horizontal = (np.zeros(3), np.zeros(3))
    if displayed[0] >= 0:
        vertical[displayed[0]] = -1.0 if down else 1.0
    if displayed[1] >= 0:
        horizontal[displayed[1]] = 1.0 if right else -1.0
    toward = np.cross(horizontal, vertical)
    sides = _sides(horizontal, vertical, toward)
    named = _CONVENTIONS.get((sides.left, sides.top), "")
    return replace(sides, convention=" · ".join(part for part in (named, sides.convention) if part))


def sides_in_space(
    displayed: Sequence[int], view: Sequence[float], up: Sequence[float], *, left_handed: bool = False
) -> Sides:
    """What stands at the edges of a view in 3D.

    Parameters
    ----------
    displayed : sequence of int
        The world axes in the order in which they are shown, 0 to 2 for I, P, L.
    view, up : sequence of float
        The camera's directions, along the displayed axes.
    left_handed : bool
        Whether the camera turns an odd number of the axes about (``Camera.handedness``).
    """
    to_right = np.cross(view, up) * (-1.0 if left_handed else 1.0)
    in_patient = np.zeros((3, 3))
    in_patient[:, list(displayed)] = np.array([to_right, up, view], dtype=np.float64)
    horizontal, vertical, away = in_patient
    mirrored = float(np.cross(horizontal, vertical) @ away) > 0
    sides = _sides(horizontal, vertical, -away)
    return replace(sides, convention="mirrored: left and right are exchanged") if mirrored else sides


def letters_of(direction: NDArray[np.float64]) -> str:
    """The sides toward which a direction (I, P, L) points, the nearest first; ``""`` for none."""
    length = float(np.linalg.norm(direction))
    if length == 0:
        return ""
    parts = np.asarray(direction) / length
    order = sorted(range(3), key=lambda axis: -abs(parts[axis]))
    letters = (DISPLAY_AXES[axis] if parts[axis] > 0 else _OPPOSITE[DISPLAY_AXES[axis]] for axis in order)
    return "".join(letter for axis, letter in zip(order, letters, strict=True) if abs(parts[axis]) >= _COUNTS_FROM)


def _sides(horizontal: NDArray[np.float64], vertical: NDArray[np.float64], toward: NDArray[np.float64]) -> Sides:
    """By the directions to the right, upwards, and out of the screen."""
    seen_from = " and ".join(_SEEN_FROM[letter] for letter in letters_of(toward))
    return Sides(
        letters_of(-horizontal),
        letters_of(horizontal),
        letters_of(vertical),
        letters_of(-vertical),
        f"seen from {seen_from}" if seen_from else "",
    )
