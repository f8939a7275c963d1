"""What is to be known of a scan wherever its results stand: where it lies, what was repaired or guessed. No Qt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_sparse3d.io.intensity import guess_words
from napari_sparse3d.widgets.toolbox.length import mm_in
from napari_sparse3d.widgets.toolbox.sources import in_patient, is_moved, is_turned


def notes_of(layer: Any) -> list[str]:
    """Each thing that is to be known of a scan's layer, as a phrase; none for a plain scan in its place."""
    about = layer.metadata
    return [note for note in (place_words(layer), *read_words(about.get("meta", {}), about.get("unit", ""))) if note]


def place_words(layer: Any) -> str:
    """Where a layer does not lie as it does in the patient; ``""`` where it does."""
    if not in_patient(layer):
        return f"not in the patient's world{_no_length(layer)}"
    if is_turned(layer):
        return "turned by hand: not in the patient's world"
    moved = "moved from its place in the patient" if is_moved(layer) else ""
    return "; ".join(part for part in (moved, layer.metadata.get("drawn", "")) if part)


def read_words(meta: Mapping[str, Any], unit: str) -> list[str]:
    """What was repaired when a scan was read, and what was guessed: by ``Volume.meta``."""
    repaired = [f"repaired: {each}" for each in meta.get("repairs", ())]
    return [*repaired, *filter(None, [guess_words(meta, unit)])]


def _no_length(layer: Any) -> str:
    lengths = [mm_in(unit) for unit in tuple(layer.units)[-3:]]
    return ": its scale has no unit of length and is taken as mm" if None in lengths else ""
