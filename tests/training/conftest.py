"""A labelled set of small shapes: balls and boxes in a grid of 16, and settings that train on it in seconds."""

import os

import numpy as np
import pytest
import torch

from napari_sparse3d.training.config import Training
from napari_sparse3d.voxels import RangeThreshold, Recipe, VoxelSet

SIDE = 16


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Nothing of the tests is kept in the user's cache, and runs go beside it."""
    os.environ["NAPARI_SPARSE3D_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # shapes this small are done before a second thread has woken up
    yield
    torch.set_num_threads(before)


def shape_mask(kind, random):
    grid = np.indices((SIDE, SIDE, SIDE)) - random.uniform(6, 9, 3)[:, None, None, None]
    radius = random.uniform(3, 5)
    return (grid**2).sum(0) < radius**2 if kind == "ball" else np.abs(grid).max(0) < 0.8 * radius


@pytest.fixture(scope="session")
def save_shape():
    """Write a mask as a voxel set."""
    return _save_shape


def _save_shape(path, mask):
    indices = np.argwhere(mask).astype(np.int32)
    VoxelSet(indices, np.ones((len(indices), 1), np.float32), mask.shape, np.eye(4)).save(path)


@pytest.fixture(scope="session")
def shapes(tmp_path_factory):
    """A folder per class, 20 voxel sets each."""
    root = tmp_path_factory.mktemp("shapes")
    random = np.random.default_rng(0)
    for kind in ("ball", "box"):
        (root / kind).mkdir()
        for number in range(20):
            _save_shape(root / kind / f"{number:02}.npz", shape_mask(kind, random))
    return root


@pytest.fixture(scope="session")
def settings():
    """Settings of a training on ``shapes``, with anything replaced."""

    def made(**more):
        values = {
            "recipe": Recipe(name="toy", threshold=RangeThreshold(low=0.5)),
            "arguments": {"field": SIDE, "channels": (8, 16), "embedding": 8},
            "epochs": 3,
            "batch_size": 8,
            "learning_rate": 0.01,
            "schedule": "cosine",
            "weight_decay": 0.01,
            "sampler": "shuffled",
            "loss": {},
            "augment": {"turns": "all", "rotate_degrees": 20, "scale": 0.1, "drop": 0.1},
        }
        return Training(**{**values, **more})

    return made
