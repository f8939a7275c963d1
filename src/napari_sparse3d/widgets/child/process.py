"""The window's side of a child process."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from typing import IO, Any

from napari_sparse3d.errors import EngineError
from napari_sparse3d.widgets.child.frames import receive, send
from napari_sparse3d.widgets.toolbox.failures import ReportedError


class Child:
    """A process that runs the jobs of :mod:`napari_sparse3d.widgets.child.jobs`, one at a time; started when needed.

    Jobs are named by module and function, as ``"network.run"``; a module is imported with its first job.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._busy = threading.Lock()
        self._changing = threading.Lock()
        self._closed = False

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
            If the process ends, because it was stopped or for lack of memory; or after :meth:`close`.
        """
        with self._busy:
            process = self._started()
            assert process.stdin is not None  # both are pipes
            assert process.stdout is not None
            try:
                send(process.stdin, (job, arguments))
                while True:
                    kind, value = receive(process.stdout)
                    if kind == "done":
                        return value
                    if kind == "failed":
                        raise ReportedError(value)
                    go_on = yield value
                    send(process.stdin, go_on is not False)
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
            send(process.stdin, False)
            while receive(process.stdout)[0] == "step":
                send(process.stdin, False)

    def close(self) -> None:
        """End the process, and start none for the calls that wait: until :meth:`reopen`."""
        self._closed = True
        self.stop()

    def reopen(self) -> None:
        """Whoever calls may start a process again."""
        self._closed = False

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
            if self._closed:
                raise EngineError("the window was closed")
            if self._process is None or self._process.poll() is not None:
                if self._errors is not None:
                    self._errors.close()
                self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "napari_sparse3d.widgets.child.serve"],
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
