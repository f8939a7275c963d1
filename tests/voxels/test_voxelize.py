"""Volume to voxel set, against computations that share no code with the package."""

import itertools
import warnings
from pathlib import Path

import nibabel
import nilearn
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import (
    Components,
    FractionOfMax,
    OtsuThreshold,
    PercentileThreshold,
    Preset,
    RangeThreshold,
    Recipe,
    ToLongestSide,
    ToSpacing,
    centre_offset,
    require_voxels,
    voxelize,
)
from napari_sparse3d.voxels.from_volume import separates_nothing
from napari_sparse3d.voxels.native_threshold import find_voxels
from napari_sparse3d.voxels.threshold import otsu

EVERYTHING = RangeThreshold(low=-1e30)


def volume(data, spacing_mm=(1, 1, 1), unit="a.u.", affine=None):
    affine = np.diag([*spacing_mm, 1.0]) if affine is None else affine
    return Volume(np.asarray(data), affine, unit=unit, name="test")


def random_volume(shape, seed=0, **kwargs):
    return volume(np.random.default_rng(seed).normal(size=shape).astype(np.float32), **kwargs)


def mask_of(voxels):
    dense = np.zeros(voxels.shape, dtype=bool)
    for z, y, x in voxels.indices:
        dense[z, y, x] = True
    return dense


@pytest.fixture(scope="module")
def head():
    """The head MRI that nilearn brings."""
    path = Path(nilearn.__file__).parent / "datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    image = nibabel.load(path)
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    affine = image.affine[[2, 1, 0, 3]][:, [2, 1, 0, 3]]
    return volume(np.asarray(image.dataobj).transpose(2, 1, 0), affine=affine)


class TestMni152:
    """The recipe of the published figures."""

    def test_active_voxels(self, head):
        # by scipy: sides of 233 / 110 mm, centres of new voxels mapped into old ones
        side = 233 / 110
        grid = [(np.arange(n) + 0.5) * side - 0.5 for n in (89, 110, 93)]
        resampled = ndimage.map_coordinates(
            head.data.astype(np.float64), np.meshgrid(*grid, indexing="ij"), order=1, mode="nearest"
        )
        expected = resampled > 0.3 * resampled.max()

        voxels = voxelize(head, Recipe.named("mri-110"))
        assert voxels.shape == (89, 110, 93)
        assert voxels.n_active == expected.sum() == 195_254
        np.testing.assert_array_equal(mask_of(voxels), expected)
        np.testing.assert_array_equal(voxels.features, np.ones((195_254, 1), np.float32))

    def test_same_box_in_the_world(self, head):
        voxels = voxelize(head, Recipe.named("mri-110"))
        corner = np.array([-0.5, -0.5, -0.5, 1])
        np.testing.assert_allclose(voxels.affine @ corner, head.affine @ corner, atol=1e-9)
        np.testing.assert_allclose(voxels.affine[:3, :3], np.eye(3) * 233 / 110)

    def test_in_the_field(self, head):
        voxels = voxelize(head, Recipe.named("mri-110"))
        assert centre_offset(voxels.shape, 126) == (18, 8, 16)
        assert 100 * voxels.n_active / 126**3 == pytest.approx(9.76, abs=0.005)


@pytest.mark.parametrize("kind", [PercentileThreshold(percentile=60), OtsuThreshold(), FractionOfMax(fraction=0.5)])
def test_truth_values_are_0_and_1(kind):
    data = np.random.default_rng(0).random((6, 7, 8)) < 0.3
    made = voxelize(Volume(data, np.eye(4)), Recipe(threshold=kind))
    np.testing.assert_array_equal(mask_of(made), data)


