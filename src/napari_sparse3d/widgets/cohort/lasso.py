"""What a line that was drawn around points encircles. No Qt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def encircled(line: Sequence[tuple[float, float]], points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points lie inside a closed line, by the even-odd rule: a ray from there crosses it an odd number of times.

    Both are in pixels, as they are drawn: what lies inside on the screen is inside, at whatever scale the map is.

    Parameters
    ----------
    line : sequence of (x, y)
        Its corners; the last is joined with the first.
    points : ndarray
        (N, 2) x, y. Not finite: inside nothing.

    Returns
    -------
    ndarray
        (N,) bool.
    """
    places = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    known = np.flatnonzero(np.isfinite(places).all(axis=1))
    x, y = places[known].T
    inside = np.zeros(len(x), dtype=bool)
    for (x0, y0), (x1, y1) in zip(line, [*line[1:], *line[:1]], strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    encloses = np.zeros(len(places), dtype=bool)
    encloses[known] = inside
    return encloses
