"""What a nodule model adds to size: AUC of volume alone, of the model, and of both, on patients not trained on.

    python benchmarks/train_nodule_size.py nodule ../shared/data/labelled/lidc_nodules/lidc_nodules_open.npz

Intervals are 95 % bootstrap over patients; differences are paired. "Both" is a logistic regression on the logarithm of
the volume and the model's logit, fitted on half of the validation patients and measured on the other, and vice versa.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from napari_sparse3d.cases.labels import label_numbers
from napari_sparse3d.cases.sources import cases_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.measure.metrics import binary_auc, bootstrap_interval
from napari_sparse3d.models import load_model
from napari_sparse3d.training.predict import predict


def main() -> None:
    """Measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    model = load_model(asked.model)
    store = VoxelStore(model.card.recipe)
    cases = [
        case
        for case in cases_of(asked.data, label_column="label_malignant")
        if case.split == asked.split and case.label is not None
    ]
    patients = np.array([case.patient for case in cases])
    positive = np.array(label_numbers(cases, model.card.classes)) == 1
    size = np.log([max(store.get(case).n_active, 1) for case in cases])
    training = model.card.training
    found = predict(
        model.network, cases, store, views=training["test_views"], view_kind=training["augment"]["turns"]
    ).probabilities[:, 1]
    shape = np.log(found / (1 - found))
    scores = {"size": size, "model": shape, "both": _both(np.stack([size, shape], 1), positive, patients)}
    report: dict[str, object] = {"n": len(cases), "patients": len(set(patients)), "malignant": int(positive.sum())}
    for name, score in scores.items():
        report[name] = _with_interval(lambda rows, s=score: binary_auc(s[rows], positive[rows]), patients)
        if name != "size":
            report[f"{name} - size"] = _with_interval(
                lambda rows, s=score: binary_auc(s[rows], positive[rows]) - binary_auc(size[rows], positive[rows]),
                patients,
            )
    print(json.dumps(report, indent=1))


def _with_interval(measure, patients: NDArray[np.str_]) -> dict[str, float]:  # type: ignore[no-untyped-def]
    low, high = bootstrap_interval(measure, len(patients), groups=patients.tolist(), samples=2000)
    return {"auc": measure(np.arange(len(patients))), "low": low, "high": high}


def _both(inputs: NDArray[np.float64], positive: NDArray[np.bool_], patients: NDArray[np.str_]) -> NDArray[np.float64]:
    """Scores of a logistic regression, each half of the patients by the other's."""
    names = np.unique(patients)
    first = np.isin(patients, np.random.default_rng(0).permutation(names)[: len(names) // 2])
    scores = np.zeros(len(patients))
    for half in (first, ~first):
        scores[half] = LogisticRegression().fit(inputs[~half], positive[~half]).decision_function(inputs[half])
    return scores


if __name__ == "__main__":
    main()
