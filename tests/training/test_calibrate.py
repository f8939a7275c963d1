"""One scale and a bias for each class: they mend what was distorted, and leave the order alone."""

import numpy as np
import pytest
import torch

from napari_sparse3d.analysis.metrics import auc, calibration
from napari_sparse3d.training.calibrate import Correction, fit, to_frequencies


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
