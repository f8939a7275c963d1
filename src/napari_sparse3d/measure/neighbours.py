"""The most similar cases, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError

_BLOCK = 4096
"""Queries at a time: the block of distances to 200,000 cases then takes 3 GB at most."""
_ROUNDING = 1e-5
"""What float32 may be wrong by in a cosine of unit vectors, on the safe side for thousands of dimensions."""


def similar(
    queries: NDArray[Any],
    embeddings: NDArray[Any],
    k: int,
    *,
    groups: Sequence[object] | None = None,
    query_groups: Sequence[object] | None = None,
    keys: Sequence[str] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The ``k`` nearest embeddings of each query by cosine distance, by looking at all of them.

    Parameters
    ----------
    queries : ndarray
        (M, D).
    embeddings : ndarray
        (N, D). Need not have unit length; a vector of zeros is at distance 1 from everything.
    k : int
        How many.
    groups, query_groups : sequence, optional
        Of each embedding and each query, for example the patient: what shares the query's group is left out. None and
        ``""`` are no group.
    keys : sequence of str, optional
        Of each embedding, what says which of equally distant ones comes first (the smaller), as
        :meth:`napari_sparse3d.cohort.Cohort.keys`: the answer does not depend on the order of the table then.

    Returns
    -------
    indices : ndarray
        (M, k) int64, the nearest first; of equal distances (to 1e-12) that of the smaller key, without keys the first
        in the table. -1 where fewer than k are left.
    distances : ndarray
        (M, k) float32, 0 (same direction) to 2; infinite where the index is -1.

    Raises
    ------
    InputError
        If the lengths do not fit, or k is below 1.
    """
    if queries.ndim != 2 or embeddings.ndim != 2 or queries.shape[1] != embeddings.shape[1]:
        raise InputError(
            f"queries (M, D) and embeddings (N, D) must share D, got {queries.shape} and {embeddings.shape}; "
            "embed both with the same model"
        )
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    if (groups is None) != (query_groups is None):
        raise InputError("groups and query_groups go together: give both or neither")
    if keys is not None and len(keys) != len(embeddings):
        raise InputError(f"keys must be one for each of {len(embeddings)} embeddings, got {len(keys)}")
    rank = np.arange(len(embeddings)) if keys is None else _ranks(keys)
    unit, ours = _unit(embeddings), _unit(queries)
    codes, query_codes = _codes(groups, query_groups)
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    distances = np.full((len(queries), k), np.inf, dtype=np.float32)
    block = max(1, _BLOCK * 200_000 // max(len(unit), 200_000))
    for start in range(0, len(ours), block):
        rows = slice(start, start + block)
        apart = 1 - ours[rows] @ unit.T
        np.clip(apart, 0, 2, out=apart)
        if codes is not None and query_codes is not None:
            same = (query_codes[rows, None] == codes[None]) & (codes[None] >= 0)
            apart[same] = np.inf
        width = min(k, apart.shape[1])
        if not width:
            continue
        # a matrix product rounds equal rows differently from place to place, and float32 makes equals of near ones:
        # it finds whoever may be among the nearest, and these are measured row by row
        limit = np.partition(apart, width - 1, axis=1)[:, width - 1] + _ROUNDING
        for row, (query, line, most) in enumerate(zip(queries[rows], apart, limit, strict=True), start=start):
            able = np.flatnonzero((line <= most) & np.isfinite(line))
            away = _distances(query, embeddings[able])
            order = np.lexsort((rank[able], away))[:width]
            indices[row, : len(order)] = able[order]
            distances[row, : len(order)] = away[order]
    return indices, distances


def _distances(query: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float64]:
    """(n,) cosine distances, to twelve digits; each depends on its own row alone, bit for bit."""
    q, r = query.astype(np.float64), np.ascontiguousarray(rows, dtype=np.float64)
    length = np.sqrt((r * r).sum(1)) * np.sqrt((q * q).sum())
    cosine = (r * q).sum(1) / np.where(length > 0, length, 1)
    return np.asarray(np.clip(1 - cosine, 0, 2).round(12))


def _ranks(keys: Sequence[str]) -> NDArray[np.int64]:
    """(N,) place of each key among the sorted ones; equal keys keep the order of the table."""
    ranks = np.empty(len(keys), dtype=np.int64)
    ranks[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return ranks


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    values = vectors.astype(np.float32)
    # by a power of two, which changes no digit: the squares of what is very large or small are none in float32
    _, exponent = np.frexp(np.abs(values).max(axis=1, keepdims=True, initial=0))
    values = np.ldexp(values, -exponent)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(length > 0, length, 1))


def _codes(
    groups: Sequence[object] | None, query_groups: Sequence[object] | None
) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    if groups is None or query_groups is None:
        return None, None
    known: dict[object, int] = {}

    def code(group: object) -> int:
        return -1 if group in (None, "") else known.setdefault(group, len(known))

    return np.array([code(g) for g in groups], dtype=np.int64), np.array(
        [code(g) for g in query_groups], dtype=np.int64
    )
