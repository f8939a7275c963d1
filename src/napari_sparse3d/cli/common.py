"""What all commands share: output, progress, errors and exit codes.

Three streams are kept apart. What the user asked for goes to stdout: a table (:func:`show`), or exactly one JSON object
with ``--json`` (:func:`emit`). Progress and log go to stderr (:func:`say`, :func:`status`, :func:`track`).
What stands there is written by :mod:`.terminal`.

Exit codes: 0 done; 1 an input failed (a file that cannot be read, a volume that cannot be used; each is named);
2 the call is wrong (an option, a recipe, a model, an engine: nothing would work with it); 143 and 129 the command was
asked to end (SIGTERM, SIGHUP) and cleaned up after itself.
"""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TextIO, TypeVar

import typer

from napari_sparse3d.cli.terminal import print_error, print_warning, say, show, status, track
from napari_sparse3d.ending import ask_to_end, end_if_asked, forget_asking
from napari_sparse3d.environment import check_environment
from napari_sparse3d.errors import EngineError, InputError
from napari_sparse3d.files import replacing

__all__ = [
    "EXIT_CALL",
    "EXIT_INPUT",
    "CallError",
    "JsonFlag",
    "emit",
    "finish",
    "guarded",
    "plain",
    "replacing",
    "say",
    "show",
    "status",
    "the_call",
    "track",
]

EXIT_INPUT = 1
EXIT_CALL = 2

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
"""Annotation of the parameter ``as_json``, by which :func:`guarded` knows that ``--json`` was given."""

P = ParamSpec("P")
R = TypeVar("R")


class CallError(InputError):
    """The call itself is wrong: it would fail on every input."""


class _JsonOutput:
    """The one JSON object of this call: the real stdout, and whether the object has been printed."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.printed = False


_json_output: ContextVar[_JsonOutput | None] = ContextVar("json_output", default=None)


def emit(result: dict[str, Any]) -> None:
    """Print the one JSON object of a command that was called with ``--json``.

    Arrays become lists, paths strings, and numbers that are not finite ``null``.

    Raises
    ------
    RuntimeError
        If it is called twice, or without ``--json``.
    """
    output = _json_output.get()
    if output is None or output.printed:
        raise RuntimeError("emit() prints the one JSON object of a command called with --json, once")
    print(json.dumps(plain(result), allow_nan=False), file=output.stream, flush=True)
    output.printed = True


def plain(value: Any) -> Any:
    """The same value in JSON's own types: arrays as lists, paths as strings, what is not finite as None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy and torch, arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@contextmanager
def the_call() -> Iterator[None]:
    """Inside this block an unusable file or value is the call's fault (exit code 2): a recipe, a model, an output."""
    try:
        yield
    except CallError:
        raise
    except InputError as error:
        raise CallError(str(error)) from error
    except OSError as error:
        raise CallError(_os_error_line(error, named=True)) from error


def finish(failures: Iterable[str]) -> None:
    """End a command that went on after an input failed: name each failure on stderr; exit code 1 if there is any."""
    lines = list(failures)
    for line in lines:
        print_error(line)
    if lines:
        raise typer.Exit(EXIT_INPUT)


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: errors become one line on stderr and an exit code, and ``--json`` owns stdout.

    With ``--json`` whatever a library prints on stdout goes to stderr instead, and a call that fails before it printed
    its object prints ``{"error": "..."}``. Errors that are not the user's (bugs) pass through with their traceback.
    """

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with _ended_by_signals():
            return answered(*args, **kwargs)

    def answered(*args: P.args, **kwargs: P.kwargs) -> R:
        if not kwargs.get("as_json"):
            with _errors_as_lines(kwargs.get("output")):
                return command(*args, **kwargs)
        token = _json_output.set(_JsonOutput(sys.stdout))
        try:
            with redirect_stdout(sys.stderr), _errors_as_lines(kwargs.get("output")):
                return command(*args, **kwargs)
        finally:
            _json_output.reset(token)

    return wrapper


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A signal that asks this process to end unwinds it like an interrupt, so that nothing half-written stays.

    A long call into a library ends first. A library that catches everything (an import that is tried, a callback from
    C) may swallow the ending, or Ctrl-C: it is kept, and raised again before the next piece of work and at the end. A
    second signal changes nothing, a second Ctrl-C interrupts again; what is ignored (``nohup``) stays so, and training,
    which has a better answer, puts its own in place.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    forget_asking()
    asked = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]

    def end(number: int, _: Any) -> None:
        for each in asked:
            signal.signal(each, signal.SIG_IGN)
        name = signal.Signals(number).name
        print_error(f"ended by {name}")
        output = _json_output.get()
        if output is not None and not output.printed:
            emit({"error": f"ended by {name}"})
        ask_to_end(number)
        end_if_asked()

    def interrupt(number: int, _: Any) -> None:
        ask_to_end(number)
        end_if_asked()

    for number in asked:
        signal.signal(number, end)
    takes_interrupts = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if takes_interrupts:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
        end_if_asked()
    finally:
        forget_asking()
        for number in asked:
            signal.signal(number, signal.SIG_DFL)
        if takes_interrupts:
            signal.signal(signal.SIGINT, signal.default_int_handler)


_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def _errors_as_lines(output: object) -> Iterator[None]:
    """``output``: what the command writes; a fault of it names it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "default", UserWarning
            )  # they tell the user something, whatever the interpreter's filter
            warnings.showwarning = print_warning
            with the_call():
                check_environment()
            yield
    except (CallError, EngineError) as error:
        _fail(str(error), EXIT_CALL)
    except InputError as error:
        _fail(str(error), EXIT_INPUT)
    except BrokenPipeError:
        raise  # the reader of our output went away (``| head``): typer ends quietly
    except OSError as error:
        _fail(_os_error_line(error, named=isinstance(output, Path) and _lies_at(error.filename, output)), EXIT_INPUT)


def _lies_at(filename: object, output: Path) -> bool:
    """Whether a file is the output, a folder above it that is to be made, or its temporary file."""
    if not isinstance(filename, (str, os.PathLike)):
        return False
    place, target = Path(os.fspath(filename)).absolute(), output.absolute()
    return place == target or place in target.parents or (place.parent == target.parent and target.name in place.name)


def _os_error_line(error: OSError, *, named: bool) -> str:
    """``named``: whether it is of a recipe, a model or an output; what a scan is called may name a patient."""
    what = error.strerror or str(error) or type(error).__name__
    if error.filename is None:
        return what
    return f"{error.filename}: {what}" if named else f"{what}: a file or folder that was given, or one in it"


def _fail(message: str, code: int) -> None:
    print_error(message)
    output = _json_output.get()
    if output is not None and not output.printed:
        emit({"error": " ".join(message.split())})
    raise typer.Exit(code)
