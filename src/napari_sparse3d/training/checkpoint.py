"""The state of a training between two steps, as one file that is always whole; never a pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor, nn

from napari_sparse3d.errors import InputError
from napari_sparse3d.files import replacing


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
    path: Path, parts: dict[str, nn.Module], optimizer: torch.optim.Optimizer, progress: Progress, digest: str
) -> None:
    """Write modules (by name), the optimizer's state and the progress."""
    tensors = {f"{part}/{name}": value for part, module in parts.items() for name, value in _state(module).items()}
    scalars: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            key = f"optimizer/{index}/{name}"
            if isinstance(value, Tensor):
                tensors[key] = value
            elif value is not None:
                scalars[key] = value
    note = {"digest": digest, "progress": asdict(progress), "scalars": scalars}
    with replacing(path) as temporary:
        whole = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        temporary.write_bytes(serialized(whole, metadata={"training": json.dumps(note)}))


def load_checkpoint(path: Path, parts: dict[str, nn.Module], optimizer: torch.optim.Optimizer, digest: str) -> Progress:
    """Put everything back as it was.

    Raises
    ------
    InputError
        If the file is no checkpoint, or one of another training.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            note = json.loads((stored.metadata() or {}).get("training", "null"))
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise InputError(f"{path.name} is no checkpoint ({error}); start the training anew") from error
    if note is None or note["digest"] != digest:
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


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a network's weights alone."""
    with replacing(path) as temporary:
        whole = {name: value.detach().cpu().contiguous() for name, value in _state(network).items()}
        temporary.write_bytes(serialized(whole))


def _state(module: nn.Module) -> dict[str, Tensor]:
    state: dict[str, Tensor] = module.state_dict()
    return state
