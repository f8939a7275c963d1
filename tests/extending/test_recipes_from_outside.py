"""A stranger's package adds a preset and a recipe; another one a trained model."""

from __future__ import annotations

import importlib
import json
import re
import sys

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sparse3d.catalog import ARCHITECTURES, RECIPES, THRESHOLDS, TRAINED, RecipeInfo, ThresholdInfo, TrainedInfo
from napari_sparse3d.cli import app
from napari_sparse3d.cli.common import CallError
from napari_sparse3d.cli.doctor import _lost_files
from napari_sparse3d.cli.models import _rows
from napari_sparse3d.cli.settings import trained_model
from napari_sparse3d.errors import CatalogError, InputError
from napari_sparse3d.models import bundled_models, load_model
from napari_sparse3d.training.runs import RunStore
from napari_sparse3d.voxels import BUILT_IN, PRESETS, Preset, RangeThreshold, Recipe, VoxelSet
from napari_sparse3d.widgets.child.jobs import network

REGISTRIES = (RECIPES, THRESHOLDS, TRAINED)


def forget():
    importlib.invalidate_caches()
    for registry in REGISTRIES:
        registry.forget()


@pytest.fixture(scope="module")
def installed(install):
    """The stranger's package, in this process."""
    site = install("stranger_recipe").site
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        forget()
        yield site
    sys.modules.pop("stranger_recipe", None)
    forget()


@pytest.fixture
def scan(tmp_path):
    """A CT whose first third is air of -1000 HU, then water, then bone."""
    values = np.zeros((12, 10, 8), np.int16)
    values[:4] = -1000
    values[8:] = 400
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.header["descrip"] = b"CT"
    path = tmp_path / "ct.nii.gz"
    nibabel.save(image, path)
    return path


def test_without_it_nobody_knows_them():
    with pytest.raises(InputError, match="there is no recipe 'ct-airways-110'; choose mri-110, ct-bone-110"):
        Recipe.named("ct-airways-110")
    with pytest.raises(InputError, match=r"^threshold: name: input should be 'bone', .* or 'otsu' \(got 'airways'\)"):
        Recipe(threshold={"kind": "preset", "name": "airways"})


def test_what_is_listed_lists_them(installed):
    assert "shape-64, ct-airways-110" in re.sub(
        r"[\s│]+", " ", CliRunner().invoke(app, ["voxelize", "--help"], env={"COLUMNS": "300"}).stdout
    )
    checks = {
        check["name"]: check for check in json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["checks"]
    }
    assert checks["recipes"]["found"].endswith("ct-airways-110")
    assert checks["presets"]["found"].endswith("airways")
    assert "ct-airways-110" not in BUILT_IN
    assert "airways" not in PRESETS


def test_panels_list_them_for_the_unit_that_they_are_for(installed):
    from napari_sparse3d.widgets.voxels.recipes import choices

    in_hu = {choice.name: choice for choice in choices("HU")}
    in_mr = {choice.name: choice for choice in choices("a.u.")}
    for name in ("airways", "ct-airways-110"):
        assert in_hu[name].reason == ""
        assert in_mr[name].reason == "needs a volume in HU; this one is in a.u."
    assert in_hu["ct-airways-110"].title == "Airways CT (ct-airways-110)"


def test_it_is_used_by_its_name(installed, scan, tmp_path):
    done = CliRunner().invoke(app, ["voxelize", str(scan), "-r", "ct-airways-110", "-o", str(tmp_path / "a.npz")])
    assert done.exit_code == 0, done.output
    voxels = VoxelSet.load(tmp_path / "a.npz")
    # 110 x 92 x 73 voxels of 12 / 110 mm; between voxels 3 (-1000) and 4 (0), -950 lies at 3.05: 33 centres come before
    assert voxels.n_active == 33 * 92 * 73


def test_what_is_saved_means_the_same_where_the_package_is_not(installed):
    recipe = Recipe.named("ct-airways-110")
    range_itself = RangeThreshold(low=-1024, high=-950, unit="HU")
    assert recipe.threshold == range_itself
    assert Recipe(threshold=Preset(name="airways")).threshold == range_itself
    assert "preset" not in recipe.to_toml()
    # ours are everywhere, and stay names
    assert Recipe.named("ct-bone-110").threshold == Preset(name="bone")


