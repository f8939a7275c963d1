"""Values at a layer's sites as a layer of the viewer, exactly over the scan."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from napari.layers import Layer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sparse3d.voxels import centre_offset
from napari_sparse3d.widgets.child.records import Sites
from napari_sparse3d.widgets.network.state import NetworkRun
from napari_sparse3d.widgets.toolbox.layers import Mark, ours, put_image, set_visible, volume_layer
from napari_sparse3d.widgets.toolbox.sources import field_affine, placement

LOOKS = ("activation", "attribution")
"""The roles of what is drawn of a result."""


def put_sites(
    viewer: Viewer, ran: NetworkRun, role: str, name: str, sites: Sites, values: NDArray[np.float32], *, signed: bool
) -> bool:
    """Show one value a site; False where the scan is not in the viewer any more.

    Parameters
    ----------
    viewer : Viewer
    ran : NetworkRun
        What was run on which scan.
    role : str
        ``"activation"`` or ``"attribution"``; other layers of the same scan that would cover it are hidden.
    name : str
        After the scan's name.
    sites, values
        Where, and (N,) what.
    signed : bool
        Whether the sign means something: then the colours are symmetrical about 0.
    """
    volume_id, made = ran.volume_id, ran.made
    scan = volume_layer(viewer, volume_id)
    if scan is None:
        return False
    grid = np.full(sites.shape, np.nan, dtype=np.float32)
    grid[tuple(sites.indices.T)] = values
    offset = centre_offset(made.voxels.shape, ran.result.model.field)
    affine = field_affine(made.voxels.affine, offset, sites.step, sites.centre)
    limits = colour_limits(values, signed=signed)
    look: dict[str, Any] = {
        "colormap": "coolwarm" if signed else "viridis",
        "contrast_limits_range": limits,
        "contrast_limits": limits,
        "opacity": 0.8,
        "blending": "translucent_no_depth",
        "interpolation3d": "nearest",
    }
    place = placement(scan, made.volume, affine)
    put_image(viewer, f"{scan.name} · {name}", grid, place, Mark(role, volume_id), **look)
    for other in ("voxels", "preview", "attribution" if role == "activation" else "activation"):
        for layer in ours(viewer, other, volume_id):
            set_visible(layer, False)
    return True


def hide_sites(viewer: Viewer, volume_id: str) -> None:
    """Hide what layers and attribution gave on a scan."""
    for layer in _looks(viewer, volume_id):
        set_visible(layer, False)


def remove_sites(viewer: Viewer, volume_ids: Iterable[str]) -> None:
    """Take away what layers and attribution gave on these scans: their names do not say by which model."""
    for layer in [layer for volume_id in volume_ids for layer in _looks(viewer, volume_id)]:
        viewer.layers.remove(layer)


def _looks(viewer: Viewer, volume_id: str) -> list[Layer]:
    return [layer for role in LOOKS for layer in ours(viewer, role, volume_id)]


def colour_limits(values: NDArray[np.float32], *, signed: bool) -> tuple[float, float]:
    """The range of colours: symmetrical where the sign counts, without the outermost hundredth."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (-1.0, 1.0) if signed else (0.0, 1.0)
    if signed:
        end = float(np.percentile(np.abs(finite), 99)) or float(np.abs(finite).max()) or 1.0
        return -end, end
    low, high = float(finite.min()), float(np.percentile(finite, 99.5))
    return (low, high) if high > low else (low - 0.5 * (abs(low) or 1.0), low + 0.5 * (abs(low) or 1.0))
