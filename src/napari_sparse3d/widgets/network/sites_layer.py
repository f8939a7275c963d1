"""Values at a layer's sites as a layer of the viewer, exactly over the scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sparse3d.voxels import centre_offset
from napari_sparse3d.widgets.child.records import Attributed, Sites
from napari_sparse3d.widgets.network.state import NetworkRun
from napari_sparse3d.widgets.toolbox.layers import Mark, mark_of, ours, put_image, set_visible, volume_layer
from napari_sparse3d.widgets.toolbox.sources import field_affine, placement
from napari_sparse3d.widgets.toolbox.theme import signed_colormap
from napari_sparse3d.widgets.toolbox.viewers import view_stays

LOOKS = ("activation", "attribution")
"""The roles of what is drawn of a result."""
SIGNED: Mapping[str, Any] = {"colormap": signed_colormap(), "rendering": "translucent"}
"""Both signs are seen in a volume too: of what is added up, or projected by its maximum, only one would be."""


def put_sites(
    viewer: Viewer, ran: NetworkRun, name: str, sites: Sites, values: NDArray[np.float32], *, signed: bool
) -> Image | None:
    """Show one value a site, at the layer's own stride; None where the scan is not in the viewer any more.

    Parameters
    ----------
    viewer : Viewer
    ran : NetworkRun
        What was run on which scan.
    name : str
        After the scan's name.
    sites, values
        Where, and (N,) what.
    signed : bool
        Whether the sign means something: then the colours are symmetrical about 0.
    """
    grid = np.full(sites.shape, np.nan, dtype=np.float32)
    grid[tuple(sites.indices.T)] = values
    made = ran.made
    offset = centre_offset(made.voxels.shape, ran.result.model.field)
    affine = field_affine(made.voxels.affine, offset, sites.step, sites.centre)
    limits = colour_limits(values, signed=signed)
    look = SIGNED if signed else {"colormap": "viridis", "rendering": "mip"}
    return _put(viewer, ran, "activation", name, grid, affine, limits, {**look, "opacity": 0.8})


def put_attribution(viewer: Viewer, ran: NetworkRun, drove: Attributed) -> Image | None:
    """Show what drove a class, on the voxels that were run; None where the scan is not in the viewer any more.

    Whatever is not active holds 0, which the colours leave clear.
    """
    voxels = ran.made.voxels
    grid = np.zeros(voxels.shape, dtype=np.float32)
    grid[tuple(voxels.indices.T)] = drove.values
    limits = colour_limits(drove.values, signed=True)
    name = f"{drove.method} · what drove {drove.class_name}"
    about = {**drove.record, "model": ran.result.model.name, "colour_limits": limits}
    return _put(viewer, ran, "attribution", name, grid, voxels.affine, limits, {**SIGNED, "opacity": 1.0}, about)


def _put(
    viewer: Viewer,
    ran: NetworkRun,
    role: str,
    name: str,
    grid: NDArray[np.float32],
    affine: NDArray[np.float64],
    limits: tuple[float, float],
    look: Mapping[str, Any],
    about: Mapping[str, Any] | None = None,
) -> Image | None:
    """Over the scan, in its place; what else of it would cover that is hidden. The view stays where it is."""
    scan = volume_layer(viewer, ran.volume_id)
    if scan is None:
        return None
    first = next(ours(viewer, role, ran.volume_id), None) is None
    place = placement(scan, ran.made.volume, affine)
    mark = Mark(role, ran.volume_id)
    whole: dict[str, Any] = {
        **look,
        "contrast_limits_range": limits,
        "contrast_limits": limits,
        "blending": "translucent_no_depth",
        "interpolation3d": "nearest",
    }
    with view_stays(viewer):
        layer = put_image(viewer, f"{scan.name} · {name}", grid, place, mark, **whole)
        if about is not None:
            layer.metadata = {**layer.metadata, role: dict(about)}
        if layer.rendering in ("mip", "translucent"):  # not another one that the user has chosen
            layer.rendering = look["rendering"]
        if first:
            _show_colour_bar(layer)
        if mark_of(scan) is not None:  # what was cut out is no scan to look at, but covers one
            set_visible(scan, False)
        for other in ("voxels", "preview", *(each for each in LOOKS if each != role)):
            for each in ours(viewer, other, ran.volume_id):
                set_visible(each, False)
    return layer


def _show_colour_bar(layer: Image) -> None:
    """On the canvas, where napari has one; the panel has its own."""
    bar = getattr(layer, "colorbar", None)
    if bar is not None:
        bar.visible = True


def hide_sites(viewer: Viewer, volume_id: str) -> None:
    """Hide what layers and attribution gave on a scan."""
    for layer in _looks(viewer, volume_id):
        set_visible(layer, False)


def remove_sites(viewer: Viewer, volume_ids: Iterable[str]) -> None:
    """Take away what layers and attribution gave on these scans: their names do not say by which model."""
    with view_stays(viewer):
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
