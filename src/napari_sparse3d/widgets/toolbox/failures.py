"""An exception as one sentence for people, and the rest for whoever wants it. No Qt."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from napari_sparse3d.errors import EngineError, InputError


@dataclass(frozen=True)
class Failure:
    """What went wrong: a sentence for the panel, details behind a link; ``expected``: the input's fault, not ours."""

    sentence: str
    details: str
    expected: bool


class ReportedError(EngineError):
    """Something failed elsewhere (in a child process), where it was put into words: ``failure``."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence)
        self.failure = failure


def failure_of(error: BaseException) -> Failure:
    """Put an exception into words: errors of this package are sentences already."""
    if isinstance(error, ReportedError):
        return error.failure
    details = "".join(traceback.format_exception(error))
    if isinstance(error, (InputError, EngineError)):
        return Failure(_sentence(str(error)), details, expected=True)
    if isinstance(error, MemoryError):
        return Failure(
            "There is not enough memory for this: resample to fewer voxels, or close other volumes.", details, True
        )
    if isinstance(error, OSError):
        what = error.strerror or str(error) or type(error).__name__
        # not the file's name: it may hold an identity, and whoever chose the file has it
        return Failure(_sentence(what), details, expected=True)
    return Failure(
        f"This went wrong unexpectedly ({type(error).__name__}); the details say where.", details, expected=False
    )


def _sentence(text: str) -> str:
    line = " ".join(text.split())
    line = line[:1].upper() + line[1:]
    return line if line.endswith((".", "!", "?")) else f"{line}."
