"""The patient's sides on the canvas: letters at its edges, how the patient is looked at, what to know of the scans.

They are overlays of napari's canvas, so they stand in screenshots too. They follow every roll, transposition, turn of
the camera and change of its directions. napari before 0.9 has one text on its canvas: there all stands in that one.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Mapping
from textwrap import fill
from typing import Any

from napari import current_viewer
from napari.layers import Labels, Layer
from napari.viewer import Viewer

from napari_sparse3d.widgets.sides import Sides, sides_in_space, sides_of_plane
from napari_sparse3d.widgets.toolbox.notes import notes_of
from napari_sparse3d.widgets.toolbox.sources import OWN, in_patient, is_turned, is_volume
from napari_sparse3d.widgets.toolbox.viewers import camera_of, real_viewer

LETTERS = {"left": "middle_left", "right": "middle_right", "top": "top_center", "bottom": "bottom_center"}
"""Where each letter stands."""
PREFIX = "sparse3d_"
"""Of our overlays' names: ``sparse3d_left``, ..., ``sparse3d_convention``."""
_NOTES = 3
"""At most, so that the picture stays to be seen."""
_WIDTH = 40
"""Letters in a line, so that it ends before the letter at the bottom."""


def show_sides_in_front() -> None:
    """:func:`show_sides` in the window that is in front, if there is one."""
    viewer = current_viewer()
    if viewer is not None:
        show_sides(viewer)


def show_sides(viewer: Viewer) -> None:
    """Let the patient's sides stand on the canvas from now on, wherever a layer of the patient's world is shown."""
    viewer = real_viewer(viewer)
    if id(viewer) not in _shown:
        _shown[id(viewer)] = _PatientView(viewer)
        weakref.finalize(viewer, _shown.pop, id(viewer), None)


def shows_patient(viewer: Viewer) -> bool:
    """Whether a layer is shown that lies along the patient's axes: only then do napari's axes mean anything in it."""
    shown = (layer for layer in viewer.layers if layer.visible and layer.ndim >= 3 and in_patient(layer))
    return any(not is_turned(layer) for layer in shown)


def sides_of(viewer: Viewer) -> Sides | None:
    """What stands at the edges of a viewer's canvas, by its dims and camera; None where time is one of three axes."""
    dims, camera = viewer.dims, camera_of(viewer)
    displayed = [axis - (dims.ndim - 3) for axis in dims.displayed]
    if dims.ndisplay == 2:
        down, right = (str(getattr(each, "value", each)) for each in camera.orientation2d)
        return sides_of_plane(displayed, down=down == "down", right=right == "right")
    if min(displayed) < 0 or len(displayed) < 3:  # the last layer goes while three axes are still asked for
        return None
    left_handed = str(getattr(camera.handedness, "value", camera.handedness)) == "left"
    return sides_in_space(displayed, camera.view_direction, camera.up_direction, left_handed=left_handed)


def notes_on(viewer: Viewer) -> list[str]:
    """What is to be known of the scans that are shown: not in the patient, drawn without a turn, repaired, guessed.

    Without their names, which may be those of files: a picture of the canvas goes to others.
    """
    shown = [layer for layer in viewer.layers if layer.visible and _is_scan(layer)]
    counted = Counter(note for layer in shown for note in notes_of(layer))
    notes = [note if len(shown) == 1 else f"{n} of {len(shown)} scans: {note}" for note, n in counted.items()]
    more = len(notes) - _NOTES
    return notes if more <= 0 else [*notes[: _NOTES - 1], f"and {more + 1} more, see the panel"]


def _is_scan(layer: Layer) -> bool:
    """Whether a layer is a volume, or labels that were read with their place; what the user draws is none."""
    if isinstance(layer, Labels):
        return in_patient(layer) and OWN not in layer.metadata
    return is_volume(layer)


class _PatientView:
    """Keeps the overlays of one viewer as its dims, camera and layers are."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = weakref.ref(viewer)
        self._overlays: Mapping[str, Any] = _new_overlays(viewer)
        self._patient, self._notes = False, list[str]()
        dims, camera, layers = viewer.dims.events, camera_of(viewer).events, viewer.layers.events
        for event in (dims.order, dims.ndisplay, dims.ndim, camera.angles, camera.orientation):
            event.connect(self._refresh)
        layers.inserted.connect(self._inserted)
        layers.removed.connect(self._layers_changed)
        for layer in viewer.layers:
            self._follow(layer)
        self._layers_changed()

    def _inserted(self, event: Any) -> None:
        self._follow(event.value)
        self._layers_changed()

    def _follow(self, layer: Layer) -> None:
        events = [layer.events.visible]
        if OWN not in layer.metadata:  # what was made of a scan goes where the scan goes
            events += [layer.events.name, layer.events.scale, layer.events.translate, layer.events.rotate]
            events += [layer.events.shear, layer.events.affine]
        for event in events:
            event.connect(self._layers_changed)

    def _layers_changed(self, _event: Any = None) -> None:
        viewer = self._viewer()
        if viewer is not None:
            self._patient = shows_patient(viewer)
            self._notes = notes_on(viewer) if self._patient else []
            self._refresh()

    def _refresh(self, _event: Any = None) -> None:
        """Also while the camera turns: nothing is asked of the layers here."""
        viewer = self._viewer()
        if viewer is None:
            return
        sides = sides_of(viewer) if self._patient else None
        texts = dict.fromkeys([*LETTERS, "convention"], "")
        if sides is not None:
            texts = {name: getattr(sides, name) for name in LETTERS}
            texts["convention"] = "\n".join([sides.convention, *(fill(note, _WIDTH) for note in self._notes)])
        if not self._overlays:
            _in_one_text(viewer, texts)
        for name, overlay in self._overlays.items():
            if overlay.text != texts[name]:
                overlay.text = texts[name]
            if overlay.visible != bool(texts[name]):
                overlay.visible = bool(texts[name])


def _new_overlays(viewer: Viewer) -> dict[str, Any]:
    """One text for each edge and one for the words, among the overlays of the canvas; none before napari 0.9."""
    canvas = getattr(viewer, "canvas", None)
    if canvas is None or not hasattr(canvas, "overlays"):
        return {}
    from napari.components.overlays import TextOverlay

    made = {name: TextOverlay(position=place, font_size=15, gridded=True) for name, place in LETTERS.items()}
    made["convention"] = TextOverlay(position="bottom_left", font_size=9, gridded=True)
    for name, overlay in made.items():
        canvas.overlays[PREFIX + name] = overlay
    return made


def _in_one_text(viewer: Viewer, texts: Mapping[str, str]) -> None:
    """The same in the text that the canvas of an older napari has, unless somebody else writes there."""
    overlay = viewer.text_overlay
    if overlay.text and not overlay.text.startswith("left "):
        return
    edges = " · ".join(f"{name} {texts[name]}" for name in LETTERS if texts[name])
    overlay.text = "\n".join(part for part in (edges, texts["convention"]) if part)
    overlay.visible = bool(overlay.text)


_shown: dict[int, _PatientView] = {}
