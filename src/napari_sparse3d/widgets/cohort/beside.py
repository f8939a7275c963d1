"""A case beside the open scan: in the same world, so that one camera serves both, and with one contrast for both."""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np
from napari.layers import Image, Layer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sparse3d.widgets.cohort.state import LoadedCase
from napari_sparse3d.widgets.toolbox.layers import Mark, from_file
from napari_sparse3d.widgets.toolbox.preferences import preference
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.sources import placement
from napari_sparse3d.widgets.toolbox.voxel_layer import put_voxels
from napari_sparse3d.widgets.toolbox.voxel_picture import picture_of

_GAP = 0.05
"""Between the two, as a part of the scan's width."""
_ROBUST_PERCENT = (1.0, 99.5)
_SAMPLED = 200_000


def layer_from(case: LoadedCase) -> Layer:
    """The layer of what :func:`read_case` gave; it knows where it is from."""
    layer = Layer.create(*case.data)
    file = case.file or case.case.path
    assert file is not None  # it was read from there
    from_file(layer, file, series=case.case.series if case.file is None else None, case=case.case)
    return layer


def put_saved_voxels(viewer: Viewer, layer: Layer, made: ScanVoxels) -> Layer:
    """The set of a case over its mask, as one that was made here; gives back its layer."""
    place = placement(layer, made.volume, made.voxels.affine)
    mark = Mark("voxels", str(layer.unique_id), {"made": made})
    picture = picture_of(made.voxels, "labels")
    return put_voxels(
        viewer,
        f"{layer.name} · {made.recipe.name}",
        picture,
        "labels",
        place,
        mark,
        float(preference("voxels.opacity")),
    )


def show_beside(viewer: Viewer, layer: Layer, scan: Layer | None) -> None:
    """Add a case to the right of the scan, middle beside middle; without a scan just add it."""
    if scan is not None:
        ours, theirs = scan.extent.world[:, -3:], layer.extent.world[:, -3:]
        shift = np.zeros(layer.ndim)
        shift[-1] = ours[1, 2] - theirs[0, 2] + _GAP * (ours[1, 2] - ours[0, 2])
        shift[-3:-1] = (ours.mean(axis=0) - theirs.mean(axis=0))[:2]
        layer.translate = np.asarray(layer.translate) + shift
        if isinstance(layer, Image) and isinstance(scan, Image):
            link_contrast(scan, layer)
    viewer.add_layer(layer)
    viewer.reset_view()


def link_contrast(scan: Image, other: Image) -> None:
    """Where one window is changed, the other follows, as long as both are there: neither keeps the other alive.

    HU mean the same in both. Other intensities do not: there a window is carried over by its place between the 1st and
    the 99.5th percentile of each scan's own values.
    """
    same_unit = scan.metadata.get("unit") == other.metadata.get("unit") == "HU"
    ranges = ((0.0, 1.0), (0.0, 1.0)) if same_unit else (robust_range(scan.data), robust_range(other.data))
    busy, ours, theirs = False, ref(scan), ref(other)

    def follow(source_of: ref[Image], target_of: ref[Image], source_range: Any, target_range: Any) -> None:
        nonlocal busy
        source, target = source_of(), target_of()
        if busy or source is None or target is None:
            return
        busy = True
        try:
            limits = carried_over(tuple(source.contrast_limits), source_range, target_range)
            low, high = target.contrast_limits_range
            target.contrast_limits_range = (min(low, limits[0]), max(high, limits[1]))
            target.contrast_limits = limits
        finally:
            busy = False

    follow(ours, theirs, *ranges)
    scan.events.contrast_limits.connect(lambda _event: follow(ours, theirs, *ranges))
    other.events.contrast_limits.connect(lambda _event: follow(theirs, ours, *ranges[::-1]))


def carried_over(
    limits: tuple[float, float], source: tuple[float, float], target: tuple[float, float]
) -> tuple[float, float]:
    """Limits at the same place in another range of values."""
    scale = (target[1] - target[0]) / (source[1] - source[0])
    low, high = (target[0] + (limit - source[0]) * scale for limit in limits)
    return low, high


def robust_range(data: NDArray[Any]) -> tuple[float, float]:
    """The 1st and the 99.5th percentile of the values that are not the lowest (air, or what was cut away).

    Of a sample of them; all of the range where there is next to nothing between.
    """
    values = np.asarray(data).reshape(-1)[:: max(1, data.size // _SAMPLED)].astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    inside = values[values > values.min()]
    low, high = np.percentile(inside if inside.size else values, _ROBUST_PERCENT)
    if high <= low:
        low, high = values.min(), values.max()
    return float(low), float(high) if high > low else float(low) + 1.0
