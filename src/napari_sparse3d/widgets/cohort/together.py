"""Map, filter, selection and table of the cases as one: what is done in one of them shows in all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cohort.tables import Cohort
from napari_sparse3d.widgets.cohort.case_table import CaseTable
from napari_sparse3d.widgets.cohort.colours import TAG
from napari_sparse3d.widgets.cohort.filter_row import FilterRow
from napari_sparse3d.widgets.cohort.map_section import MapSection
from napari_sparse3d.widgets.cohort.selection import Selection
from napari_sparse3d.widgets.cohort.state import CohortState


class Together:
    """Connects them; all of them look at ``state``."""

    def __init__(
        self, state: CohortState, drawn: MapSection, filter_row: FilterRow, selection: Selection, table: CaseTable
    ) -> None:
        self._state, self._drawn, self._filter = state, drawn, filter_row
        self._selection, self._table = selection, table
        drawn.selected.connect(self._lassoed)
        selection.lassoing.connect(lambda on: setattr(drawn.view, "lassoing", on))
        selection.changed.connect(self._selection_changed)
        selection.tagged.connect(self._tagged)
        table.selected.connect(selection.select)
        filter_row.changed.connect(self._filtered)

    def show_cases(self, cohort: Cohort, *, only_pca: bool) -> None:
        """Other cases, or more of them; the filter stays."""
        self._filter.show_columns(cohort)
        self._drawn.show_cases(cohort, only_pca=only_pca)
        self._filter.apply()

    def _lassoed(self, indices: NDArray[np.int64], adding: bool) -> None:
        self._selection.select(np.union1d(self._state.selected, indices) if adding else indices)

    def _selection_changed(self) -> None:
        self._drawn.view.mark(self._state.selected.tolist())
        self._table.follow_selection()

    def _tagged(self) -> None:
        self._drawn.colour_by(TAG)
        if self._state.cohort is not None:
            self._filter.show_columns(self._state.cohort)
        self._filter.apply()

    def _filtered(self) -> None:
        self._drawn.view.show_only(self._state.shown)
        self._selection_changed()
        self._selection.show_state()
        self._table.refresh()
