"""Losses against torch, against pytorch-metric-learning itself, and against loops over all triplets."""

import itertools

import numpy as np
import pytest
import torch
from pytorch_metric_learning import losses as theirs
from pytorch_metric_learning import miners
from torch.nn import functional

from napari_sparse3d.errors import InputError
from napari_sparse3d.training.losses import loss_of
from napari_sparse3d.training.losses.triplet import Triplet, choose_triplets, triplet


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    embedding = functional.normalize(torch.randn(30, 5, generator=generator))
    return embedding, torch.randn(30, 3, generator=generator), torch.tensor([0, 1, 2] * 10)


def criterion(weights=(1.0, 1.0, 1.0), **how):
    return loss_of(how).criterion(3, 5, torch.tensor(weights))


def random():
    return torch.Generator().manual_seed(1)


def test_cross_entropy_is_torchs(batch):
    embedding, logits, label = batch
    ours = criterion(weights=(1.0, 2.0, 0.5), smoothing=0.1)(embedding, logits, label, random())
    weights = torch.tensor([1.0, 2.0, 0.5])
    assert ours == functional.cross_entropy(logits, label, weights, label_smoothing=0.1)


@pytest.mark.parametrize("distance", ["cosine", "squared-l2"])
@pytest.mark.parametrize("pairs", ["shuffled", "random", "hardest"])
def test_the_triplet_loss_is_its_formula(batch, distance, pairs):
    embedding, logits, label = batch
    ours = criterion(name="triplet", distance=distance, margin=1.0, pairs=pairs, classify=0)(
        embedding, logits, label, random()
    )
    total = []
    for a, p, n in zip(*choose_triplets(embedding, label, pairs, random())):
        vectors = embedding.numpy().astype(float)
        if distance == "cosine":
            near, far = 1 - vectors[a] @ vectors[p], 1 - vectors[a] @ vectors[n]
        else:
            near, far = ((vectors[a] - vectors[p]) ** 2).sum(), ((vectors[a] - vectors[n]) ** 2).sum()
        total.append(max(0, 1.0 + near - far))
    assert total
    assert float(ours) == pytest.approx(np.mean(total), abs=1e-6)
    assert float(ours) > 0


@pytest.mark.parametrize("pairs", ["shuffled", "random", "hardest"])
def test_triplets_are_triplets(batch, pairs):
    embedding, _, label = batch
    for seed in range(5):
        anchors, positives, negatives = choose_triplets(embedding, label, pairs, torch.Generator().manual_seed(seed))
        assert (label[anchors] == label[positives]).all()
        assert (anchors != positives).all()
        assert (label[anchors] != label[negatives]).all()


def test_hardest_means_hardest(batch):
    embedding, _, label = batch
    cosine = (embedding @ embedding.T).numpy()
    for a, p, n in zip(*(rows.tolist() for rows in choose_triplets(embedding, label, "hardest", random()))):
        others = range(len(label))
        assert cosine[a, p] == min(cosine[a, o] for o in others if o != a and label[o] == label[a])
        assert cosine[a, n] == max(cosine[a, o] for o in others if label[o] != label[a])


def test_a_batch_without_triplets_has_loss_zero_and_gradients():
    embedding = functional.normalize(torch.randn(4, 5)).requires_grad_()
    for label in ([0, 0, 0, 0], [0, 1, 2, 3]):
        found = choose_triplets(embedding, torch.tensor(label), "hardest", random())
        loss = triplet(embedding, found, Triplet())
        loss.backward()
        assert loss == 0
        assert torch.isfinite(embedding.grad).all()


@pytest.mark.parametrize("name", ["MultiSimilarityLoss", "TripletMarginLoss", "NTXentLoss"])
def test_metric_learning_losses_are_that_librarys(batch, name):
    embedding, logits, label = batch
    ours = criterion(name=name, classify=0)(embedding, logits, label, random())
    assert ours == getattr(theirs, name)()(embedding, label)
    both = criterion(name=name, classify=0.5)(embedding, logits, label, random())
    assert float(both) == pytest.approx(float(ours + 0.5 * functional.cross_entropy(logits, label)))


def test_a_miner_chooses_the_pairs(batch):
    embedding, logits, label = batch
    ours = criterion(name="TripletMarginLoss", miner="BatchHardMiner", arguments={"margin": 0.3}, classify=0)
    expected = theirs.TripletMarginLoss(margin=0.3)(embedding, label, miners.BatchHardMiner()(embedding, label))
    assert ours(embedding, logits, label, random()) == expected
    assert expected != theirs.TripletMarginLoss(margin=0.3)(embedding, label)


def test_a_loss_with_weights_of_its_own_trains_them(batch):
    made = criterion(name="ArcFaceLoss")
    assert [tuple(weight.shape) for weight in made.parameters()] == [(5, 3)]
    made(*batch, random()).backward()
    assert next(made.parameters()).grad.abs().sum() > 0


def squared(embedding, logits, label):
    return logits.square().mean()


def test_a_function_of_the_users(batch, monkeypatch, tmp_path):
    (tmp_path / "own_losses.py").write_text(
        "def squared(embedding, logits, label):\n    return logits.square().mean()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert criterion(name="own_losses:squared")(*batch, random()) == squared(*batch)


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ({"name": "NoSuchLoss"}, "no 'NoSuchLoss'"),
        ({"name": "TripletMarginLoss", "arguments": {"no_such": 1}}, "no_such"),
        ({"name": "MultiSimilarityLoss", "miner": "NoSuchMiner"}, "NoSuchMiner"),
        ({"name": "no_module:function"}, "importable"),
        ({"name": "math:no_function"}, "no_function"),
        ({"name": "math:pi"}, "no function"),
    ],
)
def test_what_there_is_not_is_named(how, hint):
    with pytest.raises(InputError, match=hint):
        criterion(**how)


def test_all_pairs_of_settings_are_reachable():
    """Every choice that the configuration offers makes a criterion."""
    for distance, pairs in itertools.product(("cosine", "squared-l2"), ("shuffled", "random", "hardest")):
        how = loss_of({"name": "triplet", "distance": distance, "pairs": pairs})
        assert how.on_embeddings
        assert how.criterion(3, 5, torch.ones(3)).how == Triplet(distance=distance, pairs=pairs)
    assert not loss_of({}).on_embeddings
