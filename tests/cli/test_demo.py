"""The demo reproduces the published figures and leaves a whole report."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_sparse3d as ns3
from napari_sparse3d.cli import app
from napari_sparse3d.voxels import Recipe


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


# percent active after the input and each layer: MNI152 T1 with mri-110, by an independent dense computation
REFERENCE = (9.76, 10.80, 12.66, 15.04, 19.74, 26.70, 42.64, 68.27, 99.54, 100, 100, 100)
PUBLISHED = (9.76, 10.75, 12.59, 14.94, 19.62, 26.49, 41.47, 64.55, 95.21, 100, 100, 100)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return folder, json.loads(run("demo", "--no-viewer", "-o", folder, "--json").stdout)


def test_twelve_figures(made):
    layers = made[1]["layers"]
    np.testing.assert_allclose([row["active_percent"] for row in layers], REFERENCE, atol=0.05)
    assert [row["published_percent"] for row in layers] == list(PUBLISHED)
    for row in layers:
        assert row["difference"] == pytest.approx(row["active_percent"] - row["published_percent"])
    assert [row["side"] for row in layers] == [126, 125, 62, 61, 30, 29, 14, 13, 6, 5, 2, 1]
    assert layers[0]["active_sites"] == 195_254
    assert made[1]["ok"] is True


def test_folder(made):
    folder, record = made
    assert sorted(path.name for path in folder.iterdir()) == [
        "activations.json", "embedding.npy", "layers.png", "planes.png", "recipe.toml", "report.html", "voxels.npz",
    ]  # fmt: skip
    assert len(record["files"]) == 7
    voxels = ns3.VoxelSet.load(folder / "voxels.npz")
    assert voxels.n_active == 195_254
    embedding = np.load(folder / "embedding.npy")
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-6)
    again = ns3.load_model("deepc2").run(voxels)
    np.testing.assert_array_equal(again.embedding, embedding)
    assert Recipe.load(folder / "recipe.toml") == Recipe.named("mri-110")


def test_pictures(made):
    import matplotlib.image

    for name in ("planes.png", "layers.png"):
        picture = matplotlib.image.imread(made[0] / name)
        assert picture.shape[1] > 1200
        assert picture[..., :3].std() > 0.1  # not blank


def test_report_stands_alone(made):
    page = (made[0] / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    assert "src=" in page
    assert "68.27" in page
    assert "195,254" in page
    assert "research use only" in page


def test_for_people(tmp_path):
    result = run("demo", "--no-viewer", "-o", tmp_path / "demo")
    assert "12 of 12 figures within 0.05" in result.stdout
    assert "conv4" in result.stdout
    assert "napari: not opened (--no-viewer)" in result.stdout


def test_without_a_display(tmp_path, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    record = json.loads(run("demo", "-o", tmp_path / "demo", "--json").stdout)
    assert "no display" in record["window"]


def test_a_figure_that_is_off_is_an_error(tmp_path, monkeypatch):
    from napari_sparse3d.measure import published

    off = (*published.MNI152_REFERENCE[:3], 15.2, *published.MNI152_REFERENCE[4:])
    monkeypatch.setattr(published, "MNI152_REFERENCE", off)
    result = CliRunner().invoke(app, ["demo", "--no-viewer", "-o", str(tmp_path / "demo")])
    assert result.exit_code == 1
    assert "error: conv2: 15.04 % active, the reference is 15.20 %" in result.stderr
    assert "11 of 12 figures" in result.stdout
