"""Colours of napari's theme, and the few that mean something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.utils.colormaps import Colormap, DirectLabelColormap
from napari.utils.colormaps.standardize_color import transform_color
from napari.utils.theme import get_theme
from napari.viewer import Viewer

ORANGE = "#E69F00"
"""Voxels: the orange of Okabe and Ito's set, which stands out on grey scans."""


@dataclass(frozen=True)
class Colours:
    """What a panel is painted with, as ``#rrggbb``."""

    background: str
    foreground: str
    line: str
    text: str
    muted: str
    accent: str
    accent_text: str
    warning: str


def colours(viewer: Viewer) -> Colours:
    """Those of the viewer's theme."""
    theme = get_theme(viewer.theme)
    dark = theme.type == "dark"
    return Colours(
        background=theme.background.as_hex(),
        foreground=theme.foreground.as_hex(),
        line=theme.secondary.as_hex(),
        text=theme.text.as_hex(),
        muted="#a5abb3" if dark else "#5c5f66",
        # the theme's own accents are a fill behind its text; on a button, text has to be read
        accent="#4560c4" if dark else "#2f55c8",
        accent_text="#ffffff",
        warning="#e3b617" if dark else "#8a5a00",
    )


def voxel_colormap(colour: str = ORANGE) -> DirectLabelColormap:
    """Label 1 in one colour, the rest clear."""
    return DirectLabelColormap(color_dict={None: "transparent", 0: "transparent", 1: colour})


def mask_colormap(colour: str = ORANGE) -> Colormap:
    """The same for a mask that is drawn as an Image: clear at 0, the colour at 1.

    In between it goes from dark to bright: napari lights a surface by what it then looks up here, so that a single
    colour would be a flat patch, with holes wherever the surface turns away.
    """
    full = transform_color(colour)[0]
    dark = full * (0.3, 0.3, 0.3, 1)
    clear = dark * (1, 1, 1, 0)
    return Colormap([clear, clear, dark, full], controls=[0, 0.01, 0.02, 1], name="sparse3d-mask")


AGAINST, FOR = (0.2, 0.5, 1.0), (1.0, 0.25, 0.15)
"""Blue and orange-red, which colour-blind eyes tell apart, bright enough to be seen in a dark scan."""


def signed_colormap() -> Colormap:
    """Blue below, red above, and the clearer the nearer to the middle: what says nothing hides nothing.

    In between are no greys, which would be fog in a volume.
    """
    at = np.linspace(-1, 1, 257)
    colours = np.empty((len(at), 4))
    colours[:, :3] = np.where(at[:, None] < 0, AGAINST, FOR)
    colours[:, 3] = np.abs(at) ** 1.5
    return Colormap(colours, name="sparse3d-signed", display_name="for and against")


def primary_style(look: Colours) -> str:
    """Of the primary button."""
    return (
        f"QPushButton {{ background: {look.accent}; color: {look.accent_text}; font-weight: 600; }}"
        f"QPushButton:disabled {{ background: {look.line}; color: {look.muted}; }}"
        f"QPushButton:focus {{ border: 2px solid {look.text}; }}"
    )


def link_style(look: Colours) -> str:
    """Of the quiet buttons."""
    return (
        f"QPushButton {{ background: transparent; border: none; color: {look.text};"
        " text-decoration: underline; padding: 2px; }"
        f"QPushButton:disabled {{ color: {look.muted}; text-decoration: none; }}"
        f"QPushButton:focus {{ border: 1px solid {look.muted}; }}"
    )
