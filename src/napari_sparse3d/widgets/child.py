"""A child process in which networks run. No Qt.

Torch is imported there and not beside Qt (which crashes on Windows when Qt came first, and holds the interpreter for
seconds everywhere), and a job that is cancelled is really gone: its process is ended, and the next job starts another.

The two talk in pickled frames over the child's standard input and output, so that no port is open and no main module is
imported twice::

    parent -> child   (job name, arguments)
    child  -> parent  ("step", value)        the job has got somewhere, and waits
    parent -> child   True or False          go on, or end early with what there is
    child  -> parent  ("done", value) or ("failed", Fault)
"""

from __future__ import annotations

import contextlib
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from importlib import import_module
from typing import IO, Any

from napari_sparse3d.errors import EngineError
from napari_sparse3d.widgets.toolbox.faults import ReportedError, fault_of

_HEAD = struct.Struct("<Q")


class Child:
    """A process that runs the jobs of :mod:`napari_sparse3d.widgets.child_jobs`, one at a time; started when needed.

    Jobs are named by module and function, as ``"network.run"``; a module is imported with its first job.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._busy = threading.Lock()
        self._changing = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def call(self, job: str, **arguments: Any) -> Generator[Any, bool | None, Any]:
        """Run a job; yields its steps, returns its result.

        Send False into the generator to let the job end early with what it has.

        Raises
        ------
        ReportedError
            If the job fails.
        EngineError
            If the process ends, because it was stopped or for lack of memory.
        """
        with self._busy:
            process = self._started()
            assert process.stdin is not None  # both are pipes
            assert process.stdout is not None
            try:
                _send(process.stdin, (job, arguments))
                while True:
                    kind, value = _receive(process.stdout)
                    if kind == "done":
                        return value
                    if kind == "failed":
                        raise ReportedError(value)
                    go_on = yield value
                    _send(process.stdin, go_on is not False)
            except GeneratorExit:
                self._drain(process)  # nobody waits for the rest
                raise
            except (OSError, EOFError, ValueError) as error:
                raise EngineError(self._why_it_ended(process)) from error

    def _drain(self, process: subprocess.Popen[bytes]) -> None:
        """Ask a job to end early and wait until it has, so that the process is free for the next one."""
        with contextlib.suppress(OSError, EOFError, ValueError):
            assert process.stdin is not None
            assert process.stdout is not None
            _send(process.stdin, False)
            while _receive(process.stdout)[0] == "step":
                _send(process.stdin, False)

    def stop(self) -> None:
        """End the process, whatever it does."""
        with self._changing:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):  # what was not yet written is lost on purpose
                        stream.close()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._changing:
            if self._process is None or self._process.poll() is not None:
                if self._errors is not None:
                    self._errors.close()
                self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
                self._process = subprocess.Popen(
                    [sys.executable, "-m", __name__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                )
            return self._process

    def _why_it_ended(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        if code in (-9, 137):
            return "the process that runs networks was stopped, or ran out of memory; use fewer voxels, or run it again"
        said = ""
        if self._errors is not None and not self._errors.closed:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        return f"the process that runs networks ended with code {code}{': ' if said else ''}{said}; run it again"


def _send(stream: IO[bytes], value: Any) -> None:
    frame = pickle.dumps(value, protocol=5)
    stream.write(_HEAD.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError("the other process is gone")
    (length,) = _HEAD.unpack(head)
    frame = stream.read(length)
    if len(frame) < length:
        raise EOFError("the other process is gone")
    return pickle.loads(frame)  # written by our own parent or child, through a pipe that nobody else has


def _serve() -> None:
    """The child's side: one job after the other, until the parent is gone."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the frames
    while True:
        try:
            name, arguments = _receive(requests)
        except EOFError:
            return
        try:
            module, _, function = name.partition(".")
            steps = getattr(import_module(f"napari_sparse3d.widgets.child_jobs.{module}"), function)(**arguments)
            try:
                value = next(steps)
                while True:
                    _send(replies, ("step", value))
                    value = steps.send(_receive(requests))
            except StopIteration as done:
                _send(replies, ("done", done.value))
        except EOFError:
            return
        except Exception as error:  # at the top of a process: everything is told to the parent
            _send(replies, ("failed", fault_of(error)))


if __name__ == "__main__":
    _serve()
