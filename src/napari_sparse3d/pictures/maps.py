"""A flat map of a cohort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_sparse3d.pictures.palette import SYMBOL_MARKERS, look_of
from napari_sparse3d.pictures.style import INK, PAPER, style

_LEGEND = 20
"""More classes have no legend that anybody could read."""


def map_figure(
    positions: NDArray[Any],
    values: Sequence[Any],
    *,
    title: str = "",
    name: str = "",
    here: Sequence[float] | None = None,
    numbers_of: Mapping[str, int] | None = None,
) -> Figure:
    """Draw the cases of a cohort.

    Parameters
    ----------
    positions : ndarray
        (N, 2).
    values : sequence
        (N,) what gives the colour: numbers, or classes; None: unknown, grey.
    title, name : str
        Above the picture, and what the colour means.
    here : sequence of float, optional
        (x, y) of one case to be marked with a cross.
    numbers_of : mapping, optional
        The number of each class, which its colour and symbol follow. Unless given, by their names.
    """
    x, y = np.asarray(positions).T
    known = [value for value in values if value not in (None, "")]
    numbers = bool(known) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)
    with style():
        figure = Figure(figsize=(6.4, 5.2), facecolor=PAPER, layout="constrained")
        axes = figure.subplots()
        if numbers:
            shades = np.array([np.nan if value in (None, "") else float(value) for value in values])
            drawn = axes.scatter(x, y, c=shades, s=14, cmap="viridis", linewidths=0)
            figure.colorbar(drawn, ax=axes, label=name, shrink=0.8)
        else:
            names = sorted({str(value) for value in known})
            classes = sorted(names, key=numbers_of.__getitem__) if numbers_of else names
            unknown = np.array([value in (None, "") for value in values], dtype=bool)
            axes.scatter(x[unknown], y[unknown], s=14, color="#8a8f98", linewidths=0)
            for place, each in enumerate(classes):
                inside = np.array([str(value) == each for value in values], dtype=bool) & ~unknown
                colour, symbol = look_of(numbers_of[each] if numbers_of else place)
                marker = SYMBOL_MARKERS[symbol]
                axes.scatter(x[inside], y[inside], s=14, color=colour, linewidths=0, label=each, marker=marker)
            if 0 < len(classes) <= _LEGEND:
                axes.legend(title=name, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        if here is not None:
            axes.plot(*here, marker="+", markersize=16, markeredgewidth=2, color=INK)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])
        axes.set_yticks([])
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure
