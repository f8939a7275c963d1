"""The state of a training between two steps, as one file that is always whole; never a pickle."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing
from napari_sparse3d.models.weights import Damaged, pack, unpack
from napari_sparse3d.parse import parse_json


@dataclass
class Progress:
    """Where a training stands. Chance needs no state: it is a function of the seed, the epoch and the step."""

    epoch: int = 0
    """The epoch that is being trained, from 0."""
    step: int = 0
    """Steps of this epoch that are done."""
    updates: int = 0
    """Steps done in all."""
    loss_sum: float = 0.0
    """Of this epoch's steps."""
    best: float | None = None
    best_loss: float = 0.0
    """Validation loss of the best epoch."""
    best_epoch: int | None = None
    seconds: float = 0.0
    """Time spent training, over all starts."""
    cpu_seconds: float = 0.0
    """Processor time of this process over the same time, all threads added up."""
    loss_scale: dict[str, Any] = field(default_factory=dict)
    """State of the scaler of float16 training; empty without it."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row for each finished epoch."""


def save_checkpoint(
    path: Path,
    parts: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    digest: str,
    epochs: int,
) -> None:
    """Write modules (by name), the optimizer's state and the progress; the checkpoint before it is kept beside it.

    ``digest`` and ``epochs`` (planned) are of the training.
    """
    tensors = {f"{part}/{name}": value for part, module in parts.items() for name, value in _state(module).items()}
    scalars: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            key = f"optimizer/{index}/{name}"
            if isinstance(value, Tensor):
                tensors[key] = value
            elif value is not None:
                scalars[key] = value
    note = {"digest": digest, "epochs": epochs, "progress": asdict(progress), "scalars": scalars}
    content = pack(tensors, {"training": json.dumps(note)})
    with replacing(path, previous=previous_of(path)) as temporary:
        temporary.write_bytes(content)


def previous_of(path: Path) -> Path:
    """Where the generation before is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def latest(path: Path, say: Callable[[str], None]) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """What is in ``path``, or in the generation before it where it is damaged or missing, which is said; None: neither.

    A damaged file is put aside.

    Raises
    ------
    Damaged
        If there are files, and all of them are damaged.
    """
    wrong: Damaged | None = None
    for each in (path, previous_of(path)):
        try:
            content = unpack(each)
        except FileNotFoundError:
            continue
        except Damaged as error:
            wrong = error
            with contextlib.suppress(OSError):  # or the next save would keep it as the generation before
                each.replace(each.with_name(f"{each.stem}.damaged{each.suffix}"))
            continue
        if each != path:
            say(f"{wrong or f'{path.name} is not there'}; {each.name}, the generation before it, is used")
        return content
    if wrong is not None:
        raise wrong
    return None


def load_checkpoint(
    path: Path,
    parts: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    digest: Callable[[int | None], str],
    say: Callable[[str], None] = warnings.warn,
) -> Progress:
    """Put everything back as it was; from the checkpoint before, where the last one is damaged, which is said.

    ``digest`` is that of the training that goes on, if it had as many epochs planned as the checkpoint says; those of
    earlier versions do not say.

    Raises
    ------
    InputError
        If the file is no checkpoint, or one of another training.
    """
    try:
        content = latest(path, say)
        if content is None:
            raise InputError(f"{path.name} is not there")
        tensors, notes = content
        note = parse_json(notes.get("training", "null"))
    except InputError as error:
        raise InputError(f"{path.name} is no checkpoint ({error}); start the training anew") from error
    if not isinstance(note, dict) or note.get("digest") != digest(note.get("epochs")):
        raise InputError(
            f"{path.name} belongs to another training (its data or settings differ); "
            "resume with the same settings, or train into another folder"
        )
    for part, module in parts.items():
        prefix = f"{part}/"
        module.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
    state = optimizer.state_dict()
    restored: dict[int, dict[str, Any]] = {}
    for key, value in [*tensors.items(), *note["scalars"].items()]:
        if key.startswith("optimizer/"):
            _, index, name = key.split("/", 2)
            restored.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": restored, "param_groups": state["param_groups"]})
    return Progress(**note["progress"])


def save_weights(path: Path, network: nn.Module, epoch: int) -> None:
    """Write a network's weights alone, after ``epoch``; those of an epoch before are kept beside it."""
    content = pack(_state(network), {"epoch": str(epoch)})
    # the same epoch, trained once more after a resume, does not push out the one before
    again = path.exists() and _epoch_of(path) == epoch
    with replacing(path, previous=None if again else previous_of(path)) as temporary:
        temporary.write_bytes(content)


def load_weights(path: Path, say: Callable[[str], None]) -> tuple[dict[str, Tensor], int | None] | None:
    """Weights that :func:`save_weights` wrote, and after which epoch; None where no generation can be read."""
    try:
        content = latest(path, say)
    except Damaged:
        return None
    if content is None:
        return None
    tensors, notes = content
    return tensors, int(notes["epoch"]) if notes.get("epoch", "").isdigit() else None


def _epoch_of(path: Path) -> int | None:
    try:
        _, notes = unpack(path)
    except (Damaged, OSError):
        return None
    return int(notes["epoch"]) if notes.get("epoch", "").isdigit() else None


def _state(module: nn.Module) -> dict[str, Tensor]:
    state: dict[str, Tensor] = module.state_dict()
    return state
