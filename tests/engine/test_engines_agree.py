"""The main job on every engine: deepC2 on the head MRI, one embedding whoever computes it."""

import numpy as np
import pytest
import torch

from napari_sparse3d.io import sample_head_mri
from napari_sparse3d.models import Model, build_network, load_model
from napari_sparse3d.models.networks.deepc2 import FIELD
from napari_sparse3d.sparse import SparseConv3d, SparseTensor, use_engine
from napari_sparse3d.voxels import Recipe, VoxelSet, voxelize


@pytest.fixture(scope="module")
def head():
    return voxelize(sample_head_mri(), Recipe.named("mri-110"))


@pytest.mark.parametrize("other", ["spconv", "dense"])
def test_embeddings_of_the_head_mri_agree(head, other):
    network = build_network("deepc2")
    with torch.no_grad():
        for number, module in enumerate(network.layers):
            if isinstance(module, SparseConv3d):  # biases, so that the background is not 0
                module.bias.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(number))
        found = {}
        for name in ("native", other):
            with use_engine(name):
                found[name] = network.embed(SparseTensor.from_voxels(head, FIELD))[0].double()
    assert (found[other] - found["native"]).abs().max() <= 1e-5
    assert found[other] @ found["native"] > 0.999999


@pytest.mark.parametrize(
    ("trained_on", "other"), [("native", "spconv"), ("native", "dense"), ("spconv", "native"), ("spconv", "dense")]
)
def test_a_model_trained_on_one_engine_says_the_same_on_another(trained_on, other, tmp_path):
    arguments = {"field": 16, "channels": (4, 8), "embedding": 6, "classes": 3}
    network = build_network("residual", **arguments)
    active = np.random.default_rng(0).random((16, 16, 16)) < 0.1
    indices = np.argwhere(active).astype(np.int32, order="C")
    voxels = VoxelSet(indices, np.ones((len(indices), 1), np.float32), (16,) * 3, np.eye(4))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    with use_engine(trained_on):
        for _ in range(5):
            optimizer.zero_grad()
            logits = network.train()(SparseTensor.from_voxels([voxels, voxels], 16))
            torch.nn.functional.cross_entropy(logits, torch.tensor([1, 1])).backward()
            optimizer.step()
    card = load_model("residual").card.model_copy(update={"arguments": arguments, "classes": ("a", "b", "c")})
    Model(network, card).save(tmp_path / "trained.safetensors")

    first, second = (load_model(tmp_path / "trained.safetensors").run(voxels, engine=e) for e in (trained_on, other))
    assert first.label == "b"  # it has learnt
    np.testing.assert_allclose(second.probabilities, first.probabilities, rtol=0, atol=1e-5)
    np.testing.assert_allclose(second.embedding, first.embedding, rtol=0, atol=1e-5)
    assert second.choice.reason.startswith("engine ")
