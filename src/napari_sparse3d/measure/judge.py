"""What a model is judged by: classification and retrieval, each figure with its interval. Arrays in, figures out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.cases.groups import PATIENTS, LinkedCases
from napari_sparse3d.errors import InputError
from napari_sparse3d.measure import metrics
from napari_sparse3d.measure.retrieval import retrieval

RETRIEVED_PER_CLASS = 20
"""Retrieval is measured on at most so many cases of each class, as on ModelNet40."""


def measure(probabilities: NDArray[Any], embeddings: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    """The figures that are worth a curve: accuracy, balanced accuracy, AUC, calibration error, mAP.

    Parameters
    ----------
    probabilities : ndarray
        (n, classes).
    embeddings : ndarray
        (n, D).
    labels : ndarray
        (n,) class numbers.
    """
    figures = metrics.figures(probabilities, labels)
    try:
        figures["map"] = retrieval(embeddings, labels, at_most_per_class=RETRIEVED_PER_CLASS).map
    except InputError:  # no class with two cases: nothing can be retrieved
        figures["map"] = float("nan")
    return figures


def judge(
    probabilities: NDArray[Any],
    embeddings: NDArray[Any],
    labels: NDArray[Any],
    linked: LinkedCases | None = None,
) -> dict[str, Any]:
    """Everything of :func:`measure`, with all figures of retrieval, the confusion matrix and 95 % intervals.

    Parameters
    ----------
    linked : LinkedCases, optional
        What is drawn together, and of which a query's own group is no result. Where not all of it is patients, each
        class is drawn on its own, as where nothing is linked: two equal contents change the intervals no further.
    """
    groups = None if linked is None else linked.groups
    patients = linked is not None and linked.kind == PATIENTS
    intervals = metrics.intervals(probabilities, labels, groups, by_class=not patients)
    report: dict[str, Any] = {"n": len(labels), **metrics.figures(probabilities, labels)}
    try:
        figures = retrieval(embeddings, labels, groups=groups, at_most_per_class=RETRIEVED_PER_CLASS).figures()
    except InputError:
        figures = {}
    report |= {"map": None, **figures}
    report["confusion"] = metrics.confusion(probabilities, labels).tolist()
    report["intervals"] = {name: list(pair) for name, pair in intervals.items()}
    report["interval"] = f"95 % bootstrap over {'cases' if linked is None else linked.kind}"
    # NaN is no JSON; a figure that does not exist (AUC of one class) is null
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in report.items()
    }
