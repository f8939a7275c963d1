"""Times, ratios, floors and memory.

Times are taken in interleaved pairs: each contender right after the native engine, round after round, and a ratio is
the median over those pairs. So what else the machine does falls on both alike. Short calls are repeated until the clock
has something to tell. Memory is taken in a fresh process each.
"""

from __future__ import annotations

import ctypes
import gc
import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

import torch

from napari_sparse3d.bench import contenders
from napari_sparse3d.bench.workloads import WORKLOADS, NetworkWorkload, Work, Workload
from napari_sparse3d.errors import DeviceMemoryError, EngineError
from napari_sparse3d.sparse.engine import engine

MODES = ("forward", "forward+backward")
BASE = "native"
"""Whose time a ratio is taken of."""

LEAST_S = 0.05
"""Calls are repeated until a timing lasts this long."""

REST_S = 0.02
"""Before each timing: threads of the contender before it may still spin in wait for more work, as torch's do."""


@dataclass(frozen=True)
class Row:
    """One contender on one workload.

    Attributes
    ----------
    name, engine, mode : str
        Workload, contender, and ``"forward"`` or ``"forward+backward"``.
    ms : float
        Median time.
    ratio : float or None
        Median over rounds of this contender's time divided by the native engine's just before: above 1 is slower.
    floor_ms : float
        What the work takes at least on this device: operations at the measured rate of a matrix product, and bytes at
        the measured rate of a copy.
    peak_mb : float or None
        Memory at its highest, above what was there before the first call; of the card for contenders that run there.
    """

    name: str
    engine: str
    mode: str
    ms: float
    ratio: float | None
    floor_ms: float
    peak_mb: float | None

    def record(self) -> dict[str, Any]:
        """As the JSON of ``bench --json`` names it."""
        row = {**vars(self)}
        row["pass"] = row.pop("mode")
        return row


def measure(
    workload: str,
    *,
    device: str = "cpu",
    engines: tuple[str, ...] = (),
    rounds: int = 7,
    memory: bool = True,
    say: Callable[[str], None] = print,
) -> Iterator[Row]:
    """Measure one workload with all contenders, or with those whose name is or starts with one of ``engines``.

    Yields one row a contender and pass; a contender that cannot run is told to ``say``, with the reason.
    """
    work = WORKLOADS[workload]()
    least = work.work()
    there = {name for mode in MODES for name in contenders.names(work, mode, device)}
    for each in engines:
        if not any(contenders.is_asked_for(name, [each]) for name in there):
            say(f"{workload}: {each} does not do it on {device}; there are {', '.join(sorted(there))}")
    for mode in MODES:
        runs: dict[str, contenders.Run] = {}
        for name in contenders.names(work, mode, device):
            if engines and name != BASE and not contenders.is_asked_for(name, engines):
                continue
            try:
                runs[name] = contenders.make(name, work, mode, device)
            except (EngineError, ImportError, torch.OutOfMemoryError, DeviceMemoryError) as error:
                say(f"{workload}, {mode}: {name} left out, {error}")
        for name, (taken, before) in _rounds(runs, rounds).items():
            ratios = [one / base for one, base in zip(taken, before, strict=True)] if before else []
            yield Row(
                workload,
                name,
                mode,
                median(taken) * 1000,
                median(ratios) if ratios else None,
                _floor(least, mode, name, device) * 1000,
                _fresh_peak(workload, mode, name, device) if memory else None,
            )


