"""Bone without the couch: CTs that are made up, so that it is known which voxel is whose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_sparse3d.cases.identity import recipe_hash
from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.voxelize import needs_cpu, voxelize_for
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import Body, RangeThreshold, Recipe, ToLongestSide, WholeScan, require_voxels, voxelize
from napari_sparse3d.voxels.body import body_of

SPACING_MM = np.array([3.0, 2.0, 2.0])
BONE = RangeThreshold(low=226, high=3071, unit="HU")


def ct(*, gap_mm=12.0, cradle_mm=0.0, couch=True, arms=True, prone=False, couch_hu=300):
    """A trunk with lungs and spine, arms beside it, on a couch of two shells of 6 mm; who is where: 1 body, 2 couch."""
    anterior, right = np.meshgrid(np.arange(0, 280, 2.0), np.arange(-210, 210, 2.0), indexing="ij")
    slices, whose = [], []
    for number in range(20):
        trunk = ((anterior - 160) / 80) ** 2 + (right / (120 + 10 * np.sin(number / 3))) ** 2 < 1
        body = trunk.copy()
        values = np.where(trunk, 40, -1000)
        for side in (-1, 1):
            values[((anterior - 165) / 40) ** 2 + ((right - 55 * side) / 38) ** 2 < 1] = -850
            arm = ((anterior - 125) / 32) ** 2 + ((right - 172 * side) / 30) ** 2 < 1
            if arms:
                values[arm] = 50
                values[((anterior - 125) / 9) ** 2 + ((right - 172 * side) / 9) ** 2 < 1] = 700
                body |= arm
        values[((anterior - 108) / 14) ** 2 + (right / 14) ** 2 < 1] = 400
        shell = np.zeros_like(body)
        if couch:
            face = 80 - gap_mm + cradle_mm * (right / 190) ** 2
            for top in (face, face - 32):
                shell |= (anterior <= top) & (anterior > top - 6) & (abs(right) < 190) & ~body
            values[shell] = couch_hu
        slices.append(values)
        whose.append(body + 2 * shell)
    data = np.array(slices) + np.random.default_rng(0).normal(0, 15, (20, *anterior.shape))
    whose = np.array(whose)
    if prone:
        data, whose = data[:, ::-1], whose[:, ::-1]
    return Volume(data.astype(np.int16), np.diag([*SPACING_MM, 1.0]), "HU", "CT", "made up"), whose


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ({"gap_mm": 14}, 0), ({"gap_mm": 3}, 0), ({"gap_mm": 0}, 0.01), ({"gap_mm": 0, "cradle_mm": 40}, 0.03),
        ({"gap_mm": 12, "prone": True}, 0), ({"gap_mm": 0, "prone": True}, 0.01),
        ({"gap_mm": 0, "couch_hu": -100}, 0.01), ({"couch": False}, 0),
    ],
)  # fmt: skip
def test_the_couch_goes_and_the_body_stays(how, left):
    volume, whose = ct(**how)
    body = body_of(volume, Body())
    assert (body & (whose == 1)).sum() >= 0.999 * (whose == 1).sum()  # arms, lungs and skin
    assert (body & (whose == 2)).sum() <= left * max((whose == 2).sum(), 1)
    assert (body & (whose == 0)).mean() < 0.05  # and of the air a thin margin


def test_without_arms_the_trunk_is_all_there_is():
    volume, whose = ct(arms=False)
    assert not body_of(volume, Body())[whose == 2].any()


def test_the_walls_of_a_sinus_and_thin_things_on_the_body_are_its_own():
    volume, _ = ct(couch=False, arms=False)
    data = volume.data.copy()
    data[5:15, 110:118, 90:120] = -1000  # air in the body, 4 mm below its skin
    data[8:10, 118:132, 104:106] = 300  # a nose
    body = body_of(replace(volume, data=data), Body())
    assert body[5:15, 110:118, 90:120].mean() > 0.9
    assert body[8:10, 118:132, 104:106].all()


def test_bone_of_the_recipe_is_that_of_the_body_on_every_grid():
    volume, whose = ct(gap_mm=0)
    everything = Recipe(threshold=BONE)
    without = everything.model_copy(update={"region": Body()})
    voxels, all_voxels = voxelize(volume, without), voxelize(volume, everything)
    is_bone = (volume.data >= 226) & (whose == 1)
    assert set(map(tuple, voxels.indices)) <= set(map(tuple, all_voxels.indices))
    np.testing.assert_array_equal(voxels.mask() & (whose == 1), is_bone)
    assert voxels.mask()[whose == 2].mean() < 0.01 < all_voxels.mask()[whose == 2].mean()
    coarse = {"resample": ToLongestSide(voxels=70)}
    voxels = voxelize(volume, without.model_copy(update=coarse))
    all_voxels = voxelize(volume, everything.model_copy(update=coarse))
    scan_rows = (np.linalg.inv(volume.affine) @ voxels.affine)[1, 3] + 3 * voxels.indices[:, 1]
    assert scan_rows.min() > 44  # the spine; the couch lies below row 41
    assert all_voxels.indices[:, 1].min() < voxels.indices[:, 1].min()
    given = voxelize(volume, without, body=body_of(volume, Body()))
    np.testing.assert_array_equal(given.indices, voxelize(volume, without).indices)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2)])
def test_the_couch_lies_below_the_patient_in_every_order_of_axes(order):
    volume, _ = ct(gap_mm=0)
    turned = replace(volume, data=volume.data.transpose(order), affine=volume.affine[:, [*order, 3]])
    np.testing.assert_array_equal(body_of(turned, Body()), body_of(volume, Body()).transpose(order))


@pytest.mark.parametrize(("n_slices", "apart_mm"), [(1, 1.0), (2, 0.5)])
def test_a_scan_thinner_than_a_step_has_a_body(n_slices, apart_mm):
    volume, whose = ct(arms=False)
    thin = replace(volume, data=volume.data[:n_slices], affine=np.diag([apart_mm, *SPACING_MM[1:], 1.0]))
    body, whose = body_of(thin, Body()), whose[:n_slices]
    assert body[whose == 1].mean() > 0.999
    assert not body[whose == 2].any()


def test_an_empty_scan_says_so():
    empty = Volume(np.full((8, 20, 20), -1000, np.int16), np.diag([*SPACING_MM, 1.0]), "HU", "CT", "air")
    recipe = Recipe(threshold=RangeThreshold(low=-2000, unit="HU"), region=Body())
    with pytest.warns(UserWarning, match="no body is in the scan: nothing above -300 HU is thicker than 12 mm"):
        voxels = voxelize(empty, recipe)
    assert voxels.n_active == 0
    with pytest.raises(InputError, match="leaves no voxel of the body in the scan"):
        require_voxels(voxels, empty, recipe)
    thin = empty.data.copy()
    thin[:, 4:6] = 100
    with pytest.warns(UserWarning, match="no body"):
        assert voxelize(replace(empty, data=thin), recipe).n_active == 0


def test_padding_and_what_is_not_finite_are_no_body():
    volume, whose = ct()
    data = volume.data.astype(np.float32)
    data[:, :20] = np.nan
    body = body_of(replace(volume, data=data), Body())
    assert body[whose == 1].mean() > 0.999
    padded = volume.data.copy()
    padded[:, 130:] = 0  # as dense as water
    body = body_of(replace(volume, data=np.where(padded == 0, 0, padded + 2000), meta={"padding": 0}), Body())
    assert not body[:, 133:].any()


def test_an_mr_is_refused_before_anything_is_done():
    volume, _ = ct()
    mr = replace(volume, unit="a.u.", modality="MR")
    with pytest.raises(InputError, match=r"by HU, but the volume is in a\.u\.; take region out"):
        voxelize(mr, Recipe(threshold=RangeThreshold(low=100), region=Body()))


def test_the_border_is_where_the_scan_is():
    """A body that fills the scan: what lies beyond its border is not air."""
    full = Volume(np.full((9, 30, 30), 40, np.int16), np.diag([3.0, 2, 2, 1]), "HU", "CT", "inside")
    assert body_of(full, Body()).all()
    single = Volume(np.full((1, 40, 40), 40, np.int16), np.diag([5.0, 1, 1, 1]), "HU", "CT", "one slice")
    assert body_of(single, Body()).all()


def test_a_recipe_without_it_is_what_it_was():
    """Hashes of models and tables from before there was a choice."""
    before = {
        "mri-110": "ad142480da1896ce", "ct-bone-110": "897f27c802eb8081",
        "shape-40": "286406b5b1c0192a", "shape-64": "85c36d779c00e29c",
    }  # fmt: skip
    assert {name: recipe_hash(Recipe.named(name))[:16] for name in before} == before
    text = Recipe.named("ct-bone-110").to_toml()
    assert "region" not in text
    whole = Recipe.from_toml(text + '\n[region]\nkind = "all"\n')
    assert whole == Recipe.named("ct-bone-110")
    assert whole.region == WholeScan()
    body = Recipe.from_toml(text + '\n[region]\nkind = "body"\n')
    assert body.region == Body(above_hu=-300, thinner_than_mm=12)
    assert Recipe.from_toml(body.to_toml()) == Recipe.from_json(body.to_json()) == body
    assert recipe_hash(body) != recipe_hash(whole)
    said = {"region": {"kind": "bed"}}
    with pytest.raises(InputError, match="region: there is no kind 'bed', choose 'all', 'body'"):
        Recipe(threshold=BONE, **said)


def test_it_stays_on_the_cpu_where_a_card_is_asked_for(monkeypatch):
    recipe = Recipe(threshold=BONE, region=Body())
    assert needs_cpu(recipe) == "the body is found on the CPU"
    volume, _ = ct()
    monkeypatch.setattr("napari_sparse3d.sparse.voxelize.voxelize_on", None)
    np.testing.assert_array_equal(voxelize_for("cuda", volume, recipe).indices, voxelize(volume, recipe).indices)


def test_the_command_takes_it(tmp_path: Path):
    from typer.testing import CliRunner

    from napari_sparse3d.cli import app
    from napari_sparse3d.io.write import write_volume
    from napari_sparse3d.voxels import VoxelSet

    volume, _ = ct()
    recipe = Recipe(threshold=BONE, region=Body())
    scan, file, out = (str(tmp_path / name) for name in ("ct.nii.gz", "bone.toml", "bone.npz"))
    write_volume(volume, scan)
    recipe.save(file)
    done = CliRunner().invoke(app, ["voxelize", scan, "-r", file, "-o", out])
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(VoxelSet.load(out).indices, voxelize(volume, recipe).indices)
