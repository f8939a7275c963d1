"""Inputs that several tests of the commands share."""

import nibabel
import numpy as np
import pytest

from napari_sparse3d.voxels import RangeThreshold, Recipe, ToSpacing


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "half.toml"
    Recipe(
        name="half",
        resample=ToSpacing(spacing_mm=2.5),
        threshold=RangeThreshold(low=50),
        components={"keep": 1},
        field=126,
    ).save(path)
    return path


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory):
    """An oblique, anisotropic scan, stored in an unusual order: an ellipsoid and a small part beside it."""
    i, j, k = np.indices((40, 52, 30))
    data = (((i - 20) / 15) ** 2 + ((j - 24) / 20) ** 2 + ((k - 14) / 10) ** 2 < 1) * 200.0
    data[36:39, 48:51, 26:29] = 200
    affine = np.diag([-1.0, 0.8, 3.0, 1.0])
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = (30, -12, 7)
    path = tmp_path_factory.mktemp("scan") / "ellipsoid.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data.transpose(0, 2, 1).astype(np.int16), affine[:, [0, 2, 1, 3]]), path)
    return path
