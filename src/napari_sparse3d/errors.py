"""The errors that a user can cause: what came, what was expected, what to do."""

from __future__ import annotations

import re
from pathlib import Path


class InputError(ValueError):
    """Something that the user gave cannot be used. The message is one clear line; it never holds patient identity."""


class ReadError(InputError):
    """A file or folder cannot be read as what it claims to be."""


class EngineError(RuntimeError):
    """The requested engine or device is not available here. The message names the line that installs it."""


class DeviceMemoryError(EngineError):
    """The card has no memory left. The message says how much was asked for, and three ways out."""


def line_of(error: BaseException, *paths: Path) -> str:
    """What an error says, as one line without the names of files: they may hold an identity.

    Parameters
    ----------
    error : BaseException
        Of an ``OSError`` only what happened is said, not to which file.
    *paths : Path
        Files that a library may have named in its message.
    """
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    for path in paths:
        for name in (str(path), path.name):
            if re.search(r"[./\\]", name):  # a bare word would be found in other words too
                text = text.replace(name, "the file")
    return " ".join(text.split()) or type(error).__name__