class TestResample:
    @settings(max_examples=40, deadline=None)
    @given(
        shape=st.tuples(*[st.integers(1, 9)] * 3),
        spacing=st.tuples(*[st.floats(0.3, 4)] * 3),
        wanted=st.tuples(*[st.floats(0.3, 4)] * 3),
        seed=st.integers(0, 99),
    )
    def test_is_linear_interpolation_at_the_mapped_centres(self, shape, spacing, wanted, seed):
        scan = random_volume(shape, seed, spacing_mm=spacing)
        recipe = Recipe(resample=ToSpacing(spacing_mm=wanted), threshold=EVERYTHING, features=("intensity",))
        voxels = voxelize(scan, recipe)

        sizes = [max(1, round(n * old / new)) for n, old, new in zip(shape, spacing, wanted, strict=True)]
        assert voxels.shape == tuple(sizes)
        axes = [
            (np.arange(size) + 0.5) * new / old - 0.5 for size, new, old in zip(sizes, wanted, spacing, strict=True)
        ]
        expected = ndimage.map_coordinates(
            scan.data.astype(np.float64), np.meshgrid(*axes, indexing="ij"), order=1, mode="nearest"
        )
        assert voxels.n_active == expected.size
        scale = np.abs(expected).max()
        # coordinates differ in the last bits of float64 at most; a value then differs by the slope times that
        np.testing.assert_allclose(voxels.features[:, 0] * scale, expected.ravel(), atol=1e-5 * max(scale, 1))

    @pytest.mark.parametrize("spacing", [(1, 1, 1), (5, 0.7, 0.7), (0.5, 3, 2)])
    def test_longest_side(self, spacing):
        recipe = Recipe(resample=ToLongestSide(voxels=30), threshold=EVERYTHING)
        voxels = voxelize(random_volume((8, 20, 11), spacing_mm=spacing), recipe)
        extent = np.array([8, 20, 11]) * spacing
        assert max(voxels.shape) == 30
        side = extent.max() / 30
        np.testing.assert_allclose(np.linalg.norm(voxels.affine[:3, :3], axis=0), side)
        np.testing.assert_allclose(np.array(voxels.shape) * side, extent, atol=side / 2)

    def test_oblique_and_sheared_boxes_stay_where_they_are(self):
        affine = np.array([[2, 0.3, 0.1, -40], [-0.2, 1, 0.4, 7], [0.5, 0, 0.8, 12], [0, 0, 0, 1]], dtype=float)
        scan = random_volume((6, 7, 8), affine=affine)
        voxels = voxelize(scan, Recipe(resample=ToSpacing(spacing_mm=0.9), threshold=EVERYTHING))
        first = np.array([-0.5, -0.5, -0.5, 1])
        np.testing.assert_allclose(voxels.affine @ first, affine @ first)
        directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        np.testing.assert_allclose(voxels.affine[:3, :3], directions * 0.9)

    def test_without_resampling_the_grid_is_kept(self):
        scan = random_volume((3, 4, 5), spacing_mm=(3, 2, 1))
        voxels = voxelize(scan, Recipe(threshold=EVERYTHING))
        assert voxels.shape == (3, 4, 5)
        np.testing.assert_array_equal(voxels.affine, scan.affine)

    @pytest.mark.parametrize("dtype", ["u1", "i2", "<u2", ">i2", ">f4", "f8", "i8", "?"])
    def test_any_dtype(self, dtype):
        data = (np.arange(60).reshape(3, 4, 5) % 2).astype(dtype)
        recipe = Recipe(resample=ToSpacing(spacing_mm=1), threshold=RangeThreshold(low=1))
        np.testing.assert_array_equal(mask_of(voxelize(volume(data), recipe)), data.astype(int) == 1)

    def test_absurd_grid_is_refused(self):
        recipe = Recipe(resample=ToSpacing(spacing_mm=1e-4), threshold=EVERYTHING)
        with pytest.raises(InputError, match="choose a larger spacing"):
            voxelize(random_volume((9, 9, 9)), recipe)


