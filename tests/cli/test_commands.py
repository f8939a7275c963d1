"""What the commands print and write, and that it is what Python and napari's reader give."""

import json
import os
import subprocess
import sys

import nibabel
import npe2
import numpy as np
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

import napari_sparse3d as ns3
from napari_sparse3d.cli import COMMANDS, app
from napari_sparse3d.io.layers import volume_of
from napari_sparse3d.voxels import RangeThreshold, Recipe, ToSpacing


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "half.toml"
    Recipe(
        name="half",
        resample=ToSpacing(spacing_mm=2.5),
        threshold=RangeThreshold(low=50),
        components={"keep": 1},
        field=126,
    ).save(path)
    return path


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    """An oblique, anisotropic scan, stored in an unusual order: an ellipsoid and a small part beside it."""
    i, j, k = np.indices((40, 52, 30))
    data = (((i - 20) / 15) ** 2 + ((j - 24) / 20) ** 2 + ((k - 14) / 10) ** 2 < 1) * 200.0
    data[36:39, 48:51, 26:29] = 200
    affine = np.diag([-1.0, 0.8, 3.0, 1.0])
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = (30, -12, 7)
    path = tmp_path_factory.mktemp("scan") / "ellipsoid.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data.transpose(0, 2, 1).astype(np.int16), affine[:, [0, 2, 1, 3]]), path)
    return path


class TestThreeWaysGiveTheSame:
    """npe2, Python and the command line: the same volume, recipe and model give the same bits."""

    @pytest.fixture(scope="class")
    def python(self, scan_file, recipe_file):
        volume = ns3.read_volume(scan_file)
        voxels = ns3.voxelize(volume, Recipe.load(recipe_file))
        assert voxels.n_active > 1000
        return voxels, ns3.load_model("deepc2").run(voxels)

    def same(self, ours, other):
        for name in ("indices", "features", "affine"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(other, name))
        assert ours.shape == other.shape

    @pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
    def test_napari_reader(self, python, scan_file, recipe_file, folder):
        path = scan_file.parent if folder else scan_file
        npe2.PluginManager.instance().discover()  # as napari does when it starts
        ((data, kwargs, _),) = npe2.read([str(path)], stack=False, plugin_name="napari-sparse3d")
        voxels = ns3.voxelize(volume_of(data, kwargs["metadata"], kwargs["name"]), Recipe.load(recipe_file))
        self.same(python[0], voxels)
        np.testing.assert_array_equal(ns3.load_model("deepc2").run(voxels).embedding, python[1].embedding)

    def test_voxelize(self, python, scan_file, recipe_file, tmp_path):
        out = tmp_path / "v.npz"
        record = json.loads(run("voxelize", scan_file, "--recipe", recipe_file, "-o", out, "--json").stdout)
        self.same(python[0], ns3.VoxelSet.load(out))
        assert record["n_active"] == python[0].n_active
        assert record["shape"] == list(python[0].shape)
        assert Recipe(**record["recipe"]) == Recipe.load(recipe_file)

    def test_activations(self, python, scan_file, recipe_file):
        record = json.loads(run("activations", scan_file, "-m", "deepc2", "-r", recipe_file, "--json").stdout)
        result = python[1]
        np.testing.assert_array_equal(np.array(record["embedding"], np.float32), result.embedding)
        assert record["input"] == {
            "side": 126,
            "active_sites": python[0].n_active,
            "active_percent": pytest.approx(100 * python[0].n_active / 126**3),
        }
        assert [row["name"] for row in record["layers"]] == [row.name for row in result.layers]
        assert [row["active_sites"] for row in record["layers"]] == [row.active_sites for row in result.layers]

    def test_predict(self, python, scan_file, recipe_file, tmp_path):
        out = tmp_path / "p.parquet"
        run("predict", scan_file, "-m", "deepc2", "-r", recipe_file, "-o", out)
        (row,) = parquet.read_table(out).to_pylist()
        np.testing.assert_array_equal(np.array(row["embedding"], np.float32), python[1].embedding)
        np.testing.assert_array_equal(np.array(row["probabilities"], np.float32), python[1].probabilities)
        assert row["label"] == python[1].label
        assert row["probability"] == python[1].probabilities.max()

    def test_saved_voxels_go_on_where_the_scan_left(self, python, scan_file, recipe_file, tmp_path):
        out = tmp_path / "v.npz"
        run("voxelize", scan_file, "-r", recipe_file, "-o", out)
        record = json.loads(run("activations", out, "--json").stdout)
        np.testing.assert_array_equal(np.array(record["embedding"], np.float32), python[1].embedding)


