"""What the table of runs has of a training: at its start, and after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.folders import known_persons
from napari_sparse3d.io.naming import without_identity
from napari_sparse3d.training.loop import EpochReport, Trainer
from napari_sparse3d.voxels import ToLongestSide


def row_of_run(dataset: Path, trainer: Trainer, device: str) -> dict[str, Any]:
    """The settings as columns; ``device`` is what it runs on."""
    config = trainer.config
    longest = config.recipe.resample
    return {
        "status": "running",
        "dataset": _called(dataset, [*trainer.train_cases, *trainer.val_cases]),
        "architecture": config.architecture,
        "parameters": sum(weight.numel() for weight in trainer.network.parameters()),
        "classes": len(trainer.classes),
        "train_cases": len(trainer.train_cases),
        "val_cases": len(trainer.val_cases),
        "batch_size": config.batch_size,
        "test_interval": 1,
        **dict.fromkeys(("loss_name", "pair_method", "margin", "norm")),
        **config.loss.columns(),
        "optimizer": config.optimizer,
        "learning_rate": config.learning_rate,
        "learning_rate_policy": config.schedule,
        "render_size": longest.voxels if isinstance(longest, ToLongestSide) else cast(Any, trainer.network).field,
        "seed": config.seed,
        "hash": trainer.digest(),
        "device": device,
        "threads": torch.get_num_threads(),
        "epochs": config.epochs,
        "config": config.model_dump(mode="json"),
        "error": None,
    }


def _called(path: Path, cases: Sequence[Case]) -> str:
    """The set's name in the table of runs, without what identifies the patients in it."""
    persons = known_persons(case.path for case in cases)
    return without_identity(path.name, persons, "data set") if persons else path.name


def row_of_epoch(epoch: EpochReport, trainer: Trainer) -> dict[str, Any]:
    """How far it has come."""
    return {
        "epoch": epoch.epoch,
        "loss": epoch.loss,
        "best": epoch.best,
        "best_epoch": epoch.best_epoch,
        "selected_by": epoch.selected_by,
        "chance": epoch.bounds.get("chance"),
        "seconds": epoch.seconds,
        "cpu_seconds": trainer.progress.cpu_seconds,
        "triplets": trainer.criterion.triplets or None,
        "history": trainer.progress.history,
        **{name: epoch.val[name] for name in ("accuracy", "auc", "map") if name in epoch.val},
    }
