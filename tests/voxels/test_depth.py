"""Depth below the surface, against scipy's distance transform."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import RangeThreshold, Recipe, voxelize

DEPTH = Recipe(threshold=RangeThreshold(low=0.5), features=("occupancy", "depth"))


def depth_mm(mask, spacing_mm=(1.0, 1.0, 1.0)):
    voxels = voxelize(Volume(mask.astype(np.uint8), np.diag([*spacing_mm, 1.0])), DEPTH)
    assert (voxels.features[:, 0] == 1).all()
    return voxels.features[:, 1] * 10


@given(st.integers(0, 2**31), st.floats(0.05, 0.95), st.tuples(*[st.floats(0.3, 4)] * 3))
def test_it_is_the_distance_to_the_nearest_inactive_voxel(seed, share, spacing_mm):
    mask = np.random.default_rng(seed).random((7, 8, 9)) < share
    around = np.pad(mask, 1)  # outside the grid nothing is active
    expected = ndimage.distance_transform_edt(around, sampling=spacing_mm)[1:-1, 1:-1, 1:-1][mask]
    np.testing.assert_allclose(depth_mm(mask, spacing_mm), expected, rtol=1e-5)


def test_a_ball_is_deepest_in_its_middle():
    ball = ((np.indices((31, 31, 31)) - 15) ** 2).sum(0) < 12.0**2
    assert depth_mm(ball, (2.0, 2.0, 2.0)).max() == pytest.approx(24, abs=1)


def test_one_voxel_and_none():
    one = np.zeros((3, 3, 3), dtype=bool)
    assert len(depth_mm(one)) == 0
    one[0, 0, 0] = True
    assert depth_mm(one, (3.0, 2.0, 5.0)).tolist() == [2.0]
