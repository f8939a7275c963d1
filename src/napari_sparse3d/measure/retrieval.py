"""Retrieval by embedding: every case asks for cases of its own class, itself taken out. Arrays in, arrays out.

Results of equal similarity have no order, and the order of the table must not lend them one: every measure is its
expectation over all orders of equals, by formula.

The measures are those of the shape-retrieval literature:

Shilane, Min, Kazhdan, Funkhouser. The Princeton Shape Benchmark. SMI 2004 (NN, FT, ST, E, DCG).
Manning, Raghavan, Schuetze. Introduction to Information Retrieval. 2008, section 8.4 (average precision).
McSherry, Najork. Computing Information Retrieval Performance Measures Efficiently in the Presence of Tied Scores. ECIR
2008 (the expectations).
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
EQUAL = 1e-12
"""Cosines in float64 that are no further apart are equal: a matrix product rounds equal vectors differently."""


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
        (21,): mean interpolated precision at recall 0, 0.05, ..., 1; among equals, that of the expected number of right
        results at each place.
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
        (n, D); brought to unit length. One of zeros is as near to every other.
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
    vectors = embeddings.astype(np.float64)  # first: equal directions in float32 would come out as near ones
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(length > 0, length, 1)
    rows = []
    for query in range(len(unit)):
        allowed = np.arange(len(unit)) != query
        if patients is not None:
            allowed &= patients != patients[query]
        others = np.flatnonzero(allowed)
        cosine = unit[others] @ unit[query]
        order = np.argsort(-cosine, kind="stable")
        rows.append(_measure(labels[others[order]] == labels[query], _equals(cosine[order])))
    measured = [row for row in rows if row is not None]
    if not measured:
        raise InputError("no query has another case of its class; retrieval needs two cases in at least one class")
    average, nearest, first, second, gain, e32 = np.mean([row[:6] for row in measured], axis=0).tolist()
    precision = np.mean([row[6] for row in measured], axis=0)
    each = np.array([np.nan if row is None else row[0] for row in rows])
    levels = np.linspace(0, 1, RECALL_LEVELS)
    return Retrieval(average, nearest, first, second, gain, e32, len(measured), levels, precision, each)


def few_of_each(labels: NDArray[Any], most: int, seed: int = 0) -> NDArray[np.int64]:
    """Row numbers of at most ``most`` cases of each label, in ascending order."""
    random = np.random.default_rng(seed)
    parts = [random.permutation(np.flatnonzero(labels == value))[:most] for value in np.unique(labels)]
    return np.sort(np.concatenate(parts))


def _equals(falling: NDArray[np.float64]) -> NDArray[np.int64]:
    """Where each run of equals begins among scores that fall, and behind the last where they end: (runs + 1,)."""
    begins = np.flatnonzero(np.diff(falling, prepend=np.inf) < -EQUAL)
    return np.append(begins, len(falling))


def _measure(right: NDArray[np.bool_], runs: NDArray[np.int64]) -> tuple[Any, ...] | None:
    """Expected (AP, NN, FT, ST, DCG, E, interpolated precision) of one ranking; None where there is nothing to find.

    Parameters
    ----------
    right : ndarray
        (n,) of the ranked results.
    runs : ndarray
        Of :func:`_equals`: any order within a run is as likely as another.
    """
    relevant = int(right.sum())
    if relevant == 0:
        return None
    place = np.arange(1, len(right) + 1)
    size = np.diff(runs)
    n_right = np.add.reduceat(right.astype(np.int64), runs[:-1])
    before = np.cumsum(n_right) - n_right
    # of the run at each place: how many it has, how many of them are right, how many were right before it
    run = np.repeat(np.arange(len(size)), size)
    n, r, earlier = size[run], n_right[run], before[run]
    inside = place - 1 - runs[:-1][run]  # places of the run that come before this one
    chance = r / n  # that the result at this place is right
    hits = earlier + chance * (inside + 1)
    # if it is right, the r - 1 others lie anywhere among the n - 1 other places (McSherry and Najork, section 3)
    others = inside * (r - 1) / np.maximum(n - 1, 1)
    average = (chance * (earlier + 1 + others) / place).sum() / relevant
    first_tier = hits[relevant - 1] / relevant
    second_tier = hits[min(2 * relevant, len(right)) - 1] / relevant
    # 2 p r / (p + r) is linear in the hits, so that its expectation is that of the hits
    depth = min(E_DEPTH, len(right))
    e_measure = 2 * hits[depth - 1] / (depth + relevant)
    # the first two results count in full, later ones by the logarithm of their place
    gain = 1 / np.maximum(np.log2(place), 1)
    dcg = (gain * chance).sum() / gain[:relevant].sum()
    best_from_here = np.maximum.accumulate((hits / place)[::-1])[::-1]
    needed = np.ceil(np.linspace(0, 1, RECALL_LEVELS) * relevant - 1e-9)
    at = np.searchsorted(hits, np.maximum(needed, 1) - 1e-9)
    return average, chance[0], first_tier, second_tier, dcg, e_measure, best_from_here[at]
