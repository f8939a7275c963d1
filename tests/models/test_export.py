"""Exported files are run by programs that know nothing of us, and say what the sparse network says."""

import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from napari_sparse3d.errors import EngineError, InputError
from napari_sparse3d.models import Model, build_network, load_model
from napari_sparse3d.models.export import export_model
from napari_sparse3d.sparse import SparseBatchNorm, SparseTensor, use_engine
from napari_sparse3d.voxels.voxel_set import VoxelSet


def model(name="residual", **arguments):
    one = load_model(name)
    network = build_network(name, seed=3, **arguments).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, SparseBatchNorm):
                module.bias.uniform_(-1, 1), module.running_mean.uniform_(-1, 1)
    return Model(network, one.card.model_copy(update={"classes": ("a", "b", "c"), "arguments": arguments}))


SMALL = {"field": 16, "channels": (4, 8), "embedding": 6, "classes": 3}


def voxel_sets(side, density, number=3):
    generator = np.random.default_rng(0)
    for count in range(number):
        active = generator.random((side,) * 3) < density * (count > 0)  # the first is empty
        indices = np.argwhere(active).astype(np.int32, order="C")
        yield VoxelSet(indices, np.ones((len(indices), 1), np.float32), (side,) * 3, np.eye(4))


def sparse_answer(one, sets):
    with torch.no_grad(), use_engine("native"):
        x = SparseTensor.from_voxels(sets, one.network.field)
        described = one.network.describe(x)
        return x.dense(), torch.softmax(one.network.logits(described), 1), torch.nn.functional.normalize(described)


def test_onnx_gives_the_same_probabilities_and_embedding(tmp_path):
    one = model(**SMALL)
    path = tmp_path / "small.onnx"
    export_model(one, path, format="onnx")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert [p.name for p in tmp_path.iterdir()] == ["small.onnx"]  # weights inside
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["card"])["classes"] == ["a", "b", "c"]
    for sets in (list(voxel_sets(16, 0.1)), list(voxel_sets(16, 0.3))[1:2]):  # any batch size
        values, probabilities, embedding = sparse_answer(one, sets)
        found = session.run(["probabilities", "embedding"], {"voxels": values.numpy()})
        np.testing.assert_allclose(found[0], probabilities, rtol=0, atol=1e-5)
        np.testing.assert_allclose(found[1], embedding, rtol=0, atol=1e-5)
    assert not np.allclose(found[0][0], found[0][0][::-1], atol=1e-3)  # the classes differ, so a match says something


def test_deepc2_as_onnx_on_the_full_field(tmp_path):
    one = model("deepc2", classes=3)
    export_model(one, tmp_path / "deepc2.onnx", format="onnx")
    session = onnxruntime.InferenceSession(tmp_path / "deepc2.onnx", providers=["CPUExecutionProvider"])
    values, probabilities, embedding = sparse_answer(one, list(voxel_sets(40, 0.2))[1])
    found = session.run(None, {"voxels": values.numpy()})
    np.testing.assert_allclose(found[0], probabilities, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1], embedding, rtol=0, atol=1e-5)


def test_torch_loads_an_exported_program(tmp_path):
    one = model(**SMALL)
    path = tmp_path / "small.pt2"
    export_model(one, path, format="torch")
    extra = {"card": ""}
    program = torch.export.load(path, extra_files=extra).module()
    assert json.loads(extra["card"])["classes"] == ["a", "b", "c"]
    for count in (1, 3):
        values, probabilities, embedding = sparse_answer(one, list(voxel_sets(16, 0.2))[-count:])
        found = program(values)
        torch.testing.assert_close(found[0], probabilities, rtol=0, atol=1e-5)
        torch.testing.assert_close(found[1], embedding, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("small.onnx", "tflite", "no format 'tflite'; choose onnx or torch"),
        ("small.pt2", "onnx", r"ends in \.onnx, got 'small\.pt2'"),
    ],
)
def test_a_wrong_call_is_refused_before_any_work(tmp_path, name, format, message):
    with pytest.raises(InputError, match=message):
        export_model(model(**SMALL), tmp_path / name, format=format)
    assert not list(tmp_path.iterdir())


def test_without_the_packages_the_error_names_the_line_that_installs_them(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setattr("napari_sparse3d.models.export.find_spec", lambda name: sys.modules.get(name, name))
    with pytest.raises(EngineError, match="writing ONNX needs onnxscript; pip install onnxscript"):
        export_model(model(**SMALL), tmp_path / "small.onnx", format="onnx")
