"""Measures of a classification, with bootstrap intervals. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]


def accuracy(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Share of cases whose most probable class is right; of equal ones the first counts."""
    return float((probabilities.argmax(1) == labels).mean())


def balanced_accuracy(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Mean over the classes that occur of the share of their cases that is found."""
    right = probabilities.argmax(1) == labels
    return float(np.mean([right[labels == value].mean() for value in np.unique(labels)]))


def auc(probabilities: NDArray[Any], labels: NDArray[Any]) -> float:
    """Area under the ROC curve, ties counted half; for more than two classes the mean of one against the rest.

    Returns NaN where a class does not occur, or is the only one.

    References
    ----------
    Hand, Till. A Simple Generalisation of the Area Under the ROC Curve. Machine Learning 2001. (One-vs-rest, macro.)
    """
    classes = probabilities.shape[1]
    if classes == 2:
        return binary_auc(probabilities[:, 1], labels == 1)
    return float(np.mean([binary_auc(probabilities[:, value], labels == value) for value in range(classes)]))


def binary_auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive case scores above a negative one (Mann-Whitney), ties counted half; else NaN."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return float("nan")
    ranks = mean_ranks(scores)
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def confusion(probabilities: NDArray[Any], labels: NDArray[Any]) -> Labels:
    """(classes, classes): rows are the true class, columns the predicted one."""
    classes = probabilities.shape[1]
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (labels, probabilities.argmax(1)), 1)
    return table


@dataclass(frozen=True, eq=False)
class Calibration:
    """How sure, and how often right.

    Attributes
    ----------
    confidence, correct : ndarray
        (bins,): mean probability of the predicted class, and share of right predictions, in each bin that holds cases.
    count : ndarray
        (bins,): cases in each.
    error : float
        Expected calibration error: mean |confidence - correct| over the cases.
    """

    confidence: Floats
    correct: Floats
    count: Labels
    error: float


def calibration(probabilities: NDArray[Any], labels: NDArray[Any], bins: int = 10) -> Calibration:
    """Reliability of the predicted class's probability in bins of equal width, open below.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger. On Calibration of Modern Neural Networks. ICML 2017, equation 3.
    """
    sure = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    place = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    held = count > 0
    confidence = np.bincount(place, sure, bins)[held] / count[held]
    correct = np.bincount(place, right, bins)[held] / count[held]
    error = float((np.abs(confidence - correct) * count[held]).sum() / len(labels))
    return Calibration(confidence, correct, count[held], error)


def roc_curve(scores: NDArray[Any], positive: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """False and true positive rate at every threshold, from (0, 0) to (1, 1)."""
    order = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.diff(scores[order]) != 0, True)
    true = np.cumsum(positive[order])[last_of_ties]
    false = np.cumsum(~positive[order])[last_of_ties]
    return np.append(0, false) / max(false[-1], 1), np.append(0, true) / max(true[-1], 1)


def bootstrap_interval(
    measure: Callable[[NDArray[np.int64]], float],
    n: int,
    *,
    groups: Sequence[str] | None = None,
    strata: NDArray[Any] | None = None,
    samples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a measure over resampled cases.

    Parameters
    ----------
    measure : function
        Takes row numbers (drawn with replacement) and gives a figure; NaN draws are left out.
    n : int
        Number of cases.
    groups : sequence of str, optional
        What belongs together (cases of a patient, equal contents): groups, not their cases, are resampled.
    strata : ndarray, optional
        (n,): each stratum is resampled on its own, so that no class vanishes. Groups that lie in several strata are
        resampled among those that lie in the same ones.
    samples, confidence, seed
        How often, how wide, and drawn from what.

    References
    ----------
    Efron, Tibshirani. An Introduction to the Bootstrap. 1993, chapter 13.
    """
    random = np.random.default_rng(seed)
    draw = _drawing(n, groups, strata, random)
    values = np.array([measure(draw()) for _ in range(samples)])
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def figures(probabilities: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """Accuracy, balanced accuracy, AUC and expected calibration error (``ece``)."""
    check(probabilities, labels)
    return {
        "accuracy": accuracy(probabilities, labels),
        "balanced_accuracy": balanced_accuracy(probabilities, labels),
        "auc": auc(probabilities, labels),
        "ece": calibration(probabilities, labels).error,
    }


def intervals(
    probabilities: NDArray[Any],
    labels: NDArray[Any],
    groups: Sequence[str] | None = None,
    *,
    by_class: bool = True,
    samples: int = 1000,
) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals of accuracy, balanced accuracy and AUC.

    Parameters
    ----------
    probabilities, labels : ndarray
        (n, classes) and (n,) class numbers.
    groups : sequence of str, optional
        What is drawn together.
    by_class : bool
        Whether each class is drawn on its own. Not for patients: how many of which class there are is chance as well.
    samples : int
    """
    check(probabilities, labels)
    measures: dict[str, Callable[[NDArray[Any], NDArray[Any]], float]] = {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "auc": auc,
    }

    def interval(measure: Callable[[NDArray[Any], NDArray[Any]], float]) -> tuple[float, float]:
        return bootstrap_interval(
            lambda rows: measure(probabilities[rows], labels[rows]),
            len(labels),
            groups=groups,
            strata=labels if by_class else None,
            samples=samples,
        )

    return {name: interval(measure) for name, measure in measures.items()}


def check(probabilities: NDArray[Any], labels: NDArray[Any]) -> None:
    """Refuse what cannot be measured.

    Raises
    ------
    InputError
        If shapes do not fit, there is no case, a label is no class, or a probability is not finite.
    """
    if probabilities.ndim != 2 or labels.shape != (len(probabilities),) or not len(labels):
        raise InputError(
            f"probabilities must be (n, classes) with n labels, n > 0; got {probabilities.shape} and {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise InputError(
            f"labels must be class numbers below {probabilities.shape[1]}, got {labels.min()} to {labels.max()}"
        )
    if not np.isfinite(probabilities).all():
        raise InputError("probabilities must be finite numbers; the network gave NaN or infinity")


def mean_ranks(values: NDArray[Any]) -> Floats:
    """Ranks from 1; ties share their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    upto = np.cumsum(count)
    ranks: Floats = (upto - (count - 1) / 2)[place]
    return ranks


def _drawing(
    n: int, groups: Sequence[str] | None, strata: NDArray[Any] | None, random: np.random.Generator
) -> Callable[[], NDArray[np.int64]]:
    values = np.zeros(n, dtype=int) if strata is None else strata
    if groups is None:
        parts = [np.flatnonzero(values == value) for value in np.unique(values)]
        return lambda: np.concatenate([part[random.integers(len(part), size=len(part))] for part in parts])
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    members = np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])
    alike: dict[tuple[Any, ...], list[NDArray[np.int64]]] = {}
    for rows in members:
        alike.setdefault(tuple(np.unique(values[rows])), []).append(rows)
    units = [alike[key] for key in sorted(alike)]
    return lambda: np.concatenate([unit[i] for unit in units for i in random.integers(len(unit), size=len(unit))])
