"""A voxel set as a layer: labels, a surface in 3D, or points."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sparse3d.widgets.toolbox.layers import Mark, put_image, put_labels, put_points
from napari_sparse3d.widgets.toolbox.sources import Placement
from napari_sparse3d.widgets.toolbox.theme import ORANGE, mask_colormap, voxel_colormap


def put_voxels(
    viewer: Viewer, name: str, picture: NDArray[Any], kind: str, place: Placement, mark: Mark, opacity: float
) -> Layer:
    """Show a voxel set; the layer with this mark is updated where it is of the same kind."""
    if kind == "points":
        return put_points(
            viewer,
            name,
            picture,
            place,
            mark,
            size=1,
            face_color=ORANGE,
            border_width=0,
            symbol="square",
            shading="none",
            opacity=opacity,
            out_of_slice_display=False,
        )
    if kind == "surface":
        return put_image(
            viewer,
            name,
            picture,
            place,
            mark,
            labels=True,
            colormap=mask_colormap(),
            contrast_limits=(0, 1),
            interpolation2d="nearest",
            rendering="iso",
            iso_threshold=0.5,
            blending="translucent",
            opacity=opacity,
        )
    return put_labels(viewer, name, picture, place, mark, colormap=voxel_colormap(ORANGE), opacity=opacity)
