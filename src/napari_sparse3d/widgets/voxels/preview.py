"""The preview: what is in the range, on the slice that the viewer shows, while a slider moves."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Layer
from napari.viewer import Viewer

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import NoResampling
from napari_sparse3d.voxels.plane import Planes, RangePlanes
from napari_sparse3d.widgets.toolbox.layers import Mark, mark_of, ours, put_image, set_visible, volume_layer
from napari_sparse3d.widgets.toolbox.length import in_units_of
from napari_sparse3d.widgets.toolbox.sources import placement, slice_shown
from napari_sparse3d.widgets.toolbox.theme import mask_colormap

ROLE = "preview"
_WITHIN = 0.499
"""Of a voxel: so near to the middle of the plane the slice must lie."""


class SlicePreview:
    """Keeps one layer a volume, with a single plane in it.

    An Image and not Labels: napari makes it in a few milliseconds, without the libraries behind a table of labels.
    """

    def __init__(self, viewer: Viewer) -> None:
        self.viewer = viewer

    def draw(self, layer: Layer, volume: Volume, frame: int, low: float, high: float) -> bool:
        """Show the voxels of the shown slice with ``low <= value <= high``; False where the viewer shows no slice."""
        return self.draw_of(layer, volume, RangePlanes(volume, NoResampling(), low, high))

    def draw_of(self, layer: Layer, volume: Volume, planes: Planes) -> bool:
        """Show the plane of a voxel set that lies in the shown slice; False where the viewer shows no slice of it."""
        dims = self.viewer.dims
        if dims.ndisplay != 2:
            return False
        displayed = tuple(axis - (dims.ndim - 3) for axis in dims.displayed)
        shown = slice_shown(layer, in_units_of(self.viewer, layer, np.asarray(dims.point)), displayed)
        if shown is None:
            self.hide(str(layer.unique_id))
            return False
        axis, position = shown
        to_set = np.linalg.inv(planes.affine) @ volume.affine
        at = to_set[axis, axis] * position + to_set[axis, 3]  # the set's grid lies along the same axes
        index = round(at)
        if not 0 <= index < planes.shape[axis]:
            self.hide(str(layer.unique_id))
            return False
        mask = np.expand_dims(planes.plane(axis, index).view(np.uint8), axis)
        # where the slice passes between two planes, napari might round to the other one, and show nothing
        here = planes.affine.copy()
        here[:3, 3] += (at - np.clip(at - index, -_WITHIN, _WITHIN)) * planes.affine[:3, axis]
        place = placement(layer, volume, here)
        mark = Mark(ROLE, str(layer.unique_id))
        existing = next(ours(self.viewer, ROLE, mark.volume_id), None)
        if isinstance(existing, Image) and existing.data.shape == mask.shape:
            existing.data[...] = mask
            if not np.allclose(existing.translate, place.translate):
                existing.translate = place.translate
                existing.metadata = {**existing.metadata, **place.metadata(mask.shape, labels=True)}
            existing.refresh(extent=False, thumbnail=False)
            set_visible(existing, True)
            return True
        put_image(
            self.viewer,
            f"{layer.name} · preview",
            mask,
            place,
            mark,
            labels=True,
            colormap=mask_colormap(),
            contrast_limits=(0, 1),
            interpolation2d="nearest",
            blending="translucent_no_depth",
            opacity=0.5,
        )
        return True

    def shown(self, layer: Layer) -> bool:
        """Whether the volume's preview is visible."""
        return any(each.visible for each in ours(self.viewer, ROLE, str(layer.unique_id)))

    def hide(self, volume_id: str) -> None:
        """Hide the preview of a volume; the layer stays for the next time."""
        for layer in ours(self.viewer, ROLE, volume_id):
            set_visible(layer, False)

    def hide_orphans(self) -> bool:
        """Hide the previews of volumes that are not in the viewer any more; whether there are any.

        At once: with a software renderer, to draw one after its volume's textures are gone ends the process.
        """
        orphans = self._orphans()
        for layer in orphans:
            set_visible(layer, False)
        return bool(orphans)

    def remove_orphans(self) -> None:
        """Take them away, when napari has finished taking the volume away."""
        for layer in self._orphans():
            self.viewer.layers.remove(layer)

    def _orphans(self) -> list[Layer]:
        marks = ((layer, mark_of(layer)) for layer in ours(self.viewer, ROLE))
        return [layer for layer, mark in marks if mark and volume_layer(self.viewer, mark.volume_id) is None]
