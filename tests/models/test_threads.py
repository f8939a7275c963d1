"""One model in many threads, and runs that are cut off anywhere: what a call records belongs to that call."""

import _thread
import random
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_sparse3d.explain.grids import recording_grids
from napari_sparse3d.models import Model, load_model, recording
from napari_sparse3d.sparse import SparseTensor, observers
from napari_sparse3d.sparse.memo import _MEMOS
from napari_sparse3d.voxels import VoxelSet

THREADS = 8


def ball(radius, field):
    grid = np.indices((2 * radius + 1,) * 3) - radius
    inside = (grid**2).sum(0) <= radius**2
    indices = np.argwhere(inside).astype(np.int32)
    return VoxelSet(indices, np.ones((len(indices), 1), np.float32), inside.shape, np.eye(4))


@pytest.fixture(params=["deepc2", "residual"])
def model(request):
    return load_model(request.param, seed=3)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def interruptible():
    """A program that was started in the background ignores interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def what_it_says(result):
    table = [replace(row, ms=0.0) for row in result.layers]
    return result.probabilities.tobytes(), result.embedding.tobytes(), table


def hooks(network):
    return sum(
        len(held)
        for module in network.modules()
        for name, held in vars(module).items()
        if name.endswith("_hooks") and held is not None
    )


def test_eight_threads_get_what_one_gets(model, one_thread):
    sets = [ball(radius, model.describer.field) for radius in range(3, 3 + THREADS)]
    expected = [what_it_says(model.run(voxels)) for voxels in sets]
    assert len({len(table) for *_, table in expected}) == 1
    assert len({table[0].active_sites for *_, table in expected}) == THREADS  # so that rows of another are seen
    start = threading.Barrier(THREADS)

    def run(number):
        start.wait()
        order = [(number + step) % THREADS for step in range(THREADS)]
        return [(which, what_it_says(model.run(sets[which]))) for which in order]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            for answers in pool.map(run, range(THREADS)):
                for which, found in answers:
                    assert found == expected[which]
    finally:
        sys.setswitchinterval(interval)
    assert hooks(model.network) == 0


def test_eight_threads_share_one_tensor(model, one_thread):
    """Plans and site sets are kept by the identity of the sites: all threads must get along with one of them."""
    x = model.batch(ball(6, model.describer.field))
    with torch.no_grad():
        expected = model.network(SparseTensor(x.features, x.indices.clone(), x.spatial_shape, 1, x.background))
        for _ in range(5):
            shared = SparseTensor(x.features, x.indices.clone(), x.spatial_shape, 1, x.background)
            start = threading.Barrier(THREADS)

            def run(_, start=start, shared=shared):
                start.wait()
                with torch.no_grad():
                    return model.network(shared)

            with ThreadPoolExecutor(THREADS) as pool:
                for made in pool.map(run, range(THREADS)):
                    assert torch.equal(made, expected)


def test_nothing_is_kept_of_tensors_that_threads_let_go(model, one_thread):
    model.run(ball(4, model.describer.field))
    before = len(_MEMOS)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda radius: model.run(ball(radius, model.describer.field)).label, [3, 4, 5, 6] * 4))
    assert len(_MEMOS) == before


def test_an_observer_of_one_thread_sees_nothing_of_another(model, one_thread):
    x, other = (model.batch(ball(radius, model.describer.field)) for radius in (4, 6))
    with torch.no_grad(), recording(model.network) as (rows, _), recording_grids(model.network) as grids:
        elsewhere = threading.Thread(target=lambda: model.network(other))
        elsewhere.start()
        elsewhere.join()
        assert not rows
        assert not grids
        model.network(x)
    assert rows[0].active_sites
    assert set(grids) == {row.name for row in rows}
    count = len(rows)
    with torch.no_grad():
        model.network(x)
    assert len(rows) == count


def test_layers_in_one_call_and_apart_give_the_same(model):
    x = model.batch(ball(6, model.describer.field))
    with torch.no_grad():
        plain = model.network(x)
        with recording(model.network) as (rows, _):
            seen = model.network(x)
    torch.testing.assert_close(seen, plain, rtol=1e-4, atol=1e-5)
    assert rows


@pytest.mark.parametrize("what", ["run", "activations"])
def test_an_interrupt_at_any_moment_leaves_nothing_behind(what, one_thread, interruptible):
    model = load_model("residual", seed=3)
    voxels = ball(5, model.describer.field)
    result = model.run(voxels)
    expected, layer = what_it_says(result), result.layers[2].name
    moments = random.Random(0)
    cut_off = 0
    for _ in range(60):
        timer = threading.Timer(moments.uniform(0, 1.2 * result.seconds), _thread.interrupt_main)
        try:
            timer.start()
            while timer.is_alive():
                model.run(voxels) if what == "run" else result.activations(layer)
            timer.join()
        except KeyboardInterrupt:
            cut_off += 1
        timer.join()
        assert hooks(model.network) == 0
        assert [each for each in observers._observers.get() if each() is not None] == []
        assert torch.is_grad_enabled()
        assert not any(module.training for module in model.network.modules())
    assert cut_off >= 30
    assert what_it_says(model.run(voxels)) == expected


def test_what_is_recorded_is_the_model_given(one_thread):
    """Two networks in one block: only the layers of the one that was named."""
    one, other = load_model("residual", seed=1), load_model("residual", seed=2)
    x = one.batch(ball(4, one.describer.field))
    with torch.no_grad(), recording(one.network) as (rows, _):
        other.network(x)
        assert not rows
        one.network(x)
    assert [row.name for row in rows] == [row.name for row in Model(one.network, one.card).run(ball(4, 64)).layers]
