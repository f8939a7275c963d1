"""Who is like the open case: the nearest are listed and ringed on the map, and the open case is put among them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from qtpy.QtCore import QObject

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.cohort.map_section import MapSection
from napari_sparse3d.widgets.cohort.similar_cases import SimilarCases
from napari_sparse3d.widgets.cohort.state import CohortState, nearest
from napari_sparse3d.widgets.toolbox.layers import volume_layer
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.sources import source_of
from napari_sparse3d.widgets.toolbox.work import Work


class Likeness(QObject):
    """Compares the cases of ``state`` with what the network said last of an open case."""

    def __init__(self, panel: Panel, state: CohortState, drawn: MapSection) -> None:
        super().__init__(panel)
        self._panel, self._state, self._drawn = panel, state, drawn
        self.similar = SimilarCases()
        self.similar.asked.connect(lambda _k: self.find())
        self.similar.chosen.connect(lambda indices: drawn.view.mark(indices))
        self.placing = Work(self)
        self.placing.finished.connect(lambda positions: drawn.view.show_here(positions[0]))
        self.placing.failed.connect(panel.fail)
        drawn.moving.connect(self.placing.drop)
        drawn.settled.connect(self._place)

    def find(self) -> None:
        """List the cases nearest to the last result's embedding, and put it on the map."""
        ran, cohort = self._panel.workbench.result, self._state.cohort
        if ran is None or cohort is None:
            return
        self.forget()
        with self._panel.telling():
            alike = nearest(cohort, ran, self.similar.k.value())
            self._state.distances = alike.distances
            self.similar.show_cases(cohort, alike.indices, alike.distances, alike.text)
            self._drawn.view.mark(alike.indices)
            self._place()

    def _place(self) -> None:
        """Put the open case on the map, unless the map still moves: it is placed when that has settled."""
        ran, cohort = self._panel.workbench.result, self._state.cohort
        if ran is None or cohort is None or not self.asked or self._drawn.maker.running:
            return
        call = partial(
            self._panel.workbench.map_child.call,
            "maps.place",
            new=np.asarray(ran.result.embedding)[None],
            embeddings=cohort.embeddings,
            positions=self._drawn.view.positions,
            by=self._drawn.by.currentText(),
        )
        self.placing.start(call, "placing the open case on the map")

    def forget(self) -> None:
        """Another cohort, or another open case: nothing of the last answer is left, in the list and on the map."""
        self.placing.drop()
        self.similar.clear()
        self._state.distances = []
        self._drawn.forget_open_case()

    @property
    def asked(self) -> bool:
        """Whether the question was asked, so that the lines repeat it."""
        return self._panel.workbench.result is not None and bool(self.similar.indices)

    def query(self, table: Path, *, named: bool) -> repeat.Query:
        """The question as the lines repeat it.

        Parameters
        ----------
        table : Path
            Of the cases.
        named : bool
            Whether files are called by their names; words stand in their place otherwise.

        Raises
        ------
        InputError
            If the open case cannot be read again.
        """
        ran = self._panel.workbench.result
        layer = None if ran is None else volume_layer(self._panel.viewer, ran.volume_id)
        if ran is None or layer is None:
            raise InputError("the open case was closed; open it again")
        source, model = source_of(layer, ran.made.frame), ran.result.request.model
        return repeat.Query(
            table,
            source if named else repeat.without_name(source),
            None if ran.made.saved else ran.made.recipe,
            model if named else repeat.model_without_name(model),
            self.similar.k.value(),
            "" if named else "recipe.toml",
        )
