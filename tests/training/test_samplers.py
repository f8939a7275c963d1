"""Which cases meet in a batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_sparse3d.errors import InputError
from napari_sparse3d.training.samplers import class_weights, epoch_batches


@given(n=st.integers(1, 70), batch=st.integers(1, 16), epoch=st.integers(0, 3))
def test_shuffled_sees_every_case_once(settings, n, batch, epoch):
    batches = epoch_batches([0] * n, settings(batch_size=batch), epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(n))
    if n > 1 and batch > 1:
        assert min(map(len, batches)) > 1  # a batch of one has no batch statistics


def test_the_order_is_a_function_of_seed_and_epoch(settings):
    def order(seed, epoch):
        return np.concatenate(epoch_batches([0, 1] * 30, settings(seed=seed), epoch)).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_balanced_shows_every_class_equally(settings):
    labels = [0] * 90 + [1] * 9 + [2]
    drawn = np.concatenate(epoch_batches(labels, settings(sampler="balanced"), 0))
    counts = np.bincount(np.array(labels)[drawn])
    assert len(drawn) == 100
    assert counts.max() - counts.min() <= 2
    seen = np.bincount(drawn, minlength=100)
    assert seen[90:99].min() >= 2  # a class goes round: none of its cases is left out


def test_pk_has_p_classes_of_k_cases(settings):
    labels = np.array([0] * 40 + [1] * 40 + [2] * 3 + [3] * 40)
    how = settings(sampler="pk", classes_per_batch=3, cases_per_class=4)
    batches = epoch_batches(labels.tolist(), how, 0)
    assert len(batches) == 123 // 12
    for batch in batches:
        counts = np.bincount(labels[batch], minlength=4)
        assert sorted(counts[counts > 0].tolist()) == [4, 4, 4]
    with pytest.raises(InputError, match="two classes"):
        epoch_batches([0, 0, 0], how, 0)


def test_weights_make_classes_count_the_same():
    weights = class_weights([0] * 90 + [1] * 10, 3)
    np.testing.assert_allclose(weights * [90, 10, 0], [50, 50, 0])
