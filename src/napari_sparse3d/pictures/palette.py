"""Colours of classes, wherever classes are drawn."""

CLASS_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7F7F7F", "#8C564B", "#B2DF8A",
)  # fmt: skip
"""Ten classes that people with any kind of colour blindness can tell apart (Okabe and Ito, and three by lightness)."""
