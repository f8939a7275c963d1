"""What docs/first-steps.md and the README show works as it is written there."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.io import sample_head_mri_path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "docs" / "first-steps.md", ROOT / "README.md"]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that holds what the pages speak of."""
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "head.nii.gz").symlink_to(sample_head_mri_path())
    (recipe,) = blocks(PAGES[0], "toml")
    # an MR image has no 226 HU, but it has values above 100
    (tmp_path / "hip.toml").write_text(recipe.replace("226", "100"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def with_real_names(text):
    text = text.replace('"SCAN"', '"scans/head.nii.gz"').replace(" SCANS ", " scans ").replace(" SCAN", " scans")
    return text.replace("ct-bone-110", "mri-110").replace("model.safetensors", "deepc2")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands(folder, page):
    run = 0
    for line in "".join(blocks(page, "sh")).splitlines():
        if not line.startswith("napari-sparse3d "):
            continue
        words = shlex.split(with_real_names(line).partition(">")[0], comments=True)[1:]
        if words[0] in {"demo", "doctor"}:
            continue  # have tests of their own
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        run += 1
    assert run >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python(folder, page):
    assert CliRunner().invoke(app, ["voxelize", "scans", "-r", "mri-110", "-o", "bone.npz"]).exit_code == 0
    names = {}
    for block in blocks(page, "python"):
        exec(with_real_names(block), names)
    assert names["result"].layers


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pictures_are_there(page):
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
    assert pictures
    for picture in pictures:
        assert (page.parent / picture).is_file()


def test_every_recipe_and_preset_of_ours_is_named():
    from napari_sparse3d.catalog import RECIPES, THRESHOLDS

    page = PAGES[0].read_text(encoding="utf-8")
    for info in (*RECIPES.built_in, *THRESHOLDS.built_in):
        assert f"`{info.name}`" in page, info.name
