"""The training loop: deterministic, stoppable at any moment, and resumed to the same weights bit for bit.

All chance is a function of (seed, epoch, step): order of the cases, augmentation, dropout, choice of triplets. So a
checkpoint holds weights, optimizer and position, and nothing else has to be remembered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, process_time
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.labels import label_numbers
from napari_sparse3d.cases.store import VoxelStore
from napari_sparse3d.errors import InputError
from napari_sparse3d.models.architectures import build_network
from napari_sparse3d.models.fine_tuning import take_weights
from napari_sparse3d.models.model import Model
from napari_sparse3d.models.network import Network
from napari_sparse3d.sparse import SparseTensor, use_engine
from napari_sparse3d.training.ahead import one_ahead
from napari_sparse3d.training.augment import augment
from napari_sparse3d.training.checkpoint import Progress, load_checkpoint, save_checkpoint, save_weights
from napari_sparse3d.training.config import Training
from napari_sparse3d.training.optimize import Average, half_type, learning_rate, make_optimizer, momentum
from napari_sparse3d.training.predict import Predictions, predict
from napari_sparse3d.training.processes import ProcessGroup
from napari_sparse3d.training.samplers import class_weights, epoch_batches

_SMALL_IS_GOOD = ("loss", "ece")
"""Measures of which the smallest chooses; all others are large where they are good."""


class Measure(Protocol):
    """Judges predictions: (n, classes) probabilities, (n, D) embeddings, (n,) labels -> figures, by name.

    Large is good, but for ``ece``.
    """

    def __call__(
        self, probabilities: NDArray[np.float32], embeddings: NDArray[np.float32], labels: NDArray[np.int64]
    ) -> dict[str, float]:
        """The figures."""


class Bounds(Protocol):
    """What a figure of the validation is read against: ``low`` and ``high`` of its interval, ``chance``; where known.

    The figure's name, (n, classes) probabilities, (n,) labels -> numbers, by name.
    """

    def __call__(self, name: str, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
        """The numbers."""


def no_bounds(name: str, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[str, float]:
    """What is known where no other way is given: nothing."""
    return {}


@dataclass(frozen=True)
class EpochReport:
    """What is known after an epoch.

    Attributes
    ----------
    epoch, epochs : int
        Finished, and planned.
    loss : float
        Mean over the epoch's steps.
    val : dict
        Measures on the validation cases, with ``loss``.
    best, best_epoch : float, int
        Of the measure that chooses.
    selected_by : str
        That measure.
    improved : bool
        Whether this epoch is the best so far.
    seconds, seconds_left : float
        Spent, and expected until the last planned epoch.
    bounds : dict
        What the measure that chooses is read against, see :class:`Bounds`.
    """

    epoch: int
    epochs: int
    loss: float
    learning_rate: float
    val: dict[str, float]
    best: float
    best_epoch: int
    selected_by: str
    improved: bool
    seconds: float
    seconds_left: float
    bounds: dict[str, float] = field(default_factory=dict)


class _Batch(NamedTuple):
    """What a step is made of."""

    x: SparseTensor | None
    """None where this process has no case of it."""
    labels: Tensor
    seed: int
    random: torch.Generator
    """What has been drawn by it for ``x`` is behind it: the loss goes on from there."""
    part: float
    """Of the whole batch."""


def accuracy_alone(
    probabilities: NDArray[np.float32], embeddings: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, float]:
    """The measure where no other is given: the share of cases whose most probable class is right."""
    return {"accuracy": float((probabilities.argmax(1) == labels).mean())}


class Trainer:
    """One training: its network, optimizer and position.

    Parameters
    ----------
    config : Training
    train, val : sequence of Case
        Labelled and usable, see :func:`checks.prepare`.
    classes : sequence of str
    store : VoxelStore
    measure : Measure
    bounds : Bounds
    device : str
    engine : str
    processes : ProcessGroup, optional
        The processes that train together.
    start : Model, optional
        What the weights are taken from, as far as they fit; see :func:`models.fine_tuning.take_weights`.
    """

    def __init__(
        self,
        config: Training,
        train: Sequence[Case],
        val: Sequence[Case],
        classes: Sequence[str],
        store: VoxelStore,
        *,
        measure: Measure = accuracy_alone,
        bounds: Bounds = no_bounds,
        device: str = "cpu",
        engine: str = "auto",
        processes: ProcessGroup | None = None,
        start: Model | None = None,
    ) -> None:
        self.processes = ProcessGroup() if processes is None else processes
        self.config, self.store, self.measure, self.bounds = config, store, measure, bounds
        self.train_cases, self.val_cases, self.classes = list(train), list(val), tuple(classes)
        self.train_labels = np.array(label_numbers(train, classes))
        self.val_labels = np.array(label_numbers(val, classes))
        self.device, self.engine = device, engine
        self.arguments = {
            **config.arguments,
            "in_features": config.recipe.n_channels,
            "classes": len(classes),
        }
        self.network = build_network(config.architecture, seed=config.seed, **self.arguments).to(device)
        self.taken = None if start is None else take_weights(self.network, start, classes)
        weights = np.ones(len(classes), dtype=np.float32)
        if config.loss.balances_classes:
            weights = class_weights(self.train_labels.tolist(), len(classes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            length = self._embedding_length()
            self.criterion = config.loss.criterion(len(classes), length, torch.from_numpy(weights)).to(device)
        self.average = Average(self.network, config.average)
        self.optimizer = make_optimizer((self.network, self.criterion), config)
        # float16 is so coarse near 0 that small gradients vanish unless the loss is scaled up; the scaler drops steps
        # whose gradients overflow (Micikevicius et al. Mixed Precision Training. ICLR 2018)
        self.half = half_type(device) if config.mixed_precision else None
        self.scaler = torch.amp.GradScaler(torch.device(device).type, enabled=self.half is torch.float16)
        self.progress = Progress()
        self.was_stopped = False
        """Whether one of the processes was asked to stop before the last epoch."""
        self._parts = {"network": self.network, "average": self.average, "criterion": self.criterion}

    def selected_by(self, measured: dict[str, float]) -> str:
        """The measure by which the best epoch is chosen, among those that there are."""
        wanted = self.config.select_by
        if wanted != "auto":
            if wanted not in measured:
                raise InputError(f"there is no measure {wanted!r} to select by; choose one of {', '.join(measured)}")
            return wanted
        liked = ["map"] * self.config.loss.on_embeddings + ["auc"] * (len(self.classes) == 2) + ["accuracy", "loss"]
        return next(name for name in liked if name in measured)

    @property
    def averaged(self) -> nn.Module:
        """The network that is validated and kept: the exponential average of the weights."""
        return self.average.network

    def digest(self, epochs: int | None = None) -> str:
        """Hash of settings, cases and labels: what a checkpoint must share with the training that resumes it.

        ``epochs``: as if so many were planned.
        """
        config = self.config if epochs is None else self.config.model_copy(update={"epochs": epochs})
        parts = [config.digest(), *self.classes]
        for case in (*self.train_cases, *self.val_cases):
            parts += [self.store.key(case), str(case.label)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def resume(self, path: Path, *, to_other_epochs: bool = False) -> None:
        """Go on from a checkpoint; for errors see :func:`checkpoint.load_checkpoint`.

        ``to_other_epochs``: also from one of a training that differs in how many epochs were planned, and in nothing
        else. The learning rate then follows the schedule over the epochs that are planned now.
        """

        def digest(planned: int | None) -> str:
            return self.digest(planned if to_other_epochs else None)

        self.progress = load_checkpoint(path, self._parts, self.optimizer, digest)
        if self.progress.loss_scale:
            self.scaler.load_state_dict(self.progress.loss_scale)

    def run(
        self,
        *,
        checkpoint: Path | None = None,
        best: Path | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        on_step: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
    ) -> Iterator[EpochReport]:
        """Train the epochs that are left, giving a report after each.

        Parameters
        ----------
        checkpoint : Path, optional
            Written after each epoch, and every ``config.checkpoint_seconds`` inside one.
        best : Path, optional
            Where the averaged weights of the best epoch are kept.
        should_stop : function
            Asked after each step; True ends the training with a checkpoint, without a report of the broken epoch.
        on_step : function
            Called with (epoch from 1, steps done, steps in all).
        """
        digest = self.digest()
        started, before = monotonic(), self.progress.seconds
        cpu_started, cpu_before = process_time(), self.progress.cpu_seconds
        saved = started

        def save() -> None:
            self.progress.seconds = before + monotonic() - started
            self.progress.cpu_seconds = cpu_before + process_time() - cpu_started
            self.progress.loss_scale = self.scaler.state_dict()
            if checkpoint is not None and self.processes.is_main:
                save_checkpoint(checkpoint, self._parts, self.optimizer, self.progress, digest, self.config.epochs)

        with use_engine(self.engine):
            while self.progress.epoch < self.config.epochs and not self._out_of_patience():
                epoch = self.progress.epoch
                batches = epoch_batches(self.train_labels.tolist(), self.config, epoch)
                steps = range(self.progress.step, len(batches))
                with one_ahead(partial(self._batch, batches, epoch), steps) as made:
                    for step, batch in zip(steps, made, strict=True):
                        self._step(batch, epoch, step, len(batches))
                        on_step(epoch + 1, step + 1, len(batches))
                        if self.processes.any(should_stop()):
                            self.was_stopped = True
                            save()
                            return
                        if monotonic() - saved > self.config.checkpoint_seconds:
                            save()
                            saved = monotonic()
                report = self._finish_epoch(len(batches), before + monotonic() - started)
                if best is not None and report.improved and self.processes.is_main:
                    # before the checkpoint: killed between the two, the epoch is trained again and gives the same
                    save_weights(best, self.averaged, report.epoch)
                save()
                saved = monotonic()
                yield report

    def validate(self, *, views: int = 1) -> Predictions:
        """Predictions of the averaged network for the validation cases."""
        with use_engine(self.engine):
            return predict(
                self.averaged,
                self.val_cases,
                self.store,
                batch_size=self.config.batch_size,
                views=views,
                view_kind=self.config.augment.turns,
                device=self.device,
            )

    def _step(self, batch: _Batch, epoch: int, step: int, steps: int) -> None:
        torch.manual_seed(batch.seed)  # dropout draws from the global generator
        rate = learning_rate(self.config, epoch + step / steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
            if "momentum" in group:
                group["momentum"] = momentum(self.config, epoch + step / steps)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        value = 0.0
        if batch.x is not None:
            loss = self._loss(batch.x, batch.labels, batch.random)
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            value = float(loss.detach())
        else:
            self.scaler.scale(torch.zeros((), device=self.device))  # so that it knows its scale
        part = batch.part
        value = self.processes.sum(value * part)
        if not np.isfinite(value):
            raise InputError(
                f"the loss is {value} in epoch {epoch + 1}, step {step + 1}; take a smaller learning rate "
                f"(now {rate:g}) or clip the gradient"
            )
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        self.processes.sum_gradients(weights, part)
        self.processes.mean_buffers(self.network)
        self.scaler.unscale_(self.optimizer)
        if self.config.clip is not None:
            nn.utils.clip_grad_norm_(weights, self.config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.progress.step = step + 1
        self.progress.updates += 1
        self.progress.loss_sum += value
        self.average.update(self.network, self.progress.updates)

    def _loss(self, x: SparseTensor, labels: Tensor, random: torch.Generator) -> Tensor:
        x, labels = x.to(self.device), labels.to(self.device)
        network = cast(Network, self.network)
        with torch.autocast(torch.device(self.device).type, self.half, enabled=self.half is not None):
            described = network.describe(x)
            logits = network.logits(described)
        loss: Tensor = self.criterion(functional.normalize(described.float()), logits.float(), labels, random)
        return loss

    def _batch(self, batches: Sequence[NDArray[np.int64]], epoch: int, step: int) -> _Batch:
        """This process' shard of a step's batch, a function of (seed, epoch, step) alone, on the CPU."""
        chosen = batches[step]
        sequence = np.random.SeedSequence(self.processes.seed(self.config.seed, epoch, step))
        seed = int(sequence.generate_state(1, np.uint64)[0] >> 1)
        random = torch.Generator().manual_seed(seed)
        mine = self.processes.shard(chosen)
        labels, part = torch.from_numpy(self.train_labels[mine]), len(mine) / len(chosen)
        if not len(mine):
            return _Batch(None, labels, seed, random, part)
        side = cast(Network, self.network).field
        sets = [self.store.get(self.train_cases[index]) for index in mine]
        plain = SparseTensor.from_voxels(sets, side)
        indices, features = augment(plain.indices, plain.features, side, len(sets), self.config.augment, random)
        return _Batch(SparseTensor(features, indices, side, len(sets), plain.background), labels, seed, random, part)

    def _finish_epoch(self, steps: int, seconds: float) -> EpochReport:
        report = self._report(steps, seconds) if self.processes.is_main else None
        self.progress = self.processes.broadcast(self.progress)
        return cast(EpochReport, self.processes.broadcast(report))

    def _report(self, steps: int, seconds: float) -> EpochReport:
        done = self.progress.epoch + 1
        predictions = self.validate()
        val = self.measure(predictions.probabilities, predictions.embeddings, self.val_labels)
        likely = predictions.probabilities[np.arange(len(self.val_labels)), self.val_labels]
        val["loss"] = float(-np.log(np.maximum(likely, 1e-12)).mean())
        selected_by = self.selected_by(val)
        value = val[selected_by] * (-1 if selected_by in _SMALL_IS_GOOD else 1)
        # of equal values the one with the smaller loss counts as better: on few cases AUC soon reaches 1
        rank = (value if np.isfinite(value) else -np.inf, -val["loss"])
        if self.progress.best is None or rank > (self.progress.best, -self.progress.best_loss):
            self.progress.best, self.progress.best_loss, self.progress.best_epoch = rank[0], val["loss"], done
        loss = self.progress.loss_sum / steps
        rate = learning_rate(self.config, done - 1 / steps)
        bounds = self.bounds(selected_by, predictions.probabilities, self.val_labels)
        row = {"epoch": done, "loss": loss, "learning_rate": rate, **_prefixed(val)}
        self.progress.history.append({**row, **_prefixed({f"{selected_by}_{end}": x for end, x in bounds.items()})})
        self.progress.epoch, self.progress.step, self.progress.loss_sum = done, 0, 0.0
        return EpochReport(
            epoch=done,
            epochs=self.config.epochs,
            loss=loss,
            learning_rate=rate,
            val=val,
            best=self.progress.best,
            best_epoch=cast(int, self.progress.best_epoch),
            selected_by=selected_by,
            improved=self.progress.best_epoch == done,
            seconds=seconds,
            seconds_left=seconds / done * (self.config.epochs - done),
            bounds=bounds,
        )

    def _out_of_patience(self) -> bool:
        best, patience = self.progress.best_epoch, self.config.patience
        return best is not None and patience is not None and self.progress.epoch - best >= patience

    def _embedding_length(self) -> int:
        network = cast(Any, self.network)
        side = network.field
        empty = SparseTensor(
            torch.zeros(0, network.in_features, device=self.device),
            torch.zeros(0, 4, dtype=torch.int32, device=self.device),
            side,
            1,
            torch.zeros(network.in_features, device=self.device),
        )
        with torch.no_grad(), use_engine(self.engine):
            return int(network.describe(empty).shape[1])


def _prefixed(val: dict[str, float]) -> dict[str, float]:
    return {f"val_{name}": value for name, value in val.items()}