class TestThreshold:
    @given(
        data=arrays(np.int16, (3, 4, 5), elements=st.integers(-5, 5)),
        low=st.integers(-6, 6),
        width=st.integers(0, 9),
    )
    def test_range_is_inclusive(self, data, low, width):
        recipe = Recipe(threshold=RangeThreshold(low=low, high=low + width))
        voxels = voxelize(volume(data), recipe)
        expected = [
            [z, y, x]
            for z, y, x in itertools.product(range(3), range(4), range(5))
            if low <= int(data[z, y, x]) <= low + width
        ]
        assert voxels.indices.tolist() == expected
        assert voxels.indices.flags.c_contiguous
        assert voxels.indices.dtype == np.int32

    def test_open_sides(self):
        data = np.arange(8).reshape(2, 2, 2)
        assert voxelize(volume(data), Recipe(threshold=RangeThreshold(low=6))).n_active == 2
        assert voxelize(volume(data), Recipe(threshold=RangeThreshold(high=2))).n_active == 3

    def test_strided_and_transposed_views(self):
        base = np.random.default_rng(1).integers(0, 9, (8, 9, 10)).astype(np.int16)
        view = base.transpose(2, 0, 1)[::2, ::-1, 1:]
        indices, values = find_voxels(view, 3, 6)
        mask = (view >= 3) & (view <= 6)
        np.testing.assert_array_equal(indices, np.argwhere(mask))
        np.testing.assert_array_equal(values, view[mask])

    @given(data=arrays(np.float32, (2, 3, 4), elements=st.floats(1 / 8, 10, width=32)), fraction=st.floats(0.01, 0.99))
    def test_fraction_of_max_is_exclusive(self, data, fraction):
        voxels = voxelize(volume(data), Recipe(threshold=FractionOfMax(fraction=fraction)))
        cut = fraction * float(data.max())
        assert voxels.n_active == sum(float(value) > cut for value in data.ravel())

    @pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
    def test_a_value_on_the_cut_is_not_active(self, dtype):
        data = np.array([1, 2, 3, 4], dtype).reshape(1, 1, 4)
        assert voxelize(volume(data), Recipe(threshold=FractionOfMax(fraction=0.5))).n_active == 2
        assert voxelize(volume(data), Recipe(threshold=FractionOfMax(fraction=0.51))).n_active == 2
        assert voxelize(volume(data), Recipe(threshold=FractionOfMax(fraction=0.49))).n_active == 3

    def test_percentile(self):
        data = np.random.default_rng(0).permutation(1000).reshape(10, 10, 10)
        voxels = voxelize(volume(data), Recipe(threshold=PercentileThreshold(percentile=90)))
        np.testing.assert_array_equal(mask_of(voxels), data > 899.1)

    def test_otsu_agrees_with_simpleitk(self):
        import SimpleITK as sitk

        generator = np.random.default_rng(0)
        data = np.concatenate([generator.normal(20, 5, 3000), generator.normal(80, 10, 1000)]).reshape(10, 20, 20)
        filtered = sitk.OtsuThresholdImageFilter()
        filtered.SetNumberOfHistogramBins(256)
        filtered.Execute(sitk.GetImageFromArray(data))
        bin_width = np.ptp(data) / 256
        assert otsu(data) == pytest.approx(filtered.GetThreshold(), abs=1.01 * bin_width)
        assert voxelize(volume(data), Recipe(threshold=OtsuThreshold())).n_active == pytest.approx(1000, abs=5)

    def test_otsu_of_two_values_parts_them(self):
        data = np.zeros((2, 2, 2), np.uint8)
        data[0, 0, 0] = 255
        assert voxelize(volume(data), Recipe(threshold=OtsuThreshold())).indices.tolist() == [[0, 0, 0]]

    def test_presets_ask_for_their_unit(self):
        data = np.array([-1000, 100, 226, 3071, 3072]).reshape(1, 1, 5)
        bone = Recipe(threshold=Preset(name="bone"))
        assert voxelize(volume(data, unit="HU"), bone).indices[:, 2].tolist() == [2, 3]
        with pytest.raises(InputError, match=r"preset 'bone' is in HU, but the volume is in a\.u\."):
            voxelize(volume(data), bone)

    def test_brain_preset_is_a_fraction(self):
        data = np.arange(11).reshape(1, 1, 11)
        assert voxelize(volume(data), Recipe(threshold=Preset(name="brain"))).indices[:, 2].min() == 4


