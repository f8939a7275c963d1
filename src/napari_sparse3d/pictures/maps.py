"""A flat map of a cohort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from napari_sparse3d.pictures.palette import CLASS_COLOURS
from napari_sparse3d.pictures.style import INK, PAPER, style


def map_figure(
    positions: NDArray[Any],
    values: Sequence[Any],
    *,
    title: str = "",
    name: str = "",
    here: Sequence[float] | None = None,
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
    """
    x, y = np.asarray(positions).T
    known = [value for value in values if value not in (None, "")]
    numbers = bool(known) and all(isinstance(value, (int, float)) for value in known)
    with style():
        figure = Figure(figsize=(6.4, 5.2), facecolor=PAPER, layout="constrained")
        axes = figure.subplots()
        if numbers:
            shades = np.array([np.nan if value in (None, "") else float(value) for value in values])
            drawn = axes.scatter(x, y, c=shades, s=14, cmap="viridis", linewidths=0)
            figure.colorbar(drawn, ax=axes, label=name, shrink=0.8)
        else:
            classes = sorted({str(value) for value in known})
            unknown = np.array([value in (None, "") for value in values], dtype=bool)
            axes.scatter(x[unknown], y[unknown], s=14, color="#8a8f98", linewidths=0)
            for number, each in enumerate(classes):
                inside = np.array([str(value) == each for value in values], dtype=bool) & ~unknown
                colour = CLASS_COLOURS[number % len(CLASS_COLOURS)]
                axes.scatter(x[inside], y[inside], s=14, color=colour, linewidths=0, label=each)
            if 0 < len(classes) <= 2 * len(CLASS_COLOURS):
                axes.legend(title=name, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        if here is not None:
            axes.plot(*here, marker="+", markersize=16, markeredgewidth=2, color=INK)
        axes.set_aspect("equal", adjustable="datalim")
        axes.set_xticks([])
        axes.set_yticks([])
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    return figure
