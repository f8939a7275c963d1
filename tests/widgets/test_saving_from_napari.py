"""What is saved from the window lies where it lay, and what is said of a scan stands where its results stand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest

from dicom_files import series_of
from napari_sparse3d.io import read_volume
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import NoResampling, RangeThreshold, Recipe, ToSpacing, VoxelSet, voxelize

pytestmark = pytest.mark.gui

WAIT_MS = 90_000


def ras(affine_sar: np.ndarray) -> np.ndarray:
    return np.asarray(affine_sar[[2, 1, 0, 3]][:, [2, 1, 0, 3]])


def test_layers_of_voxels_are_saved_by_napari_with_their_geometry(
    make_napari_viewer: Any, oblique: Volume, add_volume: Any, tmp_path: Path
) -> None:
    """By napari's own *Save*: labels, surface and activations of an oblique scan, read by nibabel."""
    from napari_sparse3d.widgets.toolbox.layers import Mark, put_image
    from napari_sparse3d.widgets.toolbox.sources import field_affine, placement
    from napari_sparse3d.widgets.toolbox.voxel_layer import put_voxels
    from napari_sparse3d.widgets.toolbox.voxel_picture import picture_of

    viewer = make_napari_viewer()
    scan = add_volume(viewer, oblique)
    first, second = (
        voxelize(oblique, Recipe(resample=ToSpacing(spacing_mm=mm), threshold=RangeThreshold(low=300)))
        for mm in ((4.0, 1.7, 1.9), (2.3, 1.7, 1.9))
    )
    for kind in ("labels", "surface"):
        for voxels in (first, second):  # made once more, on another grid: the layer that is there is updated
            place, mark = placement(scan, oblique, voxels.affine), Mark("voxels", str(scan.unique_id))
            layer = put_voxels(viewer, f"bone {kind}", picture_of(voxels, kind), kind, place, mark, 0.5)
        assert layer.save(str(tmp_path / f"{kind}.nii.gz"), plugin="napari-sparse3d")
        image = nibabel.load(tmp_path / f"{kind}.nii.gz")
        np.testing.assert_array_equal(np.asarray(image.dataobj).T, second.mask())
        np.testing.assert_allclose(image.affine, ras(second.affine), atol=1e-4)
        assert read_volume(tmp_path / f"{kind}.nii.gz").meta["labels"]
    sites = field_affine(second.affine, (9, 8, 7), (2.0, 2.0, 2.0), (1.5, 1.5, 1.5))
    grid = np.arange(6 * 7 * 8, dtype=np.float32).reshape(6, 7, 8)
    layer = put_image(viewer, "conv1", grid, placement(scan, oblique, sites), Mark("activation", str(scan.unique_id)))
    assert layer.save(str(tmp_path / "conv1.nii"), plugin="napari-sparse3d")
    image = nibabel.load(tmp_path / "conv1.nii")
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, grid)
    np.testing.assert_allclose(image.affine, ras(sites), atol=1e-4)
    assert (oblique.unit, oblique.modality) == ("HU", "CT")
    for name in ("conv1.nii", "labels.nii.gz", "surface.nii.gz"):
        back = read_volume(tmp_path / name)
        assert (back.unit, back.modality) == ("a.u.", "")


def test_save_voxel_set_in_the_panel(
    make_napari_viewer: Any, one_child: Any, qtbot: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    from qtpy.QtCore import Qt

    from napari_sparse3d.widgets.voxels import saver, view

    series_of(tmp_path / "in")
    viewer = make_napari_viewer(show=True)
    panel = view.VoxelsPanel(viewer)
    viewer.window.add_dock_widget(panel)
    viewer.open(str(tmp_path / "in"), plugin="napari-sparse3d")
    volume = read_volume(tmp_path / "in")

    def settle(recipe: Recipe) -> VoxelSet:
        qtbot.waitUntil(lambda: panel.form.histogram.histogram is not None, timeout=WAIT_MS)
        panel.form.take(recipe)
        panel.form.changed.emit()
        qtbot.waitUntil(lambda: panel.state.made(key()) is not None and not panel.making.running, timeout=WAIT_MS)
        return voxelize(volume, recipe)

    def key() -> tuple[str, int, str]:
        return (str(panel.layer.unique_id), 0, panel.form.recipe().to_json())

    def save(name: str, kind: str = "") -> str:
        monkeypatch.setattr(saver.QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / name), kind))
        qtbot.mouseClick(panel.save_set, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: not panel.saving.running and "Writing" not in panel.message.text(), timeout=WAIT_MS)
        return str(panel.message.text())

    middle = float(np.median(volume.data))
    expected = settle(Recipe(resample=NoResampling(), threshold=RangeThreshold(low=middle, unit="HU")))
    assert 0 < expected.n_active < volume.data.size
    assert "Saved" in save("set", "Voxel set (*.npz)")
    np.testing.assert_array_equal(VoxelSet.load(tmp_path / "set.npz").indices, expected.indices)
    for name in ("mask.nii.gz", "mask.nrrd", "mask.dcm"):
        assert "Saved the mask" in save(name)
        back = read_volume(tmp_path / name)
        np.testing.assert_array_equal(back.data > 0, expected.mask())
        np.testing.assert_allclose(back.affine, expected.affine, atol=1e-4)
    seg = pydicom.dcmread(tmp_path / "mask.dcm")
    assert (seg.Modality, seg.FrameOfReferenceUID) == ("SEG", "1.2.9")

    settle(Recipe(resample=ToSpacing(spacing_mm=1.5), threshold=RangeThreshold(low=middle, unit="HU")))
    assert "cannot refer to the images" in save("coarse.dcm")
    assert not (tmp_path / "coarse.dcm").exists()
    assert "Saved the mask" in save("coarse.nii")
    assert "is written as" in save("mask.tiff")

    viewer.add_image(np.pad(np.full((6, 7, 8), 200, np.uint8), 4), name="cells")
    panel.volume.setCurrentIndex(panel.volume.findText("cells"))
    settle(Recipe(resample=NoResampling(), threshold=RangeThreshold(low=100)))
    assert "not known where this scan lies" in save("cells.nii")
    assert not (tmp_path / "cells.nii").exists()
    assert "Saved" in save("cells.npz")


