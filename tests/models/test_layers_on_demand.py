"""The per-layer table is made for who asks for it; whether layers give what is finite is seen without it."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.models import load_model
from napari_sparse3d.models import model as model_module
from napari_sparse3d.models.finite import checking_layers
from napari_sparse3d.sparse import SparseConv3d, SparseMaxPool3d, SparseSequential, SparseTensor
from napari_sparse3d.sparse.modules import sequential
from napari_sparse3d.voxels import VoxelSet


def ball(radius=5, features=1):
    grid = np.indices((2 * radius + 1,) * 3) - radius
    indices = np.argwhere((grid**2).sum(0) <= radius**2).astype(np.int32)
    return VoxelSet(indices, np.ones((len(indices), features), np.float32), (2 * radius + 1,) * 3, np.eye(4))


@pytest.mark.parametrize("name", ["deepc2", "residual"])
def test_a_run_records_nothing_until_the_table_is_asked_for(name, monkeypatch):
    model, times = load_model(name, seed=2), []
    recording = model_module.recording

    def counted(*given, **named):
        times.append(1)
        return recording(*given, **named)

    monkeypatch.setattr(model_module, "recording", counted)
    result = model.run(ball())
    assert not times
    assert result.recorded is None
    rows = result.layers
    assert len(times) == 1
    assert result.layers is rows  # once
    assert len(times) == 1
    recorded = model.run(ball(), record=True)
    assert len(times) == 2
    assert [row.name for row in recorded.layers] == [row.name for row in rows]
    assert [row.nonzero_percent for row in recorded.layers] == [row.nonzero_percent for row in rows]
    assert len(times) == 2
    np.testing.assert_array_equal(recorded.embedding, result.embedding)


def test_the_table_is_of_inference_also_where_the_network_was_set_to_train_since():
    model = load_model("residual", seed=2)
    expected = model.run(ball(), record=True)
    result = model.run(ball())
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    model.network.train()
    rows = result.layers
    assert [row.nonzero_percent for row in rows] == [row.nonzero_percent for row in expected.layers]
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", ["deepc2", "residual", "nodule", "vessel", "adrenal"])
def test_of_trained_networks_it_is_known_that_nothing_grows_too_large(name, monkeypatch):
    """So that their layers need not be looked at one by one."""
    made, run_planned = [], sequential.run_planned

    def noted(chain, x):
        planned = run_planned(chain, x)
        if type(x) is SparseTensor:  # not while the chain is read
            made.append(planned)
        return planned

    monkeypatch.setattr(sequential, "run_planned", noted)
    model = load_model(name)
    model.run(ball(features=model.describer.in_features))
    assert made
    assert all(each is not None for each in made)


class OneSite(nn.Module):
    """A large weight whose products pass float32, and a max pool that passes over what is not a number."""

    def __init__(self):
        super().__init__()
        self.layers = SparseSequential(SparseConv3d(2, 16, 1), SparseMaxPool3d(2), SparseConv3d(16, 16, 1))
        with torch.no_grad():
            self.layers[0].weight[0, ..., 0] = 3e38
            self.layers[0].weight[0, ..., 1] = -3e38


@pytest.mark.parametrize("background", [None, torch.zeros(2)])
def test_what_a_pool_would_hide_is_still_an_error(background):
    torch.manual_seed(0)
    network = OneSite().eval()
    indices = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 3, 3, 3]], dtype=torch.int32)
    x = SparseTensor(torch.tensor([[1.0, 0], [-3, 3], [0, 1]]), indices, 4, 1, background)
    with torch.no_grad():
        hidden = network.layers(x)
        assert torch.isfinite(hidden.features).all()
        with checking_layers(network), pytest.raises(InputError, match="layer '0' gives values that are not finite"):
            network.layers(x)


def test_large_values_that_fit_are_no_fault():
    """No bound is known of them, so each layer is looked at, and found finite."""
    network = OneSite().eval()
    with torch.no_grad():
        network.layers[0].weight.fill_(1e31)
        network.layers[2].weight.mul_(1e-31)
        x = SparseTensor(torch.ones(1, 2), torch.zeros(1, 4, dtype=torch.int32), 4, 1, torch.zeros(2))
        plain = network.layers(x)
        with checking_layers(network):
            seen = network.layers(x)
    assert torch.equal(plain.features, seen.features)
    assert plain.features.abs().max() > 0
