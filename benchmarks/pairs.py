"""Interleaved pairs: how the benchmarks of the kernels take their times, and this machine's rates for their floors.

Other processes move the times, hardly the ratios of two runs that follow one another; so every figure is a median over
pairs, one of each contender.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

Run = Callable[[], object]

# torch's OpenMP threads spin for some milliseconds after their last work, which is not the next contender's fault
_SETTLE_S = 0.02
_LEAST_MS = 50


def one_of(names: list[str]) -> Callable[[str], str]:
    """For a list of arguments: argparse's own ``choices`` refuse the default of one that may be empty."""

    def check(name: str) -> str:
        if name not in names:
            raise argparse.ArgumentTypeError(f"{name!r}; choose from {', '.join(names)}")
        return name

    return check


@dataclass(frozen=True)
class Contender:
    """What to run, and on how many of torch's threads (spconv is right on one only)."""

    run: Run
    threads: int


@dataclass(frozen=True)
class Paired:
    """Medians over pairs: milliseconds of ours and theirs, and theirs divided by ours."""

    ours_ms: float
    theirs_ms: float
    ratio: float


def milliseconds(contender: Contender, calls: int = 1) -> float:
    """Wall time of a call: the mean over ``calls``, after one unmeasured that finds memory and threads cold."""
    torch.set_num_threads(contender.threads)
    time.sleep(_SETTLE_S)
    contender.run()
    begin = time.perf_counter()
    for _ in range(calls):
        contender.run()
    return (time.perf_counter() - begin) * 1e3 / calls


def calls_at_once(contender: Contender) -> int:
    """How many calls fill the least time that is worth measuring."""
    return max(1, round(_LEAST_MS / milliseconds(contender)))


def paired(ours: Contender, theirs: Contender, pairs: int) -> Paired:
    """Both in turn, as often as asked."""
    mine_at_once, theirs_at_once = calls_at_once(ours), calls_at_once(theirs)
    taken = [(milliseconds(ours, mine_at_once), milliseconds(theirs, theirs_at_once)) for _ in range(pairs)]
    mine, others = (median(column) for column in zip(*taken, strict=True))
    return Paired(mine, others, median(b / a for a, b in taken))


@dataclass(frozen=True)
class Rates:
    """What this machine does at best: a large float32 matrix product, and a large copy (bytes read and written)."""

    operations_s: float
    bytes_s: float

    def floor_ms(self, operations: float, moved_bytes: float) -> float:
        """What work takes at least that multiplies and moves this much, one after the other."""
        return (operations / self.operations_s + moved_bytes / self.bytes_s) * 1e3


def rates(threads: int) -> Rates:
    """Measured here and now, so that a floor belongs to the run it is compared with."""
    side = 2048
    a, b = torch.randn(side, side), torch.randn(side, side)
    product = torch.empty(side, side)
    source = torch.ones(2**26)
    there = torch.empty_like(source)
    multiply = Contender(lambda: torch.mm(a, b, out=product), threads)
    copy = Contender(lambda: there.copy_(source), threads)
    multiply_ms = median(milliseconds(multiply) for _ in range(7))
    copy_ms = median(milliseconds(copy) for _ in range(7))
    return Rates(2 * side**3 / multiply_ms * 1e3, 2 * source.nbytes / copy_ms * 1e3)
