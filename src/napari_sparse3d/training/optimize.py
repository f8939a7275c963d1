"""Optimizers, schedules, and the exponential average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn

from napari_sparse3d.training.config import Training


def make_optimizer(modules: Iterable[nn.Module], config: Training) -> torch.optim.Optimizer:
    """The optimizer of a configuration; weights of one dimension (biases, norms) do not decay."""
    decayed: list[Tensor] = []
    undecayed: list[Tensor] = []
    for module in modules:
        for weight in module.parameters():
            (decayed if weight.ndim > 1 else undecayed).append(weight)
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": undecayed, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, foreach=False)
    nesterov = config.momentum > 0  # without momentum there is nothing to look ahead along
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov, foreach=False)


def momentum(config: Training, epochs_done: float) -> float:
    """The momentum after so many epochs: a function of time alone."""
    first = config.momentum_schedule == "step" and epochs_done < config.momentum_step_epochs
    return config.initial_momentum if first else config.momentum


def learning_rate(config: Training, epochs_done: float) -> float:
    """The learning rate after so many epochs (a fraction inside an epoch): a function of time alone."""
    share = min(epochs_done / config.epochs, 1.0)
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * share))
    elif config.schedule == "one-cycle":
        rise = 0.25
        rate *= (
            0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * share / rise))
            if share < rise
            else 0.5 * (1 + math.cos(math.pi * (share - rise) / (1 - rise)))
        )
    elif config.schedule == "step":
        rate *= 0.1 ** sum(share >= mark for mark in (0.6, 0.85))
    if epochs_done < config.warmup_epochs:
        rate *= max(epochs_done / config.warmup_epochs, 1e-3)
    return rate


def half_type(device: str) -> torch.dtype:
    """What mixed precision multiplies in: float16 on CUDA, since spconv multiplies no bfloat16; on the CPU bfloat16.

    The native engine's convolutions stay in float32: its kernels know no half types.
    """
    return torch.float16 if device.startswith("cuda") else torch.bfloat16


class Average(nn.Module):
    """Exponential average of a network's weights and running statistics.

    The decay starts low, min(decay, (1 + t) / (10 + t)) after t updates, so that the random start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float | None) -> None:
        super().__init__()
        self.network = deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, updates: int) -> None:
        """Take in the network's weights after update number ``updates``; without a decay they are copied."""
        decay = 0.0 if self.decay is None else min(self.decay, (1 + updates) / (10 + updates))
        theirs = network.state_dict()
        for name, mine in self.network.state_dict().items():
            if mine.is_floating_point() and decay:
                mine.lerp_(theirs[name], 1 - decay)
            else:
                mine.copy_(theirs[name])
