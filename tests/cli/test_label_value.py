"""A label map on the command line: one of its labels, or all, is the shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.io.write import write_volume
from napari_sparse3d.volume import Volume, labels_in, mask_of
from napari_sparse3d.voxels import Recipe, VoxelSet, voxelize


def call(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def labels(tmp_path: Path) -> Volume:
    data = np.zeros((20, 22, 24), dtype=np.uint16)
    data[3:17, 4:9, 5:19] = 1
    data[5:12, 10:20, 6:14] = 300
    volume = Volume(data, np.diag([1.0, 1.0, 1.0, 1.0]), meta={"labels": True})
    write_volume(volume, tmp_path / "seg.nii.gz")
    return volume


@pytest.mark.parametrize(("value", "label"), [("300", 300), ("1", 1), ("all", None)])
def test_voxelize_takes_a_label(labels: Volume, tmp_path: Path, value: str, label: int | None) -> None:
    call("voxelize", tmp_path / "seg.nii.gz", "-r", "shape-40", "--label-value", value, "-o", tmp_path / "a.npz")
    expected = labels.data > 0 if label is None else labels.data == label
    by_hand = voxelize(Volume(expected.astype(np.uint8), labels.affine), Recipe.named("shape-40"))
    np.testing.assert_array_equal(VoxelSet.load(tmp_path / "a.npz").indices, by_hand.indices)


def test_what_is_no_label_is_said(labels: Volume, tmp_path: Path) -> None:
    wrong = [str(tmp_path / "seg.nii.gz"), "-r", "shape-64", "-o", str(tmp_path / "a.npz"), "--label-value"]
    done = CliRunner().invoke(app, ["voxelize", *wrong, "two"])
    assert done.exit_code == 2
    done = CliRunner().invoke(app, ["voxelize", *wrong, "2"])
    assert done.exit_code != 0
    assert "has no label 2; it has 1, 300" in f"{done.output} {done.exception}"
    done = CliRunner().invoke(app, ["voxelize", *wrong, "0"])
    assert done.exit_code != 0
    assert "label 0 is the background" in f"{done.output} {done.exception}"
    assert not (tmp_path / "a.npz").exists()


def test_a_bundled_model_answers_as_in_training(labels: Volume, tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    from napari_sparse3d.models import load_model

    model = load_model("vessel")
    shape = Volume((labels.data == 300).astype(np.uint8) * 255, labels.affine)  # as MedMNIST has them
    expected = model.run(voxelize(shape, model.card.recipe)).probabilities
    write_volume(shape, tmp_path / "mask.nii.gz")
    for name, more in (("seg", ["--label-value", "300"]), ("mask", [])):
        out = tmp_path / f"{name}.parquet"
        call("predict", tmp_path / f"{name}.nii.gz", "-m", "vessel", "-o", out, *more)
        (row,) = parquet.read_table(out).to_pylist()
        assert row["status"] == "done", row["error"]
        np.testing.assert_array_equal(np.float32(row["probabilities"]), np.float32(expected).ravel())
        assert row["n_active"] == 560


def test_labels_are_listed_whatever_their_type() -> None:
    for dtype in (np.uint8, np.int16, np.int64):
        assert labels_in(np.array([[[0, 3, 5, 3]]], dtype=dtype)) == [3, 5]
    assert labels_in(np.array([[[-1, 0, 70000]]])) == [70000]
    assert labels_in(np.zeros((1, 1, 1), dtype=np.uint8)) == []
    whole = mask_of(Volume(np.array([[[0.0, 1.0, 2.0]]]), np.eye(4)))
    assert whole.data.tolist() == [[[0, 1, 1]]]
