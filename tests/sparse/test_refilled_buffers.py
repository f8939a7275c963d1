"""Indices whose buffer is filled anew, by whatever way, give the new cloud or are refused; never the old one."""

import numpy as np
import pytest
import torch

import napari_sparse3d.sparse as sp
from napari_sparse3d.errors import InputError
from napari_sparse3d.sparse.memo import version

SIDE, CHANNELS = 9, 3
ENGINES = ("native", "dense", pytest.param("spconv", marks=pytest.mark.spconv))


def cloud(seed: int, count: int = 60) -> torch.Tensor:
    cells = np.random.default_rng(seed).permutation(SIDE**3)[:count]
    sites = np.stack(np.unravel_index(np.sort(cells), (SIDE,) * 3), 1)
    return torch.from_numpy(np.pad(sites, ((0, 0), (1, 0))).astype(np.int32)).contiguous()


def by_numpy(buffer: torch.Tensor, new: torch.Tensor) -> None:
    buffer.numpy()[:] = new.numpy()


def by_data(buffer: torch.Tensor, new: torch.Tensor) -> None:
    buffer.data.copy_(new)


def by_inference(buffer: torch.Tensor, new: torch.Tensor) -> None:
    with torch.inference_mode():
        buffer.copy_(new)


def by_torch(buffer: torch.Tensor, new: torch.Tensor) -> None:
    buffer.copy_(new)


def by_memory(buffer: torch.Tensor, new: torch.Tensor) -> None:
    memoryview(buffer.numpy()).cast("B")[:] = new.numpy().tobytes()


def by_another_tensor(buffer: torch.Tensor, new: torch.Tensor) -> None:
    torch.from_numpy(buffer.numpy())[:] = new


def by_set(buffer: torch.Tensor, new: torch.Tensor) -> None:
    buffer.data = new.clone()


WRITES = (by_numpy, by_data, by_inference, by_torch, by_memory, by_another_tensor, by_set)


def network(engine: str) -> torch.nn.Module:
    torch.manual_seed(3)
    layers = [sp.SubMConv3d(CHANNELS, 4, 3), torch.nn.ReLU(), sp.SparseConv3d(4, 5, 2), sp.SparseMaxPool3d(2, 2)]
    if engine == "spconv":  # without a background, as it has none
        layers = [sp.SubMConv3d(CHANNELS, 4, 3, bias=False), sp.SparseConv3d(4, 5, 2, bias=False)]
    return sp.SparseSequential(*layers)


def run(net: torch.nn.Module, indices: torch.Tensor, engine: str) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(5)
    features = torch.randn(len(indices), CHANNELS)
    background = None if engine == "spconv" else torch.zeros(CHANNELS)
    with sp.use_engine(engine):
        y = net(sp.SparseTensor(features, indices, SIDE, 1, background))
    return y.indices.clone(), y.features.detach().clone()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("inference", [False, True])
def test_a_refilled_buffer_gives_the_new_cloud(engine, write, inference):
    net, old, new = network(engine), cloud(1), cloud(2)
    with torch.inference_mode() if inference else torch.no_grad():
        buffer = old.clone()
        first = run(net, buffer, engine)
        write(buffer, new)
        sites, values = run(net, buffer, engine)
        expected_sites, expected = run(net, new.clone(), engine)
    assert not (first[1].shape == expected.shape and torch.equal(first[1], expected))  # else nothing would be shown
    assert torch.equal(sites, expected_sites)
    assert torch.equal(values, expected)


@pytest.mark.parametrize("write", WRITES)
def test_the_state_of_indices_changes_with_every_way_of_writing(write):
    buffer = cloud(1)
    before = version(buffer)
    assert version(buffer) == before
    write(buffer, cloud(2))
    assert version(buffer) != before


def test_fewer_rows_are_seen():
    net, buffer = network("native"), cloud(1)
    run(net, buffer, "native")
    buffer.resize_(40, 4)
    sites, values = run(net, buffer, "native")
    expected_sites, expected = run(net, cloud(1)[:40].clone(), "native")
    assert torch.equal(sites, expected_sites)
    assert torch.equal(values, expected)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("wrong", [-1, SIDE])
def test_a_buffer_refilled_with_sites_outside_is_refused(engine, write, wrong):
    net, buffer, new = network(engine), cloud(1), cloud(2)
    run(net, buffer, engine)
    new[7, 2] = wrong
    write(buffer, new)
    with pytest.raises(InputError):
        run(net, buffer, engine)


@pytest.mark.parametrize("change", [(0, 3, 1), (59, 0, 0), (31, 2, 4)])
def test_one_number_is_enough(change):
    row, column, by = change
    buffer = cloud(1)
    before = version(buffer)
    buffer.numpy()[row, column] += by
    assert (version(buffer) != before) == bool(by)


def test_rows_that_change_places_are_seen():
    buffer = cloud(1)
    before = version(buffer)
    buffer.numpy()[[3, 4]] = buffer.numpy()[[4, 3]]
    assert version(buffer) != before


def test_what_is_not_contiguous_has_a_state_too():
    wide = torch.zeros(60, 8, dtype=torch.int32)
    wide[:, :4] = cloud(1)
    view = wide[:, :4]
    before = version(view)
    wide.numpy()[:, :4] = cloud(2).numpy()
    assert version(view) != before


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("write", WRITES[:5])
@pytest.mark.parametrize("together", [True, False], ids=["in one call", "layer by layer"])
def test_an_output_that_was_written_to_is_not_handed_out_again(engine, write, together):
    layers = network(engine)
    if not together:
        for layer in layers:
            layer.register_forward_hook(lambda *_: None)
    background = None if engine == "spconv" else torch.zeros(CHANNELS)
    features = torch.randn(60, CHANNELS, generator=torch.Generator().manual_seed(1))

    def run(x):
        with sp.use_engine(engine):
            return layers(x)

    x = sp.SparseTensor(features, cloud(5), (SIDE,) * 3, 1, background)
    first = run(x)
    indices, values = first.indices.clone(), first.features.detach().clone()
    write(first.indices, first.indices.flip(0) * 0 + first.indices.max())
    again = run(x)
    assert torch.equal(again.indices, indices)
    assert torch.equal(again.features, values)
