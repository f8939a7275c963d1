"""Work off the main thread: one job at a time, cancelled at once, and late results dropped.

A worker outlives its window where it is in the middle of a step. What it still sends reaches nobody then, and the
process does not end before it: a thread that wakes up in an interpreter that is being taken apart aborts the process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from threading import Event
from typing import Any

from napari.qt.threading import GeneratorWorker, create_worker
from qtpy.QtCore import QObject, QThreadPool, Signal  # type: ignore[attr-defined]

from napari_sparse3d.widgets.toolbox.failures import Failure, failure_of

Job = Callable[[], Generator[Any, None, Any]]
"""Makes a generator that yields what is to be shown while it works, and returns the result."""


@dataclass(frozen=True)
class _Failed:
    failure: Failure


class Work(QObject):
    """Runs jobs of one kind, one at a time, in a worker thread.

    Starting a job replaces the one that runs: whatever that still sends is dropped. Signals come on the main thread.
    """

    started = Signal(str)
    stepped = Signal(object)
    """What the job yielded: a :class:`Step`, or anything the panel understands."""
    finished = Signal(object)
    """The job's result."""
    failed = Signal(object)
    """A :class:`Failure`."""
    ended = Signal()
    """After any of finished, failed or cancelled; not when the job was replaced."""

    def __init__(self, parent: QObject | None = None, *, interrupt: Callable[[], None] | None = None) -> None:
        """``interrupt`` ends what a job waits for (a child process), so that its thread ends soon."""
        super().__init__(parent)
        self._worker: GeneratorWorker | None = None
        self._interrupt = interrupt
        self._number = 0
        self._life = _Life()
        self.destroyed.connect(self._life.end)

    @property
    def running(self) -> bool:
        """Whether a job is at work."""
        return self._worker is not None

    def start(self, job: Job, title: str) -> None:
        """Run ``job``; ``title`` is what napari's activity list says."""
        self._leave()
        number = self._number
        worker = create_worker(
            _guarded, job, _start_thread=False, _progress={"desc": title}, _worker_class=_ClosingWorker
        )
        worker.yielded.connect(lambda step: self._on_step(number, step))
        worker.returned.connect(lambda result: self._on_return(number, result))
        self._worker = self._life.worker = worker
        self.started.emit(title)
        worker.start()

    def cancel(self) -> None:
        """Stop: the panel goes on as if the job had never been started."""
        if self._worker is None:
            return
        if self._interrupt is not None:
            self._interrupt()
        self._leave()
        self.ended.emit()

    def drop(self) -> None:
        """Let go of the job: it ends at its next step, and what it waits for goes on."""
        if self._worker is not None:
            self._leave()
            self.ended.emit()

    def _leave(self) -> None:
        self._number += 1
        if self._worker is not None:
            self._worker.quit()
            self._worker = self._life.worker = None

    def _on_step(self, number: int, step: Any) -> None:
        if self._life.alive and number == self._number:
            self.stepped.emit(step)

    def _on_return(self, number: int, result: Any) -> None:
        if not self._life.alive or number != self._number:
            return
        self._worker = self._life.worker = None
        self._number += 1
        if isinstance(result, _Failed):
            self.failed.emit(result.failure)
        else:
            self.finished.emit(result)
        self.ended.emit()


class _Life:
    """Outlives its :class:`Work`: a window may be closed while a job still sends, and then nobody must be reached."""

    def __init__(self) -> None:
        self.alive = True
        self.worker: GeneratorWorker | None = None

    def end(self) -> None:
        """The window is gone: the job ends at its next step."""
        self.alive = False
        if self.worker is not None:
            self.worker.quit()
            self.worker = None


class _ClosingWorker(GeneratorWorker):  # type: ignore[misc]  # napari gives its workers no types
    """Closes its generator in its own thread as soon as it is told to quit, so that the job can clean up at once."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.begun, self.over = Event(), Event()
        """A thread has taken it, and has nothing more to do with it."""

    def start(self) -> None:
        """Begin; from now on the process does not end before it."""
        _at_work.add(self)
        super().start()

    def run(self) -> None:
        """Work and send, in the thread."""
        self.begun.set()
        try:
            super().run()
        finally:
            _at_work.discard(self)
            self.over.set()

    def work(self) -> Any:
        """Run, then close.

        Meanwhile the pool may start one more thread: it has as many as there are processor cores, and most of our jobs
        wait for a child process. A map that is held, or a cohort being embedded, must not keep all others waiting.
        """
        pool = QThreadPool.globalInstance()
        if pool is not None:
            pool.releaseThread()
        try:
            return super().work()
        finally:
            self._gen.close()
            if pool is not None:
                pool.reserveThread()


_at_work: set[_ClosingWorker] = set()
_BEGINS_S = 0.5
"""In which the pool, once it has a thread for a worker, has begun it."""


def end_all() -> None:
    """Tell every worker to quit, and wait until each has: at its next step, or when what it waits for is gone.

    For the end of the process, after child processes were stopped. There is no limit: a file that is being written is
    written to its end.
    """
    pool = QThreadPool.globalInstance()
    for worker in (at_work := list(_at_work)):
        worker.quit()
        if pool is not None and pool.tryTake(worker):
            worker.over.set()
    for worker in at_work:
        # one that is to be started by an event loop which is over never begins
        if worker.over.is_set() or worker.begun.wait(_BEGINS_S):
            worker.over.wait()


def _guarded(job: Job) -> Generator[Any, None, Any]:
    """The job, with an exception as its result: a worker that raises would put a traceback into a notification."""
    yield None
    try:
        return (yield from job())
    except Exception as error:  # at the top of a thread: everything is told to the user
        return _Failed(failure_of(error))