class TestVolumesThatHoldNothing:
    RULES = (OtsuThreshold(), PercentileThreshold(percentile=50), FractionOfMax(fraction=0.3), RangeThreshold(low=0))

    @pytest.mark.parametrize("threshold", RULES, ids=lambda rule: rule.kind)
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_no_finite_value(self, threshold, bad):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(InputError, match="none of the 24 values of 'test' is a finite number"):
                voxelize(volume(np.full((2, 3, 4), bad)), Recipe(threshold=threshold))

    def test_some_values_that_are_not_finite_are_said(self):
        data = np.arange(24, dtype=float).reshape(2, 3, 4)
        data[0, 0, 0], data[1, 2, 3] = np.nan, np.inf
        with pytest.warns(UserWarning, match="2 of 24 values of 'test' are not finite"):
            voxels = voxelize(volume(data), Recipe(threshold=RangeThreshold(low=1.5)))
        assert voxels.n_active == 21
        assert np.isnan(data[0, 0, 0])

    @pytest.mark.parametrize("value", [0, -3])
    def test_constant_without_a_positive_maximum(self, value):
        with pytest.raises(InputError, match="a fraction of the maximum needs a positive maximum"):
            voxelize(volume(np.full((2, 2, 2), value)), Recipe(threshold=FractionOfMax(fraction=0.3)))

    @pytest.mark.parametrize("value", [-3, 0, 7.5])
    def test_constant_has_no_otsu(self, value):
        with pytest.raises(InputError, match="two different values"):
            voxelize(volume(np.full((2, 2, 2), value)), Recipe(threshold=OtsuThreshold()))

    def test_nothing_left_is_a_valid_voxel_set(self):
        recipe = Recipe(threshold=RangeThreshold(low=5000), features=("occupancy", "intensity", "gradient"))
        scan = random_volume((3, 4, 5))
        voxels = voxelize(scan, recipe)
        assert voxels.indices.shape == (0, 3)
        assert voxels.features.shape == (0, 5)
        with pytest.raises(
            InputError, match=r"\(range low 5000\.0\) leaves no voxel of the scan, whose values go from -"
        ):
            require_voxels(voxels, scan, recipe)

    def test_something_left_passes(self):
        scan = random_volume((3, 4, 5))
        recipe = Recipe(threshold=EVERYTHING)
        voxels = voxelize(scan, recipe)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert require_voxels(voxels, scan, recipe) is voxels  # whoever has a model's recipe chooses no threshold
        assert "separates nothing in this scan; choose another" in separates_nothing(voxels, scan, recipe)
        grey = recipe.model_copy(update={"features": ("gradient",)})
        assert not separates_nothing(voxels, scan, grey)
        assert not separates_nothing(voxels, volume(np.ones((3, 4, 5))), recipe)

    def test_one_voxel(self):
        voxels = voxelize(volume([[[3]]]), Recipe(threshold=FractionOfMax(fraction=0.5), features=("gradient",)))
        assert voxels.indices.tolist() == [[0, 0, 0]]
        assert voxels.features.tolist() == [[0, 0, 0]]


class TestComponents:
    #      a lone voxel, a corner pair, an edge pair and a face pair, in separate columns
    DATA = np.zeros((3, 3, 11), np.uint8)
    DATA[0, 0, 0] = 1
    DATA[0, 0, 2] = DATA[1, 1, 3] = 1
    DATA[0, 0, 5] = DATA[0, 1, 6] = 1
    DATA[0, 0, 8] = DATA[0, 0, 9] = 1

    def kept(self, data, **components):
        recipe = Recipe(threshold=RangeThreshold(low=1), components=Components(**components))
        return voxelize(volume(data), recipe)

    @pytest.mark.parametrize("connectivity", [6, 18, 26])
    @pytest.mark.parametrize("keep", [1, 2, 3, 99])
    def test_agrees_with_scipy(self, connectivity, keep):
        data = np.random.default_rng(connectivity).random((12, 13, 14)) > 0.8
        structure = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity])
        labels, n = ndimage.label(data, structure)
        assert n > 3
        sizes = ndimage.sum_labels(data, labels, range(1, n + 1))
        largest = 1 + np.argsort(-sizes, kind="stable")[:keep]  # scipy numbers parts in raster order
        kept = mask_of(self.kept(data, keep=keep, connectivity=connectivity))
        np.testing.assert_array_equal(kept, np.isin(labels, largest))

    def test_all_keeps_all(self):
        assert self.kept(self.DATA).n_active == 7

    @pytest.mark.parametrize(("connectivity", "first"), [(26, [0, 0, 2]), (18, [0, 0, 5]), (6, [0, 0, 8])])
    def test_of_equal_parts_the_first_wins(self, connectivity, first):
        voxels = self.kept(self.DATA, keep=1, connectivity=connectivity)
        assert voxels.n_active == 2
        assert voxels.indices[0].tolist() == first

    def test_more_than_there_are(self):
        assert self.kept(self.DATA, keep=50).n_active == 7

    def test_nothing_to_connect(self):
        assert self.kept(np.zeros((2, 2, 2)), keep=1).n_active == 0


