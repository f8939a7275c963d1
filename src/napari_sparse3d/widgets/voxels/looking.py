"""What the chosen volume is: said above the recipe, and its values counted in a worker."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Layer

from napari_sparse3d.catalog.recipes import TRAINING_RECIPE
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Recipe
from napari_sparse3d.widgets.toolbox.notes import notes_of
from napari_sparse3d.widgets.toolbox.sources import is_labels
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.voxels.cost_line import CostLine
from napari_sparse3d.widgets.voxels.input import Input
from napari_sparse3d.widgets.voxels.jobs import look_at
from napari_sparse3d.widgets.voxels.recipes import default_recipe
from napari_sparse3d.widgets.voxels.state import Looked, volume_words

if TYPE_CHECKING:
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel


class Looking:
    """Looks at the volume that is chosen in ``panel``, and at its voxels again when they are edited."""

    def __init__(self, panel: VoxelsPanel, work: Work, of: Input, cost_line: CostLine) -> None:
        self._panel, self._work, self._input, self._cost_line = panel, work, of, cost_line
        self._frame, self._more = 0, ""
        work.finished.connect(self._counted)
        work.failed.connect(panel.fail)

    def at(self, layer: Layer) -> None:
        """Another volume was chosen: begin with the recipe for its kind."""
        panel = self._panel
        panel.filled.forget()
        self._cost_line.forget()
        panel.filled.offer_labels((), None)
        self._more = ""
        with panel.telling():
            volume = panel.volume_of(layer)
            self._say_about(layer, volume)
            panel.filled.offer_straighten("drawn" in layer.metadata and not is_labels(layer))
            panel.form.set_volume(
                volume.unit, Recipe.named(TRAINING_RECIPE) if is_labels(layer) else default_recipe(volume)
            )
            self._count(layer, volume)

    def again(self) -> None:
        """Its voxels are others, or another label is its shape."""
        panel, layer = self._panel, self._panel.layer
        if layer is None:
            return
        if panel.making.running:
            panel.making.cancel()
        panel.state.edited()
        with panel.telling():
            self._count(layer, panel.volume_of(layer))

    def time_moved(self, _event: object = None) -> None:
        """The viewer may show another time point: what is said of the last one goes, and this one is looked at."""
        panel, layer = self._panel, self._panel.layer
        if layer is None or layer.ndim != 4 or panel.frame_of(layer) == self._frame:
            return
        panel.numbers.setText("")
        self._cost_line.forget()
        with panel.telling():
            self._say_about(layer, panel.volume_of(layer))
        panel.edit_seen()

    def _say_about(self, layer: Layer, volume: Volume) -> None:
        self._frame = self._panel.frame_of(layer)
        frame = self._frame if layer.ndim == 4 else None
        text = volume_words(volume, frame, layer.data.shape[0], notes=notes_of(layer))
        self._panel.about.setText("\n".join(filter(None, (text, self._more))))

    def _count(self, layer: Layer, volume: Volume) -> None:
        labels = self._input.labels(layer)
        job = partial(look_at, volume, None if labels is None else np.asarray(labels))
        self._work.start(job, f"counting the values of {volume.name}")

    def _counted(self, looked: Looked) -> None:
        panel, layer, histogram = self._panel, self._panel.layer, looked.histogram
        if layer is None:
            return
        first, panel.state.looked = panel.state.looked is None, looked
        volume = panel.volume_of(layer)
        if is_labels(layer):
            panel.filled.offer_labels(looked.labels, self._input.label)
        elif looked.mask is not None:
            recipe, why = looked.mask
            if first and panel.form.recipe() == default_recipe(volume):  # nobody has chosen another one meanwhile
                panel.form.take(recipe)
                self._more = f"{why}: the recipe for shapes was chosen"
                self._say_about(layer, volume)
        panel.form.set_histogram(histogram)
        panel.next_button.show()
        if histogram.not_finite:
            panel.say(f"{histogram.not_finite:,} values are not finite numbers; they are never active.", warning=True)
        panel.recipe_changed()