def test_formats(scan_file, recipe_file, tmp_path):
    record = json.loads(run("activations", scan_file, "-r", recipe_file, "--json").stdout)
    assert list(record) == ["input", "layers", "engine", "device", "embedding"]
    layer = ["name", "kind", "channels", "side", "active_sites", "active_percent", "nonzero_percent", "macs", "ms"]
    assert all(list(row) == layer for row in record["layers"])
    assert len(record["embedding"]) == 192

    out = tmp_path / "p.parquet"
    run("predict", scan_file, "-m", "deepc2", "-r", recipe_file, "-o", out)
    columns = (
        "path, series, status, error, label, probability, probabilities, embedding, n_active, active_percent, recipe, "
        "model, engine, seconds"
    )
    assert parquet.read_schema(out).names == columns.split(", ")


def test_tables_for_people(scan_file, recipe_file):
    result = run("activations", scan_file, "-r", recipe_file)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "input", "conv1", "pool1", "conv2", "pool2", "conv3", "pool3", "conv4", "pool4", "conv5", "pool5", "conv6",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    assert "engine native on cpu" in result.stderr


def test_engines_agree(scan_file, recipe_file):
    embeddings = [
        json.loads(run("activations", scan_file, "-r", recipe_file, "--engine", engine, "--json").stdout)["embedding"]
        for engine in ("native", "dense")
    ]
    np.testing.assert_allclose(*embeddings, atol=1e-5)


