"""Calls that are wrong or odd, over all commands: one line, the exit code, no traceback, nothing half written."""

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.voxels import VoxelSet

INPUT, CALL = 1, 2


def save(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    indices = np.argwhere(mask).astype(np.int32)
    VoxelSet(indices, np.ones((len(indices), 1), np.float32), mask.shape, np.eye(4)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One of each kind of input, right and wrong; the calls are made in it."""
    root = tmp_path_factory.mktemp("odd")
    ball = np.zeros((10, 11, 12), np.int16)
    ball[3:7, 3:7, 3:7] = 100
    nibabel.save(nibabel.Nifti1Image(ball, np.eye(4)), root / "good.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.stack([ball] * 2, -1), np.eye(4)), root / "four.nii.gz")
    grey = np.arange(1, 1321, dtype=np.int16).reshape(10, 11, 12)
    nibabel.save(nibabel.Nifti1Image(grey, np.eye(4)), root / "grey.nii")
    save(root / "v.npz", ball > 0)
    save(root / "none.npz", ball > 1000)
    for label in "ab":
        for number in range(2):
            mask = np.zeros((8, 8, 8), bool)
            mask[1 : 4 + number, 1:4, 1 : 3 if label == "a" else 6] = True
            save(root / "set" / label / f"{number}.npz", mask)
        save(root / "one-class" / "a" / f"{label}.npz", np.ones((2, 2, 2 + ord(label) - 96), bool))
    (root / "empty").mkdir()
    texts = {
        "text.txt": "hello", "zero.nii": "", "bad.json": "{", "list.json": "[1]", "heads.csv": "path,label\n",
        "semi.csv": "path;label\na;b\n", "no-label.csv": "path,class\nset/a/0.npz,a\n", "none.csv": "",
        "split.csv": "path,label,split\nset/a/0.npz,a,fold7\n", "own.json": '{"architecture": "os:system"}',
    }  # fmt: skip
    for name, text in texts.items():
        (root / name).write_text(text)
    (root / "latin.toml").write_bytes('name = "é"'.encode("latin1"))
    return root


SMALL = "-s arguments.field=16 -s arguments.channels=[4,8]"
CALLS = [
    ("info v.npz", INPUT, "holds arrays (.npz) and no scan; a voxel set is for predict"),
    ("info heads.csv", INPUT, "not DICOM"),
    ("info zero.nii", INPUT, "empty"),
    ("info good.nii.gz --content", CALL, "--json"),
    ("convert good.nii.gz -o good.nii.gz", CALL, "the scan itself"),
    ("convert good.nii.gz -o x.nii.gz --to .nrrd", CALL, "leave one out"),
    ("convert good.nii.gz -o x.xyz", CALL, "must end in"),
    ("convert good.nii.gz -o x.npz", CALL, "give --recipe"),
    ("convert good.nii.gz -o x.nrrd --frame 3", INPUT, "got 3; the series has 1 volume"),
    ("convert four.nii.gz -o x.nrrd --frame -1", INPUT, "0 to 1, got -1"),
    ("convert good.nii.gz -o x.nrrd --series 4", INPUT, "got 4"),
    ("convert good.nii.gz -o x.nrrd --repair magic", CALL, "resample or magnitude"),
    ("convert good.nii.gz -o text.txt/x.nrrd", CALL, "Not a directory"),
    ("convert v.npz -o x.nrrd", INPUT, "no scan"),
    ("voxelize good.nii.gz -r mri110 -o x.npz", CALL, "did you mean 'mri-110'?"),
    ("voxelize good.nii.gz -r bad.json -o x.npz", CALL, "no JSON"),
    ("voxelize good.nii.gz -r latin.toml -o x.npz", CALL, "not UTF-8; save it so"),
    ("voxelize good.nii.gz -r ct-bone-110 -o x.npz", INPUT, "in HU"),
    ("voxelize four.nii.gz -r mri-110 -o x.npz", INPUT, "--frame"),
    ("activations good.nii.gz -m vesel", CALL, "did you mean 'vessel'?"),
    ("activations good.nii.gz -m deepc2 -r shape-64", CALL, "takes 1 feature(s) a voxel, recipe 'shape-64' gives 2"),
    ("activations good.nii.gz --engine warp", CALL, "choose native"),
    ("activations good.nii.gz --device tpu", CALL, "choose auto"),
    ("explain good.nii.gz -o x.nii.gz", CALL, "Missing option"),
    ("explain good.nii.gz -m vessel -o x.png", CALL, "must end in .nii.gz or .nii or .nrrd or .npz"),
    ("explain good.nii.gz -m vessel -o good.nii.gz", CALL, "the scan itself"),
    ("explain v.npz -m vessel -o v.npz", CALL, "the scan itself"),
    ("explain good.nii.gz -m vesel -o x.nii", CALL, "did you mean 'vessel'?"),
    ("explain good.nii.gz -m vessel -o x.nii --method magic", CALL, "choose class-activation map"),
    (
        "explain good.nii.gz -m vessel -o x.nii --method integrated-gradient",
        CALL,
        "did you mean 'integrated gradients'?",
    ),
    ("explain good.nii.gz -m vessel -o x.nii --class aneurism", CALL, "did you mean 'aneurysm'?"),
    ("explain good.nii.gz -m vessel -o x.nii --class 2", CALL, "a number from 0 to 1"),
    ("explain good.nii.gz -m vessel -o x.nii --class -1", CALL, "a number from 0 to 1"),
    ("explain good.nii.gz -m vessel -r mri-110 -o x.nii", CALL, "takes 2 feature(s)"),
    ("explain good.nii.gz -m vessel -o text.txt/x.nii", CALL, "Not a directory"),
    ("explain none.npz -m deepc2 -o x.nii", INPUT, "nothing is active"),
    ("explain four.nii.gz -m deepc2 -o x.nii", INPUT, "--frame"),
    ("explain text.txt -m deepc2 -o x.nii", INPUT, "not DICOM"),
    ("predict good.nii.gz -m vessel -r mri-110 -o x.parquet", CALL, "takes 2 feature(s)"),
    ("predict good.nii.gz -m vessel -o x.csv", CALL, ".parquet"),
    ("map heads.csv -o x.parquet", INPUT, "no Parquet table"),
    ("map nowhere.parquet -o x.parquet", INPUT, "no table at the path"),
    ("map heads.csv -o x.parquet --method umap", CALL, "tsne or pca"),
    ("map heads.csv -o x.parquet --method pca --perplexity 5", CALL, "of t-SNE"),
    ("map heads.csv -o x.parquet --method pca --seed 0", CALL, "of t-SNE"),
    ("similar good.nii.gz --table nowhere.parquet -m deepc2", INPUT, "no table at the path"),
    ("train nowhere", INPUT, "no such file"),
    ("train empty", INPUT, "holds no cases"),
    ("train text.txt", INPUT, "no labelled set"),
    ("train v.npz", INPUT, "expected train_images"),
    ("train semi.csv", INPUT, "semicolons"),
    ("train none.csv", INPUT, "no rows"),
    ("train heads.csv", INPUT, "no rows"),
    ("train no-label.csv", INPUT, "no column 'label'"),
    ("train split.csv", INPUT, "fold7"),
    ("train set --label kind", INPUT, "the label column 'kind' is of a table"),
    ("train set --settings bad.json", CALL, "no JSON"),
    ("train set --settings list.json", CALL, "one object"),
    ("train set --settings own.json", CALL, "name it yourself"),
    ("train set --settings latin.toml", CALL, "not UTF-8"),
    ("train set --settings empty", CALL, "Is a directory"),
    ("train set -s epochs", CALL, "NAME=VALUE"),
    ("train set -s epochs=0", CALL, "greater than or equal to 1, got 0"),
    ("train set -s learning_rate=nan", CALL, "finite number"),
    ("train set -s augment.rotate=3", CALL, "did you mean 'rotate_degrees'?"),
    ("train set -s arguments.field=17", CALL, "multiple of"),
    ("train set -s arguments.dropout=2", CALL, "dropout"),
    ("train set -s arguments.embedding=0", CALL, "embedding must be"),
    ("train set -s select_by=acuracy", CALL, "did you mean 'accuracy'?"),
    ("train set -s loss.name=nowhere:f", CALL, "module:function"),
    ("train set -s architecture=nowhere:Net", CALL, "module:factory"),
    ("train set --loss triplet -s sampler=pk -s cases_per_class=1", CALL, "make it 2 or more"),
    ("train set --loss triplet -b 2", CALL, "make it 3 or more"),
    ("train set --from vesel", CALL, "no run is called 'vesel'"),
    ("train set --from deepc2", INPUT, "random weights"),
    ("train set --resume nowhere", CALL, "no run is called 'nowhere'"),
    ("train set -o x.pt", CALL, ".safetensors"),
    ("train set --json --json-lines", CALL, "choose one"),
    (f"train one-class {SMALL}", INPUT, "usable|second class"),
    ("evaluate vessel set --views 49", CALL, "48"),
    ("evaluate nowhere set", CALL, "no run is called"),
    ("evaluate vessel nowhere", CALL, "No such file|no such file"),
    ("evaluate vessel set --label kind", CALL, "of a table"),
    ("evaluate vessel set -o text.txt", CALL, "is a file"),
    ("runs --sort beauty", CALL, "no column 'beauty'"),
    ("runs --sort epoc", CALL, "did you mean 'epoch'?"),
    ("runs -w status", CALL, "COLUMN=VALUE"),
    ("runs -w status=done -w status=failed", CALL, "give one"),
    ("runs --columns run --json", CALL, "leave it out"),
    ("runs --plot x.png", CALL, "no run to plot"),
    ("runs --runs text.txt", CALL, "is a file"),
    ("runs nowhere", CALL, "no run is called"),
    ("search-params set --search learning_rate=0:1:log", CALL, "leave out :log"),
    ("search-params set --search learning_rate=1", CALL, "NAME=LOW:HIGH"),
    ("search-params set --search nothing=1:2", CALL, "no setting 'nothing'"),
    ("search-params set --search sampler=pk", CALL, "one choice alone|NAME=LOW"),
    ("search-params set --search seed=1:9 -s seed=3", CALL, "set and searched"),
    ("bench -w nowhere", CALL, "choose object40"),
    ("bench -w subm32 --engine warp", CALL, "nothing called 'warp'"),
    ("models nowhere", CALL, "no model 'nowhere'"),
    ("export deepc2 -o x.pt", CALL, "ends in .onnx"),
    ("export deepc2 --format tf", CALL, "no format 'tf'"),
    ("fly", CALL, "No such command"),
    ("predict good.nii.gz -o x.parquet", CALL, "Missing option"),
    ("train set -e none", CALL, "valid integer"),
]


@pytest.mark.parametrize(("call", "code", "said"), CALLS, ids=[call for call, *_ in CALLS])
def test_one_line_says_what_came_and_what_to_do(call, code, said, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NAPARI_SPARSE3D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_SPARSE3D_RUNS", str(tmp_path / "runs"))
    before = sorted(folder.rglob("*"))
    result = CliRunner().invoke(app, call.split())
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code, result.output
    assert (result.stdout == "") == ("--json" not in call.split())
    assert "Traceback" not in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    usage = " ".join(result.stderr.replace("│", " ").split())  # the parser's own, in a box
    line = errors[0] if errors else usage
    assert len(errors) == (0 if "Usage:" in usage else 1), result.stderr
    assert any(words in line for words in said.split("|")), line
    assert len(line) < 700
    assert sorted(folder.rglob("*")) == before


def test_what_is_odd_and_works_says_so(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    for call, said in (
        (
            "voxelize v.npz -r mri-110 --frame 2",
            "which is taken as it is: --recipe, --frame",
        ),
        ("voxelize grey.nii -r shape-64", "every voxel is active"),
    ):
        result = CliRunner().invoke(app, [*call.split(), "-o", str(tmp_path / "o.npz")])
        assert result.exit_code == 0, result.output
        assert said in result.stderr
    result = CliRunner().invoke(app, ["runs", "--runs", str(tmp_path / "runs")])
    assert (result.exit_code, "train` makes one" in result.stderr) == (0, True)
