"""The errors that a user can cause: what came, what was expected, what to do."""

from __future__ import annotations


class InputError(ValueError):
    """Something that the user gave cannot be used. The message is one clear line; it never holds patient identity."""


class ReadError(InputError):
    """A file or folder cannot be read as what it claims to be."""


class TensorTypeError(InputError, TypeError):
    """A tensor is of a type, or on a device, that an engine does not compute with."""


class EngineError(RuntimeError):
    """The requested engine or device is not available here. The message names the line that installs it."""


class DeviceMemoryError(EngineError):
    """The card has no memory left. The message says how much was asked for, and three ways out."""
