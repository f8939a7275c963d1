"""A row of the per-layer table. Beside the networks and not among them: whoever shows a table needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerActivity:
    """One row of the per-layer table.

    Attributes
    ----------
    name, kind : str
        The module's name inside the network, and what it is.
    channels, side : int
        Feature channels, and the longest side of the grid in sites.
    active_sites : int
        Over all volumes of the batch.
    active_percent : float
        Active sites as a percentage of all sites of the grid.
    nonzero_percent : float
        Feature values at active sites that are not 0, as a percentage, after the activation that follows the layer.
    macs : int
        Multiply-accumulates: output sites x kernel volume x C_in x C_out. A missing input counts, since it holds the
        background.
    ms : float
        Wall time of the layer and of what acts on each of its sites, in milliseconds.
    """

    name: str
    kind: str
    channels: int
    side: int
    active_sites: int
    active_percent: float
    nonzero_percent: float
    macs: int
    ms: float
