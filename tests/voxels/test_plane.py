"""A plane that is previewed is a plane of the set."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import NoResampling, RangeThreshold, Recipe, ToLongestSide, ToSpacing, voxelize
from napari_sparse3d.voxels.image_data import image_data
from napari_sparse3d.voxels.plane import RangePlanes, SetPlanes


@st.composite
def volumes(draw):
    """Of few values, so that many equal a bound; by a slope, so that few of them are whole."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from(["bool", "uint8", "int16", "uint16", "int32", "float32", "float64", ">f4"]))
    values = random.integers(0, draw(st.sampled_from([2, 6])), shape)
    if np.dtype(dtype).kind == "f":
        values = values * draw(st.sampled_from([1.0, 0.1, 1 / 3])) - draw(st.sampled_from([0, 0.7, 1024]))
        if draw(st.booleans()):
            values[random.random(shape) < 0.2] = draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    meta = {"padding": 0} if draw(st.booleans()) else {}
    spacing = draw(st.tuples(*[st.sampled_from([0.5, 1.0, 1.7, 3.0])] * 3))
    return Volume(np.asarray(values).astype(dtype), np.diag([*spacing, 1.0]), meta=meta)


grids = st.one_of(
    st.just(NoResampling()),
    st.sampled_from([0.7, 1.0, 1.5, 2.5]).map(lambda mm: ToSpacing(spacing_mm=mm)),
    st.integers(1, 12).map(lambda n: ToLongestSide(voxels=n)),
)


@given(volume=volumes(), resample=grids, data=st.data())
def test_every_plane_is_that_of_the_set(volume, resample, data):
    finite = volume.data[np.isfinite(volume.data)] if volume.data.dtype.kind == "f" else volume.data.ravel()
    a_value = st.sampled_from(sorted({float(value) for value in finite}) or [0.0])
    low, high = sorted([data.draw(a_value), data.draw(a_value)])
    low += data.draw(st.sampled_from([0, 0, 1e-9, -1e-9]))
    high = data.draw(st.sampled_from([high, high, np.inf]))
    rule = RangeThreshold(low=min(low, high), high=None if high == np.inf else high)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            all_inside = image_data(volume, volume.data) is None
            voxels = voxelize(volume, Recipe(resample=resample, threshold=rule))
        except ValueError:
            return  # no image data at all
    planes = RangePlanes(volume, resample, min(low, high), high, all_inside=all_inside)
    of_set, mask = SetPlanes(voxels), voxels.mask()
    assert planes.shape == of_set.shape == voxels.shape
    np.testing.assert_array_equal(planes.affine, voxels.affine)
    for axis in range(3):
        for index in range(voxels.shape[axis]):
            expected = mask.take(index, axis)
            np.testing.assert_array_equal(planes.plane(axis, index), expected)
            np.testing.assert_array_equal(of_set.plane(axis, index), expected)


def test_a_bound_is_not_rounded_to_the_type_of_the_values():
    """0.1 as float32 is more than 0.1: it lies below a low end of 0.1000000015, which float32 cannot hold."""
    volume = Volume(np.full((2, 2, 2), 0.1, np.float32), np.eye(4))
    low = 0.10000000150
    assert float(np.float32(0.1)) < low
    assert np.float32(low) == np.float32(0.1)
    assert not RangePlanes(volume, NoResampling(), low, 1.0).plane(0, 0).any()
