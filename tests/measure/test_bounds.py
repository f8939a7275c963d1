"""What a figure is read against: intervals beside pairs counted one by one and resampling, chance beside draws."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, balanced_accuracy_score, log_loss, roc_auc_score

from napari_sparse3d.cases.groups import PATIENTS, LinkedCases
from napari_sparse3d.measure.bounds import bounds, chance, interval
from napari_sparse3d.measure.judge import judge
from napari_sparse3d.measure.metrics import bootstrap_interval


def cases(n: int, classes: int, seed: int, skill: float = 1.0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(classes, size=n - classes)])
    logits = random.normal(size=(n, classes)).round(1)  # rounded: ties
    logits[np.arange(n), labels] += skill
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return shares.astype(np.float32), labels


def delong(scores: Any, positive: Any) -> tuple[float, float]:
    """Area and its variance (DeLong 1988, equation 5 and on), every pair looked at."""
    ours, others = scores[positive], scores[~positive]
    wins = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in others] for a in ours])
    by_case, by_other = wins.mean(1), wins.mean(0)
    return wins.mean(), by_case.var(ddof=1) / len(ours) + by_other.var(ddof=1) / len(others)


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_of_an_area_is_delong_s(seed: int) -> None:
    probabilities, labels = cases(120, 2, seed)
    area, variance = delong(probabilities[:, 1], labels == 1)
    low, high = interval("auc", probabilities, labels)
    assert (low + high) / 2 == pytest.approx(area, abs=1e-9)
    # n / (n - 1) of all cases in place of both sides' own
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.02)


@pytest.mark.parametrize(("name", "classes"), [("auc", 2), ("auc", 4), ("accuracy", 3), ("balanced_accuracy", 3)])
def test_resampling_gives_nearly_the_same(name: str, classes: int) -> None:
    probabilities, labels = cases(150, classes, 7)
    drawn = judge(probabilities, np.eye(150), labels)["intervals"][name]
    assert interval(name, probabilities, labels) == pytest.approx(drawn, abs=0.02)


@pytest.mark.parametrize("name", ["auc", "accuracy", "balanced_accuracy"])
def test_cases_of_a_patient_count_as_one(name: str) -> None:
    """Every case four times under one patient says no more than once."""
    probabilities, labels = cases(60, 2, 3)
    often, same = np.repeat(probabilities, 4, axis=0), np.repeat(labels, 4)
    patients = LinkedCases(tuple(str(number) for number in range(60) for _ in range(4)), PATIENTS)
    alone = LinkedCases(tuple(map(str, range(60))), PATIENTS)
    once = interval(name, probabilities, labels, alone)
    assert interval(name, often, same, patients) == pytest.approx(once, abs=1e-6)
    assert interval(name, often, same)[0] > once[0] + 0.02  # as if they were 240
    figures = {"auc": lambda p, y: roc_auc_score(y, p[:, 1]), "accuracy": lambda p, y: (p.argmax(1) == y).mean(),
               "balanced_accuracy": lambda p, y: balanced_accuracy_score(y, p.argmax(1))}  # fmt: skip
    drawn = bootstrap_interval(
        lambda rows: figures[name](often[rows], same[rows]), len(same), groups=patients.groups, samples=300
    )
    assert once == pytest.approx(drawn, abs=0.035)


def test_no_interval_where_none_can_be_taken() -> None:
    probabilities, labels = cases(20, 2, 0, skill=50)
    assert interval("accuracy", probabilities, labels) is None  # all are right: nothing tells how sure that is
    assert interval("auc", probabilities, labels) is None
    assert interval("loss", *cases(20, 2, 0)) is None
    assert interval("auc", probabilities[labels == 0], labels[labels == 0]) is None
    assert interval("accuracy", *(each[:1] for each in cases(20, 2, 0))) is None
    assert bounds("ece", *cases(20, 2, 0)) == {}


def test_chance_is_what_drawn_answers_give() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [30, 12, 6])
    shares = np.bincount(labels) / len(labels)
    assert chance("accuracy", labels, 3) == max((labels == value).mean() for value in range(3))
    assert chance("balanced_accuracy", labels, 4) == pytest.approx(
        balanced_accuracy_score(labels, np.zeros(len(labels)))  # of the classes that occur
    )
    assert chance("loss", labels, 3) == pytest.approx(log_loss(labels, np.tile(shares, (len(labels), 1))))
    drawn = [roc_auc_score(labels == 0, random.random(len(labels))) for _ in range(400)]
    assert chance("auc", labels, 3) == pytest.approx(np.mean(drawn), abs=0.02)
    assert chance("ece", labels, 3) is None


def test_chance_of_retrieval_is_the_mean_over_all_orders() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])

    def precision_of(query: int) -> float:
        """Mean over every set of places that the right ones can take among the others."""
        right = sum(labels == labels[query]) - 1
        orders = [bits for bits in product([0, 1], repeat=len(labels) - 1) if sum(bits) == right]
        return np.mean([average_precision_score(bits, -np.arange(len(bits))) for bits in orders])

    asked = [query for query in range(len(labels)) if sum(labels == labels[query]) > 1]
    assert chance("map", labels, 3) == pytest.approx(np.mean([precision_of(query) for query in asked]))
    assert chance("map", np.array([0, 1, 2]), 3) is None
    many = np.repeat([0, 1], 50)  # 20 of each are looked at
    assert chance("map", many, 2) == chance("map", np.repeat([0, 1], 20), 2)
