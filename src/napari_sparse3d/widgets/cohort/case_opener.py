"""Opening a case of the cohort: read in the background, shown beside the open scan."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject

from napari_sparse3d.widgets.cohort import jobs
from napari_sparse3d.widgets.cohort.beside import layer_from, put_saved_voxels, show_beside
from napari_sparse3d.widgets.cohort.case_titles import put_titles
from napari_sparse3d.widgets.cohort.case_words import case_name, title_of
from napari_sparse3d.widgets.cohort.state import LoadedCase
from napari_sparse3d.widgets.toolbox.layers import volume_layer
from napari_sparse3d.widgets.toolbox.panel import Panel
from napari_sparse3d.widgets.toolbox.work import Work


class CaseOpener(QObject):
    """Opens a row of a cohort in the viewer of ``panel``, one at a time."""

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._which: tuple[Any, ...] | None = None
        self._title = ""
        self.work = Work(self)
        self.work.finished.connect(self._show)
        self.work.failed.connect(panel.fail)

    def open(self, row: dict[str, Any], table: Path | None) -> None:
        """Read the case of this row of a table and show it."""
        which = (row.get("path"), row.get("series"), row.get("mask"), row.get("value"), table)
        if self.work.running and which == self._which:
            return  # a double click is two clicks
        self._which = which
        name = case_name(row)
        self._panel.say(f"Reading {name} …")
        self._title = title_of(row)
        self.work.start(partial(jobs.read_case, row, table), f"reading {name}")

    def _show(self, case: LoadedCase) -> None:
        viewer, workbench = self._panel.viewer, self._panel.workbench
        layer, ran = layer_from(case), workbench.result
        scan = None if ran is None else volume_layer(viewer, ran.volume_id)
        show_beside(viewer, layer, scan)
        if case.made is not None:
            shown = put_saved_voxels(viewer, layer, case.made)
            if scan is None:
                workbench.voxels_changed.emit(shown)
        if scan is not None:
            put_titles(viewer, {scan: scan.name, layer: self._title})
        beside = "" if scan is None else " beside the open case; camera and contrast are linked"
        changed = " Its file has changed since it was embedded." if case.changed else ""
        self._panel.say(f"Opened {layer.name}{beside}.{changed}", warning=case.changed)
