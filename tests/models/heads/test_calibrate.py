"""One scale and a bias for each class: they mend what was distorted, and leave the order alone."""

import numpy as np
import pytest
import torch

from napari_sparse3d.measure.metrics import auc, calibration
from napari_sparse3d.models.heads.calibration import SCALES, Correction, fit, to_frequencies
from napari_sparse3d.training.swapped import below_chance


def drawn(logits, random):
    """Labels that follow the probabilities of these logits."""
    likely = torch.softmax(torch.from_numpy(logits), 1).numpy()
    return likely, np.array([random.choice(len(row), p=row) for row in likely])


@pytest.mark.parametrize("classes", [2, 4])
def test_a_known_distortion_is_undone(classes):
    random = np.random.default_rng(0)
    likely, labels = drawn(random.normal(0, 2, (4000, classes)), random)
    shift = np.linspace(-1, 1, classes)
    distorted = torch.softmax(torch.from_numpy(np.log(likely) * 0.4 + shift), 1).numpy()
    assert calibration(distorted, labels).error > 0.05
    found = fit(distorted, labels)
    assert found.scale == pytest.approx(1 / 0.4, rel=0.1)
    np.testing.assert_allclose(found.bias, -shift / 0.4, atol=0.25)
    assert sum(found.bias) == pytest.approx(0, abs=1e-9)
    assert calibration(found.applied(distorted), labels).error < 0.03


def test_two_classes_keep_their_order():
    random = np.random.default_rng(1)
    likely, labels = drawn(random.normal(0, 1, (200, 2)), random)
    corrected = fit(likely, labels).applied(likely)
    assert (likely[:, 1].argsort() == corrected[:, 1].argsort()).all()
    assert auc(corrected, labels) == auc(likely, labels)


def test_few_cases_that_are_all_right_do_not_become_certain():
    """Without Platt's targets the scale would grow without end; with them five of five stand for six of seven."""
    likely = np.repeat([[0.9, 0.1], [0.1, 0.9]], 5, axis=0)
    corrected = fit(likely, np.repeat([0, 1], 5)).applied(likely)
    np.testing.assert_allclose(corrected.max(1), 6 / 7, atol=1e-4)


def test_a_class_without_a_case_stays_possible():
    random = np.random.default_rng(2)
    likely, labels = drawn(random.normal(0, 1, (60, 3)), random)
    kept = likely[labels != 2]
    corrected = fit(kept, labels[labels != 2]).applied(kept)
    assert np.isfinite(corrected).all()
    assert 0 < corrected[:, 2].mean() < kept[:, 2].mean()


@pytest.mark.parametrize("correction", [Correction(2.5, (-0.5, 0.2, 0.3)), to_frequencies(np.array([8, 1, 3]))])
def test_folded_into_a_classifier_it_gives_the_same(correction):
    classifier = torch.nn.Linear(6, 3)
    described = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = torch.softmax(classifier(described), 1).numpy()
        correction.fold_into(classifier)
        after = torch.softmax(classifier(described), 1).numpy()
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, correction.applied(before), atol=1e-5)


def test_frequencies_come_back():
    """Cases that carry no information get the classes' true share."""
    equal = np.full((1, 3), 1 / 3)
    np.testing.assert_allclose(to_frequencies(np.array([8, 1, 3])).applied(equal)[0], np.array([8, 1, 3]) / 12)


@pytest.mark.parametrize("shift", [-3.0, 0.0, 2.0])
@pytest.mark.parametrize("labelled", ["right", "swapped", "at random", "all of one class"])
def test_a_ranking_survives_whatever_the_labels_are(labelled, shift):
    """Probabilities are strictly ordered as the logits were, and further apart than rounding."""
    random = np.random.default_rng(3)
    gap = np.sort(random.normal(shift, 2, 60))
    likely = torch.softmax(torch.from_numpy(np.stack([0 * gap, gap], 1)), 1).numpy()
    truth = (gap + random.normal(0, 1, 60) > shift).astype(np.int64)
    labels = {
        "right": truth,
        "swapped": 1 - truth,
        "at random": random.integers(0, 2, 60),
        "all of one class": np.zeros(60, np.int64),
    }[labelled]
    found = fit(likely, labels)
    assert SCALES[0] <= found.scale <= SCALES[1]
    corrected = found.applied(likely)[:, 1]
    assert (np.diff(corrected) > 0).all()
    odds = np.log(corrected.astype(float) / (1 - corrected))
    assert np.ptp(odds) > 0.09 * np.ptp(gap)
    binary = np.stack([1 - corrected, corrected], 1)
    if labelled != "all of one class":
        assert auc(binary, labels) == auc(likely, labels)


@pytest.mark.parametrize("sharpness", [1e-3, 50.0])
def test_a_scale_stays_within_its_bounds_and_its_bias_fits_there(sharpness):
    random = np.random.default_rng(4)
    likely, labels = drawn(random.normal(0, 2, (400, 2)), random)
    other = torch.softmax(torch.from_numpy(np.log(likely) * sharpness), 1).numpy()
    found = fit(other, labels)
    assert SCALES[0] <= found.scale <= SCALES[1]
    assert np.isfinite(found.bias).all()
    share = (labels == 1).mean()  # the best bias makes the mean probability the share of the class
    assert found.applied(other)[:, 1].mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("classes", [2, 3])
def test_below_chance_is_said_as_scikit_learn_measures_it(classes):
    from sklearn.metrics import roc_auc_score

    for seed in range(20):
        random = np.random.default_rng(seed)
        likely = random.dirichlet(np.ones(classes), 30).round(1 if seed % 2 else 3)  # with ties
        likely[:, 0] += 1 - likely.sum(1)
        labels = np.arange(30) % classes
        areas = [roc_auc_score(labels == value, likely[:, value]) for value in range(classes)]
        area = areas[1] if classes == 2 else np.mean(areas)
        said = below_chance(likely, labels)
        assert bool(said) == (area < 0.5)
        if said:
            assert said == f"below chance on validation (AUC {area:.2f}): are the labels swapped?"


def test_of_one_class_alone_no_chance_is_told():
    assert below_chance(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0])) == ""
