"""Colours and symbols of classes, wherever classes are drawn."""

CLASS_COLOURS = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#7F7F7F", "#8C564B", "#B2DF8A",
)  # fmt: skip
"""Ten classes that people with any kind of colour blindness can tell apart (Okabe and Ito, and three by lightness)."""
CLASS_SYMBOLS = ("o", "t1", "s", "d")
"""Of the first ten classes, the second ten, ...: as pyqtgraph calls a disc, a triangle, a square, a diamond."""
SYMBOL_SIGNS = ("●", "▲", "■", "◆")
"""The same, in a legend of text."""
SYMBOL_MARKERS = ("o", "^", "s", "D")
"""The same, as matplotlib calls them."""


def look_of(number: int) -> tuple[str, int]:
    """The colour of a class, and which of the symbols it has."""
    return CLASS_COLOURS[number % len(CLASS_COLOURS)], number // len(CLASS_COLOURS) % len(CLASS_SYMBOLS)
