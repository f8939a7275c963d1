"""Compare settings by cross-validation inside the training and validation cases of a set; no test case is read.

    python benchmarks/train_folds.py adrenal ../shared/data/labelled --as longer --set epochs=36 --out results/folds
    python benchmarks/train_folds.py adrenal ../shared/data/labelled --compare --out results/folds

A validation split of some tens of positive cases cannot tell good settings from lucky ones: here every case is
predicted once, by a network that has not seen it. The first form trains one network a fold and keeps its scores; the
second reads all scores that were kept and writes the AUC of each (mean over the folds) with its paired difference from
``base``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import process_time

import numpy as np
import torch
from numpy.typing import NDArray
from train_bundled import HERE, MODELS

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.cli.settings import setting_value
from napari_sparse3d.measure.judge import measure
from napari_sparse3d.measure.metrics import binary_auc, bootstrap_interval
from napari_sparse3d.models.architectures import build_network
from napari_sparse3d.training.checks import prepare
from napari_sparse3d.training.config import Training
from napari_sparse3d.training.loop import Trainer
from napari_sparse3d.training.predict import predict
from napari_sparse3d.training.search import with_settings


def main() -> None:
    """Train and keep scores, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("data", type=Path, help="the folder of labelled sets")
    parser.add_argument("--as", dest="label", default="base", help="what these settings are called")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--only", type=int, metavar="N", help="train and predict the first N folds alone")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results/folds"))
    parser.add_argument("--compare", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.compare:
        print(json.dumps(compare(asked.out, asked.name), indent=1))
        return
    changes = {name: setting_value(value) for name, _, value in (text.partition("=") for text in asked.changes)}
    settings = json.loads((HERE / "settings" / f"{asked.name}.json").read_text())
    config = with_settings(Training(**settings), changes)
    out = asked.out / f"{asked.name}-{asked.label}.npz"
    cross_validate(asked.name, asked.data, config, asked.folds, asked.only or asked.folds, out)


def cross_validate(name: str, data: Path, config: Training, folds: int, only: int, out: Path) -> None:
    """Train one network for each of the first ``only`` folds; keep (n,) scores, labels and fold numbers."""
    source = MODELS[name]
    store = VoxelStore(config.recipe)
    field = build_network(config.architecture, **config.arguments).field
    found = [case for case in cases_of(data / source.file, label_column=source.label) if case.label is not None]
    prepared = prepare(found, store, field, unlabelled_is_a_problem=False)
    cases = sorted((*prepared.train, *prepared.val), key=lambda case: case.name)
    labels = np.array([prepared.classes.index(case.label) for case in cases])
    fold = _folds(cases, labels, folds)
    scores = np.zeros(len(cases))
    started = process_time()
    for number in range(only):
        train = [case for case, own in zip(cases, fold, strict=True) if own != number]
        val = [case for case, own in zip(cases, fold, strict=True) if own == number]
        trainer = Trainer(config, train, val[: config.batch_size], prepared.classes, store, measure=measure)
        for report in trainer.run():
            print(f"fold {number} epoch {report.epoch}/{report.epochs} loss {report.loss:.3f}", flush=True)
        views = {"views": config.test_views, "view_kind": config.augment.turns}
        likely = predict(trainer.averaged, val, store, **views).probabilities
        scores[fold == number] = np.log(likely[:, 1]) - np.log(likely[:, 0])
        print(f"fold {number}: AUC {binary_auc(scores[fold == number], labels[fold == number] == 1):.4f}", flush=True)
    sizes = np.array([store.get(case).n_active for case in cases])
    done = fold < only
    kept = {"scores": scores, "labels": labels, "fold": fold, "sizes": sizes}
    np.savez(out, **{key: value[done] for key, value in kept.items()}, cpu_seconds=process_time() - started)


def compare(folder: Path, name: str) -> dict[str, dict[str, float | list[float]]]:
    """AUC (mean over the folds) of all scores in a folder, and its paired difference from ``base``, 95 % bootstrap."""
    kept = {path.stem.removeprefix(f"{name}-"): np.load(path) for path in sorted(folder.glob(f"{name}-*.npz"))}
    base = kept["base"]
    positive, fold = base["labels"] == 1, base["fold"]

    def auc(scores: NDArray[np.float64], rows: NDArray[np.int64]) -> float:
        own = [rows[fold[rows] == number] for number in range(fold.max() + 1)]
        return float(np.mean([binary_auc(scores[part], positive[part]) for part in own]))

    every = np.arange(len(positive))
    result: dict[str, dict[str, float | list[float]]] = {}
    for label, one in kept.items():
        scores = one["scores"]
        interval = bootstrap_interval(lambda rows, s=scores: auc(s, rows), len(every), strata=positive)
        seconds = float(one["cpu_seconds"])
        result[label] = {"auc": auc(scores, every), "interval": list(interval), "cpu_seconds": seconds}
        if label != "base":
            difference = bootstrap_interval(
                lambda rows, s=scores: auc(s, rows) - auc(base["scores"], rows), len(every), strata=positive
            )
            gain = auc(scores, every) - auc(base["scores"], every)
            result[label] |= {"minus_base": gain, "minus_base_interval": list(difference)}
    return result


def _folds(cases: list[Case], labels: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """A fold for each case: whole patients, where they are known, in an order that spreads the classes evenly."""
    groups = [case.patient or case.name for case in cases]
    share = dict.fromkeys(groups, 0)
    for group, label in zip(groups, labels, strict=True):
        share[group] = max(share[group], int(label))
    names = np.array(list(share))
    random = np.random.default_rng(0)
    order = sorted(random.permutation(names), key=lambda group: share[group])
    number = {group: place % folds for place, group in enumerate(order)}
    return np.array([number[group] for group in groups])


if __name__ == "__main__":
    main()
