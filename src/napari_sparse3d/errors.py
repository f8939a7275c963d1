"""The errors that a user can cause: what came, what was expected, what to do."""

from __future__ import annotations

import re
import traceback
import zlib
from pathlib import Path


class InputError(ValueError):
    """Something that the user gave cannot be used. The message is one clear line; it never holds patient identity."""


class ReadError(InputError):
    """A file or folder cannot be read as what it claims to be."""


class TensorTypeError(InputError, TypeError):
    """A tensor is of a type, or on a device, that an engine does not compute with."""


class LayerError(InputError, TypeError):
    """A module cannot be a layer of a sparse network. The message names the layer to take in its place."""


class CatalogError(InputError, KeyError):
    """There is no part of this name (an engine, a loss, a format, ...), or it cannot be loaded."""

    __str__ = InputError.__str__  # a KeyError quotes its message


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


_WORDS_ARE_SAFE = (InputError, EngineError, zlib.error, ArithmeticError, EOFError)
"""Errors whose text quotes no file: neither its name nor what is in it."""


def failure_line(error: BaseException, *paths: Path) -> str:
    """Whatever went wrong with one case of many, as one line without a file's name or content.

    An error that is nobody's doing but ours is named by its type and the place where it was raised, not by its text,
    which may quote the file. ``paths`` as in :func:`line_of`.
    """
    text = line_of(error, *paths)
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text:
        return "there is not enough memory for it; use a recipe that keeps fewer voxels, or a machine with more"
    if isinstance(error, OSError):
        return text if error.strerror else type(error).__name__
    if isinstance(error, _WORDS_ARE_SAFE) and text:
        return text if isinstance(error, (InputError, EngineError)) else f"{type(error).__name__}: {text}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "napari_sparse3d" in f.filename]
    place = ""
    if frames:
        module = frames[-1].filename.replace("\\", "/").rpartition("napari_sparse3d/")[2]
        place = f" in {module}, line {frames[-1].lineno}"
    return f"unexpected {type(error).__name__}{place}; please report it"