class TestDemo:
    # percent active after the input and each layer: MNI152 T1 with mri-110, by an independent dense computation
    REFERENCE = (9.76, 10.80, 12.66, 15.04, 19.74, 26.70, 42.64, 68.27, 99.54, 100, 100, 100)
    PUBLISHED = (9.76, 10.75, 12.59, 14.94, 19.62, 26.49, 41.47, 64.55, 95.21, 100, 100, 100)

    @pytest.fixture(scope="class")
    def made(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("demo") / "demo"
        return folder, json.loads(run("demo", "--no-viewer", "-o", folder, "--json").stdout)

    def test_twelve_figures(self, made):
        layers = made[1]["layers"]
        np.testing.assert_allclose([row["active_percent"] for row in layers], self.REFERENCE, atol=0.05)
        assert [row["published_percent"] for row in layers] == list(self.PUBLISHED)
        for row in layers:
            assert row["difference"] == pytest.approx(row["active_percent"] - row["published_percent"])
        assert [row["side"] for row in layers] == [126, 125, 62, 61, 30, 29, 14, 13, 6, 5, 2, 1]
        assert layers[0]["active_sites"] == 195_254
        assert made[1]["ok"] is True

    def test_folder(self, made):
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

    def test_pictures(self, made):
        import matplotlib.image

        for name in ("planes.png", "layers.png"):
            picture = matplotlib.image.imread(made[0] / name)
            assert picture.shape[1] > 1200
            assert picture[..., :3].std() > 0.1  # not blank

    def test_report_stands_alone(self, made):
        page = (made[0] / "report.html").read_text()
        assert page.count("data:image/png;base64,") == 2
        assert "http" not in page
        assert "src=" in page
        assert "68.27" in page
        assert "195,254" in page
        assert "research use only" in page

    def test_for_people(self, tmp_path):
        result = run("demo", "--no-viewer", "-o", tmp_path / "demo")
        assert "12 of 12 figures within 0.05" in result.stdout
        assert "conv4" in result.stdout
        assert "napari: not opened (--no-viewer)" in result.stdout

    def test_without_a_display(self, tmp_path, monkeypatch):
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        record = json.loads(run("demo", "-o", tmp_path / "demo", "--json").stdout)
        assert "no display" in record["window"]

    def test_a_figure_that_is_off_is_an_error(self, tmp_path, monkeypatch):
        from napari_sparse3d.analysis import published

        off = (*published.MNI152_REFERENCE[:3], 15.2, *published.MNI152_REFERENCE[4:])
        monkeypatch.setattr(published, "MNI152_REFERENCE", off)
        result = CliRunner().invoke(app, ["demo", "--no-viewer", "-o", str(tmp_path / "demo")])
        assert result.exit_code == 1
        assert "error: conv2: 15.04 % active, the reference is 15.20 %" in result.stderr
        assert "11 of 12 figures" in result.stdout


class TestDoctor:
    def test_names_what_works(self):
        record = json.loads(run("doctor", "--json").stdout)
        found = {check["name"]: check["state"] for check in record["checks"]}
        assert found["engine native"] == found["engine dense"] == found["DICOM codecs"] == "ok"
        assert record["ok"] is True

    def test_what_is_broken_comes_with_the_line_that_mends_it(self, monkeypatch):
        from napari_sparse3d.io import codecs

        monkeypatch.setattr(codecs, "decodable", lambda: {"JPEG 2000": False, "RLE": True})
        result = CliRunner().invoke(app, ["doctor"])
        assert result.exit_code == 1
        assert "cannot decode JPEG 2000" in result.stdout
        assert "pip install python-gdcm" in result.stdout

    def test_a_check_that_breaks_does_not_hide_the_others(self, monkeypatch):
        from napari_sparse3d.io import codecs

        def broken():
            raise ImportError("libgdcm is gone")

        monkeypatch.setattr(codecs, "decodable", broken)
        result = CliRunner().invoke(app, ["doctor", "--json"])
        assert result.exit_code == 1
        checks = {check["name"]: check for check in json.loads(result.stdout)["checks"]}
        assert checks["DICOM codecs"]["found"] == "ImportError: libgdcm is gone"
        assert checks["engine native"]["state"] == "ok"


class TestProgram:
    """The installed program, in a process of its own."""

    def program(self, *arguments, **more):
        return subprocess.run(
            [sys.executable, "-c", "from napari_sparse3d.cli import main; main()", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            **more,
        )

    def test_help_is_light(self):
        code = (
            "import sys\n"
            "from napari_sparse3d.cli import app\n"
            "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
            "print(sorted({'torch', 'numpy', 'pydantic', 'matplotlib', 'nibabel'} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.strip().splitlines()[-1] == "[]"

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_teaches(self, command):
        result = run(command, "--help")
        assert "Usage" in result.stdout
        assert len(result.stdout.splitlines()) > 10

    def test_one_object_on_stdout(self, scan_file):
        done = self.program("info", scan_file, "--json")
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) == 1
        assert json.loads(done.stdout)["series"]

    def test_no_traceback(self, tmp_path):
        done = self.program("voxelize", tmp_path / "none.nii", "-r", "mri-110", "-o", tmp_path / "v.npz")
        assert done.returncode == 1
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith("error:")
        assert list(tmp_path.iterdir()) == []

    def test_a_bug_keeps_its_traceback(self):
        code = (
            "from napari_sparse3d.cli import app\nfrom napari_sparse3d.cli.common import guarded\n"
            "def broken() -> None:\n    raise KeyError('a bug')\n"
            "app.command('broken')(guarded(broken))\napp(['broken'])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "KeyError: 'a bug'" in done.stderr
        assert "Traceback" in done.stderr

    def test_works_without_a_home_and_without_a_terminal(self, scan_file, tmp_path):
        environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "none")}
        done = self.program("info", scan_file, "--json", env=environment, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