def test_a_copied_line_holds_the_recipe_itself(installed, tmp_path, monkeypatch):
    from napari_sparse3d.widgets.repeat.line import recipe_argument, recipe_lines

    monkeypatch.setenv("NAPARI_SPARSE3D_HOME", str(tmp_path))
    recipe = Recipe.named("ct-airways-110")
    assert Recipe.load(recipe_argument(recipe)) == recipe
    space = {"Recipe": Recipe}
    exec("\n".join(recipe_lines(recipe)), space)
    assert space["recipe"] == recipe


@pytest.mark.parametrize(
    ("info", "values"),
    [
        (ThresholdInfo, {}),
        (ThresholdInfo, {"kind": "preset", "name": "bone"}),
        (RecipeInfo, {}),
        (RecipeInfo, {"threshold": "bone"}),
        (RecipeInfo, {"threshold": {"kind": "otsu"}, "name": "another"}),
    ],
)
def test_a_descriptor_that_says_too_little_is_refused(info, values):
    with pytest.raises(ValueError, match="'x' needs values"):
        info(name="x", title="X", description="", values=values)


@pytest.fixture
def theirs(monkeypatch):
    """A part of somebody else's in a registry."""

    def add(registry, part):
        parts, broken = registry._found
        monkeypatch.setitem(registry.__dict__, "_found", ({**parts, part.name: part}, broken))

    return add


def test_values_that_are_no_recipe_are_said_with_its_name(theirs):
    values = {"threshold": {"kind": "range"}, "colour": 3}
    theirs(RECIPES, RecipeInfo(name="odd", title="Odd", description="", values=values))
    with pytest.raises(CatalogError, match=r"^recipe 'odd' cannot be used: .*a range needs low, high or both"):
        Recipe.named("odd")
    theirs(THRESHOLDS, ThresholdInfo(name="odd", title="Odd", description="", values={"kind": "rainge"}))
    with pytest.raises(InputError, match=r"preset 'odd' cannot be used: threshold: there is no kind 'rainge'"):
        Recipe(threshold=Preset(name="odd"))


def test_a_trained_model_from_outside(theirs, tmp_path, monkeypatch):
    (tmp_path / "their_models").mkdir()
    (tmp_path / "their_models" / "__init__.py").write_text("raise RuntimeError('imported')")
    load_model("nodule").save(tmp_path / "their_models" / "lung.safetensors")
    monkeypatch.syspath_prepend(tmp_path)
    described = {"title": "Lung", "description": "of somebody else's"}
    theirs(TRAINED, TrainedInfo(name="lung", home="their_models:lung.safetensors", **described))
    assert load_model("lung").digest() == load_model("nodule").digest()
    assert list(bundled_models()) == ["adrenal", "nodule", "vessel", "lung"]
    theirs(TRAINED, TrainedInfo(name="lost", home="their_models:none.safetensors", **described))
    with pytest.raises(CatalogError, match="model 'lost' has lost its file; reinstall the package"):
        load_model("lost")


@pytest.mark.parametrize(
    "home", ["their_models:none.safetensors", "nopkg.sub:m.safetensors", "broken.sub:m", "", "sys:"]
)
def test_a_lost_model_of_another_package_breaks_no_other(home, theirs, tmp_path, monkeypatch, capsys):
    (tmp_path / "their_models").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    theirs(TRAINED, TrainedInfo(name="lost", title="Lost", description="", home=home))
    with pytest.raises(CatalogError, match="model 'lost' has lost its file"):
        load_model("lost")
    assert list(bundled_models()) == ["adrenal", "nodule", "vessel"]
    runs = RunStore(tmp_path)
    assert trained_model("vessel", runs).card.name == "vessel"
    with pytest.raises(CallError, match="'lost' has lost its file"):
        trained_model("lost", runs)
    with pytest.raises(CallError, match="called '20260101-none'"):
        trained_model("20260101-none", runs)
    assert _lost_files().keys() == {"lost"}
    if home == "nopkg.sub:m.safetensors":  # these load every model
        assert [row["name"] for row in _rows()] == [name for name in (*TRAINED, *ARCHITECTURES) if name != "lost"]
        assert "lost is not listed: model 'lost' has lost its file" in " ".join(capsys.readouterr().err.split())
        listed = [*network.models([])]
        assert "vessel" in listed


def test_what_needs_a_part_of_a_package_that_is_not_there():
    needing = {"needs": ("nopkg.sub",), "install": "pip install it"}
    part = TrainedInfo(name="odd", title="Odd", description="", home="", **needing)
    assert part.missing == "nopkg.sub is not installed; pip install it"


def test_ours_say_what_their_cards_say():
    for name, info in TRAINED.items():
        assert load_model(name).card.description == info.description
