"""Several processes that train one network together: on several GPUs, or several CPU workers.

Started by torchrun, each process takes its shard of every batch, and the gradients are summed before each step, so that
all hold the same weights::

    torchrun --nproc-per-node 2 -m napari_sparse3d.cli train shapes/

The first process validates, reports and writes; the others follow. Batch statistics and losses over pairs see the shard
of their own process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch import distributed as dist

T = TypeVar("T")
P = ParamSpec("P")

_LONGEST_WAIT = timedelta(days=1)
"""For each other: the first process validates and writes alone, which may take longer than torch's half hour."""


@dataclass(frozen=True)
class ProcessGroup:
    """Which of how many processes this is."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process validates, reports and writes."""
        return self.rank == 0

    def shard(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """This process's cases of a batch (every ``size``-th); may be none."""
        return chosen[self.rank :: self.size]

    def seed(self, *parts: int) -> tuple[int, ...]:
        """What this process draws from: for the first the same as for one that works alone."""
        return parts if self.is_main else (*parts, self.rank)

    def sum_gradients(self, weights: Iterable[Tensor], part: float) -> None:
        """Add up all processes' gradients, each times its ``part`` of the batch."""
        if self.size == 1:
            return
        for weight in weights:
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad * part
            dist.all_reduce(gradient)
            weight.grad = gradient

    def mean_buffers(self, network: nn.Module) -> None:
        """Give all processes the mean of their running statistics."""
        if self.size == 1:
            return
        for buffer in network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.size
            else:
                dist.all_reduce(buffer, dist.ReduceOp.MAX)

    def sum(self, value: float) -> float:
        """Sum over the processes."""
        if self.size == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=_device())
        dist.all_reduce(total)
        return float(total)

    def any(self, value: bool) -> bool:
        """Whether it holds in one of the processes."""
        return value if self.size == 1 else self.sum(float(value)) > 0

    def broadcast(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        held: list[Any] = [value]
        dist.broadcast_object_list(held, src=0)
        sent: T = held[0]
        return sent


def join() -> ProcessGroup:
    """The process group that torchrun has started this process in; alone where it has not."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ProcessGroup()
    if not dist.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=_LONGEST_WAIT)
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return ProcessGroup(dist.get_rank(), dist.get_world_size())


def leaving_together(run: Callable[P, T]) -> Callable[P, T]:
    """Where ``run`` joins a process group, all its processes leave it at the end, when the last has come so far.

    A process that ends while it is still connected is torn down in the middle of what torch's own threads do: now and
    then it aborts, after all its work is done. And one that leaves early cuts off the others. A process that fails
    waits for nobody.
    """

    @wraps(run)
    def joined(*args: P.args, **kwargs: P.kwargs) -> T:
        was_in = dist.is_available() and dist.is_initialized()
        try:
            result = run(*args, **kwargs)
            if dist.is_available() and dist.is_initialized() and not was_in:
                dist.barrier()
            return result
        finally:
            if dist.is_available() and dist.is_initialized() and not was_in:
                dist.destroy_process_group()

    return joined


def _device() -> str:
    return "cuda" if dist.get_backend() == "nccl" else "cpu"
