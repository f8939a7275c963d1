"""A model takes voxels where they were made."""

import numpy as np
import pytest
import torch

from napari_sparse3d.errors import InputError
from napari_sparse3d.models import load_model
from napari_sparse3d.sparse.tensor_voxels import TensorVoxels
from napari_sparse3d.sparse.voxelize import voxelize_on
from napari_sparse3d.volume import Volume
from napari_sparse3d.voxels import FractionOfMax, Recipe, voxelize

RECIPE = Recipe(threshold=FractionOfMax(fraction=0.5))


def scan(seed=0):
    return Volume(np.random.default_rng(seed).random((30, 40, 35), dtype=np.float32), np.eye(4))


def test_the_result_is_that_of_the_voxel_set():
    model = load_model("deepc2")
    made = model.run(voxelize_on("cpu", scan(), RECIPE))
    expected = model.run(voxelize(scan(), RECIPE))
    np.testing.assert_array_equal(made.embedding, expected.embedding)
    np.testing.assert_array_equal(made.probabilities, expected.probabilities)
    assert len(made.layers) == len(expected.layers)


def test_a_batch_of_both_kinds():
    model = load_model("deepc2")
    sets = [voxelize(scan(1), RECIPE), voxelize(scan(2), RECIPE)]
    mixed = [sets[0], voxelize_on("cpu", scan(2), RECIPE)]
    made, expected = model.batch(mixed), model.batch(sets)
    assert torch.equal(made.indices, expected.indices)
    assert torch.equal(made.features, expected.features)
    back = TensorVoxels.of(sets[0], "cpu").numpy()
    np.testing.assert_array_equal(back.indices, sets[0].indices)
    np.testing.assert_array_equal(back.features, sets[0].features)


def test_features_that_the_network_does_not_take_are_refused():
    two = Recipe(threshold=FractionOfMax(fraction=0.5), features=("occupancy", "intensity"))
    with pytest.raises(InputError, match=r"takes 1 feature\(s\) a voxel, got 2"):
        load_model("deepc2").batch(voxelize_on("cpu", scan(), two))
