import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sparse3d.errors import InputError
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import (
    BUILT_IN,
    PRESETS,
    Body,
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
    WholeScan,
    voxelize,
)

number = st.floats(-1e6, 1e6, allow_nan=False)
millimetres = st.floats(0.01, 1e3)
thresholds = st.one_of(
    st.tuples(number, number).map(lambda pair: RangeThreshold(low=min(pair), high=max(pair))),
    number.map(lambda low: RangeThreshold(low=low, unit="HU")),
    number.map(lambda high: RangeThreshold(high=high)),
    st.just(OtsuThreshold()),
    st.floats(0, 100).map(lambda p: PercentileThreshold(percentile=p)),
    st.floats(0.001, 0.999).map(lambda f: FractionOfMax(fraction=f)),
    st.sampled_from(sorted(PRESETS)).map(lambda name: Preset(name=name)),
)
resamplings = st.one_of(
    st.just(NoResampling()),
    st.tuples(millimetres, millimetres, millimetres).map(lambda mm: ToSpacing(spacing_mm=mm)),
    millimetres.map(lambda mm: ToSpacing(spacing_mm=mm)),
    st.integers(1, 4096).map(lambda n: ToLongestSide(voxels=n)),
)
recipes = st.builds(
    Recipe,
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    resample=resamplings,
    threshold=thresholds,
    region=st.one_of(st.just(WholeScan()), st.floats(1, 100).map(lambda mm: Body(thinner_than_mm=mm))),
    components=st.builds(
        Components, keep=st.one_of(st.just("all"), st.integers(1, 99)), connectivity=st.sampled_from([6, 18, 26])
    ),
    features=st.lists(st.sampled_from(["occupancy", "intensity", "depth", "gradient"]), min_size=1, unique=True),
    field=st.none() | st.integers(1, 4096),
)


@given(recipe=recipes)
def test_toml_and_json_keep_everything(recipe):
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("ending", ["toml", "json"])
def test_files(tmp_path, ending):
    path = tmp_path / f"r.{ending}"
    Recipe.named("ct-bone-110").save(path)
    assert Recipe.load(path) == Recipe.find(str(path)) == Recipe.named("ct-bone-110")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_built_in():
    assert sorted(BUILT_IN) == ["ct-bone-110", "mri-110", "shape-40", "shape-64"]
    assert all(Recipe.named(name).name == name for name in BUILT_IN)
    mri = Recipe.named("mri-110")
    assert mri.resample == ToLongestSide(voxels=110)
    assert mri.threshold == FractionOfMax(fraction=0.3)
    assert (mri.features, mri.field, mri.n_channels) == (("occupancy",), 126, 1)


def test_channels():
    recipe = Recipe(threshold=OtsuThreshold(), features=("gradient", "occupancy", "intensity"))
    assert recipe.n_channels == 5


def test_a_written_by_hand_recipe(tmp_path):
    path = tmp_path / "knee.toml"
    path.write_text(
        'name = "knee"\n[resample]\nkind = "spacing_mm"\nspacing_mm = 1.5\n'
        '[threshold]\nkind = "range"\nlow = 226\n[components]\nkeep = 1\n'
    )
    recipe = Recipe.load(path)
    assert recipe.resample == ToSpacing(spacing_mm=(1.5, 1.5, 1.5))
    assert recipe.threshold == RangeThreshold(low=226)
    assert recipe.components == Components(keep=1, connectivity=26)
    assert recipe.field is None


