"""What leads what was clicked elsewhere: the lines that repeat it, its session."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.pick import jobs
from napari_sparse3d.widgets.pick.state import K, Target
from napari_sparse3d.widgets.toolbox.layers import volume_layer
from napari_sparse3d.widgets.toolbox.panel import saving
from napari_sparse3d.widgets.toolbox.session_folder import Lines
from napari_sparse3d.widgets.toolbox.sources import label_volume, source_of
from napari_sparse3d.widgets.toolbox.work import Work

if TYPE_CHECKING:
    from napari_sparse3d.widgets.pick.view import PickPanel


class Repeating(QObject):
    """The links at the foot of the panel, and what they do."""

    def __init__(self, panel: PickPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.saving = Work(self)
        panel.follow(self.saving)
        self.saving.finished.connect(panel.say)
        self.copy_command, self.copy_python = panel.add_copy_links(
            "The line that reproduces these numbers",
            lambda: repeat.pick_command(self._asked()),
            lambda: repeat.pick_python(self._asked()),
        )
        tip = "What was cut out, its numbers, similar known cases, hashes, versions and the line, in one folder"
        self.session = panel.add_session_link(tip, self.save_session_to)

    def _asked(self) -> repeat.Asked:
        """What repeats the result.

        Raises
        ------
        InputError
            If it was not read from a file, or labels were drawn in since.
        """
        answer = self._panel.answer
        if answer is None:
            raise InputError("click on a nodule first")
        target, request = answer.target, answer.result.request
        layer = volume_layer(self._panel.viewer, target.layer_id)
        if layer is None:
            raise InputError("the scan was closed; open it again and click")
        source = source_of(layer, target.frame)
        _require_unchanged(layer, target, source)
        return repeat.Asked(source, target.pointed, request.model, K, request.engine, answer.spacing_mm)

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        answer = self._panel.answer
        if answer is None:
            return
        source, lines = None, Lines()
        with suppress(InputError, OSError):  # the session says that it cannot be repeated
            asked = self._asked()
            source, model = asked.source, repeat.model_without_name(asked.model)
            unnamed = replace(asked, source=repeat.without_name(source), model=model)
            lines = Lines(repeat.pick_command(unnamed), repeat.pick_python(unnamed))
        write = jobs.save_session(folder, answer, source, lines)
        self.saving.start(saving("Writing what was cut out, drawing the map …", write), "saving the session")


def _require_unchanged(layer: Any, target: Target, source: repeat.Source) -> None:
    """That a file holds what was classified: labels are drawn in, scans are not."""
    if target.pointed.label is None:
        return
    from napari_sparse3d.io import read_volume

    stored = read_volume(source.path, series=source.series, frame=source.frame, repair=source.repair)
    if not np.array_equal(
        stored.data == target.pointed.label, label_volume(layer, target.frame).data == target.pointed.label
    ):
        raise InputError(
            "the labels were changed since they were opened; save them, open that file, and classify again"
        )
