"""Measures against scikit-learn, torchmetrics and cases small enough to count by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from torchmetrics.classification import MulticlassCalibrationError

from napari_sparse3d.cases.groups import LinkedCases
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure import metrics
from napari_sparse3d.measure.judge import judge


def predictions(seed, n=200, classes=3, levels=None):
    """Probabilities that know something about the labels; with ``levels`` rounded, so that they tie."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=n)
    logits = random.normal(size=(n, classes)) + 1.2 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if levels:
        probabilities = np.round(probabilities * levels) / levels
    return probabilities, labels


@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([None, 3]))
def test_they_equal_scikit_learn(seed, classes, levels):
    probabilities, labels = predictions(seed, n=60, classes=classes, levels=levels)
    predicted = probabilities.argmax(1)
    assert metrics.accuracy(probabilities, labels) == sklearn_metrics.accuracy_score(labels, predicted)
    present = np.isin(np.arange(classes), labels)
    if present.all():
        ours = metrics.balanced_accuracy(probabilities, labels)
        assert ours == pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, predicted))
        rest = [sklearn_metrics.roc_auc_score(labels == c, probabilities[:, c]) for c in range(classes)]
        expected = rest[1] if classes == 2 else np.mean(rest)
        assert metrics.auc(probabilities, labels) == pytest.approx(expected)
    table = sklearn_metrics.confusion_matrix(labels, predicted, labels=range(classes))
    np.testing.assert_array_equal(metrics.confusion(probabilities, labels), table)


def test_calibration_equals_torchmetrics():
    probabilities, labels = predictions(1, n=500, classes=4)
    ours = metrics.calibration(probabilities, labels, bins=15)
    theirs = MulticlassCalibrationError(num_classes=4, n_bins=15)(torch.tensor(probabilities), torch.tensor(labels))
    assert ours.error == pytest.approx(float(theirs), abs=1e-6)
    assert ours.error > 0.01
    assert ours.count.sum() == 500


def test_the_roc_curve_encloses_the_area():
    probabilities, labels = predictions(2, classes=2, levels=20)
    false, true = metrics.roc_curve(probabilities[:, 1], labels == 1)
    x, y, _ = sklearn_metrics.roc_curve(labels, probabilities[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(false, x)
    np.testing.assert_allclose(true, y)
    assert np.trapezoid(true, false) == pytest.approx(metrics.auc(probabilities, labels))


def test_auc_counted_by_hand():
    scores = np.array([0.1, 0.4, 0.4, 0.8])
    positive = np.array([False, True, False, True])
    # pairs (positive, negative): .4 > .1, .4 = .4, .8 > .1, .8 > .4
    assert metrics.binary_auc(scores, positive) == 3.5 / 4
    assert np.isnan(metrics.binary_auc(scores, np.ones(4, dtype=bool)))


def test_the_interval_of_a_mean_is_the_one_theory_gives():
    values = np.random.default_rng(3).normal(5, 2, 400)
    low, high = metrics.bootstrap_interval(lambda rows: values[rows].mean(), 400, samples=4000)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_cases_of_one_patient_count_once():
    """Ten copies of each case say no more than one: the interval by patient stays as wide, that by case shrinks."""
    values = np.random.default_rng(4).normal(size=40)
    copied, patients = np.repeat(values, 10), [str(i) for i in np.repeat(np.arange(40), 10)]

    def width(values, **options):
        low, high = metrics.bootstrap_interval(lambda rows: values[rows].mean(), len(values), **options)
        return high - low

    assert width(copied, groups=patients) == pytest.approx(width(values), rel=0.1)
    assert width(copied) < 0.5 * width(values)


def test_the_interval_holds_the_figure_and_no_class_vanishes():
    probabilities, labels = predictions(5, n=40, classes=2)
    labels[:] = 0
    labels[:2] = 1  # drawn freely, one sample in seven would miss both
    found = metrics.intervals(probabilities, labels, samples=300)
    figures = metrics.figures(probabilities, labels)
    for name, (low, high) in found.items():
        assert low <= figures[name] <= high
        assert low < high


def test_a_duplicate_does_not_change_the_estimator():
    """Two equal contents are drawn as one, and each class still on its own; patients are drawn whatever their class."""
    probabilities, labels = predictions(5, n=40, classes=2)
    labels[:] = 0
    labels[:2] = 1
    alone = metrics.intervals(probabilities, labels, samples=300)
    assert metrics.intervals(probabilities, labels, [f"{n:02}" for n in range(40)], samples=300) == alone
    groups = [f"{n - (n == 3):02}" for n in range(40)]
    embeddings = np.random.default_rng(0).normal(size=(40, 3))
    twice = judge(probabilities, embeddings, labels, LinkedCases(tuple(groups), "groups of equal content"))
    patients = judge(probabilities, embeddings, labels, LinkedCases(tuple(groups), "patients"))
    plain = judge(probabilities, embeddings, labels)
    words = [each["interval"].partition(" over ")[2] for each in (plain, twice, patients)]
    assert words == ["cases", "groups of equal content", "patients"]
    np.testing.assert_allclose(twice["intervals"]["auc"], plain["intervals"]["auc"], atol=0.1)
    drawn = []
    metrics.bootstrap_interval(
        lambda rows: drawn.append(np.sort(labels[rows])) or 0.0, 40, groups=groups, strata=labels, samples=50
    )
    assert all(rows.sum() == 2 for rows in drawn)  # both of the rare class, each time
    free = []
    metrics.bootstrap_interval(lambda rows: free.append(labels[rows].sum()) or 0.0, 40, groups=groups, samples=50)
    assert min(free) == 0  # as it is over patients


def test_groups_of_several_classes_are_drawn_together():
    labels, groups = np.array([0, 1, 0, 1, 0, 1, 1]), list("aabbcdd")
    drawn = []
    metrics.bootstrap_interval(
        lambda rows: drawn.append(rows.tolist()) or 0.0, 7, groups=groups, strata=labels, samples=30
    )
    for rows in drawn:
        assert rows.count(0) == rows.count(1)
        assert rows.count(2) == rows.count(3)
        assert rows.count(0) + rows.count(2) == 2  # the two that lie in both classes
        assert rows.count(4) == rows.count(5) == rows.count(6) == 1  # the only ones of their kind


@pytest.mark.parametrize(
    ("probabilities", "labels", "hint"),
    [
        (np.ones((3, 2)), np.zeros(2, int), "n labels"),
        (np.ones((0, 2)), np.zeros(0, int), "n > 0"),
        (np.ones((2, 2)), np.array([0, 2]), "below 2"),
        (np.full((2, 2), np.nan), np.array([0, 1]), "finite"),
    ],
)
def test_what_cannot_be_measured_is_refused(probabilities, labels, hint):
    with pytest.raises(InputError, match=hint):
        metrics.figures(probabilities, labels)
