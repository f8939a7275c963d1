"""Which layers of napari show which cases of the cohort: from the map to a layer, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from napari.layers import Layer
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_sparse3d.cases.identity import part_of
from napari_sparse3d.cases.sources import file_of_row
from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.widgets.cohort.state import CohortState
from napari_sparse3d.widgets.toolbox.layers import mark_of, volume_layer
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.sources import case_of

_Places: TypeAlias = dict[tuple[Path, str], list[tuple[int | None, int]]]
"""By the path of a case, and which part of it is meant: its series and number."""


class OpenCases(QObject):
    """Follows the layer that is chosen in the viewer of ``panel``."""

    chosen = Signal(object)
    """The number of the case whose layer is chosen; None: it is none of the cohort."""

    def __init__(self, panel: Panel, state: CohortState) -> None:
        super().__init__(panel)
        self._viewer, self._state = panel.viewer, state
        self._known: tuple[Cohort, Path | None, _Places] | None = None
        self._viewer.layers.selection.events.active.connect(self.refresh)

    def refresh(self, _event: object = None) -> None:
        """Say which case the chosen layer shows."""
        layer = self._viewer.layers.selection.active
        self.chosen.emit(None if layer is None else self.case_of(layer))

    def case_of(self, layer: Layer) -> int | None:
        """The number of the case that a layer shows, or that it was made of."""
        mark = mark_of(layer)
        scan = layer if mark is None else volume_layer(self._viewer, mark.volume_id)
        case = None if scan is None else case_of(scan)
        if case is None or case.path is None or self._state.cohort is None:
            return None
        at_place = self._places(self._state.cohort).get((case.path.resolve(), case.part), [])
        return next(
            (index for series, index in at_place if series == case.series or None in (series, case.series)), None
        )

    def layer_of(self, index: int) -> Layer | None:
        """The topmost scan that shows a case, if it is open."""
        scans = (layer for layer in reversed(self._viewer.layers) if mark_of(layer) is None)
        return next((layer for layer in scans if self.case_of(layer) == index), None)

    def choose(self, index: int) -> bool:
        """Choose the layer of a case; gives back whether it is open."""
        layer = self.layer_of(index)
        if layer is not None:
            self._viewer.layers.selection.active = layer
        return layer is not None

    def _places(self, cohort: Cohort) -> _Places:
        """The cases at each place, by series and number: found once, for a path takes some time to be resolved."""
        table = self._state.table
        if self._known is None or self._known[0].column("path") is not cohort.column("path") or self._known[1] != table:
            places: _Places = {}
            columns = (cohort.column(name) for name in ("path", "series", "mask", "value"))
            for index, (path, series, mask, value) in enumerate(zip(*columns, strict=True)):
                if path and "\0" not in f"{path}{mask}":
                    place = file_of_row(table or Path(), str(path), as_given=True).resolve()
                    drawn_by = file_of_row(table or Path(), str(mask), as_given=True) if mask else None
                    part = part_of(drawn_by, str(value or ""))
                    places.setdefault((place, part), []).append((series, index))
            self._known = (cohort, table, places)
        return self._known[2]