THRESHOLD = '[threshold]\nkind = "otsu"\n'


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[threshold]\nkind = "range"\nlow = 300\nhigh = 100', "threshold: low 300 is above high 100; swap them"),
        ('[threshold]\nkind = "range"', "threshold: a range needs low, high or both"),
        ('[threshold]\nkind = "range"\nlow = nan', "low: input should be a finite number"),
        ('[threshold]\nkind = "rnage"', "there is no kind 'rnage', choose 'range', 'otsu'"),
        ("[threshold]\nlow = 3", "threshold needs a kind"),
        ('[threshold]\nkind = "preset"\nname = "bon"', "'bone', 'lung'"),
        ('[threshold]\nkind = "fraction_of_max"\nfraction = 30', "less than 1"),
        ('[threshold]\nkind = "percentile"\npercentile = 101', "less than or equal to 100"),
        ("threshold = 3", "threshold"),
        ("", "threshold is missing"),
        ("colour = 3\n" + THRESHOLD, "colour is no part of a recipe; remove it"),
        ("features = []\n" + THRESHOLD, "features"),
        ('features = ["occupancy", "occupancy"]\n' + THRESHOLD, "named twice"),
        ('features = ["colour"]\n' + THRESHOLD, "'occupancy', 'intensity'"),
        ("field = 0\n" + THRESHOLD, "field"),
        (THRESHOLD + "[components]\nkeep = 0", "'all' or a number of parts from 1"),
        (THRESHOLD + '[components]\nkeep = "some"', "'all' or a number of parts from 1"),
        (THRESHOLD + "[components]\nconnectivity = 7", "6, 18 or 26"),
        (THRESHOLD + '[resample]\nkind = "spacing_mm"\nspacing_mm = [1, 2]', "spacing_mm"),
        (THRESHOLD + '[resample]\nkind = "spacing_mm"\nspacing_mm = 0', "greater than or equal to 0.0001"),
        (THRESHOLD + '[resample]\nkind = "longest_side"\nvoxels = 1.5', "integer"),
        ("threshold = ", "this is no TOML"),
    ],
)
def test_faults_are_one_line(tmp_path, toml, said):
    path = tmp_path / "faulty.toml"
    path.write_text(toml)
    with pytest.raises(InputError) as error:
        Recipe.load(path)
    message = str(error.value)
    assert message.startswith("recipe faulty.toml: ")
    assert said in message
    assert "\n" not in message
    assert "pydantic" not in message


def test_the_same_fault_in_python():
    with pytest.raises(InputError, match=r"^low 300 is above high 100; swap them$"):
        RangeThreshold(low=300, high=100)
    with pytest.raises(InputError, match=r"^threshold is missing$"):
        Recipe()


def test_every_fault_is_named():
    with pytest.raises(InputError, match=r"field: .*; colour is no part"):
        Recipe.from_toml("colour = 3\nfield = 0\n" + THRESHOLD)


@pytest.mark.parametrize("text", ["[1, 2]", "3", "{", ""])
def test_json_that_is_no_recipe(text):
    with pytest.raises(InputError):
        Recipe.from_json(text)


def test_names_and_endings(tmp_path):
    with pytest.raises(InputError, match=r"there is no recipe 'mri-111'; choose mri-110"):
        Recipe.find("mri-111")
    with pytest.raises(FileNotFoundError):
        Recipe.find(str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match=r"a recipe is a \.toml or \.json file"):
        Recipe.load(tmp_path / "r.yaml")
    with pytest.raises(InputError, match=r"written as \.toml or \.json"):
        Recipe.named("mri-110").save(tmp_path / "r.yaml")
    binary = tmp_path / "r.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"r\.toml"):
        Recipe.load(binary)


def test_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Recipe.named("mri-110").field = 3


def test_ct_presets_are_in_hu():
    ct = {name for name, threshold in PRESETS.items() if getattr(threshold, "unit", None) == "HU"}
    assert ct == {"bone", "lung", "soft-tissue", "fat", "contrast-vessel", "skin"}


@pytest.mark.parametrize("recipe", ["mri-110", "brain", "shape-40"])
def test_a_recipe_for_mr_on_a_ct_is_said(recipe):
    data = np.zeros((6, 6, 6), np.int16) - 1000
    data[2:4, 2:4, 2:4] = 900
    made = Recipe.named(recipe) if recipe in BUILT_IN else Recipe(name=recipe, threshold=Preset(name=recipe))
    with pytest.warns(UserWarning, match=f"recipe '{recipe}' keeps what exceeds a fraction of the maximum, a rule"):
        voxelize(Volume(data, np.eye(4), "HU", "CT"), made)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        voxelize(Volume(data, np.eye(4), "a.u.", "MR"), made)
        voxelize(Volume(data, np.eye(4), "HU", "CT"), Recipe(threshold=Preset(name="bone")))


@pytest.mark.parametrize("name", [name for name, rule in PRESETS.items() if getattr(rule, "unit", None) == "HU"])
def test_a_preset_for_ct_on_an_mr_is_refused(name):
    with pytest.raises(InputError, match=r"is in HU, but the volume is in a\.u\.; choose otsu"):
        voxelize(Volume(np.ones((3, 3, 3)), np.eye(4)), Recipe(threshold=Preset(name=name)))
