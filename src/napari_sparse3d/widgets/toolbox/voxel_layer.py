"""A voxel set as a layer: labels, a surface in 3D, or points."""

from __future__ import annotations

from typing import Any
from weakref import ref

from napari.layers import Layer
from napari.viewer import Viewer
from numpy.typing import NDArray

from napari_sparse3d.widgets.toolbox.layers import Mark, put_image, put_labels, put_points
from napari_sparse3d.widgets.toolbox.sources import Placement
from napari_sparse3d.widgets.toolbox.theme import ORANGE, mask_colormap, voxel_colormap

_HALF = 0.5 / 255
"""Half of 1 as the graphics card has it, where the whole range of uint8 is 0 to 1: at one half nothing is drawn."""


def put_voxels(
    viewer: Viewer, name: str, picture: NDArray[Any], kind: str, place: Placement, mark: Mark, opacity: float
) -> Layer:
    """Show a voxel set; the layer with this mark is updated where it is of the same kind."""
    known = set(map(id, viewer.layers))
    layer = _put(viewer, name, picture, kind, place, mark, opacity)
    if kind != "points" and id(layer) not in known:
        _be_solid_in_3d(viewer, layer)
    return layer


def _be_solid_in_3d(viewer: Viewer, layer: Layer) -> None:
    """A layer that lets what lies below shine through in 2D is opaque in 3D: volumes wash it out.

    So the scan itself need not be touched. An opacity that the user has chosen in 3D stays.
    """
    watched, through = ref(layer), [layer.opacity]

    def follow(_event: object = None) -> None:
        ours = watched()
        if ours is None:
            viewer.dims.events.ndisplay.disconnect(follow)
        elif viewer.dims.ndisplay == 3:
            through[0], ours.opacity = ours.opacity, 1.0
        elif ours.opacity == 1.0:
            ours.opacity = through[0]

    viewer.dims.events.ndisplay.connect(follow)
    if viewer.dims.ndisplay == 3:
        follow()


def _put(
    viewer: Viewer, name: str, picture: NDArray[Any], kind: str, place: Placement, mark: Mark, opacity: float
) -> Layer:
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
            contrast_limits_range=(0, 1),
            interpolation2d="nearest",
            rendering="iso",
            iso_threshold=_HALF,
            blending="translucent_no_depth",
            opacity=opacity,
        )
    return put_labels(
        viewer,
        name,
        picture,
        place,
        mark,
        colormap=voxel_colormap(ORANGE),
        blending="translucent_no_depth",
        opacity=opacity,
    )
