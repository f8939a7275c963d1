"""The letters at the edges of the canvas, against where a point of the patient appears on the screen."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from napari_sparse3d.widgets.sides import letters_of, sides_in_space, sides_of_plane

POINTS = {"I": (1, 0, 0), "S": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "L": (0, 0, 1), "R": (0, 0, -1)}


@pytest.mark.parametrize("displayed", list(itertools.permutations(range(3), 2)))
@pytest.mark.parametrize(("down", "right"), list(itertools.product((True, False), repeat=2)))
def test_a_point_of_the_patient_lies_at_its_letter(displayed: tuple[int, int], down: bool, right: bool) -> None:
    sides = sides_of_plane(displayed, down=down, right=right)
    edges = {"top": (-1, 0), "bottom": (1, 0), "left": (0, -1), "right": (0, 1)}
    for edge, place in edges.items():
        point = POINTS[getattr(sides, edge)]
        row, column = point[displayed[0]] * (1 if down else -1), point[displayed[1]] * (1 if right else -1)
        assert (row, column) == place


@pytest.mark.parametrize(
    ("displayed", "left", "top", "convention"),
    [
        ((1, 2), "R", "A", "radiological · seen from the feet"),
        ((0, 2), "R", "S", "radiological · seen from the front"),
        ((0, 1), "A", "S", "radiological · seen from the left"),
        ((2, 0), "S", "R", "seen from behind"),
        ((2, 1), "A", "R", "seen from the head"),
    ],
)
def test_conventions_as_every_workstation_has_them(displayed: Any, left: str, top: str, convention: str) -> None:
    sides = sides_of_plane(displayed)
    assert (sides.left, sides.top, sides.convention) == (left, top, convention)


def test_a_mirrored_axial_slice_is_neurological() -> None:
    sides = sides_of_plane((1, 2), right=False)
    assert (sides.left, sides.convention) == ("L", "neurological · seen from the head")


def test_time_is_no_side_of_the_patient() -> None:
    sides = sides_of_plane((-1, 2))
    assert (sides.left, sides.right, sides.top, sides.bottom, sides.convention) == ("R", "L", "", "", "")


def test_an_edge_between_two_sides_has_both_letters() -> None:
    assert letters_of(np.array([0, -0.9, 0.5])) == "AL"
    assert letters_of(np.array([0.1, -0.9, 0.0])) == "A"
    assert letters_of(np.zeros(3)) == ""


def test_in_space_the_patient_is_turned_and_never_mirrored_unless_said() -> None:
    straight = sides_in_space((0, 1, 2), (-1, 0, 0), (0, -1, 0))  # napari's own: depth toward the viewer
    assert (straight.left, straight.top, straight.convention) == ("R", "A", "seen from the feet")
    front = sides_in_space((0, 1, 2), (0, 1, 0), (-1, 0, 0))
    assert (front.left, front.right, front.top, front.convention) == ("R", "L", "S", "seen from the front")
    away = sides_in_space((0, 1, 2), (1, 0, 0), (0, -1, 0), left_handed=True)  # depth away from the viewer
    assert (away.left, away.top) == ("R", "A")
    assert "mirrored" in away.convention
    swapped = sides_in_space((0, 2, 1), (-1, 0, 0), (0, -1, 0))
    assert (swapped.left, swapped.top) == ("A", "R")
    assert "mirrored" in swapped.convention
