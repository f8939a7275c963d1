"""Batches are made ahead: the same as one after the other, whatever the threads, and nothing is left when it ends."""

import threading
import time

import numpy as np
import pytest
import torch

from napari_sparse3d.training import loop
from napari_sparse3d.training.ahead import one_ahead
from napari_sparse3d.training.config import Training
from napari_sparse3d.voxels import RangeThreshold, Recipe


def test_what_is_made_comes_in_order_and_no_more_than_one_waits():
    begun = []

    def make(item):
        begun.append(item)
        time.sleep(0.001 * (item % 3))
        return item * item

    most = 0
    with one_ahead(make, range(12)) as made:
        for item, value in enumerate(made):
            assert value == item * item
            most = max(most, len(begun) - item)
            time.sleep(0.001 * (item % 2))
    assert begun == list(range(12))
    assert most == 2


@pytest.mark.parametrize("how", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_stands_where_its_batch_should(how):
    def make(item):
        if item == 2:
            raise how("the third")
        return item

    seen, before = [], threading.active_count()

    def taken():
        with one_ahead(make, range(5)) as made:
            for item in made:
                seen.append(item)  # noqa: PERF402  (each as it comes)

    with pytest.raises(how, match="the third"):
        taken()
    assert seen == [0, 1]
    assert threading.active_count() == before


def test_who_stops_early_leaves_no_thread():
    before = threading.active_count()
    with one_ahead(lambda item: item, range(100)) as made:
        assert next(made) == 0
    assert threading.active_count() == before


def one_by_one(make, items):
    """In the place of ``one_ahead``: no thread."""

    class Each:
        def __enter__(self):
            return map(make, items)

        def __exit__(self, *_):
            return None

    return Each()


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The weights after two epochs of a small training with all that is left to chance."""
    random = np.random.default_rng(0)
    images = (random.random((12, 9, 9, 9)) < 0.3).astype(np.uint8)
    labels = np.arange(12)[:, None] % 2
    np.savez(tmp_path / "set.npz", train_images=images[:8], train_labels=labels[:8], val_images=images[8:],
             val_labels=labels[8:])  # fmt: skip
    monkeypatch.setenv("NAPARI_SPARSE3D_CACHE", str(tmp_path / "cache"))
    from napari_sparse3d.cases.sources import cases_of
    from napari_sparse3d.cases.store import VoxelStore

    cases = cases_of(tmp_path / "set.npz")
    sides = [[case for case in cases if case.split == side] for side in ("train", "val")]
    config = Training(
        recipe=Recipe(name="small", threshold=RangeThreshold(low=0.5), field=16),
        arguments={"field": 16, "channels": [4, 8], "embedding": 8, "dropout": 0.4},
        epochs=2,
        batch_size=3,
        augment={"turns": "all", "rotate_degrees": 20, "scale": 0.1, "shift": 0.1, "drop": 0.1, "jitter": 0.1},
    )

    def weights(ahead, threads):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(loop, "one_ahead", ahead)
                trainer = loop.Trainer(config, *sides, ["0", "1"], VoxelStore(config.recipe))
                losses = [report.loss for report in trainer.run()]
        finally:
            torch.set_num_threads(before)
        return losses, {name: each.numpy().tobytes() for name, each in trainer.network.state_dict().items()}

    return weights


def test_batches_made_ahead_train_to_the_same_bits(trained):
    alone = trained(one_by_one, 1)
    assert len(set(alone[0])) == 2
    for ahead, threads in ((one_ahead, 1), (one_ahead, 2), (one_by_one, 2)):
        assert trained(ahead, threads) == alone