def _rounds(runs: dict[str, contenders.Run], rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """For each contender its own times, in seconds a call, and those of the base before each of them (if it runs)."""
    calls = {name: _calls(run, on_card=" cuda" in name) for name, run in runs.items()}
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            own, before = times[name]
            if name != BASE and BASE in runs:
                before.append(_timed(runs[BASE], calls[BASE], on_card=False))
            own.append(_timed(run, calls[name], on_card=" cuda" in name))
            if name == BASE:
                before.append(own[-1])
    return times


def _calls(run: contenders.Run, *, on_card: bool) -> int:
    """How many calls last ``LEAST_S``."""
    return math.ceil(LEAST_S / max(_timed(run, 1, on_card=on_card), LEAST_S / 1000))


def _timed(run: contenders.Run, calls: int = 1, *, on_card: bool) -> float:
    """Seconds of one call, of several in a row; on a card by events, from the first kernel to the last."""
    sleep(REST_S)
    if not on_card:
        started = perf_counter()
        for _ in range(calls):
            run()
        return (perf_counter() - started) / calls
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    torch.cuda.synchronize()
    start.record()
    for _ in range(calls):
        run()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / 1000 / calls


# -- floors --------------------------------------------------------------------------------------------


def _floor(work: Work, mode: str, name: str, device: str) -> float:
    place = device if " cuda" in name else "cpu"
    precision = name.rpartition(" cuda ")[2] if " cuda " in name else "fp32"
    operations, moved = work.both_ways if mode == "forward+backward" else (work.operations, work.moved_bytes)
    operations_s, bytes_s = _rates(place, precision)
    return operations / operations_s + moved / bytes_s


_known_rates: dict[tuple[str, str], tuple[float, float]] = {}


def _rates(device: str, precision: str) -> tuple[float, float]:
    """Operations a second of a large matrix product, and bytes a second of a large copy (read and written)."""
    if (device, precision) not in _known_rates:
        side = 1024 if device == "cpu" else 8192
        a = torch.randn(side, side, device=device, dtype=torch.float16 if precision == "fp16" else torch.float32)
        big = torch.zeros(2**25 if device == "cpu" else 2**28, device=device)
        there = torch.empty_like(big)
        on_card = device != "cpu"
        with contenders.settings(precision if on_card else "", gather=False):
            product = min(_timed(lambda: a @ a, 3, on_card=on_card) for _ in range(9))
        copy = min(_timed(lambda: there.copy_(big), 3, on_card=on_card) for _ in range(5))
        _known_rates[device, precision] = 2 * side**3 / product, 2 * big.numel() * 4 / copy
    return _known_rates[device, precision]


# -- memory --------------------------------------------------------------------------------------------


def _fresh_peak(workload: str, mode: str, name: str, device: str) -> float | None:
    """Peak in a process of its own, in MB; None where this system does not tell."""
    call = [sys.executable, "-m", "napari_sparse3d.bench.peak", workload, mode, name, device]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    peak = json.loads(done.stdout.splitlines()[-1])
    return None if peak is None else float(peak)


def peak_of_process(workload: str, mode: str, name: str, device: str) -> float | None:
    """Run one contender in this process and give the peak above what was there before, in MB."""
    work: Workload = WORKLOADS[workload]()
    # torch and the engines load what they need at their first call: that is no part of the work
    contenders.make(name, _small(work), mode, device)
    on_card = " cuda" in name
    if on_card:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        contenders.make(name, work, mode, device)()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system, or the work would reuse it unseen
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark
        before_mb = _status_mb("VmRSS")
        contenders.make(name, work, mode, device)()
        return _status_mb("VmHWM") - before_mb
    return None


def _small(work: Workload) -> Workload:
    if isinstance(work, NetworkWorkload):
        return replace(work, indices=work.indices[:9].contiguous(), features=work.features[:9].contiguous())
    return replace(work, data=work.data[:8])


def _status_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {key}")


# -- where -----------------------------------------------------------------------------------------------


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the figures were taken on."""
    machine_facts: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "instruction_set": getattr(engine("native"), "instruction_set", None),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "spconv": _spconv_version(),
        "gemm_gflops": _rates("cpu", "fp32")[0] / 1e9,
        "copy_gb_s": _rates("cpu", "fp32")[1] / 1e9,
    }
    if device != "cpu":
        machine_facts["card"] = torch.cuda.get_device_name(device)
        machine_facts["cuda"] = torch.version.cuda
        for precision in contenders.PRECISIONS:
            machine_facts[f"card_{precision}_gflops"] = _rates(device, precision)[0] / 1e9
        machine_facts["card_copy_gb_s"] = _rates(device, "fp32")[1] / 1e9
    return machine_facts


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _spconv_version() -> str | None:
    for package in ("spconv-cu120", "spconv-cu126", "spconv"):
        with suppress(PackageNotFoundError):
            return f"{package} {version(package)}"
    return None