def test_repairs_and_guesses_stand_in_the_panel_and_on_the_canvas(
    make_napari_viewer: Any, one_child: Any, qtbot: Any, tmp_path: Path
) -> None:
    """A tilted CT that is resampled on request, and a NIfTI whose unit is guessed from its values."""
    from napari_sparse3d.io.layers import layer_of
    from napari_sparse3d.widgets.voxels.view import VoxelsPanel

    random = np.random.default_rng(3)
    values = np.where(random.random((12, 14, 16)) < 0.4, -1000, 140).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 2.0, 3.0, 1.0])), tmp_path / "scan.nii")
    series_of(tmp_path / "in", n=6, step=(0.0, 0.6, 2.5))
    tilted = read_volume(tmp_path / "in", repair="resample")
    assert tilted.meta["repairs"]
    viewer = make_napari_viewer(show=True)
    panel = VoxelsPanel(viewer)
    viewer.window.add_dock_widget(panel)
    (guessed,) = viewer.open(str(tmp_path / "scan.nii"), plugin="napari-sparse3d")
    assert guessed.metadata["unit"] == "HU"
    note = "the file names no unit; taken as HU from its values"
    assert note in panel.about.text()
    words = viewer.canvas.overlays["sparse3d_convention"]
    assert note in " ".join(words.text.split())
    assert "“scan”" not in words.text  # a file's name is no part of the picture
    data, about, _ = layer_of(tilted)
    layer = viewer.add_image(data, **about)
    panel.volume.setCurrentIndex(panel.volume.findData(str(layer.unique_id)))
    assert f"repaired: {tilted.meta['repairs'][0]}" in panel.about.text()
    assert note not in panel.about.text()
    assert "repaired: " in words.text


def test_ends_of_the_range_are_taken_or_refused(
    make_napari_viewer: Any, one_child: Any, qtbot: Any, oblique: Volume, add_volume: Any
) -> None:
    from qtpy.QtCore import Qt

    from napari_sparse3d.widgets.voxels.view import VoxelsPanel

    viewer = make_napari_viewer(show=True)
    panel = VoxelsPanel(viewer)
    viewer.window.add_dock_widget(panel)
    add_volume(viewer, oblique)  # -50 and 700 HU
    qtbot.waitUntil(lambda: panel.form.histogram.histogram is not None, timeout=WAIT_MS)

    def typed(box: Any, text: str) -> RangeThreshold:
        box.selectAll()
        qtbot.keyClicks(box, text)
        qtbot.keyClick(box, Qt.Key.Key_Return)
        return panel.form.recipe().threshold

    ends = panel.form.histogram
    ends.set_range(-50, 700)
    assert typed(ends.low, "226.5") == RangeThreshold(low=226.5, unit="HU")
    assert typed(ends.high, "3071") == RangeThreshold(low=226.5, high=3071, unit="HU")
    assert ends.high.text() == "3071"
    before = panel.form.recipe().threshold
    assert typed(ends.low, "4000") == before
    assert "4000 was not accepted: the lowest active value must be at most the highest, 3071; it stays at 226.5" in (
        panel.message.text()
    )
    assert typed(ends.high, "much") == before
    assert "is not a number" in panel.message.text()
    assert typed(ends.low, "-1024") == RangeThreshold(low=-1024, high=3071, unit="HU")
