"""Our layers in the viewer: found again and updated, placed beside their volume, never piled up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer, Points
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sparse3d.cases.identity import CASE, CaseIdentity
from napari_sparse3d.io.layers import GEOMETRY_KEYS
from napari_sparse3d.widgets.toolbox.length import in_units_of
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.sources import OWN, Placement, is_volume


@dataclass(frozen=True)
class Mark:
    """What one of our layers is: ``role`` (voxels, preview, activation, attribution) of which volume's layer."""

    role: str
    volume_id: str
    content: Mapping[str, Any] = field(default_factory=dict, repr=False)


def mark_of(layer: Layer) -> Mark | None:
    """The mark of one of our layers; None for the user's own."""
    mark = layer.metadata.get(OWN)
    return mark if isinstance(mark, Mark) else None


def made_of(layer: Layer) -> ScanVoxels | None:
    """The voxel set that a layer shows, if it is one of ours."""
    mark = mark_of(layer)
    made = None if mark is None else mark.content.get("made")
    return made if isinstance(made, ScanVoxels) else None


def frame_of(viewer: Viewer, layer: Layer) -> int:
    """Which time point of a layer the viewer shows; 0 where there is no time."""
    if layer.ndim != 4:
        return 0
    at = layer.world_to_data(in_units_of(viewer, layer, np.asarray(viewer.dims.point)))[0]
    return int(np.clip(round(float(at)), 0, layer.data.shape[0] - 1))


def volumes(viewer: Viewer) -> list[Layer]:
    """The layers that voxels can be made of, scans and labels, the topmost first."""
    return [layer for layer in reversed(viewer.layers) if is_volume(layer)]


def scans(viewer: Viewer) -> list[Layer]:
    """Those of intensities alone, the topmost first."""
    return [layer for layer in volumes(viewer) if isinstance(layer, Image)]


def ours(viewer: Viewer, role: str, volume_id: str | None = None) -> Iterator[Layer]:
    """Our layers with a role, of one volume or of all."""
    for layer in viewer.layers:
        mark = mark_of(layer)
        if mark is not None and mark.role == role and volume_id in (None, mark.volume_id):
            yield layer


def volume_layer(viewer: Viewer, volume_id: str) -> Layer | None:
    """The layer of the scan, if it is still there."""
    return next((layer for layer in viewer.layers if str(layer.unique_id) == volume_id), None)


def from_file(
    layer: Layer,
    path: Path,
    *,
    series: int | None = None,
    repair: str | None = None,
    case: CaseIdentity | None = None,
) -> None:
    """Let a layer say where it is from, as napari's own readers do: with that a command can read it again.

    ``case``: which case it is, so that it is known among those of a table.
    """
    layer._set_source(layer.source.model_copy(update={"path": str(path), "reader_plugin": "napari-sparse3d"}))
    given = {"series": series, "repair": repair, CASE: case}
    layer.metadata = {**layer.metadata, **{name: value for name, value in given.items() if value is not None}}


def edit_events(layer: Layer) -> list[Any]:
    """What a layer emits when its voxels are others: painted, or put anew."""
    return [getattr(layer.events, name) for name in ("data", "paint", "labels_update") if hasattr(layer.events, name)]


def set_visible(layer: Layer, visible: bool) -> None:
    """Show or hide; napari refreshes a layer whenever this is set, even to what it is."""
    if layer.visible != visible:
        layer.visible = visible


def put_labels(viewer: Viewer, name: str, mask: NDArray[np.uint8], place: Placement, mark: Mark, **look: Any) -> Labels:
    """Show a mask as a Labels layer: the one with this mark is updated, otherwise a new one is made."""
    existing = _existing(viewer, mark, Labels)
    if existing is not None:
        _update(existing, name, mask, place, mark, place.metadata(mask.shape, labels=True))
        return existing
    metadata = {**place.metadata(mask.shape, labels=True), OWN: mark}
    layer = Labels(mask, name=name, metadata=metadata, **place.arguments(), **look)
    layer.editable = False
    return _add(viewer, layer, mark)


def put_image(
    viewer: Viewer,
    name: str,
    values: NDArray[Any],
    place: Placement,
    mark: Mark,
    *,
    labels: bool = False,
    **look: Any,
) -> Image:
    """Show values as an Image layer; ``look`` is applied to an existing layer as well.

    ``labels``: they are a mask, and are saved as one.
    """
    existing = _existing(viewer, mark, Image)
    metadata = place.metadata(values.shape, labels=labels)
    if existing is not None:
        _update(existing, name, values, place, mark, metadata)
        for key in ("colormap", "contrast_limits_range", "contrast_limits"):
            if key in look:
                setattr(existing, key, look[key])
        set_visible(existing, True)
        return existing
    limits_range = look.pop("contrast_limits_range", None)
    layer = Image(values, name=name, metadata={**metadata, OWN: mark}, **place.arguments(), **look)
    if limits_range is not None:
        layer.contrast_limits_range = limits_range
    return _add(viewer, layer, mark)


def put_points(
    viewer: Viewer, name: str, indices: NDArray[np.int32], place: Placement, mark: Mark, **look: Any
) -> Points:
    """Show voxels as a Points layer, one point a voxel: (N, 3) [z, y, x]."""
    existing = _existing(viewer, mark, Points)
    if existing is not None:
        existing.selected_data = set()
        _update(existing, name, indices, place, mark, {})
        return existing
    layer = Points(indices, name=name, metadata={OWN: mark}, **place.arguments(), **look)
    layer.editable = False
    return _add(viewer, layer, mark)


def _existing(viewer: Viewer, mark: Mark, kind: type[Any]) -> Any:
    """The layer with this role, if it is of this kind; one of another kind makes room."""
    for layer in list(ours(viewer, mark.role, mark.volume_id)):
        if type(layer) is kind:
            return layer
        viewer.layers.remove(layer)
    return None


def _add(viewer: Viewer, layer: Any, mark: Mark) -> Any:
    """Above its volume and what was made of that before, but below the preview; the selection stays the user's."""
    selected = viewer.layers.selection.active
    scan = volume_layer(viewer, mark.volume_id)
    if scan is None:
        viewer.add_layer(layer)
    else:
        above = viewer.layers.index(scan) + 1
        while above < len(viewer.layers):
            other = mark_of(viewer.layers[above])
            if other is None or other.volume_id != mark.volume_id or other.role == "preview":
                break
            above += 1
        viewer.layers.insert(above, layer)
    if selected is not None and selected in viewer.layers:
        viewer.layers.selection.active = selected
    return layer


def _update(
    layer: Layer, name: str, data: NDArray[Any], place: Placement, mark: Mark, metadata: Mapping[str, Any]
) -> None:
    layer.data = data
    for key, value in place.arguments().items():
        setattr(layer, key, value)
    layer.name = name
    own_words = {key: value for key, value in layer.metadata.items() if key not in GEOMETRY_KEYS}
    layer.metadata = {**own_words, **metadata, OWN: mark}
