"""The main job on every engine: deepC2 on the head MRI, one embedding whoever computes it."""

import pytest
import torch

from napari_sparse3d.io import sample_head_mri
from napari_sparse3d.models import build_network
from napari_sparse3d.models.deepc2 import FIELD
from napari_sparse3d.sparse import SparseConv3d, SparseTensor, use_engine
from napari_sparse3d.voxels import Recipe, voxelize


@pytest.fixture(scope="module")
def head():
    return voxelize(sample_head_mri(), Recipe.named("mri-110"))


def test_embeddings_of_the_head_mri_agree(head):
    network = build_network("deepc2")
    with torch.no_grad():
        for number, module in enumerate(network.layers):
            if isinstance(module, SparseConv3d):  # biases, so that the background is not 0
                module.bias.uniform_(-0.2, 0.2, generator=torch.Generator().manual_seed(number))
        found = {}
        for name in ("native", "spconv", "dense"):
            with use_engine(name):
                found[name] = network.embed(SparseTensor.from_voxels(head, FIELD))[0].double()
    for name in ("spconv", "dense"):
        assert (found[name] - found["native"]).abs().max() <= 1e-5, name
        assert found[name] @ found["native"] > 0.999999, name
