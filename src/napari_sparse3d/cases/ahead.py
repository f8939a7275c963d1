"""Cases are read ahead of their turn, on a thread of their own, and small ones meet the network one after the other.

While the network computes, the next cases are unpacked, thresholded and hashed, which needs no interpreter either. What
waits is bounded by its bytes; a case that is larger is read when nothing else is. Rows come in the order of the cases
and are, to the bit, those of one case after the other: see :meth:`~napari_sparse3d.models.model.Model.run_each`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from math import prod
from types import TracebackType

from napari_sparse3d.cases.case import Case
from napari_sparse3d.cases.run import Answered, Ready, Runner, answered, read_case

_MOST_BYTES = 256 << 20
"""That all cases which were read ahead may take, while they are read as well."""
_TOGETHER = 32
"""Cases that meet the network with one look at its weights; twice as many are read ahead."""
_MOST_SITES = 1 << 16
"""Of the cases of one look: what its time is nothing against is run alone."""
_SMALL_BYTES = 8 << 20
"""A case that may take more is not waited for by those before it, which may be run."""
_UNPACKED = 8
"""So many times its file's size a case may take, where nothing else is known of it."""


@dataclass
class _Read:
    """A case that is being read."""

    case: Case
    estimate: int
    future: Future[Ready]

    @property
    def n_bytes(self) -> int:
        """What it takes, or may take."""
        return _bytes_of(self.future.result()) if self.future.done() else self.estimate


class Ahead:
    """What becomes of cases, the next of which are read meanwhile.

    Parameters
    ----------
    cases : iterable of Case
        All that :func:`~napari_sparse3d.cases.run.run_case` will be called with, in that order.
    runner : Runner

    Attributes
    ----------
    runner : Runner
        To be used in the ``with`` block in place of the one that was given.
    """

    def __init__(self, cases: Iterable[Case], runner: Runner) -> None:
        self._cases = deque(cases)
        self._reading: deque[_Read] = deque()
        self._answered: deque[tuple[Case, Answered]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reading")
        self.runner = runner if len(self._cases) < 2 else replace(runner, ahead=self._next)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _next(self, case: Case) -> Answered:
        if not self._answered:
            group = self._gathered()
            self._read_on()  # while the network runs
            self._answered.extend(zip([read.case for read in group], self._run(group), strict=True))
        due, found = self._answered.popleft()
        if due is not case:
            raise RuntimeError("cases must be asked for in the order in which they were announced")
        return found

    def _run(self, group: list[_Read]) -> list[Answered]:
        return answered([read.future.result() for read in group], self.runner)

    def _gathered(self) -> list[_Read]:
        """The next case, and those after it that are small as well."""
        self._read_on(idle=True)
        first = self._reading.popleft()
        group, sites = [first], _sites(first)
        while sites < _MOST_SITES and len(group) < _TOGETHER:
            self._read_on()
            if not self._reading:
                break
            following = self._reading[0]
            if not following.future.done() and following.estimate > _SMALL_BYTES:
                break
            sites += _sites(following)
            if sites > _MOST_SITES:
                break
            group.append(self._reading.popleft())
        return group

    def _read_on(self, *, idle: bool = False) -> None:
        """Begin to read what there is room for; where nothing else is at work, the next case has all of it."""
        while self._cases and len(self._reading) < 2 * _TOGETHER:
            estimate = _estimate(self._cases[0])
            alone = idle and not self._reading
            if not alone and not self._has_room(estimate):
                return
            case = self._cases.popleft()
            # in the context of this thread: who watches, and where output goes
            future = self._thread.submit(copy_context().run, read_case, case, self.runner)
            self._reading.append(_Read(case, estimate, future))

    def _has_room(self, n_bytes: int) -> bool:
        """Whether so much may be read beside what waits."""
        if n_bytes + sum(read.estimate for read in self._reading) <= _MOST_BYTES:
            return True
        return n_bytes + sum(read.n_bytes for read in self._reading) <= _MOST_BYTES


def _sites(read: _Read) -> int:
    voxels = read.future.result().voxels
    return 0 if voxels is None else voxels.n_active


def _bytes_of(ready: Ready) -> int:
    voxels = ready.voxels
    return 0 if voxels is None else voxels.n_active * (voxels.indices.shape[1] + voxels.features.shape[1]) * 4


def _estimate(case: Case) -> int:
    """Bytes that reading a case may take."""
    if case.info is not None and case.info.shape is not None:
        return prod(case.info.shape) * 8  # the values, and what is made of them
    if case.kind in ("medmnist", "sparse", "packed"):  # one of many in a file, which is read once
        return _SMALL_BYTES
    try:
        return sum(path.stat().st_size for path in (case.path, case.mask) if path is not None) * _UNPACKED
    except OSError:  # it fails soon enough
        return 0
