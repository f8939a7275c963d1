"""What a user names as ``module:object``: their own code, without a package around it."""

from __future__ import annotations

import re
from pkgutil import resolve_name
from typing import Any

from napari_sparse3d.errors import CatalogError

_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_own(text: str) -> bool:
    """Whether a name is ``module:object``, and not that of a part."""
    return _NAME.fullmatch(text) is not None


def load_own(text: str, *, kind: str, what: str) -> Any:
    """The object. Its module is imported, so the text must be the user's word, never one that only a file says.

    Parameters
    ----------
    text : str
        ``module:object``.
    kind, what : str
        What it is for and what it must be, in messages: ``"loss"``, ``"function"``.

    Raises
    ------
    CatalogError
        If it cannot be imported, or cannot be called.
    """
    try:
        target: Any = resolve_name(text)
    except Exception as error:  # whatever the user's module does while it is imported
        raise CatalogError(
            f"{kind} {text!r}: {' '.join(str(error).split()) or type(error).__name__}; give module:{what}, importable "
            "from here"
        ) from error
    if not callable(target):
        raise CatalogError(f"{kind} {text!r} is no {what}; give module:{what}")
    return target
