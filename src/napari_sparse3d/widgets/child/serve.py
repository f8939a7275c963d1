"""The child's side: one job after the other, until the window is gone."""

from __future__ import annotations

import os
from importlib import import_module

from napari_sparse3d.widgets.child.frames import receive, send
from napari_sparse3d.widgets.toolbox.failures import failure_of


def serve() -> None:
    """Run the jobs that come by standard input."""
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the frames
    while True:
        try:
            name, arguments = receive(requests)
        except EOFError:
            return
        try:
            module, _, function = name.partition(".")
            steps = getattr(import_module(f"napari_sparse3d.widgets.child.jobs.{module}"), function)(**arguments)
            try:
                value = next(steps)
                while True:
                    send(replies, ("step", value))
                    value = steps.send(receive(requests))
            except StopIteration as done:
                send(replies, ("done", done.value))
        except EOFError:
            return
        except Exception as error:  # at the top of a process: everything is told to the window
            send(replies, ("failed", failure_of(error)))


if __name__ == "__main__":
    serve()
