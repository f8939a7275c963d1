"""How the layers of a network fill up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from napari_sparse3d.pictures.style import BLUE, INK, PAPER, RULE, VERMILLION, style


def layers_figure(
    layers: Sequence[str],
    sides: Sequence[int],
    percent: Sequence[float],
    others: Mapping[str, Sequence[float]],
    *,
    title: str = "",
) -> Figure:
    """Percent active after each layer, as bars, beside other rows of the same layers.

    Parameters
    ----------
    layers, sides : sequence
        Name and grid side of each layer, the input first.
    percent : sequence of float
        Active sites in percent of the grid.
    others : mapping
        Label and row of what to compare with; the first is drawn as diamonds, the others as lines across the bars.
    title : str
        Above the chart.
    """
    with style():
        figure = Figure(figsize=(9.2, 4.3), facecolor=PAPER, layout="constrained")
        ax = figure.subplots()
        x = np.arange(len(layers))
        handles: list[Any] = [
            ax.bar(x, percent, width=0.72, color=BLUE, label="this scan through the network", zorder=2)
        ]
        for number, (label, row) in enumerate(others.items()):
            if number == 0:
                look: dict[str, Any] = {
                    "marker": "D",
                    "s": 42,
                    "color": VERMILLION,
                    "edgecolors": PAPER,
                    "linewidths": 1,
                }
                handles.append(ax.scatter(x, row, **look, label=label, zorder=4))
            else:
                handles.append(ax.hlines(row, x - 0.44, x + 0.44, color=INK, linewidth=2, label=label, zorder=3))
        for place, value in enumerate(percent):
            top = max(value, *(row[place] for row in others.values()), 0)
            words = f"{value:.1f}" if value < 99.95 else "100"
            ax.annotate(words, (place, top), (0, 8), textcoords="offset points", ha="center", fontsize=9)
        ax.set_xticks(x, [f"{name}\n{side}³" for name, side in zip(layers, sides, strict=True)])
        ax.tick_params(axis="x", length=0, labelsize=9)
        ax.set_ylim(0, 112)
        ax.set_yticks(range(0, 101, 20))
        ax.tick_params(axis="y", length=0)
        ax.set_ylabel("active sites, % of the grid")
        ax.grid(axis="y", color=RULE, linewidth=0.8, zorder=0)
        ax.spines["left"].set_visible(False)
        ax.legend(handles=handles, loc="upper left", fontsize=9.5, facecolor=PAPER, edgecolor=PAPER, framealpha=1)
        if title:
            ax.set_title(title, loc="left", fontsize=12, pad=12)
    return figure
