"""What a figure is read against: its 95 % interval in closed form, and what guessing gives. Arrays in, numbers out.

Resampling (:func:`metrics.intervals`) takes up to seconds, which is right for a report and too long after each epoch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.groups import PATIENTS, LinkedCases
from napari_sparse3d.measure import metrics
from napari_sparse3d.measure.judge import RETRIEVED_PER_CLASS

Floats = NDArray[np.float64]
_NORMAL_95 = 1.959963984540054


def bounds(
    name: str, probabilities: NDArray[Any], labels: NDArray[Any], linked: LinkedCases | None = None
) -> dict[str, float]:
    """``low`` and ``high``, the ends of a figure's 95 % interval, and ``chance``; those that there are.

    Parameters
    ----------
    name : str
        ``accuracy``, ``balanced_accuracy``, ``auc``, ``map`` or ``loss``; any other figure has none of the three.
    probabilities, labels : ndarray
        (n, classes) and (n,) class numbers.
    linked : LinkedCases, optional
        What counts as one: cases of a patient, equal contents.
    """
    found: dict[str, float] = {}
    ends = interval(name, probabilities, labels, linked)
    if ends is not None:
        found["low"], found["high"] = ends
    guessed = chance(name, labels, probabilities.shape[1])
    if guessed is not None:
        found["chance"] = guessed
    return found


def interval(
    name: str, probabilities: NDArray[Any], labels: NDArray[Any], linked: LinkedCases | None = None
) -> tuple[float, float] | None:
    """The normal 95 % interval of accuracy, balanced accuracy or AUC, cut to 0 ... 1.

    None where there is none: of other figures, where a class is missing, and where no case differs from another (all
    are right, say), which leaves nothing to estimate a variance from. As in :func:`judge.judge`, the share of each
    class is taken as it is, unless whole patients are known: how many of which class there are is then chance as well.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson. Comparing the Areas under Two or More Correlated Receiver Operating Characteristic
    Curves: A Nonparametric Approach. Biometrics 1988. Of several cases that count as one, their parts are added up:
    Obuchowski. Nonparametric Analysis of Clustered ROC Curve Data. Biometrics 1997.
    """
    if name not in _INFLUENCES:
        return None
    value, influence = _INFLUENCES[name](probabilities, labels)
    if not np.isfinite(value):
        return None
    if linked is None or linked.kind != PATIENTS:
        for each in np.unique(labels):
            influence[labels == each] -= influence[labels == each].mean()
    units = influence if linked is None else np.bincount(np.unique(linked.groups, return_inverse=True)[1], influence)
    if len(units) < 2 or not units.any():
        return None
    reach = _NORMAL_95 * np.sqrt((units**2).sum() * len(units) / (len(units) - 1))
    return max(0.0, float(value - reach)), min(1.0, float(value + reach))


def chance(name: str, labels: NDArray[Any], classes: int) -> float | None:
    """What a figure is without any knowledge of the cases; None where that is not known.

    Accuracy: of always saying the most frequent class. Loss: of always giving the classes' frequencies. mAP: expected
    of a random order, as :func:`judge.measure` takes it.

    References
    ----------
    Bestgen. Exact Expected Average Precision of the Random Baseline for System Evaluation. PBML 103, 2015.
    """
    counts = np.bincount(labels, minlength=classes)
    shares = counts[counts > 0] / counts.sum()
    if name == "auc":
        return 0.5
    if name == "accuracy":
        return float(shares.max())
    if name == "balanced_accuracy":
        return 1 / len(shares)
    if name == "loss":
        return float(-(shares * np.log(shares)).sum())
    if name == "map":
        return _random_precision(np.minimum(counts, RETRIEVED_PER_CLASS))
    return None


def _random_precision(counts: NDArray[Any]) -> float | None:
    """Mean over all queries that have others of their class of the expected average precision of a random order."""
    others = int(counts.sum()) - 1
    asked = counts[counts > 1]
    if not len(asked) or others < 2:
        return None
    harmonic = float((1 / np.arange(1, others + 1)).sum())
    expected = ((asked - 2) / (others - 1) * (others - harmonic) + harmonic) / others
    return float((expected * asked).sum() / asked.sum())


def _of_accuracy(probabilities: NDArray[Any], labels: NDArray[Any]) -> tuple[float, Floats]:
    right = (probabilities.argmax(1) == labels).astype(float)
    return float(right.mean()), (right - right.mean()) / len(labels)


def _of_balanced_accuracy(probabilities: NDArray[Any], labels: NDArray[Any]) -> tuple[float, Floats]:
    right = (probabilities.argmax(1) == labels).astype(float)
    present = np.unique(labels)
    influence = np.zeros(len(labels))
    for each in present:
        own = labels == each
        influence[own] = (right[own] - right[own].mean()) / own.sum() / len(present)
    return float(np.mean([right[labels == each].mean() for each in present])), influence


def _of_auc(probabilities: NDArray[Any], labels: NDArray[Any]) -> tuple[float, Floats]:
    """Each case's part in the area, for more than two classes in the mean of one against the rest."""
    classes = probabilities.shape[1]
    measured = [1] if classes == 2 else range(classes)
    influence = np.zeros(len(labels))
    for each in measured:
        influence += _parts_of_area(probabilities[:, each], labels == each) / len(measured)
    return metrics.auc(probabilities, labels), influence


def _parts_of_area(scores: NDArray[Any], positive: NDArray[np.bool_]) -> Floats:
    """DeLong's structural components, without their mean: how much of the other side each case stands apart from."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    parts = np.zeros(len(scores))
    if not n_positive or not n_negative:
        return parts
    ranks = metrics.mean_ranks(scores)
    above = (ranks[positive] - metrics.mean_ranks(scores[positive])) / n_negative
    below = 1 - (ranks[~positive] - metrics.mean_ranks(scores[~positive])) / n_positive
    parts[positive] = (above - above.mean()) / n_positive
    parts[~positive] = (below - below.mean()) / n_negative
    return parts


_INFLUENCES = {"accuracy": _of_accuracy, "balanced_accuracy": _of_balanced_accuracy, "auc": _of_auc}
"""Figure, and by how much each case moves it from the mean (the influence function over n); of each case's share."""
