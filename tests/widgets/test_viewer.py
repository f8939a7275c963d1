"""napari with a scan and its voxels."""

import os
import sys

import numpy as np
import pytest

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import RangeThreshold, Recipe, ToSpacing, voxelize
from napari_sparse3d.widgets.display import display_name
from napari_sparse3d.widgets.viewer import NoWindow, open_window, show


def ball(affine):
    z, y, x = np.indices((20, 30, 24))
    inside = ((z - 11) * 2) ** 2 + (y - 14) ** 2 + ((x - 9) * 0.7) ** 2 < 60
    return Volume(inside.astype(np.float32), affine, name="ball")


@pytest.mark.gui
def test_voxels_lie_over_the_scan(make_napari_viewer):
    """An oblique, anisotropic scan and a coarser grid: every active voxel is shown where the ball is shown."""
    angle = 0.2
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([2, 1, 0.7])
    affine[:3, 3] = (-20, 5, 31)
    scan = ball(affine)
    voxels = voxelize(scan, Recipe(resample=ToSpacing(spacing_mm=1.3), threshold=RangeThreshold(low=0.5)))
    viewer = make_napari_viewer()
    shown = show(scan, voxels, viewer=viewer)
    image, labels = shown.layers
    assert labels.name == "ball · active voxels"
    for index in voxels.indices[::17]:
        in_scan = np.rint(image.world_to_data(labels.data_to_world(index))).astype(int)
        # the same place by the two affines, within half a voxel of the coarser grid
        truth = np.linalg.solve(affine, voxels.affine @ [*index, 1])[:3]
        np.testing.assert_allclose(in_scan, truth, atol=0.51)
    counted = labels.data.sum()
    assert counted == voxels.n_active


@pytest.mark.gui
def test_a_window_in_a_process_of_its_own(tmp_path):
    from napari_sparse3d.io import sample_head_mri, sample_head_mri_path

    path = tmp_path / "v.npz"
    voxelize(sample_head_mri(), Recipe.named("mri-110")).save(path)
    process = open_window(sample_head_mri_path(), path, tmp_path / "napari.log")
    try:
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="these always have a desktop")
def test_without_a_display_the_reason_is_said(tmp_path, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert display_name() is None
    with pytest.raises(NoWindow, match=r"napari ended with code .*napari\.log"):
        open_window(tmp_path / "none.nii", tmp_path / "none.npz", tmp_path / "napari.log")


def test_a_display_is_named(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setitem(os.environ, "DISPLAY", ":7")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert display_name() == ":7"
