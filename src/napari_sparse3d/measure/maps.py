"""Flat maps of embeddings: PCA at once, t-SNE as it converges, and new cases placed into a map that is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError

Watch = Callable[[int, NDArray[np.float32]], bool]
"""Called with the iteration and the positions (N, 2) so far; True stops, with what there is."""

EARLY_ITERATIONS, ITERATIONS = 250, 500
_EXACT_UP_TO = 5000
_EXAGGERATION = 12.0
_CASES_A_STEP = 10
"""So many cases a step of exaggeration: a pull of twelve times draws fewer than about 40 cases into one point, out of
which they never come again."""
_TRUSTED_NEIGHBOURS = 5
_TRUSTED_ROWS = 2000


def pca(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    """The first two principal components.

    Parameters
    ----------
    embeddings : ndarray
        (N, D), N at least 1.

    Returns
    -------
    ndarray
        (N, 2) float32. Signs are such that the largest part of each component is positive.
    """
    _check(embeddings, 1)
    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    # of the (D, D) covariance: D is small and N may not be
    _, vectors = np.linalg.eigh(centred.T @ centred)
    axes = vectors[:, ::-1][:, :2]
    axes = axes * np.where(np.abs(axes).max(axis=0) == axes.max(axis=0), 1, -1)
    positions = np.zeros((len(centred), 2), dtype=np.float32)
    positions[:, : axes.shape[1]] = centred @ axes
    return positions


def project(new: NDArray[Any], embeddings: NDArray[Any]) -> NDArray[np.float32]:
    """Where new cases lie on the :func:`pca` of others: it is linear, so where the same combination of those would.

    Parameters
    ----------
    new, embeddings : ndarray
        (M, D) and (N, D), N at least 2.

    Returns
    -------
    ndarray
        (M, 2) float32.
    """
    mean = embeddings.mean(axis=0)
    axes, *_ = np.linalg.lstsq(embeddings - mean, pca(embeddings), rcond=1e-5)
    return np.asarray((new - mean) @ axes, dtype=np.float32)


def tsne(
    embeddings: NDArray[Any],
    *,
    perplexity: float = 30,
    seed: int = 0,
    watch: Watch | None = None,
    every: int = 10,
    n_jobs: int = 1,
) -> NDArray[np.float32]:
    """t-SNE of unit vectors, from their principal components.

    Parameters
    ----------
    embeddings : ndarray
        (N, D), N at least 5.
    perplexity : float
        Made smaller where there are few cases (at most (N - 1) / 3, but not below 2).
    seed : int
        For the search of neighbours, where it is approximate.
    watch : callable, optional
        Called after every ``every`` iterations.
    n_jobs : int
        Threads. One is faster than two on a busy machine.

    Returns
    -------
    ndarray
        (N, 2) float32.

    Raises
    ------
    InputError
        If there are fewer than 5 cases, or the map has collapsed (:func:`check_drawn`).

    Notes
    -----
    The early exaggeration is N / 10, between 1 and 12, and the step is N over it (Belkina et al. 2019).

    References
    ----------
    van der Maaten, Hinton. JMLR 2008. Poličar, Stražar, Zupan. openTSNE. JSS 2024.
    Belkina et al. Automated optimized parameters for t-SNE. Nature Communications 2019.
    """
    from openTSNE import TSNEEmbedding

    _check(embeddings, 5)
    _check_they_differ(_unit(embeddings))
    if len(embeddings) <= _EXACT_UP_TO:
        affinities = _exact_affinities(embeddings, perplexity, n_jobs)
    else:
        affinities = _affinities(embeddings, perplexity, seed, n_jobs)

    def callback(iteration: int, _error: float, positions: Any) -> bool:
        return bool(watch is not None and watch(iteration, np.asarray(positions, dtype=np.float32).copy()))

    start = pca(embeddings).astype(np.float64)
    start /= (start[:, 0].std() or 1.0) * 1e4  # t-SNE begins small: points can then pass each other
    fitted = TSNEEmbedding(
        start,
        affinities,
        negative_gradient_method="bh" if len(embeddings) < 10_000 else "fft",
        random_state=seed,
        n_jobs=n_jobs,
    )
    stopped = False

    def remembering(iteration: int, error: float, positions: Any) -> bool:
        nonlocal stopped
        stopped = callback(iteration, error, positions)
        return stopped

    shared = {"inplace": True, "n_jobs": n_jobs, "callbacks": [remembering], "callbacks_every_iters": every}
    exaggeration = float(np.clip(len(embeddings) / _CASES_A_STEP, 1, _EXAGGERATION))
    fitted = fitted.optimize(EARLY_ITERATIONS, exaggeration=exaggeration, momentum=0.5, **shared)
    if not stopped:
        fitted = fitted.optimize(ITERATIONS, momentum=0.8, **shared)
        check_drawn(_unit(embeddings), np.asarray(fitted), least_extent=0.01)
    return np.asarray(fitted, dtype=np.float32)


def largest_perplexity(cases: int) -> float:
    """What t-SNE takes of so many cases."""
    return max((cases - 1) / 3, 2.0)


def check_drawn(embeddings: NDArray[Any], positions: NDArray[Any], *, least_extent: float = 0.0) -> None:
    """Refuse a map that shows cases at one point that are not one.

    Parameters
    ----------
    embeddings, positions : ndarray
        (N, D) and (N, 2).
    least_extent : float
        What every true map exceeds; that of t-SNE, whose unit is the width of its kernel, is larger than 1.

    Raises
    ------
    InputError
        If all embeddings are equal, positions are not finite, or over half of the cases whose embeddings differ lie
        within 1e-6 of the map's extent.
    """
    if len(positions) < 2:
        return
    _check_they_differ(embeddings)
    values = embeddings.astype(np.float64)
    _, first = np.unique((values / np.abs(values).max()).round(6), axis=0, return_index=True)
    drawn = np.asarray(positions, dtype=np.float64)[first]
    extent = float(np.ptp(drawn, axis=0).max())
    if np.isfinite(drawn).all() and extent > least_extent:
        places = len(np.unique(np.round((drawn - drawn.min(axis=0)) / extent * 1e6), axis=0))
        if 2 * places > len(drawn):
            return
    raise InputError(
        f"the map of {len(positions)} cases has collapsed: cases that differ were drawn at one point; use PCA "
        "(--method pca), or another perplexity"
    )


def trustworthiness(embeddings: NDArray[Any], positions: NDArray[Any], *, rows: int = _TRUSTED_ROWS) -> float:
    """How far neighbours on the map are neighbours among the embeddings: 1 all of them, about 0.5 by chance.

    Parameters
    ----------
    embeddings, positions : ndarray
        (N, D), by cosine, and (N, 2), by Euclidean distance.
    rows : int
        Of larger cohorts, so many cases evenly spaced in the table are looked at, each among all others.

    Returns
    -------
    float
        Of the 5 nearest cases, or as many as are fewer than N / 2; NaN for fewer than 3 cases.

    References
    ----------
    Venna, Kaski. Neighborhood preservation in nonlinear projection methods. ICANN 2001, equation 3.
    """
    n = len(embeddings)
    k = min(_TRUSTED_NEIGHBOURS, (n - 1) // 2)
    if n < 3:
        return float("nan")
    asked = np.unique(np.linspace(0, n - 1, min(n, rows)).astype(np.int64))
    unit, flat = _unit(embeddings), np.asarray(positions, dtype=np.float64)
    penalty = 0
    for block in np.array_split(asked, -(-len(asked) // 256)):
        near = _order(unit, block)
        rank = np.empty_like(near)
        np.put_along_axis(rank, near, np.arange(1, n + 1)[None, :], axis=1)
        drawn = _order(flat, block)[:, :k]
        penalty += int(np.maximum(np.take_along_axis(rank, drawn, axis=1) - k, 0).sum())
    return 1 - 2 * penalty / (len(asked) * k * (2 * n - 3 * k - 1))


def _order(points: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """All cases by their distance from each of these, (rows, N), the nearest first and itself last."""
    squared = np.square(points).sum(axis=1)
    distances = squared[None, :] - 2 * (points[rows] @ points.T)
    distances[np.arange(len(rows)), rows] = np.inf
    return np.argsort(distances, axis=1, kind="stable")


def place(
    new: NDArray[Any],
    embeddings: NDArray[Any],
    positions: NDArray[Any],
    *,
    perplexity: float = 5,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Place new cases into a map that is there, which stays as it is.

    Parameters
    ----------
    new : ndarray
        (M, D).
    embeddings, positions : ndarray
        (N, D) and (N, 2): what the map shows, and where.
    perplexity : float
        About how many neighbours pull at a new case.

    Returns
    -------
    ndarray
        (M, 2) float32.
    """
    from openTSNE import TSNEEmbedding

    _check(embeddings, 5)
    if new.ndim != 2 or new.shape[1] != embeddings.shape[1]:
        raise InputError(f"new cases must be (M, {embeddings.shape[1]}), got {new.shape}; use the map's own model")
    affinities = _affinities(embeddings, perplexity, seed, 1)
    fitted = TSNEEmbedding(np.asarray(positions, dtype=np.float64), affinities, random_state=seed, n_jobs=1)
    partial = fitted.prepare_partial(
        np.ascontiguousarray(_unit(new)), initialization="median", k=min(10, len(embeddings) - 1), perplexity=perplexity
    )
    partial = partial.optimize(n_iter=100, learning_rate=0.1, momentum=0.8, max_grad_norm=0.25, inplace=True)
    return np.asarray(partial, dtype=np.float32)


