"""In which order, and in which company, cases are seen: a function of the labels, the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_sparse3d.errors import InputError
from napari_sparse3d.training.config import Training


def epoch_batches(labels: Sequence[int], config: Training, epoch: int) -> list[NDArray[np.int64]]:
    """The batches of one epoch, each the numbers of its cases.

    * ``shuffled``: every case once; a last batch of a single case joins the one before.
    * ``balanced``: as many draws as cases, every class equally often; a class starts again when it is through.
    * ``pk``: batches of P classes with K cases each (Hermans, Beyer, Leibe. In Defense of the Triplet Loss. 2017).
    * ``pairs``: batches of triplets, one third anchors, one third positives, one third negatives: pairs of cases of one
      class, class after class, with a case of another drawn evenly. Over the epochs every ordered pair of a class comes
      once before one comes again. They are shuffled lazily, in chunks, so that no list of all pairs is ever made.
    """
    random = np.random.default_rng((config.seed, epoch, 1))
    targets = np.asarray(labels)
    if config.sampler == "pk":
        return _classes_by_cases(targets, config.classes_per_batch, config.cases_per_class, random)
    if config.sampler == "pairs":
        return _triplets(targets, config, epoch, random)
    order = random.permutation(len(targets)) if config.sampler == "shuffled" else _balanced(targets, random)
    starts = list(range(0, len(order), config.batch_size))
    batches = [order[start : start + config.batch_size] for start in starts]
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = np.concatenate([batches[-1], last])
    return batches


def class_weights(labels: Sequence[int], classes: int) -> NDArray[np.float32]:
    """Weights that make every class count the same, (classes,), with mean 1 over the cases; 0 for an absent class."""
    counts = np.bincount(np.asarray(labels), minlength=classes)
    present = max(int((counts > 0).sum()), 1)
    weights = np.where(counts > 0, len(labels) / np.maximum(counts, 1) / present, 0.0)
    return weights.astype(np.float32)


def _balanced(targets: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    members = [np.flatnonzero(targets == value) for value in np.unique(targets)]
    each = -(-len(targets) // len(members))
    drawn = [np.concatenate([random.permutation(own) for _ in range(-(-each // len(own)))])[:each] for own in members]
    return random.permutation(np.concatenate(drawn))[: len(targets)]


def _classes_by_cases(
    targets: NDArray[np.int64], p: int, k: int, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    members = {int(value): np.flatnonzero(targets == value) for value in np.unique(targets)}
    if len(members) < 2:
        raise InputError("batches of P classes need at least two classes; choose the shuffled sampler")
    chosen = min(p, len(members))
    batches = []
    for _ in range(max(1, len(targets) // (chosen * k))):
        classes = random.choice(list(members), chosen, replace=False)
        drawn = [random.choice(members[int(c)], k, replace=len(members[int(c)]) < k) for c in classes]
        batches.append(np.concatenate(drawn))
    return batches


_CHUNK = 30_000
"""Pairs that are shuffled among each other: in the order of their numbers, a chunk has the pairs of a few anchors."""


def _triplets(
    targets: NDArray[np.int64], config: Training, epoch: int, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    members = [np.flatnonzero(targets == value) for value in np.unique(targets)]
    paired = [own for own in members if len(own) > 1]
    if len(members) < 2 or not paired:
        raise InputError(
            "batches of pairs need two classes, one of them with two cases; add cases, or choose the shuffled sampler"
        )
    count = max(1, len(targets) // 3)
    numbers = epoch * count + np.arange(count)
    anchors, positives, negatives = (np.empty(count, dtype=np.int64) for _ in range(3))
    for which, own in enumerate(paired):
        rows = np.flatnonzero(numbers % len(paired) == which)
        if not len(rows):
            continue
        first, second = _lazily_shuffled(len(own), numbers[rows] // len(paired), (config.seed, 2, which))
        anchors[rows], positives[rows] = own[first], own[second]
        negatives[rows] = random.choice(np.flatnonzero(targets != targets[own[0]]), len(rows))
    each = max(1, config.batch_size // 3)
    parts = [slice(start, start + each) for start in range(0, count, each)]
    return [np.concatenate([anchors[part], positives[part], negatives[part]]) for part in parts]


def _lazily_shuffled(
    n: int, places: NDArray[np.int64], seed: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ordered pairs of two of ``n`` at some places of the endless list of them, each round shuffled anew."""
    rounds, places = np.divmod(places, n * (n - 1))
    chunks, within = np.divmod(places, _CHUNK)
    numbers = np.empty_like(places)
    for turn, chunk in {*zip(rounds.tolist(), chunks.tolist(), strict=True)}:
        here = (rounds == turn) & (chunks == chunk)
        size = min(_CHUNK, n * (n - 1) - chunk * _CHUNK)
        order = np.random.default_rng((*seed, turn, chunk)).permutation(size)
        numbers[here] = chunk * _CHUNK + order[within[here]]
    first, other = np.divmod(numbers, n - 1)
    return first, other + (other >= first)