class TestFeatures:
    def test_intensity_of_ct_is_in_thousand_hu(self):
        data = np.array([-1000, 0, 1500], np.int16).reshape(1, 1, 3)
        recipe = Recipe(threshold=EVERYTHING, features=("intensity",))
        assert voxelize(volume(data, unit="HU"), recipe).features.ravel().tolist() == [-1, 0, 1.5]

    def test_intensity_of_mr_is_relative_to_the_largest(self):
        data = np.array([-8, 0, 4], np.int16).reshape(1, 1, 3)
        recipe = Recipe(threshold=EVERYTHING, features=("intensity",))
        assert voxelize(volume(data), recipe).features.ravel().tolist() == [-1, 0, 0.5]

    def test_the_most_negative_integer(self):
        data = np.array([-32768, 16384], np.int16).reshape(1, 1, 2)
        recipe = Recipe(threshold=EVERYTHING, features=("intensity",))
        assert voxelize(volume(data), recipe).features.ravel().tolist() == [-1, 0.5]

    def test_gradient_agrees_with_numpy(self):
        scan = random_volume((5, 6, 7), spacing_mm=(3, 2, 0.5), unit="HU")
        recipe = Recipe(threshold=RangeThreshold(low=0), features=("gradient",))
        voxels = voxelize(scan, recipe)
        slopes = np.stack(np.gradient(scan.data.astype(np.float64) / 1000, 3, 2, 0.5), axis=-1)
        np.testing.assert_allclose(voxels.features, slopes[scan.data >= 0], rtol=1e-5, atol=1e-9)

    def test_unsigned_values_do_not_wrap(self):
        data = np.array([200, 0, 100], np.uint8).reshape(1, 1, 3)
        recipe = Recipe(threshold=EVERYTHING, features=("gradient",))
        assert voxelize(volume(data), recipe).features[:, 2].tolist() == [-1, -0.25, 0.5]

    @given(mask=arrays(bool, (4, 5, 6)), spacing=st.tuples(*[st.floats(0.3, 4)] * 3))
    def test_depth_agrees_with_scipy(self, mask, spacing):
        recipe = Recipe(threshold=RangeThreshold(low=1), features=("depth",))
        voxels = voxelize(volume(mask, spacing_mm=spacing), recipe)
        outside = np.pad(mask, 1)  # outside the grid nothing is active
        expected = ndimage.distance_transform_edt(outside, sampling=spacing)[1:-1, 1:-1, 1:-1][mask] / 10
        np.testing.assert_allclose(voxels.features[:, 0], expected, rtol=1e-4)

    def test_order_of_the_channels_is_the_recipes(self):
        scan = random_volume((4, 4, 4))
        one = voxelize(scan, Recipe(threshold=EVERYTHING, features=("occupancy", "gradient", "intensity"))).features
        other = voxelize(scan, Recipe(threshold=EVERYTHING, features=("intensity", "occupancy", "gradient"))).features
        np.testing.assert_array_equal(one[:, [4, 0, 1, 2, 3]], other)


@given(size=st.tuples(*[st.integers(1, 9)] * 3), field=st.integers(9, 12))
def test_centred_in_the_field(size, field):
    before = np.array(centre_offset(size, field))
    behind = field - before - size
    assert set((behind - before).tolist()) <= {0, 1}  # an odd rest leaves one more voxel behind
