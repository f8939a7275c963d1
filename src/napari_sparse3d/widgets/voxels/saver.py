"""What the Sparse voxels panel writes: a voxel set, a recipe."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.QtWidgets import QFileDialog

from napari_sparse3d.errors import InputError
from napari_sparse3d.widgets.toolbox.panel import saving
from napari_sparse3d.widgets.toolbox.scan_voxels import ScanVoxels
from napari_sparse3d.widgets.toolbox.sources import in_patient
from napari_sparse3d.widgets.toolbox.work import Work
from napari_sparse3d.widgets.voxels.jobs import save_set

if TYPE_CHECKING:
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel

_SAVED_AS = {
    "Voxel set (*.npz)": ".npz",
    "NIfTI (*.nii.gz *.nii)": ".nii.gz",
    "NRRD (*.nrrd)": ".nrrd",
    "DICOM segmentation (*.dcm)": ".dcm",
}
"""What is offered, and the ending of a name that has none."""


class Saver:
    """Asks for a file, and writes to it in a worker; the panel says how that went."""

    def __init__(self, panel: VoxelsPanel, work: Work) -> None:
        self._panel, self._work = panel, work

    def ask_for_set(self) -> None:
        """Ask for a file and save the set that the numbers are of."""
        layer = self._panel.layer
        if layer is None:
            return
        with self._panel.telling():
            made = self._made_as_shown(layer)
            path, chosen = QFileDialog.getSaveFileName(
                self._panel, "Save voxel set", "voxels.npz", ";;".join(_SAVED_AS)
            )
            if path:
                ending = "" if Path(path).suffix else _SAVED_AS[chosen or next(iter(_SAVED_AS))]
                self.save(Path(path + ending), layer, made)

    def save(self, path: Path, layer: Layer, made: ScanVoxels) -> None:
        """Write the voxel set of a scan, as its ending says."""
        try:
            source = self._panel.source_of(layer, made.frame)
        except InputError:
            source = None
        write = partial(save_set, made, path, source, in_patient=in_patient(layer))
        self._work.start(saving(f"Writing {path.name} …", write), f"writing {path.name}")

    def ask_for_recipe(self) -> None:
        """Ask for a file and save what the controls say."""
        with self._panel.telling():
            recipe = self._panel.form.recipe()
            path, _ = QFileDialog.getSaveFileName(
                self._panel, "Save recipe", f"{recipe.name}.toml", "Recipes (*.toml *.json)"
            )
            if path:
                recipe.save(path if Path(path).suffix else f"{path}.toml")
                self._panel.say(f"Saved {Path(path).name}.")

    def _made_as_shown(self, layer: Layer) -> ScanVoxels:
        """The set of what the controls say.

        Raises
        ------
        InputError
            If it is not there yet, or nothing is in it.
        """
        made = self._panel.state.made(self._panel.key_of(layer))
        if made is None:
            raise InputError("there is no set for these settings yet; press Make voxel set, then save it")
        if made.voxels.n_active == 0:
            raise InputError("no voxel is active with these settings; there is nothing to save")
        return made
