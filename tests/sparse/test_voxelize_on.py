"""Voxels made by torch are those of the CPU's kernels, bit by bit."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sparse3d.errors import DeviceMemoryError, InputError
from napari_sparse3d.io import sample_head_mri
from napari_sparse3d.sparse import SparseTensor
from napari_sparse3d.sparse import voxelize as module
from napari_sparse3d.sparse.tensor_voxels import TensorVoxels, batch_in_field
from napari_sparse3d.sparse.voxelize import needs_cpu, voxelize_for, voxelize_on
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import (
    BUILT_IN,
    Components,
    FractionOfMax,
    NoResampling,
    OtsuThreshold,
    PercentileThreshold,
    Preset,
    RangeThreshold,
    Recipe,
    ToLongestSide,
    ToSpacing,
    VoxelSet,
    voxelize,
)

TYPES = ["bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64", ">i2", ">f4"]
THRESHOLDS = {
    "range": RangeThreshold(low=40.3, high=90),
    "from": RangeThreshold(low=0.1),
    "to": RangeThreshold(high=0.1),
    "out of the type": RangeThreshold(low=-1e300, high=1e300),
    "above all": RangeThreshold(low=1e6),
    "fraction": FractionOfMax(fraction=0.3),
    "otsu": OtsuThreshold(),
    "preset": Preset(name="brain"),
}
RESAMPLES = {"none": NoResampling(), "spacing": ToSpacing(spacing_mm=(1.7, 0.9, 2.3)), "side": ToLongestSide(voxels=13)}


def scan(dtype="float32", shape=(9, 11, 7), seed=0, unit="a.u."):
    values = np.random.default_rng(seed).gamma(2.0, 30.0, shape)
    if np.dtype(dtype).kind in "iu":
        values = values.clip(0, np.iinfo(dtype).max)
    data = (values > 50) if dtype == "bool" else values.astype(dtype)
    affine = np.diag([2.5, 0.8, 1.1, 1.0])
    affine[:3, 3] = 4, -7, 30
    return Volume(data, affine, unit=unit, name="test")


def same(made, expected):
    assert isinstance(made, TensorVoxels)
    assert made.indices.dtype == torch.int32
    assert made.indices.is_contiguous()
    assert made.features.dtype == torch.float32
    assert made.shape == expected.shape
    np.testing.assert_array_equal(made.affine, expected.affine)
    np.testing.assert_array_equal(made.indices.numpy(), expected.indices)
    # bits: equal values of another sign of zero would differ
    np.testing.assert_array_equal(made.features.numpy().view(np.int32), expected.features.view(np.int32))


@pytest.mark.parametrize("name", [name for name, recipe in BUILT_IN.items() if not needs_cpu(recipe)])
def test_built_in_recipes_on_the_head(name):
    head = sample_head_mri()
    if "ct" in name:  # as if it were a CT: the same values, named HU
        head = Volume(head.data.astype(np.int16) * 8 - 1000, head.affine, unit="HU", name="test")
    expected = voxelize(head, BUILT_IN[name])
    made = voxelize_on("cpu", head, BUILT_IN[name])
    same(made, expected)
    assert name != "mri-110" or made.n_active == 195_254
    assert made.n_active > 1000


@pytest.mark.parametrize("resample", RESAMPLES.values(), ids=RESAMPLES)
@pytest.mark.parametrize("threshold", THRESHOLDS.values(), ids=THRESHOLDS)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_threshold_and_grid(dtype, threshold, resample):
    recipe = Recipe(resample=resample, threshold=threshold, features=("gradient", "occupancy", "intensity"))
    volume = scan(dtype)
    same(voxelize_on("cpu", volume, recipe), voxelize(volume, recipe))


@settings(max_examples=60)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    wanted=st.tuples(*[st.floats(0.3, 4)] * 3),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(TYPES[1:]),
)
def test_any_grid(shape, wanted, share, seed, dtype):
    volume = scan(dtype, shape, seed)
    if volume.data.max() <= 0:
        return
    recipe = Recipe(
        resample=ToSpacing(spacing_mm=wanted),
        threshold=FractionOfMax(fraction=share),
        features=("intensity", "gradient"),
    )
    same(voxelize_on("cpu", volume, recipe), voxelize(volume, recipe))


def test_a_threshold_between_two_numbers_of_the_type():
    """0.1 is no float32: the nearest one lies above it, and is not below it."""
    data = np.array([0.1, np.nextafter(np.float32(0.1), np.float32(0)), 0.2], np.float32).reshape(1, 1, 3)
    volume = Volume(data, np.eye(4))
    for threshold, kept in ((RangeThreshold(low=0.1), [0, 2]), (RangeThreshold(high=0.1), [1])):
        recipe = Recipe(threshold=threshold)
        made = voxelize_on("cpu", volume, recipe)
        assert made.indices[:, 2].tolist() == kept
        same(made, voxelize(volume, recipe))


@pytest.mark.parametrize("view", [np.s_[::-1, :, ::2], np.s_[:, ::-1, 1:]])
def test_views_are_read_as_they_are_seen(view):
    whole = scan("int16", (8, 10, 12))
    volume = Volume(whole.data[view], whole.affine)
    recipe = Recipe(resample=ToLongestSide(voxels=9), threshold=FractionOfMax(fraction=0.2), features=("intensity",))
    same(voxelize_on("cpu", volume, recipe), voxelize(volume, recipe))


def test_values_that_are_not_finite_are_never_active():
    volume = scan()
    data = volume.data.copy()
    data[0, 0, :3] = np.nan, np.inf, -np.inf
    volume = Volume(data, volume.affine, name="test")
    recipe = Recipe(threshold=RangeThreshold(low=float(data[np.isfinite(data)].min())), features=("intensity",))
    with pytest.warns(UserWarning, match="3 of 693 values of 'test' are not finite"):
        made = voxelize_on("cpu", volume, recipe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(made, voxelize(volume, recipe))
    assert made.n_active == data.size - 3


def errors(run):
    try:
        run()
    except InputError as error:
        return str(error)
    raise AssertionError("no error")


@pytest.mark.parametrize(
    ("data", "recipe"),
    [
        (np.full((2, 2, 2), np.nan, np.float32), Recipe(threshold=RangeThreshold(low=0))),
        (np.full((2, 2, 2), 3.0, np.float32), Recipe(threshold=OtsuThreshold())),
        (np.zeros((2, 2, 2), np.int16), Recipe(threshold=FractionOfMax(fraction=0.5))),
        (np.zeros((2, 2, 2), np.int16), Recipe(threshold=Preset(name="bone"))),
        (np.ones((9, 9, 9)), Recipe(resample=ToSpacing(spacing_mm=1e-4), threshold=RangeThreshold(low=0))),
    ],
    ids=["nothing finite", "otsu", "fraction", "unit", "grid"],
)
def test_what_means_nothing_is_said_in_the_same_words(data, recipe):
    volume = Volume(data, np.eye(4), name="test")
    assert errors(lambda: voxelize_on("cpu", volume, recipe)) == errors(lambda: voxelize(volume, recipe))


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ({"components": Components(keep=1)}, "connected"),
        ({"features": ("occupancy", "depth")}, "depth"),
        ({"threshold": PercentileThreshold(percentile=50)}, "percentiles"),
    ],
)
def test_a_recipe_that_torch_cannot_follow_stays_on_the_cpu(part, word):
    recipe = Recipe(**{"threshold": RangeThreshold(low=50), **part})
    assert word in needs_cpu(recipe)
    assert word in errors(lambda: voxelize_on("cpu", scan(), recipe))
    made = voxelize_for("cuda", scan(), recipe)  # no card is touched
    assert isinstance(made, VoxelSet)
    np.testing.assert_array_equal(made.indices, voxelize(scan(), recipe).indices)


def test_where_the_voxels_are_made(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "voxelize_on", lambda device, *_: asked.append(device))
    recipe = Recipe(threshold=RangeThreshold(low=50))
    assert isinstance(voxelize_for("cpu", scan(), recipe), VoxelSet)
    assert isinstance(voxelize_for("cuda", scan("uint64"), recipe), VoxelSet)  # torch has no such arithmetic
    assert asked == []
    voxelize_for("cuda:1", scan(), recipe)
    assert asked == ["cuda:1"]


def test_a_batch_is_that_of_voxel_sets():
    recipe = Recipe(threshold=FractionOfMax(fraction=0.5), features=("occupancy", "intensity"))
    volumes = [scan(shape=(9, 11, 7)), scan(shape=(4, 5, 12), seed=1), Volume(np.ones((2, 2, 2)), np.eye(4))]
    made = [voxelize_on("cpu", volume, recipe) for volume in volumes[:2]]
    made.append(voxelize_on("cpu", volumes[2], Recipe(threshold=RangeThreshold(low=2), features=recipe.features)))
    assert made[2].n_active == 0
    ours = batch_in_field(made, 14)
    expected = SparseTensor.from_voxels([one.numpy() for one in made], 14)
    assert torch.equal(ours.indices, expected.indices)
    assert ours.indices.is_contiguous()
    assert torch.equal(ours.features, expected.features)
    assert torch.equal(ours.background, expected.background)
    assert (ours.spatial_shape, ours.batch_size) == (expected.spatial_shape, 3)
    SparseTensor(ours.features, ours.indices, 14, 3)  # its checks pass
    for wrong in (lambda: batch_in_field(made, 11), lambda: batch_in_field([], 11)):
        with pytest.raises(InputError, match=r"does not fit into the network's field|at least one"):
            wrong()


def test_a_card_without_memory_is_told_with_three_ways_out(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ...")

    monkeypatch.setattr(module, "_upload", full)
    with pytest.raises(DeviceMemoryError, match=r"2\.50 GiB was asked for; use a smaller batch, .* or --device cpu"):
        voxelize_on("cpu", scan(), Recipe(threshold=RangeThreshold(low=50)))
