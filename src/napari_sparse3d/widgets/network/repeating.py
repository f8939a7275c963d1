"""What leads a result of the Network panel elsewhere: the lines that repeat it, its table, its session."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets import repeat
from napari_sparse3d.widgets.network import jobs
from napari_sparse3d.widgets.network.state import NetworkRun, NetworkState
from napari_sparse3d.widgets.toolbox.layers import mark_of, volume_layer
from napari_sparse3d.widgets.toolbox.panel import Panel, saving
from napari_sparse3d.widgets.toolbox.sources import source_of
from napari_sparse3d.widgets.toolbox.work import Work


class Repeating(QObject):
    """The links at the foot of the panel, and what they do."""

    def __init__(self, panel: Panel, state: NetworkState) -> None:
        super().__init__(panel)
        self.panel, self.state = panel, state
        self.saving = Work(self)
        panel.follow(self.saving)
        self.saving.finished.connect(panel.say)
        self.copy_command, self.copy_python = panel.add_copy_links(
            "The line that reproduces this table, and the attribution if there is one",
            lambda: repeat.network_command(self._ran_again(), state.drove),
            lambda: repeat.network_python(self._ran_again(), state.drove),
        )
        self.export = panel.add_link(
            "Export table…", "As CSV, or the chart as SVG or PNG, by the ending of the file name", self._export
        )
        tip = "Recipe, hashes, versions, table, chart and the line, in one folder"
        self.session = panel.add_session_link(tip, self.save_session_to)

    def source(self) -> repeat.Source:
        """Where the scan of the result was read from.

        Raises
        ------
        InputError
            If nothing was run, the scan was closed, it was not opened from a file, or a part of it was run.
        """
        ran = self._shown()
        layer = volume_layer(self.panel.viewer, ran.volume_id)
        if layer is None:
            raise InputError("the scan was closed; open it again and run")
        if mark_of(layer) is not None:
            raise InputError(
                "this was cut out of a scan: the line in Click a nodule cuts it out again, and its session there has "
                "it as a voxel set (.npz), which every command takes"
            )
        return source_of(layer, ran.made.frame)

    def _shown(self) -> NetworkRun:
        if self.state.ran is None:
            raise InputError("run a model first")
        return self.state.ran

    def _ran_again(self) -> repeat.Ran:
        source, ran = self.source(), self._shown()
        return repeat.Ran(source, ran.made.recipe, ran.result.request.model, ran.result.request.engine)

    def _export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self.panel, "Export", "layers.csv", "Table (*.csv);;Chart (*.svg *.png);;All files (*)"
        )
        if path:
            self.export_to(Path(path))

    def export_to(self, path: Path) -> None:
        """Write the table (.csv) or the chart (.svg, .png)."""
        if self.state.ran is not None:
            write = jobs.export(self.state.ran.result, path)
            self.saving.start(saving(f"Writing {path.name} …", write), f"writing {path.name}")

    def save_session_to(self, folder: Path) -> None:
        """Write the session into a folder."""
        ran = self.state.ran
        if ran is None:
            return
        try:
            source = self.source()
        except InputError:
            source = None  # the session says that it cannot be repeated
        write = jobs.save_session(folder, ran, self.state.drove, source)
        self.saving.start(saving("Hashing the input, drawing the chart …", write), "saving the session")
