"""Our environment variables and the user's folders.

Every variable is named ``NAPARI_SPARSE3D_...``; what it may be is said in one line where it is something else. The
folders are those of the system (on Linux the XDG base directories), each with one of ours in it.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sparse3d.errors import InputError
from napari_sparse3d.text import printable

if TYPE_CHECKING:
    from platformdirs import PlatformDirs

_ONCE_WITHOUT_NAPARI = {f"NAPARI_SPARSE3D_{name}" for name in ("SALT", "WINOGRAD_PAIRS", "DATA", "CASES")}
"""Variables that earlier versions called ``SPARSE3D_...``: that name still works where the new one is not set.

``DATA`` and ``CASES`` are for the tests; ``WINOGRAD_PAIRS`` is read by the kernels, under both names too.
"""


def variable(name: str) -> str | None:
    """The value of one of our variables, under its name or the one that it had in earlier versions; None: not set."""
    return os.environ.get(_name_in_use(name))


def _name_in_use(name: str) -> str:
    former = name.removeprefix("NAPARI_")
    return former if name in _ONCE_WITHOUT_NAPARI and name not in os.environ and former in os.environ else name


def config_folder() -> Path:
    """Where this user's settings are; on Linux ``~/.config/napari-sparse3d``."""
    return _of_the_system().user_config_path


def cache_folder() -> Path:
    """``NAPARI_SPARSE3D_CACHE``, or where this user's caches are; on Linux ``~/.cache/napari-sparse3d``.

    Raises
    ------
    InputError
        If the variable names something that is no folder.
    """
    return folder_named_by("NAPARI_SPARSE3D_CACHE", _of_the_system().user_cache_path)


def data_folder() -> Path:
    """``NAPARI_SPARSE3D_HOME``, or where this user's data are; on Linux ``~/.local/share/napari-sparse3d``.

    Raises
    ------
    InputError
        If the variable names something that is no folder.
    """
    return folder_named_by("NAPARI_SPARSE3D_HOME", _of_the_system().user_data_path)


def _of_the_system() -> PlatformDirs:
    from platformdirs import PlatformDirs  # not for who asks for --help

    return PlatformDirs("napari-sparse3d", appauthor=False)


def folder_named_by(name: str, default: Path) -> Path:
    """The folder that an environment variable names, or ``default`` where it is not set.

    Raises
    ------
    InputError
        If it names something that is no folder.
    """
    named = variable(name)
    if named is None:
        return default
    folder = Path(named).expanduser()
    if not named.strip() or "\n" in named or (folder.exists() and not folder.is_dir()):
        what = "nothing" if not named.strip() else "what is no folder"
        raise InputError(f"{name} names {what}; set it to a folder, or unset it")
    return folder


_INSTRUCTION_SETS = ("baseline", "avx2", "avx512", "avx512_bf16", "neon")


def check_environment() -> None:
    """See that our environment variables, where they are set, have values that can be used.

    Raises
    ------
    InputError
        Naming the variable and what it may be.
    """
    for name in ("NAPARI_SPARSE3D_RUNS", "NAPARI_SPARSE3D_CACHE", "NAPARI_SPARSE3D_HOME"):
        folder_named_by(name, Path())
    isa = variable("NAPARI_SPARSE3D_ISA") or ""
    if isa and isa not in _INSTRUCTION_SETS:
        known = ", ".join(_INSTRUCTION_SETS)
        raise InputError(
            f"NAPARI_SPARSE3D_ISA={printable(isa)} is no instruction set of this build; choose {known}, or unset it"
        )
    name = _name_in_use("NAPARI_SPARSE3D_WINOGRAD_PAIRS")
    pairs = os.environ.get(name)
    if pairs is not None and not _is_positive(pairs):
        raise InputError(f"{name} is {pairs!r}; set it to a number above 0, or unset it")


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False
