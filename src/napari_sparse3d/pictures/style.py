"""Colours and type that all pictures share.

The colours are Okabe and Ito's, which people with any kind of colour blindness can tell apart; and nothing is told by
colour alone.
"""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

BLUE, ORANGE, VERMILLION = "#0072B2", "#E69F00", "#D55E00"
INK, MUTED, RULE, PAPER = "#1b1f24", "#667079", "#e3e7ea", "#ffffff"
NIGHT, NIGHT_INK = "#101418", "#d7dde3"

_SETTINGS: Any = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same picture everywhere
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # names of classes and cases are text, dollars and all
}


def style() -> AbstractContextManager[None]:
    """A context in which figures get this package's type and colours; the user's own settings stay as they are."""
    return mpl.rc_context(_SETTINGS)


def as_png(figure: Figure, *, dpi: int = 160) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor=figure.get_facecolor())
    return buffer.getvalue()
