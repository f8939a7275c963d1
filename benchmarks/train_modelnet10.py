"""ModelNet10 for research: accuracy and retrieval on shapes kept out of the training split. No model of it is shipped.

    python benchmarks/train_modelnet10.py ../shared/data/research_only/modelnet10_30_train.npz --seeds 0 --out results/

The set is used by its terms for academic research alone. Shapes without a voxel and repeated ones are taken out, the
vertical axis is put first, and a fifth of each class is kept out for validation; the official test split is not read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_sparse3d.measure.judge import judge, measure
from napari_sparse3d.training.config import Training
from napari_sparse3d.training.runs import RunStore
from napari_sparse3d.training.session import Data, train

HERE = Path(__file__).parent
SIDE = 30
CLASSES = ("bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet")


def main() -> None:
    """Train, with a line on stdout after each epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("results"))
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    settings = json.loads((HERE / "settings" / "modelnet10.json").read_text())
    shapes = unique_upright(asked.data, asked.out / "modelnet10_unique_upright.npz")
    table = RunStore(asked.out / "runs")
    for seed in asked.seeds:
        train(
            Data(shapes, class_names=CLASSES),
            Training(**{**settings, "seed": seed}),
            name="modelnet10",
            runs=table,
            measure=measure,
            judge=judge,
            report=_say,
            card={"data": "ModelNet10, academic research use only", "licence": "not for distribution"},
        )


def unique_upright(source: Path, made: Path) -> Path:
    """Write the set again: each shape once, none empty, [x, y, z] turned to [z, y, x]."""
    with np.load(source) as stored:
        bits, labels = stored["X"], stored["y"].ravel()
    _, first = np.unique(bits, axis=0, return_index=True)
    kept = np.sort(first)[bits[np.sort(first)].any(1)]
    grids = np.unpackbits(bits[kept], axis=1)[:, : SIDE**3].reshape(-1, SIDE, SIDE, SIDE)
    turned = np.packbits(grids.transpose(0, 3, 2, 1).reshape(len(kept), -1), axis=1)
    made.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(made, X=turned, y=labels[kept], shape=np.array([SIDE] * 3))
    return made


def _say(event: dict[str, Any]) -> None:
    if event["event"] == "check":
        print(f"{event['train']} to train on, {event['val']} to validate", flush=True)
    elif event["event"] == "epoch":
        shown = {name: round(event["val"][name], 4) for name in ("accuracy", "map")}
        print(f"epoch {event['epoch']}/{event['epochs']} loss {event['loss']:.3f} {shown}", flush=True)


if __name__ == "__main__":
    main()