def _exact_affinities(embeddings: NDArray[Any], perplexity: float, n_jobs: int) -> Any:
    """From all distances, as one matrix product: in 192 dimensions a tree of neighbours is ten times as slow."""
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    unit = _unit(embeddings)
    n = len(unit)
    perplexity = min(perplexity, max(2.0, (n - 1) / 3))
    squared = np.square(unit).sum(axis=1)
    distances = np.maximum(squared[:, None] + squared[None, :] - 2 * (unit @ unit.T), 0)
    np.fill_diagonal(distances, np.inf)  # nobody is a neighbour of itself
    k = min(n - 1, max(3, int(3 * perplexity)))
    nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    neighbours = PrecomputedNeighbors(nearest, np.sqrt(np.take_along_axis(distances, nearest, axis=1)))
    return PerplexityBasedNN(knn_index=neighbours, perplexity=perplexity, n_jobs=n_jobs)


def _affinities(embeddings: NDArray[Any], perplexity: float, seed: int, n_jobs: int) -> Any:
    from openTSNE.affinity import PerplexityBasedNN

    return PerplexityBasedNN(
        np.ascontiguousarray(_unit(embeddings)),
        perplexity=min(perplexity, (len(embeddings) - 1) / 3),
        method="exact" if len(embeddings) <= _EXACT_UP_TO else "approx",
        random_state=seed,
        n_jobs=n_jobs,
    )


def _unit(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """On unit vectors Euclidean and cosine neighbours are the same."""
    values = vectors.astype(np.float64)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(length > 0, length, 1))


def _check_they_differ(embeddings: NDArray[Any]) -> None:
    if np.ptp(embeddings, axis=0).max(initial=0) <= 1e-6 * np.abs(embeddings).max(initial=0):
        raise InputError(
            f"the embeddings of all {len(embeddings)} cases are equal, so there is nothing to map; check the model and "
            "its input"
        )


def _check(embeddings: NDArray[Any], least: int) -> None:
    if embeddings.ndim != 2 or len(embeddings) < least:
        advice = "; use PCA (--method pca)" if embeddings.ndim == 2 and len(embeddings) else ""
        raise InputError(f"a map needs embeddings (N, D) with N of at least {least}, got {embeddings.shape}{advice}")
    if not np.isfinite(embeddings).all():
        raise InputError("an embedding holds a value that is not finite; embed the cohort again")
