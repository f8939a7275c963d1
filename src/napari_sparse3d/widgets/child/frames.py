"""Pickled frames over the child's standard input and output: no port is open, no main module is imported twice.

::

    window -> child   (job name, arguments)
    child  -> window  ("step", value)        the job has got somewhere, and waits
    window -> child   True or False          go on, or end early with what there is
    child  -> window  ("done", value) or ("failed", Failure)
"""

from __future__ import annotations

import pickle
import struct
from typing import IO, Any

_HEAD = struct.Struct("<Q")


def send(stream: IO[bytes], value: Any) -> None:
    """Write one frame."""
    frame = pickle.dumps(value, protocol=5)
    stream.write(_HEAD.pack(len(frame)))
    stream.write(frame)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one frame.

    Raises
    ------
    EOFError
        If the other process is gone.
    """
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError("the other process is gone")
    (length,) = _HEAD.unpack(head)
    frame = stream.read(length)
    if len(frame) < length:
        raise EOFError("the other process is gone")
    return pickle.loads(frame)  # written by our own parent or child, through a pipe that nobody else has
