"""``export`` writes a file that onnxruntime runs, and refuses a wrong call before any work."""

import json

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from napari_sparse3d.cli import app
from napari_sparse3d.models import Model, build_network, load_model


def call(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture
def model_file(tmp_path):
    arguments = {"field": 8, "channels": (4, 8), "embedding": 6, "classes": 3}
    network = build_network("residual", **arguments)
    card = load_model("residual").card.model_copy(
        update={"name": "small", "arguments": arguments, "classes": ("a", "b", "c")}
    )
    Model(network, card).save(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def test_a_model_file_becomes_onnx(model_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(model_file, "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["out"] == "small.onnx"
    assert record["bytes"] == (tmp_path / "small.onnx").stat().st_size
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    probabilities, embedding = session.run(None, {"voxels": np.ones((1, 1, 8, 8, 8), np.float32)})
    assert probabilities.shape == (1, 3)
    assert probabilities.sum() == pytest.approx(1)
    assert np.linalg.norm(embedding) == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "tflite"], "no format 'tflite'; choose onnx or torch"),
        (["-o", "small.pt2"], "ends in .onnx, got 'small.pt2'"),
    ],
)
def test_a_wrong_call_has_exit_code_2(model_file, options, message):
    done = call(model_file, *options)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
