"""That this process was asked to end, kept until it does.

A signal becomes an exception wherever the interpreter happens to be. A library that catches everything there (an import
that is tried, a callback from C) swallows it, and the work goes on as if nobody had asked. So who handles the signal
notes it here, and long work looks at the note before each piece.
"""

from __future__ import annotations

import signal

_asked: list[int] = []


def ask_to_end(number: int) -> None:
    """Note that this signal came."""
    _asked.append(number)


def forget_asking() -> None:
    """What was asked before concerns nobody any more."""
    _asked.clear()


def end_if_asked() -> None:
    """Raise what the signal raised, if one came.

    Raises
    ------
    KeyboardInterrupt
        For SIGINT.
    SystemExit
        For another, with 128 and its number as the exit code.
    """
    if not _asked:
        return
    if _asked[0] == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + _asked[0])
