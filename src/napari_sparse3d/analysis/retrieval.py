"""Retrieval by embedding: every case asks for cases of its own class, itself taken out. Arrays in, arrays out.

The measures are those of the shape-retrieval literature:

Shilane, Min, Kazhdan, Funkhouser. The Princeton Shape Benchmark. SMI 2004 (NN, FT, ST, E, DCG).
Manning, Raghavan, Schuetze. Introduction to Information Retrieval. 2008, section 8.4 (average precision).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError

E_DEPTH = 32
"""The E-measure looks at the first 32 results."""
RECALL_LEVELS = 21


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Measures over all queries that have something to find.

    Attributes
    ----------
    map : float
        Mean average precision over the whole ranking.
    nn : float
        Nearest neighbour: share of queries whose first result is right.
    ft, st : float
        First and second tier: recall among the first c and the first 2c results, c being what there is to find.
    dcg : float
        Discounted cumulative gain of the whole ranking, relative to the best ranking there could be.
    e32 : float
        E-measure at 32: harmonic mean of precision and recall of the first 32 results.
    n_queries : int
    recall, precision : ndarray
        (21,): mean interpolated precision at recall 0, 0.05, ..., 1.
    average_precision : ndarray
        (n,): of each query, NaN where there was nothing to find.
    """

    map: float
    nn: float
    ft: float
    st: float
    dcg: float
    e32: float
    n_queries: int
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    average_precision: NDArray[np.float64]

    def figures(self) -> dict[str, float]:
        """The six figures by name."""
        return {name: getattr(self, name) for name in ("map", "nn", "ft", "st", "dcg", "e32")}


def retrieval(
    embeddings: NDArray[Any],
    labels: NDArray[Any],
    *,
    groups: Sequence[str] | None = None,
    at_most_per_class: int | None = None,
    seed: int = 0,
) -> Retrieval:
    """Rank all other cases by cosine similarity to each case in turn.

    Parameters
    ----------
    embeddings : ndarray
        (n, D); brought to unit length.
    labels : ndarray
        (n,): a result is right if it has the query's label.
    groups : sequence of str, optional
        Patients: a query's own patient is taken out of its results as well.
    at_most_per_class : int, optional
        Take at most so many cases of each class, drawn from ``seed`` (ModelNet40 is measured with 20).

    Raises
    ------
    InputError
        If shapes do not fit, a number is not finite, or no query has anything to find.
    """
    if embeddings.ndim != 2 or labels.shape != (len(embeddings),) or not np.isfinite(embeddings).all():
        raise InputError(f"embeddings must be (n, D), finite, with n labels; got {embeddings.shape} and {labels.shape}")
    patients = None if groups is None else np.asarray(groups)
    if at_most_per_class is not None:
        chosen = few_of_each(labels, at_most_per_class, seed)
        embeddings, labels = embeddings[chosen], labels[chosen]
        patients = None if patients is None else patients[chosen]
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    unit = (embeddings / np.where(length > 0, length, 1)).astype(np.float64)
    rows = []
    for query in range(len(unit)):
        allowed = np.arange(len(unit)) != query
        if patients is not None:
            allowed &= patients != patients[query]
        others = np.flatnonzero(allowed)
        order = others[np.argsort(-(unit[others] @ unit[query]), kind="stable")]
        rows.append(_measure(labels[order] == labels[query]))
    found = [row for row in rows if row is not None]
    if not found:
        raise InputError("no query has another case of its class; retrieval needs two cases in at least one class")
    average, nearest, first, second, gain, e32 = np.mean([row[:6] for row in found], axis=0).tolist()
    precision = np.mean([row[6] for row in found], axis=0)
    each = np.array([np.nan if row is None else row[0] for row in rows])
    levels = np.linspace(0, 1, RECALL_LEVELS)
    return Retrieval(average, nearest, first, second, gain, e32, len(found), levels, precision, each)


def few_of_each(labels: NDArray[Any], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Row numbers of at most ``most`` cases of each label, in ascending order."""
    random = np.random.default_rng(seed)
    parts = [random.permutation(np.flatnonzero(labels == value))[:most] for value in np.unique(labels)]
    return np.sort(np.concatenate(parts))


def _measure(right: NDArray[np.bool_]) -> tuple[Any, ...] | None:
    """(AP, NN, FT, ST, DCG, E, interpolated precision) of one ranking; None where there is nothing to find."""
    relevant = int(right.sum())
    if relevant == 0:
        return None
    hits = np.cumsum(right)
    place = np.arange(1, len(right) + 1)
    precision = hits / place
    average = precision[right].mean()
    first_tier = hits[relevant - 1] / relevant
    second_tier = hits[min(2 * relevant, len(right)) - 1] / relevant
    depth = min(E_DEPTH, len(right))
    p, r = hits[depth - 1] / depth, hits[depth - 1] / relevant
    e_measure = 2 * p * r / (p + r) if hits[depth - 1] else 0.0
    # the first two results count in full, later ones by the logarithm of their place
    gain = 1 / np.maximum(np.log2(place), 1)
    dcg = gain[right].sum() / gain[:relevant].sum()
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    needed = np.ceil(np.linspace(0, 1, RECALL_LEVELS) * relevant - 1e-9).astype(int)
    at = np.searchsorted(hits, np.maximum(needed, 1))
    return average, float(right[0]), first_tier, second_tier, dcg, e_measure, best_from_here[at]
