"""What calibration does to a model: as trained, at the classes' true frequencies, and fitted to the validation cases.

    python benchmarks/train_calibration.py vessel ../shared/data/labelled

The last row is fitted five times, each time on four fifths of the cases, and measured on the fifth that was left out:
what the row above it would be on new cases.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from train_bundled import MODELS

from napari_sparse3d.cases.labels import label_numbers
from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.measure import metrics
from napari_sparse3d.models import load_model
from napari_sparse3d.models.heads.calibration import Correction, fit, to_frequencies
from napari_sparse3d.training.predict import predict

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=MODELS)
    parser.add_argument("data", type=Path, help="the folder of labelled sets")
    parser.add_argument("--model", help="unless given, the bundled one")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = load_model(asked.model or asked.name)
    source = MODELS[asked.name]
    cases = [case for case in cases_of(asked.data / source.file, label_column=source.label) if case.label is not None]
    val = [case for case in cases if case.split == "val"]
    counts = np.bincount(label_numbers([case for case in cases if case.split == "train"], model.card.classes))
    training = model.card.training
    views = {"views": training["test_views"], "view_kind": training["augment"]["turns"]}
    labels = np.array(label_numbers(val, model.card.classes))
    shipped = predict(model.network, val, VoxelStore(model.card.recipe), **views).probabilities
    plain = undone(training.get("calibration"), shipped)
    rows = {
        "as trained": plain,
        "at true frequencies": to_frequencies(counts).applied(plain),
        "fitted to validation": fit(plain, labels).applied(plain),
        "fitted to the other folds": cross_fitted(plain, labels),
    }
    print("| probabilities | calibration error | log loss | balanced accuracy | positives called | AUC |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, likely in rows.items():
        found = metrics.figures(likely, labels)
        loss = -np.log(np.maximum(likely[np.arange(len(labels)), labels], 1e-12)).mean()
        called = int(metrics.confusion(likely, labels)[1, 1])
        of = int((labels == 1).sum())
        figures = f"{found['ece']:.3f} | {loss:.3f} | {found['balanced_accuracy']:.3f}"
        print(f"| {name} | {figures} | {called} of {of} | {found['auc']:.3f} |")


def undone(calibration: dict[str, object] | None, likely: Floats) -> Floats:
    """The probabilities before a correction that was folded into the classifier."""
    if calibration is None:
        return likely
    scale, bias = float(calibration["scale"]), np.array(calibration["bias"])  # type: ignore[arg-type]
    return Correction(1 / scale, tuple((-bias / scale).tolist())).applied(likely)


def cross_fitted(likely: Floats, labels: Labels, folds: int = 5) -> Floats:
    """Each case corrected by what was fitted without it."""
    order = np.lexsort((np.random.default_rng(0).random(len(labels)), labels))
    fold = np.empty(len(labels), dtype=np.int64)
    fold[order] = np.arange(len(labels)) % folds
    made = np.empty_like(likely)
    for number in range(folds):
        out = fold == number
        made[out] = fit(likely[~out], labels[~out]).applied(likely[out])
    return made


if __name__ == "__main__":
    main()
