"""The model that a training leaves: its best weights, calibrated, with a card and what they are worth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.groups import LinkedCases, linked_cases
from napari_sparse3d.cases.seen import seen_in, split_of
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.models import Model, ModelCard
from napari_sparse3d.models.heads import meaning_of
from napari_sparse3d.models.network import Network
from napari_sparse3d.training.checkpoint import load_weights
from napari_sparse3d.training.checks import Prepared
from napari_sparse3d.training.config import Training
from napari_sparse3d.training.loop import Measure, Trainer
from napari_sparse3d.training.predict import Predictions, predict
from napari_sparse3d.training.runs import BEST, MODEL
from napari_sparse3d.training.swapped import below_chance


class Judge(Protocol):
    """Measures for the card, with intervals; ``linked`` are cases that count as one, where there are such."""

    def __call__(
        self,
        probabilities: NDArray[np.float32],
        embeddings: NDArray[np.float32],
        labels: NDArray[np.int64],
        linked: LinkedCases | None,
    ) -> dict[str, Any]:
        """The figures."""


def keep_model(
    trainer: Trainer, prepared: Prepared, folder: Path, name: str, judge: Judge | None, card: dict[str, Any]
) -> tuple[Path, dict[str, Any]]:
    """Write the model with its card; its measures are those of its own weights on the validation cases."""
    config, network = trainer.config, trainer.averaged
    epoch = trainer.progress.epoch
    if config.keep == "best":
        best = load_weights(folder / BEST, warnings.warn)
        if best is None:
            warnings.warn(f"no weights of a best epoch can be read: those after epoch {epoch} are kept", stacklevel=2)
        else:
            network.load_state_dict(best[0])
            epoch = best[1] or trainer.progress.best_epoch or epoch
    predictions = _predicted(network, prepared.val, trainer.store, config)
    calibration = _calibrate(network, trainer, predictions)
    if inverted := below_chance(predictions.probabilities, trainer.val_labels):
        warnings.warn(inverted, stacklevel=2)
        card = {**card, "limits": "; ".join(filter(None, [str(card.get("limits", "")), inverted]))}
    metrics = evaluate(
        network, prepared.val, trainer.val_labels, trainer.store, config=config, judge=judge, measure=trainer.measure
    )
    full_card = ModelCard(
        **{
            "name": name,
            "architecture": config.architecture,
            "arguments": trainer.arguments,
            "recipe": config.recipe.model_copy(update={"field": cast(Network, network).field}),
            "classes": trainer.classes,
            "trained": True,
            "active_percent_seen": prepared.active_percent,
            "seen": seen_in(prepared.train, trainer.store, cast(Network, network).field),
            "split": split_of(prepared.train, prepared.val, prepared.contents),
            "training": {
                **config.model_dump(mode="json", exclude={"recipe", "architecture", "arguments"}),
                "epoch": epoch,
                "seconds": round(trainer.progress.seconds, 1),
                "cpu_seconds": round(trainer.progress.cpu_seconds, 1),
                "train_cases": len(prepared.train),
                "val_cases": len(prepared.val),
                "threads": torch.get_num_threads(),
                **calibration,
            },
            "metrics": {"validation": metrics},
            **card,
        }
    )
    path = folder / MODEL
    Model(network.eval(), full_card).save(path)
    return path, metrics


def _calibrate(network: torch.nn.Module, trainer: Trainer, predicted: Predictions) -> dict[str, Any]:
    """Make the network's probabilities fit as the settings ask; what was done, for the card."""
    config, meaning = trainer.config, meaning_of(network)
    done: dict[str, Any] = {}
    if config.calibrate == "validation":
        done = meaning.calibrate(predicted.probabilities, trainer.val_labels)
    elif config.calibrate == "frequencies" and (config.sampler in ("balanced", "pk") or config.loss.balances_classes):
        counts = np.bincount(trainer.train_labels, minlength=len(trainer.classes))
        done = meaning.calibrate_to_frequencies(counts)
    return {"calibration": {"to": config.calibrate, **done}} if done else {}


def evaluate(
    network: torch.nn.Module,
    cases: Sequence[Case],
    labels: NDArray[np.int64],
    store: VoxelStore,
    *,
    config: Training,
    judge: Judge | None,
    measure: Measure,
) -> dict[str, Any]:
    """Measures of a network on cases, predictions averaged over ``config.test_views`` views."""
    predicted = _predicted(network, cases, store, config)
    if judge is None:
        return measure(predicted.probabilities, predicted.embeddings, labels)
    contents = [store.facts(case).content for case in cases]
    return judge(predicted.probabilities, predicted.embeddings, labels, linked_cases(cases, contents))


def _predicted(network: torch.nn.Module, cases: Sequence[Case], store: VoxelStore, config: Training) -> Predictions:
    return predict(
        network,
        cases,
        store,
        batch_size=config.batch_size,
        views=config.test_views,
        view_kind=config.augment.turns,
    )
