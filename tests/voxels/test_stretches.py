"""A scan is resampled some planes at a time: whatever their number, the bits are those of all planes at once."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sparse3d.volume import Volume, two_values
from napari_sparse3d.voxels import arrays
from napari_sparse3d.voxels.image_data import image_data
from napari_sparse3d.voxels.recipe import ToLongestSide, ToSpacing
from napari_sparse3d.voxels.resample import resample


@pytest.mark.filterwarnings("ignore:.*not finite")
@given(
    seed=st.integers(0, 99),
    shape=st.tuples(*[st.integers(1, 14)] * 3),
    spacing_mm=st.tuples(*[st.sampled_from([0.4, 1.0, 2.7])] * 3),
    how=st.one_of(
        st.builds(ToLongestSide, voxels=st.integers(1, 20)),
        st.builds(ToSpacing, spacing_mm=st.tuples(*[st.sampled_from([0.5, 1.0, 1.9])] * 3)),
    ),
    kind=st.sampled_from(["int16", "float32", "float64", "holes", "padding"]),
    planes=st.integers(1, 4),
)
def test_planes_at_a_time_give_the_bits_of_all_at_once(seed, shape, spacing_mm, how, kind, planes):
    random = np.random.default_rng(seed)
    data = random.normal(0, 300, shape).astype(kind if kind in ("float32", "float64") else "float32")
    if kind == "holes":
        data[random.random(shape) < 0.3] = np.nan
    if kind in ("int16", "padding"):
        data = data.astype(np.int16)
    volume = Volume(data, np.diag([*spacing_mm, 1.0]), meta={"padding": -100} if kind == "padding" else {})
    data.flat[0] = 7  # something is image data
    inside = image_data(volume, data) if kind in ("holes", "padding") else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_STRETCH_BYTES", 1 << 40)
        whole = _resampled(volume, how, inside)
        patch.setattr(arrays, "_STRETCH_BYTES", 0)
        patch.setattr(arrays, "_FEWEST_PLANES", planes)
        parts = _resampled(volume, how, inside)
    if isinstance(whole, str):
        assert whole == parts
        return
    for one, other in zip(whole, parts, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one.view(np.uint8), other.view(np.uint8))


def _resampled(volume, how, inside):
    try:
        return resample(volume.data, volume, how, inside)
    except ValueError as error:
        return str(error)


def test_a_scan_is_not_held_several_times_over(monkeypatch):
    monkeypatch.setattr(arrays, "_STRETCH_BYTES", 1 << 18)  # of a scan that is as many times smaller than real ones
    volume = Volume(np.zeros((160, 160, 160), np.int16), np.eye(4))
    tracemalloc.start()
    resample(volume.data, volume, ToLongestSide(voxels=80))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < volume.data.nbytes / 2  # all planes at once: three times as much as the scan


@pytest.mark.parametrize("third", [None, 0, 1_500_000, -1])
def test_two_values_are_told_from_three_wherever_the_third_is(third):
    data = np.zeros(2_000_000, np.uint8)
    data[5::3] = 4
    if third is not None:
        data[third] = 2
    tracemalloc.start()
    two = two_values(data.reshape(100, 200, 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert two == ((0, 4) if third is None else None)
    assert peak < 4 << 20
